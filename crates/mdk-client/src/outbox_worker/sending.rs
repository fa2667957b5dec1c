//! What goes out now: which events may go to which relays, and when to look again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mdk_core::{OutboxItem, OutboxPurpose, RelayResult, RelayVerdict, SendState};
use tokio::time::Instant;

use super::jobs::{or_else, panicked, search};
use super::state::{Done, Lane, MOST_ROWS, PATIENT, Worker, lane};
use super::welcomes::{may_ask_again, widen};
use crate::client::lock::lock;
use crate::client::shared::add;
use crate::client::times::now_millis;
use crate::error::{ClientError, Result};
use crate::relay_pool::normal_url;

/// Events under way at one time at one relay, and at one that said nothing to what it got last.
const UNDER_WAY: usize = 64;
const UNDER_WAY_MUTE: usize = 8;
/// How long a relay that is away is still owed an event that another one has, in seconds.
const OWED_FOR: u64 = 86_400;
/// Number of rows from which nothing is owed to a relay that is away.
const MANY_ROWS: usize = 10_000;

impl Worker {
    /// Starts all that can go now. When something can later, that time.
    pub(super) async fn start(&mut self) -> Result<Option<Instant>> {
        if *lock(&self.shared.reading) != self.reading {
            self.stale = true;
            return Ok(None);
        }
        let mut alarm: Option<Instant> = None;
        let mut wake = |at: Instant| alarm = Some(alarm.map_or(at, |earlier| earlier.min(at)));
        let mut blocked: HashSet<Lane> = HashSet::new();
        // Relays that have not heard yet where our invites go: until then nobody is to find a KeyPackage of ours there.
        let mut untold: HashSet<&String> = HashSet::new();
        let mut refused: Vec<(i64, String, &'static str)> = Vec::new();
        let (instant, millis) = (Instant::now(), now_millis());
        let many = self.items.len() >= MANY_ROWS;
        let mut waits_to_speak = false;
        let mut under_way: HashMap<String, usize> = HashMap::new();
        for lane in self.busy.keys() {
            *under_way.entry(lane.relay.clone()).or_insert(0) += 1;
        }
        add(&self.shared.counters.outbox_looks, self.items.len() as u64);
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
            let speaks_at = self.speaks_at(item);
            let open = |r: &&RelayResult| r.state == SendState::Waiting || may_ask_again(item, r);
            for result in item.results.iter().filter(open) {
                match item.purpose {
                    OutboxPurpose::List if result.attempts < PATIENT => {
                        untold.insert(&result.relay);
                    }
                    OutboxPurpose::KeyPackage if untold.contains(&result.relay) => continue,
                    _ => {}
                }
                if result.state == SendState::Refused
                    && let Some(at) = self.refused.get(&(item.seq, result.relay.clone()))
                    && *at > instant
                {
                    wake(*at);
                    continue;
                }
                let lane = lane(item, &result.relay);
                if blocked.contains(&lane) {
                    continue;
                }
                if self.busy.contains_key(&lane) {
                    blocked.insert(lane);
                    continue;
                }
                let speaks_at = speaks_at.max(self.speaks_there_at(item, &lane));
                if let Some(at) = speaks_at.filter(|at| *at > instant) {
                    waits_to_speak = true;
                    wake(at);
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
                    let age = (self.read_at / 1000).saturating_sub(item.created_at);
                    let owed = age < OWED_FOR && !many;
                    if !owed && item.is_accepted() {
                        refused.push((item.seq, result.relay.clone(), "not reached for too long"));
                        continue;
                    }
                    match self.shared.touch(&url).await {
                        // Its connection wakes us.
                        Ok(()) => {
                            blocked.insert(lane);
                        }
                        Err(ClientError::Closed) => return Err(ClientError::Closed),
                        Err(ClientError::NoRoom(_)) => {
                            wake(instant + self.shared.options.retry_max);
                            blocked.insert(lane);
                        }
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
                let most = if self.mute.contains(&url) { UNDER_WAY_MUTE } else { UNDER_WAY };
                let there = under_way.entry(result.relay.clone()).or_insert(0);
                if *there >= most {
                    continue;
                }
                *there += 1;
                blocked.insert(lane.clone());
                self.busy.insert(lane.clone(), item.seq);
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
        self.waits_to_speak = waits_to_speak;
        for (seq, relay, words) in refused {
            let again = instant + self.shared.options.retry_max;
            self.refused.insert((seq, relay.clone()), again);
            let verdict = RelayVerdict::Refused { reason: words.to_owned() };
            self.answer(seq, &relay, verdict).await?;
        }
        // All of these wait: there may be others behind them.
        if self.urgent().next().is_none() && self.full && self.rows < MOST_ROWS {
            self.rows = self.rows.saturating_mul(4).min(MOST_ROWS);
            self.stale = true;
        }
        self.narrow();
        Ok(alarm)
    }

    /// Whether the group of a message may be further than we are: a relay of it is giving what came in since.
    fn waits_for_history(&self, item: &OutboxItem) -> bool {
        let message = matches!(item.purpose, OutboxPurpose::Message { .. });
        let read = |relay: &String| normal_url(relay).is_ok_and(|url| self.reading.contains(&url));
        message && !self.reading.is_empty() && item.relays.iter().any(read)
    }
}
