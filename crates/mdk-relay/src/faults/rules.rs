//! The faults that hold now for every connection.

use std::collections::BTreeSet;

use super::options::Faults;

/// Kinds that are not taken (`None`: none is), and the words for it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) kinds: Option<BTreeSet<u16>>,
    pub(crate) reason: String,
}

impl Refusal {
    pub(super) fn covers(&self, kind: u16) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }
}

/// Switched at any time; every message is treated by the rules of the moment it passes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) faults: Faults,
    pub(crate) refusal: Option<Refusal>,
}

impl Rules {
    /// Whether messages of the client must be looked into.
    pub(super) fn watches_client(&self) -> bool {
        let f = &self.faults;
        self.refusal.is_some()
            || f.drop_silently_over.is_some()
            || f.page_limit.is_some()
            || f.rate_limit.is_some()
            || f.lie_ok
            || f.false_events
            || f.endless
            || f.huge_tags
            || f.auth_loop
            || f.huge_frames
    }

    /// Whether messages of the relay must be looked into.
    pub(super) fn watches_relay(&self) -> bool {
        let f = &self.faults;
        f.duplicate
            || f.reorder.is_some()
            || f.false_events
            || f.endless
            || f.huge_tags
            || f.lose_ok
    }

    /// Whether the relay talks by itself.
    pub(super) fn is_noisy(&self) -> bool {
        self.faults.notice_flood || self.faults.endless || self.faults.huge_tags
    }
}
