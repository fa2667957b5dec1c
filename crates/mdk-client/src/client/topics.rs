//! One relay that is read: what on it, how far, and what to ask it for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mdk_wire::Event;
use mdk_wire::budget::relay::ROTATE_AFTER;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::cursor::{Cursor, INBOX, Wanted};
use super::feed::Fed;
use super::opening::Opening;
use super::shared::{Shared, now};
use crate::catch_up::Work;

/// Routing ids in one filter.
const IDS_IN_A_FILTER: usize = 100;
/// Stored events that a live subscription asks for. It is opened before the history is fetched, which has them all: a slow
/// line would be full of them. (None at all means all to some relays.)
const STORED: usize = 1;

/// One relay that is read.
#[derive(Default)]
pub(crate) struct Relay {
    pub(crate) own: bool,
    /// Gift wraps may come to it: our own one, or one that was.
    pub(crate) inbox: bool,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) connected: bool,
    /// Since when there is no connection, although it is wanted.
    pub(crate) away_since: Option<Instant>,
    /// Everything up to the cursor is there, and the live subscription goes on from it.
    pub(crate) complete: bool,
    /// The same, but for topics that were added since. Until then only what asks for everything fills what is missing.
    pub(crate) whole: bool,
    pub(crate) cursor: Cursor,
    /// Not written down yet.
    pub(crate) dirty: bool,
    pub(crate) catching: bool,
    /// Since when.
    pub(crate) catching_since: Option<Instant>,
    /// It asks for everything.
    pub(crate) catching_all: bool,
    /// The connection was lost meanwhile, so that nobody listened for a time.
    pub(crate) interrupted: bool,
    /// The others do not wait for this catch-up: it is not the first attempt, or the relay does not come to an end.
    pub(crate) slow: Arc<AtomicBool>,
    /// Another catch-up is wanted as soon as this one is over.
    pub(crate) again: Option<Again>,
    /// The live subscriptions.
    pub(crate) listening: Vec<u64>,
    /// The filters of these.
    pub(crate) live: Vec<String>,
    /// Subscriptions from before, which are ended when these have gone live: nothing is missed between them.
    pub(crate) former: Vec<u64>,
    /// The relay has closed one: there may have been too many.
    pub(crate) crowded: bool,
    /// It has said of an answer that it is all.
    pub(crate) ends: Arc<AtomicBool>,
    /// A catch-up of this process came to its end before.
    pub(crate) caught_up: bool,
    pub(crate) failures: u32,
    /// Attempts, one after the other and on one connection, after which the gate could not be opened.
    pub(crate) gate_failures: u32,
    /// How many messages had come when the last attempt ended.
    pub(crate) heard: u64,
    pub(crate) retry_at: Option<Instant>,
    /// What is heard and not given on yet.
    pub(crate) opening: Opening,
    /// It is to be seen whether it still has what we published there.
    pub(crate) amends: bool,
    /// Groups that stand still, to be asked for further back than others; and those that are being asked for.
    pub(crate) deeper: BTreeSet<String>,
    pub(crate) digging: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Again {
    New,
    All,
}

impl Relay {
    /// Whether it has been away for longer than one of several is waited for.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        self.away_since.is_some_and(|since| now.duration_since(since) >= ROTATE_AFTER)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = String> {
        let inbox = self.inbox.then(|| INBOX.to_owned());
        inbox.into_iter().chain(self.groups.iter().cloned())
    }

    /// What is not read any more is not written down, either: a group that is over may be deleted.
    pub(crate) fn keep_topics(&mut self, topics: &BTreeSet<String>) {
        let before = self.cursor.topics.len();
        self.cursor.topics.retain(|topic| topics.contains(topic));
        self.dirty |= self.cursor.topics.len() < before;
    }

    /// What is listened to does not count any more. Gives what is to be read of it now.
    pub(crate) fn listen_anew(&mut self) -> Vec<Event> {
        self.former.append(&mut self.listening);
        self.live.clear();
        self.opening.lose()
    }

    /// The connection is another one, or none, or knows us only now. Gives what is to be read of what was.
    pub(crate) fn begin_anew(&mut self) -> Vec<Event> {
        self.interrupted = self.catching;
        self.gate_failures = 0;
        self.listen_anew()
    }

    /// The relay has closed a subscription. What of the others is heard until they are opened anew is held with the rest.
    pub(crate) fn closed(&mut self, subscription: u64) -> Vec<Event> {
        if !self.listening.contains(&subscription) && !self.former.contains(&subscription) {
            return Vec::new();
        }
        (self.complete, self.whole, self.crowded) = (false, false, true);
        self.gate_failures += 1;
        self.listen_anew()
    }

    /// Whether what is new still waits for what is older. Not as long with a relay that may be one of those that never say
    /// that they are at the end.
    pub(crate) fn keeps_gate(&self) -> bool {
        self.gate_failures < if self.ends.load(Ordering::Relaxed) { 4 } else { 2 }
    }

    /// Notes what a catch-up came to that has ended: whether it `all` came to its end, and for which topics. How far the relay
    /// is read moves on only where nothing before that is missing: when everything was asked for, or was there.
    pub(crate) fn gave(&mut self, all: bool, complete: Vec<String>, fed: &Fed) -> Came {
        self.catching = false;
        self.dirty = true;
        if let Some(from) = fed.refused_from {
            self.cursor.at = self.cursor.at.min(from);
            self.whole = false;
            return Came::Failed;
        }
        // (what is not wanted any more may come back, and has to be asked for then)
        let wanted: BTreeSet<String> = self.topics().collect();
        self.cursor.topics.extend(complete.into_iter().filter(|topic| wanted.contains(topic)));
        if !all {
            return Came::Failed;
        }
        if std::mem::take(&mut self.interrupted) {
            return Came::Part;
        }
        if self.catching_all {
            self.whole = self.connected;
        }
        let topics = self.topics().all(|topic| self.cursor.topics.contains(&topic));
        if !topics || !(self.catching_all || self.whole) {
            return Came::Part;
        }
        self.cursor.at = self.cursor.at.max(fed.newest);
        self.complete = self.connected;
        self.caught_up = true;
        Came::Whole
    }
}

/// What became of a catch-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// All that the relay has is there.
    Whole,
    /// What was asked for is there.
    Part,
    /// It has to be made again.
    Failed,
}

/// Filters of what is still to come.
///
/// Without `since`: an event names the time at which it was made, and whoever was offline for a week publishes what was
/// made a week ago.
pub(crate) fn live_filters(shared: &Shared, relay: &Relay) -> Vec<String> {
    let mut filters = Vec::new();
    if relay.inbox {
        filters.push(live(inbox_filter(shared)));
    }
    let groups: Vec<&String> = relay.groups.iter().collect();
    for ids in groups.chunks(IDS_IN_A_FILTER) {
        filters.push(live(group_filter(ids)));
    }
    filters
}

fn inbox_filter(shared: &Shared) -> Map<String, Value> {
    object(json!({ "kinds": [1059], "#p": [shared.me.to_hex()] }))
}

fn group_filter(ids: &[&String]) -> Map<String, Value> {
    object(json!({ "kinds": [445], "#h": ids }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn live(mut filter: Map<String, Value>) -> String {
    filter.insert("limit".to_owned(), json!(STORED));
    Value::Object(filter).to_string()
}

/// What a catch-up is to fetch. Groups with the same beginning go together.
pub(crate) fn work(shared: &Shared, wanted: &Wanted, relay: &Relay, what: Again) -> Vec<Work> {
    let options = &shared.options;
    let at_start = !relay.caught_up;
    let overlap = if at_start { options.group_overlap_at_start } else { options.group_overlap };
    let (mut inbox, mut groups) = (Vec::new(), HashMap::<u64, Vec<&String>>::new());
    // What was dated by a clock that was ahead says nothing of what came since.
    let at = relay.cursor.at.min(now());
    let read = |topic: &str| relay.cursor.topics.contains(topic);
    if relay.inbox && !(what == Again::New && read(INBOX)) {
        let overlap = options.inbox_overlap.as_secs();
        let since = if read(INBOX) { at.saturating_sub(overlap) } else { 0 };
        let topics = vec![INBOX.to_owned()];
        inbox.push(Work { filter: inbox_filter(shared), since, topics });
    }
    for id in &relay.groups {
        let deeper = relay.deeper.contains(id);
        if read(id) && what == Again::New && !deeper {
            continue;
        }
        let overlap = if deeper { overlap.max(options.group_overlap_deep) } else { overlap };
        let joined = wanted.since.get(id).map_or(0, |at| at.saturating_sub(overlap.as_secs()));
        let known = at.saturating_sub(overlap.as_secs());
        let since = if read(id) { known.max(joined) } else { joined };
        groups.entry(since).or_default().push(id);
    }
    let groups = groups.into_iter().flat_map(|(since, ids)| {
        let parts = ids.chunks(IDS_IN_A_FILTER).map(move |ids| Work {
            filter: group_filter(ids),
            since,
            topics: ids.iter().map(|id| (*id).clone()).collect(),
        });
        parts.collect::<Vec<_>>()
    });
    inbox.into_iter().chain(groups).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_core::{Config, Engine, SystemClock};
    use mdk_wire::Keys;

    use super::*;
    use crate::options::{ClientOptions, PoolOptions, SharedEngine};
    use crate::relay_pool::Pool;

    /// What is published now may name the time of last week.
    #[tokio::test]
    async fn what_is_still_to_come_has_no_beginning() {
        let keys = Keys::generate();
        let engine = Engine::in_memory(keys.clone(), Config::default(), Arc::new(SystemClock));
        let pool = Pool::new(PoolOptions::default());
        let options = ClientOptions::default();
        let (shared, _inlets) =
            Shared::new(SharedEngine::new(engine.unwrap()), keys, options, pool);
        let cursor = Cursor { at: 1_700_000_000, topics: BTreeSet::from([INBOX.to_owned()]) };
        let groups = (0..IDS_IN_A_FILTER + 1).map(|n| format!("{n:064x}")).collect();
        let relay = Relay { own: true, inbox: true, groups, cursor, ..Relay::default() };
        let filters = live_filters(&shared, &relay);
        assert_eq!(filters.len(), 3);
        for filter in filters {
            let filter: Value = serde_json::from_str(&filter).unwrap();
            assert!(filter.get("since").is_none() && filter.get("until").is_none(), "{filter}");
            assert_eq!(filter["limit"], STORED);
        }
    }

    /// The history of a group may bring our removal from it. When it comes back, it has to be asked for.
    #[test]
    fn what_is_not_wanted_any_more_does_not_count_as_read() {
        let mut relay = Relay { connected: true, catching_all: true, ..Relay::default() };
        relay.gave(true, vec!["aa".repeat(32)], &Fed::default());
        assert!(relay.cursor.topics.is_empty());
    }

    /// Nobody listened between the loss of a connection and the next subscription: a catch-up of that time is not the whole.
    #[test]
    fn a_catch_up_during_which_the_connection_was_lost_is_not_the_whole() {
        let catches = || Relay {
            connected: true,
            catching: true,
            catching_all: true,
            listening: vec![1],
            live: vec!["a filter".to_owned()],
            ..Relay::default()
        };
        let fed = Fed { newest: 9, ..Fed::default() };
        let mut relay = catches();
        assert_eq!(relay.gave(true, Vec::new(), &fed), Came::Whole);
        assert_eq!((relay.whole, relay.complete, relay.cursor.at), (true, true, 9));
        let mut relay = Relay { gate_failures: 9, ..catches() };
        assert!(!relay.keeps_gate());
        relay.begin_anew();
        assert!(relay.keeps_gate(), "what failed on another connection says nothing of this one");
        assert!(relay.listening.is_empty() && relay.live.is_empty());
        assert_eq!(relay.former, [1]);
        assert_eq!(relay.gave(true, Vec::new(), &fed), Came::Part);
        assert_eq!((relay.whole, relay.complete, relay.cursor.at), (false, false, 0));
    }

    /// What failed when everything was asked for is not made good by a request for a part that succeeds.
    #[test]
    fn a_part_moves_nothing_on_where_something_is_missing() {
        let group = "aa".repeat(32);
        let cursor = Cursor { at: 100, topics: BTreeSet::from([group.clone()]) };
        let groups = BTreeSet::from([group.clone()]);
        let mut relay = Relay { groups, cursor, connected: true, ..Relay::default() };
        let mut gives = |catching_all: bool, all: bool, newest: u64, refused_from: Option<u64>| {
            relay.catching_all = catching_all;
            let fed = Fed { newest, refused_from, ..Fed::default() };
            let came = relay.gave(all, vec![group.clone()], &fed);
            (came, relay.cursor.at, relay.complete)
        };
        assert_eq!(gives(true, false, 900, None), (Came::Failed, 100, false));
        assert_eq!(gives(false, true, 900, None), (Came::Part, 100, false));
        assert_eq!(gives(true, true, 900, None), (Came::Whole, 900, true));
        assert_eq!(gives(false, true, 950, None), (Came::Whole, 950, true));
        assert_eq!(gives(false, true, 990, Some(40)).1, 40);
        assert_eq!(gives(false, true, 990, None).1, 40);
        assert_eq!(gives(true, true, 990, None), (Came::Whole, 990, true));
    }
}
