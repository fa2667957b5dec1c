//! What arrives from relays: which of them are read, from when on, and what is done when they come and go.

mod deeper;
mod history;
mod interests;
mod together;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mdk_wire::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::catch_up::{Finished, Gathered};
use crate::client::cursor::Wanted;
use crate::client::feed::Heard;
use crate::client::shared::{Command, Inlets, Shared, lock};
use crate::client::topics::{Again, Relay};
use crate::error::Result;
use crate::relay_pool::Arrived;

/// Least time between two looks at what is to be listened to, when nothing says that it changed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Flow {
    shared: Arc<Shared>,
    relays: HashMap<String, Relay>,
    wanted: Wanted,
    /// The number of the last subscription, of all that were ever opened: what still comes of an earlier one is no answer to
    /// a later one.
    subscriptions: u64,
    catching: JoinSet<Finished>,
    tasks: HashMap<tokio::task::Id, String>,
    /// Where catch-ups put what they have.
    gather: mpsc::Sender<Gathered>,
    /// What relays have given that the engine has not, and what it is being given.
    gathered: Vec<Gathered>,
    pouring: JoinSet<()>,
    amends: JoinSet<()>,
    /// New events of the catch-ups since the last settling.
    round: u64,
    /// One of these catch-ups was complete.
    round_complete: bool,
    /// A catch-up ended, and what it brought is not settled.
    unsettled: bool,
    /// It was settled at least once.
    has_settled: bool,
    /// When it is to be seen whether a group stands still.
    still_at: Option<Instant>,
    /// Until when the engine need not be told again that more is on its way, and from which relays.
    told: Option<(Instant, Vec<String>)>,
    waiting: Vec<oneshot::Sender<Result<u64>>>,
    /// Callers that wait until a relay was read for a routing id.
    readers: Vec<(String, oneshot::Sender<()>)>,
    looked_at: Option<Instant>,
    look: bool,
    /// Relays of groups that were away for too long, and until when others go before them.
    failing: HashMap<String, Instant>,
    /// Relays for which there was no room.
    crowded_out: BTreeSet<String>,
    /// A cursor could not be read: its relay is still to be opened.
    unread: bool,
}

/// Runs until the client stops, then gives the relays up.
pub(crate) async fn run(shared: Arc<Shared>, inlets: Inlets) {
    let (gather, given) = mpsc::channel(16);
    let mut flow = Flow {
        shared: shared.clone(),
        relays: HashMap::new(),
        wanted: Wanted::default(),
        subscriptions: 0,
        catching: JoinSet::new(),
        tasks: HashMap::new(),
        gather,
        gathered: Vec::new(),
        pouring: JoinSet::new(),
        amends: JoinSet::new(),
        round: 0,
        round_complete: false,
        unsettled: false,
        has_settled: false,
        still_at: None,
        told: None,
        waiting: Vec::new(),
        readers: Vec::new(),
        looked_at: None,
        look: true,
        failing: HashMap::new(),
        crowded_out: BTreeSet::new(),
        unread: false,
    };
    let result = tokio::select! {
        () = shared.until_stopped() => Ok(()),
        result = flow.turn(inlets, given) => result,
    };
    if let Err(error) = result {
        shared.stop_for(&error);
    }
    flow.catching.shutdown().await;
    flow.pouring.shutdown().await;
    flow.amends.shutdown().await;
    shared.links.close().await;
}

impl Flow {
    async fn turn(
        &mut self,
        mut inlets: Inlets,
        mut given: mpsc::Receiver<Gathered>,
    ) -> Result<()> {
        let shared = self.shared.clone();
        let batch = shared.options.batch.max(1);
        let mut arrived = Vec::with_capacity(batch);
        loop {
            if self.look && self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
                self.look_around().await?;
            }
            let alarm = self.alarm();
            tokio::select! {
                count = inlets.arrived.recv_many(&mut arrived, batch) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.arrived(&mut arrived).await?;
                }
                Some(command) = inlets.commands.recv() => self.command(command).await?,
                Some(finished) = self.catching.join_next_with_id() => {
                    let finished = match finished {
                        Ok((task, finished)) => {
                            self.tasks.remove(&task);
                            finished
                        }
                        // A bug of ours: as if the relay had failed.
                        Err(error) => Finished {
                            relay: self.tasks.remove(&error.id()).unwrap_or_default(),
                            ..Finished::default()
                        },
                    };
                    self.finished(finished).await?;
                }
                Some(one) = given.recv() => self.gathered.push(one),
                Some(_) = self.pouring.join_next() => {}
                () = shared.interests_wake.notified() => self.look = true,
                () = shared.slow_wake.notified() => {}
                () = sleep_until(alarm) => self.retry().await?,
            }
            self.pour();
            if self.holding().next().is_none() {
                self.settle().await?;
                self.tell_readers();
                self.dig().await?;
            } else {
                self.expect_more().await?;
            }
            self.tell_reading();
        }
    }

    /// Relays that are giving what the others must wait for before anything is decided.
    fn holding(&self) -> impl Iterator<Item = &String> {
        let now = Instant::now();
        let opens = move |relay: &Relay| relay.opening.holds_until().is_some_and(|at| at > now);
        let longest = self.longest();
        let catches = move |relay: &Relay| {
            relay.catching
                && relay.catching_since.zip(longest).is_none_or(|(at, most)| now < at + most)
        };
        let holds = move |relay: &Relay| {
            (catches(relay) || opens(relay)) && !relay.slow.load(Ordering::Relaxed)
        };
        self.relays.iter().filter(move |(_, relay)| holds(relay)).map(|(url, _)| url)
    }

    /// How long a relay is waited for that goes on giving: as long as it does, if no other has given everything.
    fn longest(&self) -> Option<Duration> {
        self.relays.values().any(|relay| relay.complete).then_some(self.shared.options.waited_for)
    }

    /// What waits for a group is published when the group is where its relays have it.
    fn tell_reading(&self) {
        let mut reading = lock(&self.shared.reading);
        if self.holding().count() != reading.len()
            || self.holding().any(|url| !reading.contains(url))
        {
            *reading = self.holding().cloned().collect();
            self.shared.outbox_wake.notify_one();
        }
    }

    /// When something is to be done that nothing wakes us for.
    fn alarm(&self) -> Option<Instant> {
        let looks = self.looked_at.filter(|_| self.look).map(|at| at + LOOK_EVERY);
        let now = Instant::now();
        let waits = |relay: &Relay| {
            // Once it is past, it is not waited for.
            let holds = relay.opening.holds_until().filter(|at| *at > now);
            [relay.retry_at, relay.opening.until, holds]
        };
        // (while something is awaited it is not looked at)
        let still = self.still_at.filter(|at| *at > now || self.holding().next().is_none());
        let longest = self.longest();
        let catching = self.relays.values().filter(|relay| relay.catching);
        let ends = catching.filter_map(|relay| relay.catching_since.zip(longest));
        let ends = ends.map(|(at, most)| at + most).filter(|at| *at > now);
        let others = ends.chain(looks).chain(self.look_at_pouring()).chain(still);
        self.relays.values().flat_map(waits).flatten().chain(others).min()
    }

    async fn retry(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut late = Vec::new();
        for (url, relay) in &mut self.relays {
            if relay.opening.until.is_some_and(|at| at <= now) {
                late.push((Arc::from(url.as_str()), relay.opening.end_all()));
            }
        }
        for (relay, events) in late {
            self.take_in(of(&relay, events), true).await?;
            self.end_former(&relay).await;
        }
        let due: Vec<String> = self
            .relays
            .iter()
            .filter(|(_, relay)| relay.retry_at.is_some_and(|at| at <= now))
            .map(|(url, _)| url.clone())
            .collect();
        for url in due {
            if let Some(relay) = self.relays.get_mut(&url) {
                relay.retry_at = None;
            }
            self.catch_up(&url, Again::All);
        }
        Ok(())
    }

    /// Events in their order go to the engine together; what stands between them is done after them.
    async fn arrived(&mut self, arrived: &mut Vec<Arrived>) -> Result<()> {
        let mut events = Vec::new();
        let mut others = Vec::new();
        let mut opened = false;
        for one in arrived.drain(..) {
            let (relay, stored) = match &one {
                Arrived::EndOfStored { relay, subscription } => {
                    let ended = |state: &mut Relay| state.opening.end(*subscription);
                    (relay.clone(), self.relays.get_mut(&**relay).map(ended))
                }
                Arrived::Closed { relay, subscription, .. } => {
                    let ended = |state: &mut Relay| state.closed(*subscription);
                    (relay.clone(), self.relays.get_mut(&**relay).map(ended))
                }
                Arrived::Disconnected { relay, .. } => {
                    let ended = |state: &mut Relay| state.begin_anew();
                    (relay.clone(), self.relays.get_mut(&**relay).map(ended))
                }
                // Also without a loss that was told: what was open before is not, or not for us.
                Arrived::Connected { relay } => {
                    let ended = |state: &mut Relay| state.begin_anew();
                    (relay.clone(), self.relays.get_mut(&**relay).map(ended))
                }
                Arrived::Event { relay, .. } => (relay.clone(), None),
            };
            if let Arrived::EndOfStored { .. } = &one
                && let Some(state) = self.relays.get(&*relay)
            {
                state.ends.store(true, Ordering::Relaxed);
            }
            if let Some(stored) = stored {
                opened |= !stored.is_empty();
                events.extend(of(&relay, stored));
            }
            match one {
                Arrived::Event { subscription, event, .. } => {
                    let state = self.relays.get_mut(&*relay);
                    let given = match state {
                        Some(state) => state.opening.hold(subscription, event),
                        None => Some(event),
                    };
                    events.extend(given.map(|event| (relay, event)));
                }
                other => others.push(other),
            }
        }
        self.take_in(events, opened).await?;
        for other in others {
            match other {
                Arrived::EndOfStored { relay, .. } => self.end_former(&relay).await,
                other => self.state(other),
            }
        }
        Ok(())
    }

    /// Gives events to the engine and moves the cursors of where they came from. `opened`: some were held.
    async fn take_in(&mut self, events: Vec<Heard>, opened: bool) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let sources: BTreeSet<Arc<str>> = events.iter().map(|(relay, _)| relay.clone()).collect();
        let fed = self.shared.feed(events).await?;
        self.unsettled |= opened && fed.new > 0;
        if fed.waiting > 0 {
            self.may_stand_still();
        }
        for source in sources {
            let Some(relay) = self.relays.get_mut(&*source) else { continue };
            if let Some(from) = fed.refused_from {
                (relay.complete, relay.whole) = (false, false);
                relay.cursor.at = relay.cursor.at.min(from);
                self.later(&source);
            } else if relay.complete && relay.cursor.at < fed.newest {
                relay.cursor.at = fed.newest;
                relay.dirty = true;
            }
        }
        Ok(())
    }

    fn state(&mut self, arrived: Arrived) {
        let shared = self.shared.clone();
        match arrived {
            Arrived::Event { .. } | Arrived::EndOfStored { .. } => {}
            Arrived::Connected { relay } => {
                shared.active();
                if let Some(state) = self.relays.get_mut(&*relay) {
                    state.connected = true;
                    state.away_since = None;
                    (state.complete, state.whole) = (false, false);
                    state.amends = true;
                    state.retry_at = None;
                    self.catch_up(&relay, Again::All);
                    // Before anybody publishes there.
                    self.tell_reading();
                }
                shared.connected.send_if_modified(|all| all.insert(relay.to_string()));
            }
            Arrived::Disconnected { relay, .. } => {
                shared.connected.send_if_modified(|all| all.remove(&*relay));
                if let Some(state) = self.relays.get_mut(&*relay) {
                    state.connected = false;
                    state.away_since.get_or_insert_with(Instant::now);
                    (state.complete, state.whole) = (false, false);
                    state.retry_at = None;
                }
                // Whoever waits until the account is up to date waits for a relay that can say what has come since.
                if !self.relays.values().any(|relay| relay.own && relay.connected) {
                    shared
                        .progress
                        .send_if_modified(|p| std::mem::replace(&mut p.own_history, false));
                }
            }
            Arrived::Closed { relay, .. } => {
                // (one from before is of no account)
                if self.relays.get(&*relay).is_some_and(|state| state.live.is_empty()) {
                    self.later(&relay);
                }
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Fetch(answer) => {
                self.waiting.push(answer);
                let urls: Vec<String> = self.relays.keys().cloned().collect();
                for url in urls {
                    self.catch_up(&url, Again::All);
                }
                self.unsettled = true;
            }
            Command::Read(route, answer) => self.readers.push((route, answer)),
            Command::KeepCursors(done) => {
                self.keep_cursors().await?;
                self.hold_crowded_out().await?;
                self.look |= self.must_rotate();
                let _ = done.send(());
            }
        }
        Ok(())
    }
}

fn of(relay: &Arc<str>, events: Vec<Event>) -> Vec<Heard> {
    events.into_iter().map(|event| (relay.clone(), event)).collect()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
