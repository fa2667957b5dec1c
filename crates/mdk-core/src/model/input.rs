//! The manner in which input of a call comes, and the facts of the event that is being processed.

use mdk_wire::{GroupId, Timestamp};

#[derive(Default)]
pub(crate) struct Input {
    /// Several events are processed: waiting input is tried when all of them are there.
    pub(crate) batching: bool,
    /// Everything that waits is tried, however much it is.
    pub(crate) thorough: bool,
    /// A commit that could be applied was left for the end of the batch.
    pub(crate) parked: bool,
    /// The event that is being processed was kept as it came.
    pub(crate) kept_raw: bool,
    /// A number for the relay that gave the event that is being processed, 0 if none is known.
    pub(crate) source: i64,
    /// The group and the time of a message that was just refused because its key is gone.
    pub(crate) behind: Option<(GroupId, Timestamp)>,
    /// The Welcome that is processed leads nowhere for want of a sign of the others: a sign that was made at this time,
    /// Unix seconds, or later.
    pub(crate) wants_sign: Option<u64>,
}
