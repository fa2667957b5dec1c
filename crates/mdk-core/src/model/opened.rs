//! Input that a key has opened.

use mdk_store::{GroupRow, InputClass, InputRow, InputState};
use mdk_wire::{ContentId, Event, EventId};
use zeroize::Zeroizing;

use crate::model::state_id::Auth;

/// Input that a known key opened: a kind-445 event just now, or an input that has waited since.
pub(crate) struct Opened {
    pub(crate) row: GroupRow,
    /// The event, when it is at hand.
    pub(crate) event: Option<Event>,
    pub(crate) event_id: EventId,
    /// The claimed time of its making, Unix seconds.
    pub(crate) sent_at: u64,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) content_id: ContentId,
    /// The state whose key opened it: most likely the one it was made in.
    pub(crate) opener: Auth,
}

impl Opened {
    pub(crate) fn from_input(row: GroupRow, input: &InputRow, opener: Auth) -> Self {
        Self {
            row,
            event: None,
            event_id: input.event_id,
            sent_at: input.received_at,
            bytes: Zeroizing::new(input.bytes.clone()),
            content_id: input.content_id,
            opener,
        }
    }

    /// As an input that waits.
    pub(crate) fn input(&self, class: InputClass, epoch: u64, now: u64) -> InputRow {
        InputRow {
            group: self.row.id.clone(),
            content_id: self.content_id,
            class,
            epoch,
            bytes: self.bytes.to_vec(),
            state: InputState::Waiting,
            sender: None,
            parent_auth: None,
            event_id: self.event_id,
            received_at: now,
            due_at: None,
        }
    }
}
