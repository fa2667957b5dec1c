//! Publishes what is in the engine's outbox, and tells the engine what the relays said.
//!
//! For one relay and one group things go out one after the other, in the order in which they were put in; relays do
//! not wait for one another. What a relay refuses for good is out of the way at once; what it puts off for no reason of
//! time holds up its successors a few times only.

mod echoes;
mod jobs;
mod welcomes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mdk_core::{Delivery, OutboxChange, OutboxItem, OutboxPurpose, RelayVerdict, SendState};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::jobs::{or_else, panicked, search};
use self::welcomes::widen;
use crate::client::amends::state_key;
use crate::client::shared::{Shared, add, backoff, lock, now, now_millis};
use crate::error::{ClientError, Result};
use crate::relay_pool::{Published, normal_url};

/// Rows that are read at first; more when these all wait for relays that are away.
const ROWS: u32 = 64;
const MOST_ROWS: u32 = 100_000;
/// Events under way at one time.
const UNDER_WAY: usize = 64;
/// Answers of a relay that hold up what comes after; then order gives way.
const PATIENT: u32 = 3;
/// How long a relay that is away is still owed an event that another one has, in seconds.
const OWED_FOR: u64 = 86_400;
/// Number of rows from which nothing is owed to a relay that is away.
const MANY_ROWS: usize = 10_000;
/// Where it stands in the engine's state that a relay has taken this KeyPackage event of ours.
pub(crate) const KEY_PACKAGE_STATE: &str = "key_package/published";

/// What is kept in order: events of a group at a relay; everything else by itself.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Lane {
    relay: String,
    group: Option<Vec<u8>>,
    alone: Option<i64>,
}

fn lane(item: &OutboxItem, relay: &str) -> Lane {
    let ordered = matches!(
        item.purpose,
        OutboxPurpose::Message { .. } | OutboxPurpose::Commit { .. } | OutboxPurpose::Proposal
    );
    let group = item.group.as_ref().filter(|_| ordered).map(|group| group.as_bytes().to_vec());
    let alone = group.is_none().then_some(item.seq);
    Lane { relay: relay.to_owned(), group, alone }
}

enum Done {
    /// A relay answered; `relay` as the outbox spells it.
    Said { seq: i64, lane: Lane, relay: String, answer: Published },
    /// Where an event is to go; `None` when that cannot be said yet.
    Found { seq: i64, relays: Option<Vec<String>> },
    /// Time to look again.
    Looked,
}

struct Worker {
    shared: Arc<Shared>,
    items: Vec<OutboxItem>,
    rows: u32,
    /// There are more rows than were read.
    full: bool,
    stale: bool,
    /// Relays whose history was being read when the rows were: once it is, some rows may be others.
    reading: HashSet<String>,
    jobs: JoinSet<Done>,
    busy: HashSet<Lane>,
    searching: HashSet<i64>,
    /// Welcomes for which other relays were looked for than those that their recipients asked for.
    widened: HashSet<i64>,
    /// Since when the others have been on their way.
    tried_since: HashMap<i64, Instant>,
    /// When a search, or a relay that is not to be reached, is tried again; and how often it was.
    searches: HashMap<i64, (Instant, u32)>,
    pauses: HashMap<String, (Instant, u32)>,
}

/// Runs until the client stops. What is under way then may still reach a relay, and is published again by the next
/// start: relays know an event by its id.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut worker = Worker {
        shared: shared.clone(),
        items: Vec::new(),
        rows: ROWS,
        full: false,
        stale: true,
        reading: HashSet::new(),
        jobs: JoinSet::new(),
        busy: HashSet::new(),
        searching: HashSet::new(),
        widened: HashSet::new(),
        tried_since: HashMap::new(),
        searches: HashMap::new(),
        pauses: HashMap::new(),
    };
    let result = tokio::select! {
        () = shared.until_stopped() => Ok(()),
        result = worker.turn() => result,
    };
    if let Err(error) = result {
        shared.stop_for(&error);
    }
    worker.jobs.shutdown().await;
}

impl Worker {
    async fn turn(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        let mut connected = shared.connected.subscribe();
        let mut failures = 0;
        loop {
            if self.stale {
                match self.load().await {
                    Ok(()) => failures = 0,
                    Err(ClientError::Engine(error)) => {
                        tracing::warn!("the outbox cannot be read: {error}");
                        let options = &shared.options;
                        shared.pause(backoff(options.retry_min, options.retry_max, failures)).await;
                        failures += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            self.echoes().await?;
            let alarm = self.start().await?;
            if self.stale {
                continue;
            }
            tokio::select! {
                Some(done) = self.jobs.join_next() => {
                    self.done(done.unwrap_or(Done::Looked)).await?;
                    while let Some(done) = self.jobs.try_join_next() {
                        self.done(done.unwrap_or(Done::Looked)).await?;
                    }
                }
                () = shared.outbox_wake.notified() => self.stale = true,
                _ = connected.changed() => {
                    // What had to be given up for now may go at once.
                    self.searches.clear();
                    self.pauses.clear();
                    // And what is first: to look through thousands of rows with each answer takes longer than to send.
                    self.rows = ROWS;
                    self.stale = true;
                }
                () = until(alarm) => {}
            }
        }
    }

    async fn load(&mut self) -> Result<()> {
        let rows = self.rows;
        self.reading.clone_from(&lock(&self.shared.reading));
        self.items = self.shared.engine(move |engine| engine.outbox(rows)).await?;
        self.stale = false;
        self.full = self.items.len() >= rows as usize;
        if self.items.len() < ROWS as usize {
            self.rows = ROWS;
        }
        let there: HashSet<i64> = self.items.iter().map(|item| item.seq).collect();
        self.searches.retain(|seq, _| there.contains(seq));
        self.widened.retain(|seq| there.contains(seq));
        self.tried_since.retain(|seq, _| there.contains(seq));
        self.tell();
        Ok(())
    }

    /// Counts what no relay has.
    fn count(&self) {
        let queued = self.items.iter().filter(|item| !accepted(item)).count();
        self.shared.counters.outbox_queued.store(queued as u64, Ordering::Relaxed);
    }

    /// As [`Worker::count`], and says which relays are needed.
    fn tell(&self) {
        self.count();
        let waiting = |item: &OutboxItem| {
            let waiting = item.results.iter().filter(|r| r.state == SendState::Waiting);
            waiting.filter_map(|r| normal_url(&r.relay).ok()).collect::<Vec<_>>()
        };
        *lock(&self.shared.outbox_targets) = self.items.iter().flat_map(waiting).collect();
        *lock(&self.shared.awaited) =
            self.items.iter().map(|item| *item.event_id.as_bytes()).collect();
    }

    /// What follows from an answer outside of the engine.
    fn follow(&mut self, change: &OutboxChange) {
        if change.delivery == Some(Delivery::Accepted) {
            add(&self.shared.counters.sent, 1);
        }
        if change.commit.is_some() {
            // Welcomes may have come in, and the group goes on in another epoch.
            self.stale = true;
            self.shared.interests_wake.notify_one();
            self.shared.upkeep_wake.notify_one();
            self.shared.active();
        }
        self.shared.bump();
    }

    /// Starts all that can go now. When something can later, that time.
    async fn start(&mut self) -> Result<Option<Instant>> {
        if *lock(&self.shared.reading) != self.reading {
            self.stale = true;
            return Ok(None);
        }
        let mut alarm: Option<Instant> = None;
        let mut wake = |at: Instant| alarm = Some(alarm.map_or(at, |earlier| earlier.min(at)));
        let mut blocked: HashSet<Lane> = HashSet::new();
        let mut refused: Vec<(i64, String, &'static str)> = Vec::new();
        let (instant, millis) = (Instant::now(), now_millis());
        let many = self.items.len() >= MANY_ROWS;
        let mut tried_since = std::mem::take(&mut self.tried_since);
        for item in &self.items {
            if item.results.is_empty() {
                match self.searches.get(&item.seq) {
                    Some((at, _)) if *at > instant => wake(*at),
                    _ if self.searching.insert(item.seq) => {
                        let search = search(self.shared.clone(), item.clone());
                        let nothing = Done::Found { seq: item.seq, relays: None };
                        self.jobs.spawn(or_else(search, || nothing));
                    }
                    _ => {}
                }
                continue;
            }
            if let Some((recipient, time)) = self.tired(item, instant, &mut tried_since) {
                match self.searches.get(&item.seq) {
                    _ if time > instant => wake(time),
                    Some((at, _)) if *at > instant => wake(*at),
                    _ if self.searching.insert(item.seq) => {
                        let (shared, item) = (self.shared.clone(), item.clone());
                        let nothing = Done::Found { seq: item.seq, relays: None };
                        let search = widen(shared, item, recipient);
                        self.jobs.spawn(or_else(search, || nothing));
                    }
                    _ => {}
                }
            }
            if self.waits_for_history(item) {
                // Nor does what comes after it overtake it.
                blocked.extend(item.results.iter().map(|result| lane(item, &result.relay)));
                continue;
            }
            for result in item.results.iter().filter(|r| r.state == SendState::Waiting) {
                let lane = lane(item, &result.relay);
                if blocked.contains(&lane) {
                    continue;
                }
                if self.busy.contains(&lane) {
                    blocked.insert(lane);
                    continue;
                }
                if result.next_at > millis {
                    let wait = Duration::from_millis(result.next_at - millis);
                    // A clock that was set back must not keep anything for ever.
                    wake(instant + wait.min(self.shared.options.retry_max));
                    if wait <= self.shared.options.retry_max {
                        if result.attempts < PATIENT {
                            blocked.insert(lane);
                        }
                        continue;
                    }
                }
                let Ok(url) = normal_url(&result.relay) else {
                    refused.push((item.seq, result.relay.clone(), "not a relay address"));
                    continue;
                };
                if !self.shared.is_connected(&url) {
                    let owed = now().saturating_sub(item.created_at) < OWED_FOR && !many;
                    if !owed && accepted(item) {
                        refused.push((item.seq, result.relay.clone(), "not reached for too long"));
                        continue;
                    }
                    match self.shared.touch(&url).await {
                        // Its connection wakes us.
                        Ok(()) => {
                            blocked.insert(lane);
                        }
                        Err(ClientError::Closed) => return Err(ClientError::Closed),
                        Err(_) => {
                            let words = "this address is not dialled";
                            refused.push((item.seq, result.relay.clone(), words));
                        }
                    }
                    continue;
                }
                if let Some((at, _)) = self.pauses.get(&url).filter(|(at, _)| *at > instant) {
                    wake(*at);
                    blocked.insert(lane);
                    continue;
                }
                if self.jobs.len() >= UNDER_WAY {
                    continue;
                }
                blocked.insert(lane.clone());
                self.busy.insert(lane.clone());
                let (shared, seq) = (self.shared.clone(), item.seq);
                let (relay, event) = (result.relay.clone(), item.event.clone());
                self.jobs.spawn(async move {
                    let time = shared.options.request_timeout;
                    let publish = shared.pool.publish(&url, &shared.me, &event, time);
                    let answer = or_else(publish, panicked).await;
                    Done::Said { seq, lane, relay, answer }
                });
            }
        }
        self.tried_since = tried_since;
        for (seq, relay, words) in refused {
            let verdict = RelayVerdict::Refused { reason: words.to_owned() };
            self.answer(seq, &relay, verdict).await?;
        }
        // All of these wait: there may be others behind them.
        if self.jobs.is_empty() && self.full && self.rows < MOST_ROWS {
            self.rows = self.rows.saturating_mul(4).min(MOST_ROWS);
            self.stale = true;
        }
        Ok(alarm)
    }

    /// Whether the group of a message may be further than we are: a relay of it is giving what came in since.
    fn waits_for_history(&self, item: &OutboxItem) -> bool {
        let message = matches!(item.purpose, OutboxPurpose::Message { .. });
        let read = |relay: &String| normal_url(relay).is_ok_and(|url| self.reading.contains(&url));
        message && !self.reading.is_empty() && item.relays.iter().any(read)
    }

    async fn done(&mut self, done: Done) -> Result<()> {
        let options = self.shared.options.clone();
        match done {
            Done::Looked => self.stale = true,
            Done::Found { seq, relays } => {
                self.searching.remove(&seq);
                let Some(relays) = relays else {
                    let failures = self.searches.get(&seq).map_or(0, |(_, failures)| *failures);
                    let pause = backoff(options.retry_min, options.retry_max, failures);
                    self.searches.insert(seq, (Instant::now() + pause, failures + 1));
                    return Ok(());
                };
                if self.items.iter().any(|item| item.seq == seq && !item.results.is_empty()) {
                    self.widened.insert(seq);
                }
                let set =
                    move |engine: &mut mdk_core::Engine| engine.set_outbox_relays(seq, &relays);
                match self.shared.engine(set).await {
                    Ok(()) => self.stale = true,
                    Err(ClientError::Engine(error)) => {
                        tracing::warn!("targets are not kept: {error}");
                        self.searches.insert(seq, (Instant::now() + options.retry_max, 0));
                    }
                    Err(error) => return Err(error),
                }
            }
            Done::Said { seq, lane, relay, answer } => {
                let url = normal_url(&relay).unwrap_or_else(|_| relay.clone());
                let tries = self
                    .items
                    .iter()
                    .find(|item| item.seq == seq)
                    .and_then(|item| item.results.iter().find(|r| r.relay == relay))
                    .map_or(0, |result| result.attempts);
                let later = |reason: String| {
                    let pause = backoff(options.retry_min, options.retry_max, tries);
                    let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                    RelayVerdict::Later { reason, next_at: now_millis().saturating_add(pause) }
                };
                let verdict = match answer {
                    Published::Accepted => RelayVerdict::Accepted,
                    // Refused by the last one it would be given up, and there may be others.
                    Published::Refused { reason, forever: true } if self.last_hope(seq) => {
                        self.exhaust(seq);
                        later(reason)
                    }
                    Published::Refused { reason, forever: true } => {
                        RelayVerdict::Refused { reason }
                    }
                    Published::Refused { reason, forever: false } => later(reason),
                    Published::NoAnswer => later("no answer".to_owned()),
                    Published::Unreachable { .. } => {
                        // Nothing was sent: no attempt, and nothing to write down.
                        self.busy.remove(&lane);
                        let failures = self.pauses.get(&url).map_or(0, |(_, failures)| *failures);
                        let pause = backoff(options.retry_min, options.retry_max, failures);
                        self.pauses.insert(url, (Instant::now() + pause, failures + 1));
                        return Ok(());
                    }
                };
                if verdict == RelayVerdict::Accepted {
                    self.pauses.remove(&url);
                }
                // The lane stays closed until the engine knows: order counts over a crash, too.
                let result = self.answer(seq, &relay, verdict).await;
                self.busy.remove(&lane);
                result?;
            }
        }
        Ok(())
    }

    /// Tells the engine what a relay said. When it cannot take that now, the event is published again later.
    async fn answer(&mut self, seq: i64, relay: &str, verdict: RelayVerdict) -> Result<()> {
        let (to, said) = (relay.to_owned(), verdict.clone());
        let item = self.items.iter().find(|item| item.seq == seq);
        let key_package = item
            .filter(|item| item.purpose == OutboxPurpose::KeyPackage)
            .filter(|_| verdict == RelayVerdict::Accepted)
            .map(|item| (item.event_id, item.event.clone()));
        let made_known = key_package.is_some();
        let to_keep = item.filter(|item| {
            verdict == RelayVerdict::Accepted
                && !matches!(item.purpose, OutboxPurpose::KeyPackage | OutboxPurpose::List)
        });
        let kept = match to_keep.zip(normal_url(relay).ok()) {
            Some((item, url)) => lock(&self.shared.sent).keep(item, url),
            None => Vec::new(),
        };
        let tell = move |engine: &mut mdk_core::Engine| {
            // Before its row may go: one of them survives.
            for (key, value) in &kept {
                engine.set_state(key, value.as_deref())?;
            }
            let change = engine.outbox_result(seq, &to, said)?;
            if let Some((id, event)) = key_package {
                engine.set_state(KEY_PACKAGE_STATE, Some(id.as_bytes()))?;
                let key = state_key(mdk_wire::kind::KEY_PACKAGE);
                engine.set_state(&key, Some(event.as_bytes()))?;
            }
            Ok(change)
        };
        let change = match self.shared.engine(tell).await {
            Ok(change) => change,
            Err(ClientError::Engine(error)) => {
                tracing::warn!("an answer is not kept: {error}");
                let pause = self.shared.options.retry_min;
                if let Ok(url) = normal_url(relay) {
                    self.pauses.insert(url, (Instant::now() + pause, 1));
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if made_known {
            let progress = &self.shared.progress;
            progress.send_if_modified(|p| !std::mem::replace(&mut p.key_package, true));
        }
        self.remember(seq, relay, verdict, change.finished);
        self.follow(&change);
        Ok(())
    }

    /// What the row looks like now, without reading it again.
    fn remember(&mut self, seq: i64, relay: &str, verdict: RelayVerdict, finished: bool) {
        let Some(place) = self.items.iter().position(|item| item.seq == seq) else { return };
        if finished {
            let item = self.items.remove(place);
            lock(&self.shared.awaited).remove(item.event_id.as_bytes());
            self.stale |= self.full && self.items.len() < self.rows as usize / 2;
        } else if let Some(result) =
            self.items[place].results.iter_mut().find(|result| result.relay == relay)
        {
            result.attempts = result.attempts.saturating_add(1);
            match verdict {
                RelayVerdict::Accepted => result.state = SendState::Accepted,
                RelayVerdict::Refused { .. } => result.state = SendState::Refused,
                RelayVerdict::Later { next_at, .. } => result.next_at = next_at,
            }
        }
        // Which relays are needed is said anew with the next reading: with every answer would be once too often.
        if self.items.is_empty() { self.tell() } else { self.count() }
    }
}

fn accepted(item: &OutboxItem) -> bool {
    item.results.iter().any(|result| result.state == SendState::Accepted)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
