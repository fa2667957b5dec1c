//! One message, as it is stored.

use mdk_wire::{ContentId, EventId, GroupId, PublicKey, Timestamp};

use crate::store::columns::{guarded_debug, stored_enum};

stored_enum! {
    /// Whether a message is to be shown.
    pub enum MessageStatus {
        /// As it was received.
        Valid = 0,
        /// Erased; its content is gone.
        Deleted = 1,
        /// It was on a branch that lost.
        Invalidated = 2,
        /// Its time has come. Only epoch, state and sender are left, for as long as branches are compared by them, and
        /// for a while the mark of its copies (see [`Tx::bury_message`](crate::Tx::bury_message)).
        Expired = 3,
        /// It is on a branch that has not won; not shown.
        Parked = 4,
    }
}

/// One message. Times are Unix seconds.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Position in the history of all groups; assigned by the store, ignored on insert.
    pub seq: i64,
    /// MLS group id.
    pub group: GroupId,
    /// Id of the inner event. Two equal messages have one id; at most one of them is shown.
    pub id: EventId,
    /// Id of the MLS message that carried it.
    pub content_id: ContentId,
    /// Id of the kind-445 event that carried it.
    pub outer_id: EventId,
    /// Author.
    pub sender: PublicKey,
    /// Kind of the inner event.
    pub kind: u16,
    /// The time that the author gives.
    pub created_at: Timestamp,
    /// The arrival time.
    pub received_at: Timestamp,
    /// The epoch in which it was sent.
    pub epoch: u64,
    /// Epoch authenticator of the state that opened it.
    pub authenticator: [u8; 32],
    /// Content.
    pub content: String,
    /// Tags.
    pub tags: Vec<Vec<String>>,
    /// The message that it is about, for kinds 5, 7 and 1009.
    pub target: Option<EventId>,
    /// Sent by this account.
    pub mine: bool,
    /// The state of its delivery; numbered by the engine.
    pub delivery: u8,
    /// The time at which it disappears.
    pub expires_at: Option<Timestamp>,
    /// Whether it is to be shown.
    pub status: MessageStatus,
}
guarded_debug!(MessageRow { seq, kind, epoch, mine, delivery, status });
