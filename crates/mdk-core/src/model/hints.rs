//! Facts that no row has: the caller's news of the world outside, and the times at which the engine was at work.

use std::collections::{BTreeSet, HashMap};

use mdk_wire::{GroupId, PublicKey};

use crate::model::busy_time::Worked;
use crate::model::invites::Inviters;

/// Hints for all calls of one engine. They do not outlive it.
#[derive(Default)]
pub(crate) struct Hints {
    /// The accounts whose invites are taken.
    pub(crate) inviters: Inviters,
    /// Groups whose invite was declined, and which are listened to now.
    pub(crate) followed: BTreeSet<GroupId>,
    /// Largest events that the relays of these accounts take.
    pub(crate) invite_limits: HashMap<PublicKey, u64>,
    /// Groups of which more is being fetched, until then at most, in Unix milliseconds.
    pub(crate) more: HashMap<GroupId, u64>,
    /// The times at which the engine itself was at work.
    pub(crate) worked: Worked,
}
