//! The times that our messages bear inside of the encryption.
//!
//! Apps show a group's messages by that time, in whole seconds, and within one by the message's id, which is chance: ten
//! parts that are sent at once would stand there in any order, and an answer above its question. So a message of ours is
//! dated one second after the one that it follows. A burst that gets too far ahead of the clock stays in its second, with
//! ids that rise.

use std::collections::HashMap;

use mdk_store::MessageRow;
use mdk_wire::{EventId, GroupId};

/// The place of a message in the order in which apps show a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) id: EventId,
}

impl Place {
    pub(crate) fn of(row: &MessageRow) -> Self {
        Self { at: row.created_at, id: row.id }
    }
}

/// The last messages of ours. Not undone with a transaction that fails: a second too far ahead does no harm.
#[derive(Default)]
pub(crate) struct Said(pub(crate) HashMap<GroupId, Option<Place>>);
