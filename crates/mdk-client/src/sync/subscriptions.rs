//! The live subscriptions of one relay, and since when nothing was missed between them.

use std::collections::BTreeSet;

use mdk_wire::budget::relay::PATIENCE;
use tokio::time::Instant;

/// Filters in one subscription.
const FILTERS: usize = 8;

/// Subscriptions to be opened beside the former ones, which end when the new ones have gone live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    /// Each with its filters.
    pub(crate) new: Vec<(u64, Vec<String>)>,
    pub(crate) former: Vec<u64>,
    /// There is no room for both: the former ones end first.
    pub(crate) crowded: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    current: Vec<u64>,
    /// The filters of these; none when they have to be opened anew.
    filters: Vec<String>,
    former: Vec<u64>,
    /// Those that were ended though nobody said that the new ones are live: what is queued may say that they ended before.
    doubtful: Vec<u64>,
    /// Those whose stored part is not over.
    unended: BTreeSet<u64>,
    opened_at: Option<Instant>,
    /// The last one that was asked for, until it is told how that went.
    asked: Option<u64>,
    /// When the end of a stored part is waited for no longer.
    until: Option<Instant>,
    /// The relay has closed one: there may have been too many.
    crowded: bool,
    generation: u64,
}

impl Subscriptions {
    /// Rises whenever something may have been said that nobody heard. A history is whole only if it was asked for in the
    /// generation that there is when it has come.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Something may have been said that nobody heard, or for which there was no room.
    pub(crate) fn missed(&mut self) {
        self.generation += 1;
    }

    pub(crate) fn knows(&self, subscription: u64) -> bool {
        let all = [&self.current, &self.former, &self.doubtful];
        all.iter().any(|ids| ids.contains(&subscription))
    }

    /// Whether what comes of it is what was stored before.
    pub(crate) fn is_stored(&self, subscription: u64) -> bool {
        self.unended.contains(&subscription)
    }

    /// Whether one is open, as far as is known.
    pub(crate) fn are_open(&self) -> bool {
        !self.filters.is_empty()
    }

    /// The subscriptions to be opened in place of the present ones, when other things are wanted.
    pub(crate) fn change(
        &mut self,
        filters: Vec<String>,
        id: impl FnMut() -> u64,
        now: Instant,
    ) -> Option<Opening> {
        if filters == self.filters {
            return None;
        }
        self.former.append(&mut self.current);
        let parts = filters.chunks(FILTERS).map(<[String]>::to_vec);
        let new: Vec<_> = std::iter::repeat_with(id).zip(parts).collect();
        if self.unended.is_empty() {
            self.opened_at = Some(now);
        }
        (self.asked, self.until) = (new.last().map(|(id, _)| *id), None);
        self.current = new.iter().map(|(id, _)| *id).collect();
        self.unended.extend(&self.current);
        self.filters = filters;
        let crowded = std::mem::take(&mut self.crowded);
        Some(Opening { new, former: self.former.clone(), crowded })
    }

    /// It was sent, with all before it: from now on the end of its stored part is waited for.
    pub(crate) fn sent(&mut self, last: u64, until: Instant) {
        if self.asked == Some(last) && !self.unended.is_empty() {
            (self.asked, self.until) = (None, Some(until));
        }
    }

    /// The stored part of one is over. Those that can be ended now.
    pub(crate) fn end(&mut self, subscription: u64) -> Vec<u64> {
        if self.unended.remove(&subscription) { self.replaced() } else { Vec::new() }
    }

    /// No end of a stored part is waited for any more. Those that can be ended now.
    pub(crate) fn end_late(&mut self, now: Instant) -> Vec<u64> {
        if self.until.is_none_or(|until| until > now) {
            return Vec::new();
        }
        self.unended.clear();
        let ended = self.replaced();
        self.doubtful.extend(&ended);
        ended
    }

    fn replaced(&mut self) -> Vec<u64> {
        if !self.unended.is_empty() {
            return Vec::new();
        }
        (self.opened_at, self.until) = (None, None);
        if self.current.is_empty() { Vec::new() } else { std::mem::take(&mut self.former) }
    }

    /// They have to be opened anew, and may be open still.
    pub(crate) fn distrust(&mut self) {
        self.missed();
        self.former.append(&mut self.current);
        self.filters.clear();
        self.unended.clear();
        self.doubtful.clear();
        (self.opened_at, self.asked, self.until) = (None, None, None);
    }

    /// The relay has ended one, or would not open it.
    pub(crate) fn closed(&mut self) {
        self.distrust();
        self.crowded = true;
    }

    /// The connection is gone, and they with it.
    pub(crate) fn lost(&mut self) {
        self.distrust();
        self.former.clear();
    }

    /// All that may be open, when nothing is wanted any more.
    pub(crate) fn take(&mut self) -> Vec<u64> {
        self.distrust();
        std::mem::take(&mut self.former)
    }

    /// Until when others wait for a stored part.
    pub(crate) fn awaited_until(&self) -> Option<Instant> {
        self.opened_at.map(|at| at + PATIENCE)
    }

    /// When something is to be done that nothing else wakes us for.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.until
    }
}
