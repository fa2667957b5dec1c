//! The rows of the outbox that were read, and what is known of the relays that they go to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mdk_core::{Delivery, OutboxChange, OutboxItem, OutboxPurpose, SendState};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::epoch_wait::EpochWaits;
use super::rows_read::{ROWS, RowsRead};
use crate::client::lock::lock;
use crate::client::shared::{Shared, add};
use crate::relay_pool::{Published, normal_url};

/// Answers of a relay that hold up what comes after; then order gives way.
pub(super) const PATIENT: u32 = 3;

/// A sequence that is kept in order: events of a group at a relay; everything else by itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) relay: String,
    pub(super) group: Option<Vec<u8>>,
    pub(super) alone: Option<i64>,
}

pub(super) fn lane(item: &OutboxItem, relay: &str) -> Lane {
    let ordered = matches!(
        item.purpose,
        OutboxPurpose::Message { .. } | OutboxPurpose::Commit { .. } | OutboxPurpose::Proposal
    );
    let group = item.group.as_ref().filter(|_| ordered).map(|group| group.as_bytes().to_vec());
    let alone = group.is_none().then_some(item.seq);
    Lane { relay: relay.to_owned(), group, alone }
}

pub(super) enum Done {
    /// A relay answered; `relay` as the outbox spells it.
    Said { seq: i64, lane: Lane, relay: String, answer: Published },
    /// Where an event is to go; `None` when that cannot be said yet.
    Found { seq: i64, relays: Option<Vec<String>> },
    /// Time to look again.
    Looked,
}

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) items: Vec<OutboxItem>,
    pub(super) rows: RowsRead,
    pub(super) stale: bool,
    /// A message waits for its group's epoch to be old enough, which may be another one by then.
    pub(super) waits_to_speak: bool,
    pub(super) epoch_waits: EpochWaits,
    /// The account's time when the rows were read, Unix milliseconds.
    pub(super) read_at: u64,
    /// Relays whose history was being read when the rows were: once it is, some rows may be others.
    pub(super) reading: HashSet<String>,
    pub(super) jobs: JoinSet<Done>,
    /// Lanes with an event under way, and its place.
    pub(super) busy: HashMap<Lane, i64>,
    pub(super) searching: HashSet<i64>,
    /// Welcomes for which other relays were looked for than those that their recipients asked for, and when last.
    pub(super) widened: HashMap<i64, Instant>,
    /// When a relay that refused an invite is asked again.
    pub(super) refused: HashMap<(i64, String), Instant>,
    /// Relays that said nothing to what they got last.
    pub(super) mute: HashSet<String>,
    /// Since when the others have been on their way.
    pub(super) tried_since: HashMap<i64, Instant>,
    /// When a search, or a relay that is not to be reached, is tried again; and how often it was.
    pub(super) searches: HashMap<i64, (Instant, u32)>,
    pub(super) pauses: HashMap<String, (Instant, u32)>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            items: Vec::new(),
            rows: RowsRead::default(),
            stale: true,
            waits_to_speak: false,
            epoch_waits: EpochWaits::default(),
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

    /// Relays that are away are tried for what has just been put in.
    pub(super) fn hurry(&mut self) {
        let newest = self.items.last().map_or(0, |item| item.seq).max(self.rows.newest);
        let seen = std::mem::replace(&mut self.rows.newest, newest);
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
    pub(super) fn narrow(&mut self) {
        // By half of them, or rows would be read anew for every few that go out before others that wait.
        let Some(border) = self.items.get(ROWS as usize / 2).map(|item| item.seq) else { return };
        let mut under_way = self.urgent();
        let sends = under_way.next().is_some_and(|seq| seq < border);
        if self.rows.count > ROWS && sends && under_way.all(|seq| seq < border) {
            drop(under_way);
            self.rows.full |= self.items.len() > ROWS as usize;
            self.items.truncate(ROWS as usize);
            self.rows.count = ROWS;
        }
    }

    /// Rows that are under way and make a difference: not what a second relay is owed, nor what is with one that says nothing.
    pub(super) fn urgent(&self) -> impl Iterator<Item = i64> {
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
    pub(super) fn count(&self) {
        let queued = self.items.iter().filter(|item| !item.is_accepted()).count();
        self.shared.counters.outbox_queued.store(queued as u64, Ordering::Relaxed);
    }

    /// As [`Worker::count`], and says which relays are needed.
    pub(super) fn tell(&self) {
        self.count();
        let waiting = |item: &OutboxItem| {
            let waiting = item.results.iter().filter(|r| r.state == SendState::Waiting);
            waiting.filter_map(|r| normal_url(&r.relay).ok()).collect::<Vec<_>>()
        };
        let needed =
            self.items.iter().flat_map(waiting).chain(self.rows.aside.relays.iter().cloned());
        *lock(&self.shared.outbox_targets) = needed.collect();
        *lock(&self.shared.awaited) =
            self.items.iter().map(|item| *item.event_id.as_bytes()).collect();
    }

    /// Does what follows from an answer outside of the engine.
    pub(super) fn follow(&mut self, change: &OutboxChange) {
        if change.delivery == Some(Delivery::Accepted) {
            add(&self.shared.counters.sent, 1);
        }
        if change.commit.is_some() {
            // Welcomes may have come in, and the group goes on in another epoch.
            self.stale = true;
            self.shared.wake.interests.notify_one();
            self.shared.wake.upkeep.notify_one();
            self.shared.active();
        }
        self.shared.bump();
    }
}
