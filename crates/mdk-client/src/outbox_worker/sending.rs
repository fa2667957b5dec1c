//! What goes out now: which events may go to which relays, and when to look again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mdk_core::{OutboxItem, OutboxPurpose, RelayResult, RelayVerdict, SendState};
use mdk_wire::budget::relay::{OWED_EVENTS, OWED_FOR};
use tokio::time::Instant;

use super::jobs::{or_else, panicked, search};
use super::rows_read::MOST_ROWS;
use super::state::{Done, Lane, PATIENT, Worker, lane};
use super::welcomes::{may_ask_again, widen};
use crate::client::lock::lock;
use crate::client::shared::{Shared, add};
use crate::client::times::now_millis;
use crate::error::{ClientError, Result};
use crate::relay_pool::normal_url;

/// Events under way at one time at one relay, and at one that said nothing to what it got last.
const UNDER_WAY: usize = 64;
const UNDER_WAY_MUTE: usize = 8;

/// One look at all rows: what it finds out for those behind.
struct Look {
    instant: Instant,
    millis: u64,
    /// When something can go that cannot now.
    alarm: Option<Instant>,
    /// Nothing there overtakes what waits.
    blocked: HashSet<Lane>,
    /// Relays that have not heard yet where our invites go: until then nobody is to find a KeyPackage of ours there.
    untold: HashSet<String>,
    refused: Vec<(i64, String, &'static str)>,
    /// Relays whose connection wakes us, as the outbox spells them.
    away: HashSet<String>,
    under_way: HashMap<String, usize>,
    waits_to_speak: bool,
}

impl Look {
    fn new(busy: &HashMap<Lane, i64>) -> Self {
        let mut under_way = HashMap::new();
        for lane in busy.keys() {
            *under_way.entry(lane.relay.clone()).or_insert(0) += 1;
        }
        Self {
            instant: Instant::now(),
            millis: now_millis(),
            alarm: None,
            blocked: HashSet::new(),
            untold: HashSet::new(),
            refused: Vec::new(),
            away: HashSet::new(),
            under_way,
            waits_to_speak: false,
        }
    }

    fn wake(&mut self, at: Instant) {
        self.alarm = Some(self.alarm.map_or(at, |earlier| earlier.min(at)));
    }

    fn block(&mut self, lane: &Lane) {
        self.blocked.insert(lane.clone());
    }

    fn refuse(&mut self, item: &OutboxItem, relay: &str, words: &'static str) {
        self.refused.push((item.seq, relay.to_owned(), words));
    }
}

impl Worker {
    /// Starts all that can go now. When something can later, that time.
    pub(super) async fn start(&mut self) -> Result<Option<Instant>> {
        if *lock(&self.shared.reading) != self.reading {
            self.stale = true;
            return Ok(None);
        }
        let mut look = Look::new(&self.busy);
        add(&self.shared.counters.outbox_looks, self.items.len() as u64);
        let mut tried_since = std::mem::take(&mut self.tried_since);
        for item in &self.items {
            let nothing = Done::Found { seq: item.seq, relays: None };
            if item.results.is_empty() {
                if self.may_search(item.seq, &mut look) {
                    self.searching.insert(item.seq);
                    let search = search(self.shared.clone(), item.clone());
                    self.jobs.spawn(or_else(search, || nothing));
                }
                continue;
            }
            if let Some((recipient, time)) = self.tired(item, look.instant, &mut tried_since) {
                if time > look.instant {
                    look.wake(time);
                } else if self.may_search(item.seq, &mut look) {
                    self.searching.insert(item.seq);
                    let search = widen(self.shared.clone(), item.clone(), recipient);
                    self.jobs.spawn(or_else(search, || nothing));
                }
            }
            if self.waits_for_history(item) {
                // Nor does what comes after it overtake it.
                look.blocked.extend(item.results.iter().map(|result| lane(item, &result.relay)));
                continue;
            }
            let speaks_at = self.speaks_at(item);
            let open = |r: &&RelayResult| r.state == SendState::Waiting || may_ask_again(item, r);
            for result in item.results.iter().filter(open) {
                if let Some((lane, url)) = self.way(item, result, speaks_at, &mut look).await? {
                    look.block(&lane);
                    self.busy.insert(lane.clone(), item.seq);
                    self.jobs.spawn(publish(self.shared.clone(), item, lane, url));
                }
            }
        }
        self.tried_since = tried_since;
        self.waits_to_speak = look.waits_to_speak;
        for (seq, relay, words) in look.refused {
            let again = look.instant + self.shared.options.retry_max;
            self.refused.insert((seq, relay.clone()), again);
            let verdict = RelayVerdict::Refused { reason: words.to_owned() };
            self.answer(seq, &relay, verdict).await?;
        }
        // Those behind them were not read.
        self.stale |= self.rows.aside.take(&mut self.items, &look.away) && self.rows.full;
        // All of these wait: there may be others behind them.
        if !self.stale
            && self.urgent().next().is_none()
            && self.rows.full
            && self.rows.count < MOST_ROWS
        {
            self.rows.count = self.rows.count.saturating_mul(4).min(MOST_ROWS);
            self.stale = true;
        }
        self.narrow();
        Ok(look.alarm.into_iter().chain(self.rows.aside.due()).min())
    }

    /// Whether relays are to be looked for now, for this row.
    fn may_search(&self, seq: i64, look: &mut Look) -> bool {
        match self.searches.get(&seq) {
            Some((at, _)) if *at > look.instant => {
                look.wake(*at);
                false
            }
            _ => !self.searching.contains(&seq),
        }
    }

    /// The lane and the address by which a row can go to a relay now.
    async fn way(
        &self,
        item: &OutboxItem,
        result: &RelayResult,
        speaks_at: Option<Instant>,
        look: &mut Look,
    ) -> Result<Option<(Lane, String)>> {
        match item.purpose {
            OutboxPurpose::List if result.attempts < PATIENT => {
                look.untold.insert(result.relay.clone());
            }
            OutboxPurpose::KeyPackage if look.untold.contains(&result.relay) => return Ok(None),
            _ => {}
        }
        let lane = lane(item, &result.relay);
        if !self.may_go(item, result, &lane, speaks_at, look) {
            return Ok(None);
        }
        let Ok(url) = normal_url(&result.relay) else {
            look.refuse(item, &result.relay, "not a relay address");
            return Ok(None);
        };
        if !self.shared.is_connected(&url) || self.rows.aside.relays.contains(&url) {
            self.reach(item, &lane, &url, look).await?;
            return Ok(None);
        }
        if let Some((at, _)) = self.pauses.get(&url).filter(|(at, _)| *at > look.instant) {
            look.wake(*at);
            look.block(&lane);
            return Ok(None);
        }
        let most = if self.mute.contains(&url) { UNDER_WAY_MUTE } else { UNDER_WAY };
        let there = look.under_way.entry(result.relay.clone()).or_insert(0);
        if *there >= most {
            return Ok(None);
        }
        *there += 1;
        Ok(Some((lane, url)))
    }

    /// Whether its turn and its time have come.
    fn may_go(
        &self,
        item: &OutboxItem,
        result: &RelayResult,
        lane: &Lane,
        speaks_at: Option<Instant>,
        look: &mut Look,
    ) -> bool {
        if result.state == SendState::Refused
            && let Some(at) = self.refused.get(&(item.seq, result.relay.clone()))
            && *at > look.instant
        {
            look.wake(*at);
            return false;
        }
        if look.blocked.contains(lane) {
            return false;
        }
        if self.busy.contains_key(lane) {
            look.block(lane);
            return false;
        }
        let speaks_at = speaks_at.max(self.speaks_there_at(item, lane));
        if let Some(at) = speaks_at.filter(|at| *at > look.instant) {
            look.waits_to_speak = true;
            look.wake(at);
            look.block(lane);
            return false;
        }
        if result.next_at > look.millis {
            let wait = Duration::from_millis(result.next_at - look.millis);
            let most = self.shared.options.retry_max;
            // A clock that was set back must not keep anything for ever.
            look.wake(look.instant + wait.min(most));
            if wait <= most {
                if result.attempts < PATIENT {
                    look.block(lane);
                }
                return false;
            }
        }
        true
    }

    /// Has a relay dialled for a row, unless it has been owed for too long.
    async fn reach(
        &self,
        item: &OutboxItem,
        lane: &Lane,
        url: &str,
        look: &mut Look,
    ) -> Result<()> {
        let age = (self.read_at / 1000).saturating_sub(item.created_at);
        let owed = age < OWED_FOR && self.items.len() + self.rows.aside.seqs.len() < OWED_EVENTS;
        if !owed && item.is_accepted() {
            look.refuse(item, &lane.relay, "not reached for too long");
            return Ok(());
        }
        match self.shared.touch(url).await {
            // Its connection wakes us.
            Ok(()) => {
                look.block(lane);
                look.away.insert(lane.relay.clone());
            }
            Err(ClientError::Closed) => return Err(ClientError::Closed),
            Err(ClientError::NoRoom(_)) => {
                look.wake(look.instant + self.shared.options.retry_max);
                look.block(lane);
            }
            Err(_) => look.refuse(item, &lane.relay, "this address is not dialled"),
        }
        Ok(())
    }

    /// Whether the group of a message may be further than we are: a relay of it is giving what came in since.
    fn waits_for_history(&self, item: &OutboxItem) -> bool {
        let message = matches!(item.purpose, OutboxPurpose::Message { .. });
        let read = |relay: &String| normal_url(relay).is_ok_and(|url| self.reading.contains(&url));
        message && !self.reading.is_empty() && item.relays.iter().any(read)
    }
}

/// Publishes a row's event on one relay.
fn publish(
    shared: Arc<Shared>,
    item: &OutboxItem,
    lane: Lane,
    url: String,
) -> impl Future<Output = Done> + Send + use<> {
    let (seq, event) = (item.seq, item.event.clone());
    async move {
        let time = shared.options.request_timeout;
        let publish = shared.pool.publish(&url, &shared.me, &event, time);
        let answer = or_else(publish, panicked).await;
        let relay = lane.relay.clone();
        Done::Said { seq, lane, relay, answer }
    }
}
