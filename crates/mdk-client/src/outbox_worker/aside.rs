//! Rows that only relays that are away still lack: they are not read again until one connects, or each send would read
//! all of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mdk_core::{OutboxItem, SendState};
use tokio::time::Instant;

use super::state::Worker;
use crate::relay_pool::normal_url;

/// How often they are looked at all the same: what is owed for too long is given up.
const LOOK_AFTER: Duration = Duration::from_secs(3_600);

/// The rows that are set aside.
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
}

impl Worker {
    /// Sets rows aside that a relay has, and that wait for no other relay than those `away`.
    pub(super) fn set_aside(&mut self, away: &HashSet<String>) {
        let waits = |item: &OutboxItem| {
            let mut waiting = item.results.iter().filter(|r| r.state == SendState::Waiting);
            item.is_accepted() && waiting.all(|result| away.contains(&result.relay))
        };
        let seqs: Vec<i64> = self.items.iter().filter(|item| waits(item)).map(|i| i.seq).collect();
        if seqs.is_empty() {
            return;
        }
        self.items.retain(|item| !waits(item));
        self.aside.relays.extend(away.iter().filter_map(|relay| normal_url(relay).ok()));
        self.aside.since.get_or_insert_with(Instant::now);
        Arc::make_mut(&mut self.aside.seqs).extend(seqs);
        // Those behind them were not read.
        self.stale |= self.full;
    }
}
