//! Which rows of the outbox are read: the first ones, more of them when these all wait, and none that only relays that
//! are away still lack. Each send would read all of those.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mdk_core::{OutboxItem, SendState};
use tokio::time::Instant;

use crate::relay_pool::normal_url;

/// Rows that are read at first; more when these all wait for relays that are away.
pub(super) const ROWS: u32 = 64;
pub(super) const MOST_ROWS: u32 = 100_000;
/// How often rows that were set aside are looked at all the same: what is owed for too long is given up.
const LOOK_AFTER: Duration = Duration::from_secs(3_600);

pub(super) struct RowsRead {
    /// As many at most.
    pub(super) count: u32,
    /// There are more rows than were read.
    pub(super) full: bool,
    /// The highest place that was read.
    pub(super) newest: i64,
    pub(super) aside: Aside,
}

impl Default for RowsRead {
    fn default() -> Self {
        Self { count: ROWS, full: false, newest: 0, aside: Aside::default() }
    }
}

/// Rows that a relay has, and that wait for no other relay than some that are away.
#[derive(Default)]
pub(super) struct Aside {
    /// Their places.
    pub(super) seqs: Arc<HashSet<i64>>,
    /// The relays that they are for. Nothing overtakes them there.
    pub(super) relays: HashSet<String>,
    /// When the first was set aside.
    since: Option<Instant>,
}

impl Aside {
    /// When they are to be looked at.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + LOOK_AFTER)
    }

    pub(super) fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    /// Takes such rows out of `items`; whether there were any. `away`: relays as the outbox spells them.
    pub(super) fn take(&mut self, items: &mut Vec<OutboxItem>, away: &HashSet<String>) -> bool {
        let waits = |item: &OutboxItem| {
            let mut waiting = item.results.iter().filter(|r| r.state == SendState::Waiting);
            item.is_accepted() && waiting.all(|result| away.contains(&result.relay))
        };
        let seqs: Vec<i64> = items.iter().filter(|item| waits(item)).map(|i| i.seq).collect();
        if seqs.is_empty() {
            return false;
        }
        items.retain(|item| !waits(item));
        self.relays.extend(away.iter().filter_map(|relay| normal_url(relay).ok()));
        self.since.get_or_insert_with(Instant::now);
        Arc::make_mut(&mut self.seqs).extend(seqs);
        true
    }
}
