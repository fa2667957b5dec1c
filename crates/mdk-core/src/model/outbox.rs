//! The items of the outbox, and the answers to them.

use mdk_store::SendState;
use mdk_wire::{EventId, GroupId, PublicKey};

use crate::model::values::Delivery;

/// The purpose of an event on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutboxPurpose {
    /// A message, reaction, edit or deletion.
    Message {
        /// Id of the inner event, as in [`Message::id`](crate::Message::id).
        message_id: EventId,
    },
    /// A commit of ours.
    Commit {
        /// As in [`Pending::id`](crate::Pending::id).
        pending: i64,
    },
    /// The invite of one account; its commit is confirmed.
    Welcome {
        /// The account, whose inbox relays (kind 10050) it goes to.
        recipient: PublicKey,
    },
    /// Our request to leave a group.
    Proposal,
    /// A KeyPackage of ours.
    KeyPackage,
    /// What we tell a group about the tokens that wake phones.
    PushTokens,
    /// Anything else: an event given to [`Engine::enqueue`](crate::Engine::enqueue).
    List,
}

/// A signed event that is to be published.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxItem {
    /// Its place: the lower one is published first. Never given twice.
    pub seq: i64,
    /// Its purpose.
    pub purpose: OutboxPurpose,
    /// The group that it is about.
    pub group: Option<GroupId>,
    /// The event as JSON, byte for byte the same with every attempt.
    pub event: String,
    /// Its id.
    pub event_id: EventId,
    /// The relays for it; empty while they are still to be found out
    /// ([`Engine::set_outbox_relays`](crate::Engine::set_outbox_relays)).
    pub relays: Vec<String>,
    /// The time at which it was put in, Unix seconds. A message that is encrypted again is as old as it was.
    pub created_at: u64,
    /// For a message: the time since which its group has been in its present epoch here, Unix milliseconds. 0 for
    /// others.
    pub epoch_since: u64,
    /// Attempts at all relays.
    pub attempts: u32,
    /// One for each of `relays`, in the same order.
    pub results: Vec<RelayResult>,
}

impl OutboxItem {
    /// Whether a relay has it.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.results.iter().any(|result| result.state == SendState::Accepted)
    }

    /// Whether it is an invite that every relay has refused: it is tried again, later each time, and nobody need wait for it.
    #[must_use]
    pub fn is_refused_invite(&self) -> bool {
        let refused = |result: &RelayResult| result.state == SendState::Refused;
        let invite = matches!(self.purpose, OutboxPurpose::Welcome { .. });
        invite && !self.results.is_empty() && self.results.iter().all(refused)
    }
}

// The event and its relays stay out of logs.
impl std::fmt::Debug for OutboxItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxItem")
            .field("seq", &self.seq)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// The progress of one relay with an event.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayResult {
    /// Its URL.
    pub relay: String,
    /// The answer of the relay.
    pub state: SendState,
    /// The number of attempts.
    pub attempts: u32,
    /// The time of the next attempt, Unix milliseconds; 0 for at once.
    pub next_at: u64,
    /// Its words, or why it was not reached.
    pub reason: Option<String>,
}

impl std::fmt::Debug for RelayResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayResult")
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// The result of one attempt at one relay. Words of a relay are cut after 512 bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum RelayVerdict {
    /// It has the event.
    Accepted,
    /// It refused, and would again.
    Refused {
        /// Its words.
        reason: String,
    },
    /// The answer is not final: try again.
    Later {
        /// Its words, or why it was not reached.
        reason: String,
        /// The time of the next attempt, Unix milliseconds.
        next_at: u64,
    },
}

impl std::fmt::Debug for RelayVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Accepted => "Accepted",
            Self::Refused { .. } => "Refused",
            Self::Later { .. } => "Later",
        })
    }
}

/// The change that an answer of a relay made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OutboxChange {
    /// Nothing is left to do for this event; also when it is not in the outbox any more.
    pub finished: bool,
    /// The new delivery state of the message, if it changed.
    pub delivery: Option<Delivery>,
    /// The end of the commit, if that was decided now.
    pub commit: Option<CommitEnd>,
}

/// The end of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitEnd {
    /// A relay has it: it is true.
    Confirmed,
    /// Every relay refused it: it is forgotten.
    Discarded,
    /// It could not become true any more: the group is elsewhere, or it was discarded.
    Lost,
}

/// The state of a commit of ours.
#[derive(Clone, PartialEq, Eq)]
pub enum CommitState {
    /// No relay has answered for good.
    Waiting,
    /// It is true.
    Confirmed,
    /// It is not and will not become true: another one won, it was discarded, or it is not known here.
    Lost,
    /// Every relay refused it.
    Refused {
        /// Relay URL, and the relay's words.
        reasons: Vec<(String, String)>,
    },
}

impl std::fmt::Debug for CommitState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Waiting => "Waiting",
            Self::Confirmed => "Confirmed",
            Self::Lost => "Lost",
            Self::Refused { .. } => "Refused",
        })
    }
}
