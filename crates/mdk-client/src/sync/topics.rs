//! The topics that are read on one relay, and the filters that ask for them.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};
use tokio::time::Duration;

use super::cursor::{Cursor, INBOX};
use crate::options::ClientOptions;

/// Routing ids in one filter.
const IDS_IN_A_FILTER: usize = 100;
/// Stored events that a live subscription asks for. It is opened before the history is fetched, which has them all: a slow
/// line would be full of them. (None at all means all to some relays.)
const STORED: usize = 1;
/// How far behind the cursor a group is asked for that stands still (`ClientOptions::standstill`), in seconds.
const GROUP_OVERLAP_DEEP: u64 = 30 * 86_400;

/// The topics that are wanted of one relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// It is one of the account's own.
    pub(crate) own: bool,
    /// Gift wraps may come to it: our own one, or one that was.
    pub(crate) inbox: bool,
    /// Routing ids, and since when each can be read; 0 for always.
    pub(crate) groups: std::collections::BTreeMap<String, u64>,
}

impl Scope {
    pub(crate) fn topics(&self) -> BTreeSet<String> {
        let inbox = self.inbox.then(|| INBOX.to_owned());
        inbox.into_iter().chain(self.groups.keys().cloned()).collect()
    }
}

/// Facts about the account and its options that the machines go by.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The account's key, hex.
    pub(crate) me: String,
    pub(crate) request_timeout: Duration,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) inbox_overlap: u64,
    pub(crate) group_overlap: u64,
    pub(crate) group_overlap_at_start: u64,
}

impl Rules {
    pub(crate) fn of(me: String, options: &ClientOptions) -> Self {
        Self {
            me,
            request_timeout: options.request_timeout,
            retry_min: options.retry_min,
            retry_max: options.retry_max,
            inbox_overlap: options.inbox_overlap.as_secs(),
            group_overlap: options.group_overlap.as_secs(),
            group_overlap_at_start: options.group_overlap_at_start.as_secs(),
        }
    }

    /// Filters of what is still to come.
    ///
    /// Without `since`: an event names the time at which it was made, and whoever was offline for a week publishes what was
    /// made a week ago.
    pub(crate) fn live_filters(&self, scope: &Scope) -> Vec<String> {
        let groups: Vec<&String> = scope.groups.keys().collect();
        let inbox = scope.inbox.then(|| self.inbox_filter());
        let filters = inbox.into_iter().chain(groups.chunks(IDS_IN_A_FILTER).map(group_filter));
        filters.map(live).collect()
    }

    /// The histories to be fetched, each with its beginning. Groups with the same beginning go together.
    pub(crate) fn spans(&self, scope: &Scope, read: &Read<'_>) -> Vec<Span> {
        let overlap = if read.before { self.group_overlap } else { self.group_overlap_at_start };
        let (mut inbox, mut groups) = (Vec::new(), HashMap::<(u64, bool), Vec<&String>>::new());
        // A cursor of a clock that was ahead says nothing of what came since.
        let at = read.cursor.at.min(read.wall);
        let known = |topic: &str| read.cursor.topics.contains(topic);
        if scope.inbox && !(read.only_new && known(INBOX)) {
            let since = if known(INBOX) { at.saturating_sub(self.inbox_overlap) } else { 0 };
            let topics = vec![INBOX.to_owned()];
            let known = known(INBOX);
            inbox.push(Span { filter: self.inbox_filter(), since, topics, known });
        }
        for (id, joined) in &scope.groups {
            let deeper = read.deeper.contains(id);
            if known(id) && read.only_new && !deeper {
                continue;
            }
            let overlap = if deeper { overlap.max(GROUP_OVERLAP_DEEP) } else { overlap };
            let joined = joined.saturating_sub(overlap);
            let since = if known(id) { at.saturating_sub(overlap).max(joined) } else { joined };
            groups.entry((since, known(id))).or_default().push(id);
        }
        let groups = groups.into_iter().flat_map(|((since, known), ids)| {
            let parts = ids.chunks(IDS_IN_A_FILTER).map(move |ids| Span {
                filter: group_filter(ids),
                since,
                topics: ids.iter().map(|id| (*id).clone()).collect(),
                known,
            });
            parts.collect::<Vec<_>>()
        });
        inbox.into_iter().chain(groups).collect()
    }

    fn inbox_filter(&self) -> Map<String, Value> {
        object(json!({ "kinds": [1059], "#p": [self.me] }))
    }
}

/// How far a relay has been read when more is to be fetched.
pub(crate) struct Read<'a> {
    pub(crate) cursor: &'a Cursor,
    /// A history of this process came to its end before.
    pub(crate) before: bool,
    /// Groups that stand still, to be asked for further back than others.
    pub(crate) deeper: &'a BTreeSet<String>,
    /// Topics that were fetched before are not wanted again.
    pub(crate) only_new: bool,
    /// Our clock, Unix seconds.
    pub(crate) wall: u64,
}

/// One thing to fetch: a filter without its times, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) filter: Map<String, Value>,
    pub(crate) since: u64,
    pub(crate) topics: Vec<String>,
    /// They were read before: some of it is here.
    pub(crate) known: bool,
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// An event that is published now may name the time of last week.
    #[test]
    fn what_is_still_to_come_has_no_beginning() {
        let rules = Rules::of("ab".repeat(32), &ClientOptions::default());
        let groups = (0..=IDS_IN_A_FILTER).map(|n| (format!("{n:064x}"), 0)).collect();
        let filters = rules.live_filters(&Scope { own: true, inbox: true, groups });
        assert_eq!(filters.len(), 3);
        for filter in filters {
            let filter: Value = serde_json::from_str(&filter).unwrap();
            assert!(filter.get("since").is_none() && filter.get("until").is_none(), "{filter}");
            assert_eq!(filter["limit"], STORED);
        }
    }
}
