//! The turn of an account: what arrives goes to the machines of its relays and to the gate, and what these say is done. The only
//! place where machines, engine and pool meet.

mod interests;
mod settling;
mod standstill;
mod state;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use self::state::{Reader, Turn};
use super::by_time::Given;
use super::gate::{CatchUpGate, GateInput};
use super::relay_sync::Input;
use super::topics::Rules;
use super::wanted::Wanted;
use crate::catch_up::Said;
use crate::client::feed::IngestReport;
use crate::client::shared::{Command, Inlets, Shared};
use crate::error::Result;
use crate::relay_pool::Arrived;

/// Least time between two looks at what is to be listened to, when nothing says that it changed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs until the client stops, then gives the relays up.
pub(crate) async fn run(shared: Arc<Shared>, inlets: Inlets) {
    let (said, heard) = mpsc::channel(16);
    let mut turn = Turn {
        rules: Arc::new(Rules::of(shared.me.to_hex(), &shared.options)),
        relays: HashMap::new(),
        gate: CatchUpGate::new(shared.options.together_for),
        wanted: Wanted::default(),
        serial: 0,
        lines: JoinSet::new(),
        said,
        parts: HashMap::new(),
        feeding: JoinSet::new(),
        deliveries: Vec::new(),
        held: false,
        amends: JoinSet::new(),
        searched: Vec::new(),
        has_settled: false,
        still_at: None,
        waiting: Vec::new(),
        readers: Vec::new(),
        unsaved: BTreeSet::new(),
        looked_at: None,
        look: true,
        failing: HashMap::new(),
        crowded_out: BTreeSet::new(),
        unread: false,
        shared: shared.clone(),
    };
    let result = tokio::select! {
        () = shared.until_stopped() => Ok(()),
        result = turn.run(inlets, heard) => result,
    };
    if let Err(error) = result {
        shared.stop_for(&error);
    }
    turn.lines.shutdown().await;
    turn.feeding.shutdown().await;
    turn.amends.shutdown().await;
    shared.links.close().await;
}

impl Turn {
    async fn run(&mut self, mut inlets: Inlets, mut heard: mpsc::Receiver<Said>) -> Result<()> {
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
                    arrived.drain(..).for_each(|one| self.arrived(one));
                }
                Some(command) = inlets.commands.recv() => self.command(command).await?,
                Some(said) = heard.recv() => self.said(said),
                Some(fed) = self.feeding.join_next() => match fed {
                    Ok(fed) => self.fed(fed?),
                    Err(error) => return Err(crate::options::ended(&error)),
                },
                Some(ended) = self.lines.join_next() => {
                    ended.map_err(|error| crate::options::ended(&error))?;
                }
                () = shared.wake.interests.notified() => self.look = true,
                () = sleep_until(alarm) => {
                    let urls: Vec<String> = self.relays.keys().cloned().collect();
                    urls.iter().for_each(|url| self.tell(url, Input::Tick));
                }
            }
            self.deliver().await?;
            self.decide().await?;
        }
    }

    fn said(&mut self, said: Said) {
        let url = &*said.relay;
        if self.relays.get(url).is_none_or(|reader| reader.serial != said.serial) {
            return;
        }
        if let (Input::Part(job, _), Some(taken)) = (&said.input, said.taken)
            && self.relays.get(url).is_some_and(|reader| reader.sync.fetches(*job))
        {
            self.parts.insert(*job, taken);
        }
        self.tell(url, said.input);
    }

    /// The engine has what histories gave.
    fn fed(&mut self, fed: Vec<Given>) {
        self.gate.on(GateInput::Fed, Instant::now());
        for Given { relay, job, last, report } in fed {
            let over = GateInput::Ended { new: report.new, whole: last };
            self.gate.on(over, Instant::now());
            if report.waiting > 0 {
                self.may_stand_still();
            }
            if last {
                self.tell(&relay, Input::GateOpened(job, report));
                self.note_own_history(&relay);
            } else {
                self.tell(&relay, Input::Taken(job, report));
            }
            if let Some(taken) = self.parts.remove(&job) {
                // (the history may have been stopped)
                let _ = taken.send(());
            }
        }
    }

    fn note_own_history(&self, url: &str) {
        let is_there = |reader: &Reader| reader.sync.scope().own && reader.sync.is_live();
        if self.relays.get(url).is_some_and(is_there) {
            self.shared.progress.send_if_modified(|p| !std::mem::replace(&mut p.own_history, true));
        }
    }

    fn arrived(&mut self, arrived: Arrived) {
        let shared = self.shared.clone();
        match arrived {
            Arrived::Event { relay, subscription, event, .. } => {
                if self.relays.contains_key(&*relay) {
                    self.tell(&relay, Input::Event(subscription, event));
                } else {
                    self.deliveries.push((relay, event));
                }
            }
            Arrived::EndOfStored { relay, subscription } => {
                self.tell(&relay, Input::EndOfStored(subscription));
            }
            Arrived::Closed { relay, subscription, .. } => {
                self.tell(&relay, Input::Closed(subscription));
            }
            Arrived::Connected { relay } => {
                shared.active();
                self.tell(&relay, Input::Connected);
                // Before anybody publishes there.
                self.tell_reading();
                shared.connected.send_if_modified(|all| all.insert(relay.to_string()));
            }
            Arrived::Disconnected { relay, .. } => {
                shared.connected.send_if_modified(|all| all.remove(&*relay));
                self.tell(&relay, Input::Disconnected);
                // Callers that wait until the account is up to date wait for a relay that can say what has come since.
                let is_own = |one: &Reader| one.sync.scope().own && one.sync.is_connected();
                if !self.relays.values().any(is_own) {
                    shared
                        .progress
                        .send_if_modified(|p| std::mem::replace(&mut p.own_history, false));
                }
            }
        }
    }

    /// Gives to the engine what passes, and tells the machines of where it came from.
    async fn deliver(&mut self) -> Result<()> {
        let events = std::mem::take(&mut self.deliveries);
        let held = std::mem::take(&mut self.held);
        if events.is_empty() {
            return Ok(());
        }
        // (what is newest of one relay says nothing of what another has)
        let mut sources = BTreeMap::<Arc<str>, u64>::new();
        for (relay, event) in &events {
            let newest = sources.entry(relay.clone()).or_default();
            *newest = event.created_at().max(*newest);
        }
        let report = self.shared.feed(events).await?;
        if held && report.new > 0 {
            self.gate.on(GateInput::HeldWasNew, Instant::now());
        }
        if report.waiting > 0 {
            self.may_stand_still();
        }
        for (source, newest) in sources {
            let newest = newest.min(report.newest);
            self.tell(&source, Input::Delivered(IngestReport { newest, ..report.clone() }));
        }
        Ok(())
    }

    /// When something is to be done that nothing wakes us for.
    fn alarm(&self) -> Option<Instant> {
        let now = Instant::now();
        let longest = self.longest();
        let looks = self.looked_at.filter(|_| self.look).map(|at| at + LOOK_EVERY);
        let of_relay =
            |reader: &Reader| [reader.sync.wake_at(), reader.sync.awaited_until(longest, now)];
        // (while something is awaited it is not looked at)
        let still = self.still_at.filter(|at| *at > now || self.awaited().is_empty());
        let relays = self.relays.values().flat_map(of_relay).flatten();
        relays.chain(looks).chain(self.gate.wake_at(now)).chain(still).min()
    }

    async fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Fetch(answer) => {
                self.waiting.push(answer);
                let urls: Vec<String> = self.relays.keys().cloned().collect();
                urls.iter().for_each(|url| self.tell(url, Input::Sync));
                self.gate.on(GateInput::Asked, Instant::now());
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

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
