//! Publishes what is in the engine's outbox, and tells the engine what the relays said.
//!
//! For one relay and one group things go out one after the other, in the order in which they were put in; relays do
//! not wait for one another. What a relay refuses for good is out of the way at once; what it puts off for no reason of
//! time holds up its successors a few times only.

mod answers;
mod echoes;
mod jobs;
mod reachable;
mod sending;
mod speaking;
#[cfg(test)]
mod tests;
mod welcomes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mdk_core::{Delivery, OutboxChange, OutboxItem, OutboxPurpose, SendState};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::lock::lock;
use crate::client::shared::{Shared, add};
use crate::client::times::backoff;
use crate::error::{ClientError, Result};
use crate::relay_pool::{Published, normal_url};

/// Rows that are read at first; more when these all wait for relays that are away.
const ROWS: u32 = 64;
const MOST_ROWS: u32 = 100_000;
/// Answers of a relay that hold up what comes after; then order gives way.
const PATIENT: u32 = 3;
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
    /// The highest place that was read.
    newest: i64,
    rows: u32,
    /// There are more rows than were read.
    full: bool,
    stale: bool,
    /// A message waits for its group's epoch to be old enough, which may be another one by then.
    waits_to_speak: bool,
    speaking: speaking::Speaking,
    /// The account's time when the rows were read, Unix milliseconds.
    read_at: u64,
    /// Relays whose history was being read when the rows were: once it is, some rows may be others.
    reading: HashSet<String>,
    jobs: JoinSet<Done>,
    /// Lanes with an event under way, and its place.
    busy: HashMap<Lane, i64>,
    searching: HashSet<i64>,
    /// Welcomes for which other relays were looked for than those that their recipients asked for, and when last.
    widened: HashMap<i64, Instant>,
    /// When a relay that refused an invite is asked again.
    refused: HashMap<(i64, String), Instant>,
    /// Relays that said nothing to what they got last.
    mute: HashSet<String>,
    /// Since when the others have been on their way.
    tried_since: HashMap<i64, Instant>,
    /// When a search, or a relay that is not to be reached, is tried again; and how often it was.
    searches: HashMap<i64, (Instant, u32)>,
    pauses: HashMap<String, (Instant, u32)>,
}

/// Runs until the client stops. What is under way then may still reach a relay, and is published again by the next
/// start: relays know an event by its id.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut worker = Worker::new(shared.clone());
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
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            items: Vec::new(),
            newest: 0,
            rows: ROWS,
            full: false,
            stale: true,
            waits_to_speak: false,
            speaking: speaking::Speaking::default(),
            read_at: 0,
            reading: HashSet::new(),
            jobs: JoinSet::new(),
            busy: HashMap::new(),
            searching: HashSet::new(),
            widened: HashMap::new(),
            refused: HashMap::new(),
            mute: HashSet::new(),
            tried_since: HashMap::new(),
            searches: HashMap::new(),
            pauses: HashMap::new(),
        }
    }

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
                    // And what is first.
                    self.rows = ROWS;
                    self.stale = true;
                }
                () = until(alarm) => self.stale |= self.waits_to_speak,
            }
        }
    }

    async fn load(&mut self) -> Result<()> {
        let rows = self.rows;
        self.reading.clone_from(&lock(&self.shared.reading));
        let read =
            move |engine: &mut mdk_core::Engine| Ok((engine.outbox(rows)?, engine.time_millis()));
        (self.items, self.read_at) = self.shared.engine(read).await?;
        self.look_at_ages();
        self.hurry();
        self.stale = false;
        self.full = self.items.len() >= rows as usize;
        if self.items.len() < ROWS as usize {
            self.rows = ROWS;
        }
        add(&self.shared.counters.outbox_looks, self.items.len() as u64);
        let read: HashSet<i64> = self.items.iter().map(|item| item.seq).collect();
        // What is known of rows that were not read is needed when they are again.
        let behind = self.items.last().filter(|_| self.full).map_or(i64::MAX, |item| item.seq);
        let there = |seq: &i64| read.contains(seq) || *seq > behind;
        self.searches.retain(|seq, _| there(seq));
        self.widened.retain(|seq, _| there(seq));
        self.refused.retain(|(seq, _), _| there(seq));
        self.tried_since.retain(|seq, _| there(seq));
        self.speaking.latest.retain(|seq, _| there(seq));
        self.tell();
        Ok(())
    }

    /// Relays that are away are tried for what has just been put in.
    fn hurry(&mut self) {
        let newest = self.items.last().map_or(0, |item| item.seq).max(self.newest);
        let seen = std::mem::replace(&mut self.newest, newest);
        let new = self.items.iter().rev().take_while(|item| item.seq > seen);
        let relays: HashSet<String> = new
            .flat_map(|item| &item.relays)
            .filter_map(|relay| normal_url(relay).ok())
            .filter(|url| !self.shared.is_connected(url))
            .collect();
        for url in relays {
            self.shared.pool.hurry(&url, &self.shared.me);
        }
    }

    /// Looks at the first rows only, once something among them goes out again: to look through thousands of rows with
    /// each answer takes longer than to send.
    fn narrow(&mut self) {
        // By half of them, or rows would be read anew for every few that go out before others that wait.
        let Some(border) = self.items.get(ROWS as usize / 2).map(|item| item.seq) else { return };
        let mut under_way = self.urgent();
        let sends = under_way.next().is_some_and(|seq| seq < border);
        if self.rows > ROWS && sends && under_way.all(|seq| seq < border) {
            drop(under_way);
            self.full |= self.items.len() > ROWS as usize;
            self.items.truncate(ROWS as usize);
            self.rows = ROWS;
        }
    }

    /// What is under way and makes a difference: not what a second relay is owed, nor what is with one that says nothing.
    fn urgent(&self) -> impl Iterator<Item = i64> {
        let waits = |seq: &i64| match self.items.binary_search_by_key(seq, |item| item.seq) {
            Ok(place) => !self.items[place].is_accepted(),
            // It came back from a relay before the answer, which is about to come; or its row is not read.
            Err(place) => place < self.items.len(),
        };
        let speaks =
            |lane: &Lane| normal_url(&lane.relay).is_ok_and(|url| !self.mute.contains(&url));
        let sends = self.busy.iter().filter(move |(lane, seq)| speaks(lane) && waits(seq));
        sends.map(|(_, seq)| *seq).chain(self.searching.iter().copied())
    }

    /// Counts what no relay has.
    fn count(&self) {
        let queued = self.items.iter().filter(|item| !item.is_accepted()).count();
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
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
