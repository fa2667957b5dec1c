//! What arrives from relays: which of them are read, from when on, and what is done when they come and go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mdk_core::Engine;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::catch_up::{self, Finished};
use crate::client::amends;
use crate::client::cursor::{Cursor, Wanted, key};
use crate::client::feed::{Heard, changes_interests};
use crate::client::shared::{Command, Inlets, Shared, backoff, lock};
use crate::client::topics::{Again, Relay, live_filters, work};
use crate::error::{ClientError, Result};
use crate::relay_pool::{Arrived, Origin};

/// Filters in one subscription.
const FILTERS: usize = 8;
/// New events in the stored part of a subscription from which on the history is asked for again: a small page's worth.
const MANY_AT_ONCE: u64 = 50;
/// Least time between two looks at what is to be listened to, when nothing says that it changed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Flow {
    shared: Arc<Shared>,
    relays: HashMap<String, Relay>,
    wanted: Wanted,
    catching: JoinSet<Finished>,
    tasks: HashMap<tokio::task::Id, String>,
    amends: JoinSet<()>,
    /// New events of the catch-ups since the last settling.
    round: u64,
    /// One of these catch-ups was complete.
    round_complete: bool,
    /// A catch-up ended, and what it brought is not settled.
    unsettled: bool,
    waiting: Vec<oneshot::Sender<Result<u64>>>,
    looked_at: Option<Instant>,
    look: bool,
    /// A cursor could not be read: its relay is still to be opened.
    unread: bool,
}

/// Runs until the client stops, then gives the relays up.
pub(crate) async fn run(shared: Arc<Shared>, inlets: Inlets) {
    let mut flow = Flow {
        shared: shared.clone(),
        relays: HashMap::new(),
        wanted: Wanted::default(),
        catching: JoinSet::new(),
        tasks: HashMap::new(),
        amends: JoinSet::new(),
        round: 0,
        round_complete: false,
        unsettled: false,
        waiting: Vec::new(),
        looked_at: None,
        look: true,
        unread: false,
    };
    let result = tokio::select! {
        () = shared.until_stopped() => Ok(()),
        result = flow.turn(inlets) => result,
    };
    if let Err(error) = result {
        shared.stop_for(&error);
    }
    flow.catching.shutdown().await;
    flow.amends.shutdown().await;
    shared.links.close().await;
}

impl Flow {
    async fn turn(&mut self, mut inlets: Inlets) -> Result<()> {
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
                () = shared.interests_wake.notified() => self.look = true,
                () = shared.slow_wake.notified() => {}
                () = sleep_until(alarm) => self.retry().await?,
            }
            if self.holding().next().is_none() {
                self.settle().await?;
            }
            self.tell_reading();
        }
    }

    /// Relays that are giving what the others must wait for before anything is decided.
    fn holding(&self) -> impl Iterator<Item = &String> {
        let holds = |relay: &Relay| {
            (relay.catching || relay.opening.is_open()) && !relay.slow.load(Ordering::Relaxed)
        };
        self.relays.iter().filter(move |(_, relay)| holds(relay)).map(|(url, _)| url)
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
        let waits = |relay: &Relay| [relay.retry_at, relay.opening.until];
        self.relays.values().flat_map(waits).flatten().chain(looks).min()
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
                Arrived::EndOfStored { relay, subscription }
                | Arrived::Closed { relay, subscription, .. } => {
                    let ended = |state: &mut Relay| state.opening.end(*subscription);
                    (relay.clone(), self.relays.get_mut(&**relay).map(ended))
                }
                Arrived::Disconnected { relay, .. } => {
                    let ended = |state: &mut Relay| state.opening.end_all();
                    (relay.clone(), self.relays.get_mut(&**relay).map(ended))
                }
                Arrived::Event { relay, .. } | Arrived::Connected { relay } => {
                    (relay.clone(), None)
                }
            };
            if let Some(stored) = stored {
                opened |= !stored.is_empty();
                events.extend(of(&relay, stored));
            }
            match one {
                Arrived::Event { subscription, json, .. } => {
                    let state = self.relays.get_mut(&*relay);
                    let given = match state {
                        Some(state) => state.opening.hold(subscription, json),
                        None => Some(json),
                    };
                    events.extend(given.map(|json| (relay, json)));
                }
                other => others.push(other),
            }
        }
        self.take_in(events, opened).await?;
        for other in others {
            self.state(other);
        }
        Ok(())
    }

    /// Gives events to the engine and moves the cursors of where they came from. `opened`: some are stored ones of a
    /// new subscription.
    async fn take_in(&mut self, events: Vec<Heard>, opened: bool) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let sources: BTreeSet<Arc<str>> = events.iter().map(|(relay, _)| relay.clone()).collect();
        let fed = self.shared.feed(events).await?;
        self.unsettled |= opened && fed.new > 0;
        for source in sources {
            let Some(relay) = self.relays.get_mut(&*source) else { continue };
            if let Some(from) = fed.refused_from {
                relay.complete = false;
                relay.cursor.at = relay.cursor.at.min(from);
                self.later(&source);
            } else if relay.complete && relay.cursor.at < fed.newest {
                relay.cursor.at = fed.newest;
                relay.dirty = true;
            }
            // So many that the relay may have left out the rest.
            if opened && fed.new >= MANY_AT_ONCE {
                self.catch_up(&source, Again::All);
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
                    state.complete = false;
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
                    state.complete = false;
                    state.subscriptions = 0;
                    state.retry_at = None;
                }
            }
            Arrived::Closed { relay, .. } => {
                if let Some(state) = self.relays.get_mut(&*relay) {
                    state.complete = false;
                    self.later(&relay);
                }
            }
        }
    }

    /// Tries this relay's history again, later each time.
    fn later(&mut self, url: &str) {
        let options = &self.shared.options;
        let Some(relay) = self.relays.get_mut(url).filter(|relay| relay.connected) else { return };
        let pause = backoff(options.retry_min, options.retry_max, relay.failures);
        relay.failures += 1;
        let at = Instant::now() + pause;
        relay.retry_at = Some(relay.retry_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Starts to fetch what a relay has: all since the cursor, or only what was not listened to before.
    fn catch_up(&mut self, url: &str, what: Again) {
        let Some(relay) = self.relays.get_mut(url).filter(|relay| relay.connected) else { return };
        if relay.catching {
            relay.again = relay.again.max(Some(what));
            return;
        }
        let work = work(&self.shared, &self.wanted, relay, what);
        if work.is_empty() && relay.subscriptions > 0 && what == Again::New {
            return;
        }
        relay.catching = true;
        let slow = Arc::new(AtomicBool::new(relay.failures > 0));
        relay.slow = slow.clone();
        if relay.failures == 0 {
            self.unsettled = true;
            self.shared.progress.send_if_modified(|p| std::mem::replace(&mut p.settled, false));
        }
        if self.catching.is_empty() {
            self.round = 0;
            self.round_complete = false;
            self.shared.counters.fetched.store(0, Ordering::Relaxed);
            self.shared.counters.processed.store(0, Ordering::Relaxed);
        }
        let task = catch_up::run(self.shared.clone(), url.to_owned(), work, slow);
        self.tasks.insert(self.catching.spawn(task).id(), url.to_owned());
    }

    async fn finished(&mut self, finished: Finished) -> Result<()> {
        self.round += finished.fed.new;
        self.round_complete |= finished.all;
        self.unsettled |= finished.fed.new > 0;
        let url = finished.relay;
        let Some(relay) = self.relays.get_mut(&url) else { return Ok(()) };
        relay.catching = false;
        let refused = finished.fed.refused_from;
        if refused.is_none() {
            relay.cursor.topics.extend(finished.complete);
        }
        let whole = relay.topics().all(|topic| relay.cursor.topics.contains(&topic));
        let mut failed = !finished.all;
        if let Some(from) = refused {
            relay.cursor.at = relay.cursor.at.min(from);
            failed = true;
        } else if finished.all && whole {
            relay.cursor.at = relay.cursor.at.max(finished.fed.newest);
            relay.complete = relay.connected;
            relay.caught_up = true;
            relay.failures = 0;
            if std::mem::take(&mut relay.amends) {
                while self.amends.try_join_next().is_some() {}
                self.amends.spawn(amends::make(self.shared.clone(), url.clone(), relay.own));
            }
        }
        relay.dirty = true;
        if let Some(what) = relay.again.take() {
            self.catch_up(&url, what);
        } else if relay.connected {
            let subscribed = self.subscribe(&url).await?;
            if failed || !subscribed {
                self.later(&url);
            }
        }
        if self.relays.get(&url).is_some_and(|relay| relay.own && relay.complete) {
            self.shared.progress.send_if_modified(|p| !std::mem::replace(&mut p.own_history, true));
        }
        Ok(())
    }

    /// Once every connected relay has given what it has, the engine need not wait for more.
    async fn settle(&mut self) -> Result<()> {
        if std::mem::take(&mut self.unsettled) {
            match self.shared.engine(Engine::settle).await {
                Ok(outcome) => {
                    if !outcome.events.is_empty() || !outcome.reply.is_empty() {
                        self.shared.bump();
                    }
                    self.shared.outbox_wake.notify_one();
                    self.shared.upkeep_wake.notify_one();
                    self.look |= changes_interests(&outcome.events);
                }
                Err(ClientError::Engine(error)) => {
                    // The engine's own tick does it, a moment later.
                    tracing::warn!("not settled: {error}");
                }
                Err(error) => return Err(error),
            }
            self.keep_cursors().await?;
            self.shared.progress.send_if_modified(|p| !std::mem::replace(&mut p.settled, true));
            let round = std::mem::take(&mut self.round);
            let complete = std::mem::take(&mut self.round_complete);
            for waiting in self.waiting.drain(..) {
                // Whoever asked may have gone.
                let answer = if complete { Ok(round) } else { Err(ClientError::NotConnected) };
                let _ = waiting.send(answer);
            }
        }
        Ok(())
    }

    /// Listens from the cursor on. False if the relay would not.
    async fn subscribe(&mut self, url: &str) -> Result<bool> {
        let Some(relay) = self.relays.get_mut(url) else { return Ok(true) };
        let filters = live_filters(&self.shared, relay);
        let (shared, before) = (self.shared.clone(), relay.subscriptions);
        let mut count = 0;
        for filters in filters.chunks(FILTERS) {
            count += 1;
            let filters = filters.to_vec();
            relay.opening.begin(count, Instant::now() + shared.options.request_timeout);
            if let Err(error) = shared.pool.subscribe(url, &shared.me, count, filters).await {
                tracing::debug!("not subscribed: {error}");
                let held = relay.opening.end(count);
                self.take_in(of(&Arc::from(url), held), true).await?;
                return Ok(false);
            }
        }
        relay.subscriptions = count;
        for id in count + 1..=before {
            shared.pool.unsubscribe(url, &shared.me, id).await;
        }
        Ok(true)
    }

    /// Compares what the engine wants to hear of with what is listened to.
    async fn look_around(&mut self) -> Result<()> {
        self.look = false;
        self.looked_at = Some(Instant::now());
        let wanted = match self.shared.engine(Wanted::of).await {
            Ok(wanted) => wanted,
            Err(ClientError::Engine(error)) => {
                tracing::warn!("the engine does not say what it wants: {error}");
                self.look = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let first = self.relays.is_empty();
        if wanted == self.wanted && !first {
            return Ok(());
        }
        self.wanted = wanted;
        let own: BTreeSet<String> = self.shared.own_relays().into_iter().collect();
        let urls: BTreeSet<String> =
            own.iter().cloned().chain(self.wanted.groups.keys().cloned()).collect();
        let gone: Vec<String> =
            self.relays.keys().filter(|url| !urls.contains(*url)).cloned().collect();
        for url in gone {
            let subscriptions = self.relays.remove(&url).map_or(0, |relay| relay.subscriptions);
            for id in 1..=subscriptions {
                self.shared.pool.unsubscribe(&url, &self.shared.me, id).await;
            }
            self.shared.links.release(&url).await;
        }
        for url in urls {
            let groups = self.wanted.groups.get(&url).cloned().unwrap_or_default();
            self.want(&url, own.contains(&url), groups).await?;
        }
        if std::mem::take(&mut self.unread) {
            // As if it had not been looked at.
            self.wanted = Wanted::default();
            self.look = true;
        }
        Ok(())
    }

    async fn want(&mut self, url: &str, own: bool, groups: BTreeSet<String>) -> Result<()> {
        if let Some(relay) = self.relays.get_mut(url) {
            if relay.groups == groups {
                return Ok(());
            }
            let fewer = !relay.groups.is_subset(&groups);
            relay.groups = groups;
            let topics: BTreeSet<String> = relay.topics().collect();
            relay.cursor.topics.retain(|topic| topics.contains(topic));
            let news = topics.iter().any(|topic| !relay.cursor.topics.contains(topic));
            if news {
                relay.complete = false;
                self.catch_up(url, Again::New);
            } else if fewer && relay.connected && !relay.catching {
                self.subscribe(url).await?;
            }
            return Ok(());
        }
        let name = url.to_owned();
        let cursor = match self.shared.engine(move |engine| Cursor::load(engine, &name)).await {
            Err(ClientError::Engine(error)) => {
                tracing::warn!("a cursor cannot be read: {error}");
                self.unread = true;
                return Ok(());
            }
            cursor => cursor?,
        };
        let connected = self.shared.is_connected(url);
        let relay = Relay { own, groups, cursor, connected, ..Relay::default() };
        self.relays.insert(url.to_owned(), relay);
        let origin = if own { Origin::User } else { Origin::Peer };
        if let Err(error) = self.shared.links.hold(url, origin).await {
            tracing::info!("a relay is not used: {error}");
        }
        if connected {
            // It was open for something else.
            self.catch_up(url, Again::All);
        }
        Ok(())
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
            Command::KeepCursors(done) => {
                self.keep_cursors().await?;
                let _ = done.send(());
            }
        }
        Ok(())
    }

    /// Writes down how far the relays were read. Losing it costs a longer catch-up, and nothing else.
    async fn keep_cursors(&mut self) -> Result<()> {
        let mut changed = Vec::new();
        for (url, relay) in self.relays.iter_mut().filter(|(_, relay)| relay.dirty) {
            relay.dirty = false;
            changed.push((key(url), relay.cursor.to_bytes()));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let keep = move |engine: &mut Engine| {
            for (key, cursor) in changed {
                // Unchanged ones cost no write.
                if engine.state(&key)?.as_ref() != Some(&cursor) {
                    engine.set_state(&key, Some(&cursor))?;
                }
            }
            Ok(())
        };
        match self.shared.engine(keep).await {
            Err(ClientError::Engine(error)) => tracing::warn!("cursors are not kept: {error}"),
            other => return other,
        }
        Ok(())
    }
}

fn of(relay: &Arc<str>, events: Vec<String>) -> Vec<Heard> {
    events.into_iter().map(|json| (relay.clone(), json)).collect()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
