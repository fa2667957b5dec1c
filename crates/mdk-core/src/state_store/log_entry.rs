//! The content of a row of the event log.

use mdk_store::{EPOCH_EVENT, MessageRow};
use serde::{Deserialize, Serialize};

use crate::model::invites::{Beside, Earlier, Key};
use crate::model::message_kinds::is_sign;

/// Names of settings in `GroupUpdated`, stored as their position.
pub(crate) const SETTINGS: [&str; 11] = [
    "name",
    "description",
    "relays",
    "admins",
    "retention",
    "image",
    "avatar",
    "media",
    "agent_stream",
    "required",
    "other",
];

/// The content of a row of the log. Appending variants is compatible, reordering is not.
#[derive(Serialize, Deserialize)]
pub(crate) enum Stored {
    MessageReceived {
        seq: i64,
    },
    MessageEdited {
        seq: i64,
    },
    MessageDeleted {
        id: Key,
    },
    /// As it was written once, with the text: [`Stored::Reacted`] is written now.
    ReactionAdded {
        target: Key,
        sender: Key,
        emoji: String,
    },
    /// `emoji` is a sign or empty: see [`Stored::reaction_removed`].
    ReactionRemoved {
        target: Key,
        sender: Key,
        emoji: String,
    },
    Invited {
        welcome: Key,
    },
    Joined,
    Removed {
        by: Option<Key>,
        left: bool,
        commit: Option<Key>,
    },
    MembersChanged {
        added: Vec<Key>,
        removed: Vec<Key>,
        left: Vec<Key>,
        by: Option<Key>,
        commit: Option<Key>,
    },
    GroupUpdated {
        changed: Vec<u8>,
        by: Option<Key>,
        commit: Option<Key>,
    },
    EpochChanged {
        old: u64,
        new: u64,
        commit: Option<Key>,
    },
    MessagesInvalidated {
        ids: Vec<Key>,
    },
    Disbanded {
        by: Option<Key>,
    },
    DeliveryChanged {
        id: Key,
        delivery: u8,
        errors: Vec<(String, String)>,
    },
    ChangeWithdrawn {
        commit: Key,
    },
    HistoryGap {
        count: u64,
        first: u64,
        last: u64,
    },
    Unrecoverable {
        reason: String,
    },
    InviteDeliveryChanged {
        account: Key,
        delivery: u8,
        errors: Vec<(String, String)>,
    },
    /// Invited to a group that we were in before, whose history went up to `after` then.
    Reinvited {
        welcome: Key,
        after: i64,
    },
    CannotFollow {
        epoch: u64,
    },
    /// The membership that an invitation has taken the place of. It is not told.
    Earlier(Box<Earlier>),
    /// An invitation by somebody else beside the row of the group.
    Beside(Box<Beside>),
    /// A reaction came. Its text stands in its own row only, and goes with it.
    Reacted {
        seq: i64,
    },
    RemovalUndone {
        account: Key,
        demoted: bool,
        by: Option<Key>,
        at: u64,
    },
    HistoryTrimmed {
        sender: Key,
    },
}

/// Kind of [`Stored::Earlier`].
pub(crate) const EARLIER: u8 = 20;

/// Kind of [`Stored::Beside`].
pub(crate) const BESIDE: u8 = 21;

impl Stored {
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::MessageReceived { .. } => 0,
            Self::MessageEdited { .. } => 1,
            Self::MessageDeleted { .. } => 2,
            Self::ReactionAdded { .. } | Self::Reacted { .. } => 3,
            Self::ReactionRemoved { .. } => 4,
            Self::Invited { .. } => 5,
            Self::Joined => 6,
            Self::Removed { .. } => 7,
            Self::MembersChanged { .. } => 8,
            Self::GroupUpdated { .. } => 9,
            Self::EpochChanged { .. } => EPOCH_EVENT,
            Self::MessagesInvalidated { .. } => 11,
            Self::Disbanded { .. } => 12,
            Self::DeliveryChanged { .. } => 13,
            Self::ChangeWithdrawn { .. } => 14,
            Self::HistoryGap { .. } => 15,
            Self::Unrecoverable { .. } => 16,
            Self::InviteDeliveryChanged { .. } => 17,
            Self::Reinvited { .. } => 18,
            Self::CannotFollow { .. } => 19,
            Self::Earlier(_) => EARLIER,
            Self::Beside(_) => BESIDE,
            Self::RemovalUndone { .. } => 22,
            Self::HistoryTrimmed { .. } => 23,
        }
    }
}

impl Stored {
    // rule: 2.9-9 of a reaction that is gone the log keeps who took which sign back, and no text
    /// The entry for the reaction `row` that is gone.
    pub(crate) fn reaction_removed(row: &MessageRow) -> Option<Self> {
        let target = *row.target?.as_bytes();
        let emoji = if is_sign(&row.content) { row.content.clone() } else { String::new() };
        Some(Self::ReactionRemoved { target, sender: *row.sender.as_bytes(), emoji })
    }

    pub(crate) fn is_of_message(&self) -> bool {
        self.kind() < 5
    }
}
