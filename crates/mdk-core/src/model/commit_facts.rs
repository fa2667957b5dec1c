//! The facts of a commit, for the readers of its events.

use std::collections::BTreeSet;

use mdk_wire::{ContentId, PublicKey};

/// A commit on its way into the state.
pub(crate) struct Step {
    pub(crate) digest: ContentId,
    pub(crate) committer: Option<PublicKey>,
    pub(crate) privileged: bool,
    /// Accounts whose leaves went by SelfRemove.
    pub(crate) left: BTreeSet<PublicKey>,
    /// The claimed time of its event, Unix seconds.
    pub(crate) sent_at: u64,
}
