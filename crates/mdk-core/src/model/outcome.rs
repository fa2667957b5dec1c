//! The verdict on one incoming event. Routine outcomes are values, never errors.

use mdk_wire::Event;

use crate::model::values::EngineEvent;

/// Verdict on one incoming event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It took effect.
    Applied,
    /// Seen before, or our own echo.
    Duplicate,
    /// Not readable or not decidable yet; kept and retried by the engine unless the reason says otherwise.
    Deferred(DeferredReason),
    /// It never takes effect in this state; nothing was stored.
    Rejected(Rejection),
}

/// The reason for which an event waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeferredReason {
    /// No key of a known epoch opens it.
    Undecryptable,
    /// It belongs to an epoch that has not been reached.
    FutureEpoch,
    /// It is farther ahead than its sender's earlier messages allow to read.
    FutureGeneration,
    /// A commit or proposal it builds on has not arrived.
    MissingParent,
    /// A commit that competes with one already applied.
    Rival,
    /// A commit of ours is being published.
    PublishInProgress,
    /// It cannot be judged now (a lifetime that the clock decides); kept.
    CannotJudge,
    /// The bounds for held events are reached: NOT kept, deliver it again later.
    ResourceRefused,
}

impl DeferredReason {
    /// Stable snake_case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecryptable => "undecryptable",
            Self::FutureEpoch => "future_epoch",
            Self::FutureGeneration => "future_generation",
            Self::MissingParent => "missing_parent",
            Self::Rival => "rival",
            Self::PublishInProgress => "publish_in_progress",
            Self::CannotJudge => "cannot_judge",
            Self::ResourceRefused => "resource_refused",
        }
    }
}

/// The reason for which an event was refused: a category, the rule it broke, and a sentence without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// Category.
    pub code: RejectCode,
    /// Id of the rule, e.g. `D4-2`.
    pub rule: &'static str,
    /// The problem.
    pub reason: &'static str,
}

impl Rejection {
    /// A rejection by `rule`.
    #[must_use]
    pub const fn new(code: RejectCode, rule: &'static str, reason: &'static str) -> Self {
        Self { code, rule, reason }
    }
}

/// Input categories with stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectCode {
    /// Bytes that do not decode strictly.
    InvalidEncoding,
    /// A signature, proof or tag that does not verify.
    InvalidSignature,
    /// The sender may not do this.
    AuthorizationFailed,
    /// Something required is not supported.
    UnsupportedRequiredFeature,
    /// Not addressed to us.
    WrongRecipient,
    /// No such group here.
    UnknownGroup,
    /// The Nostr envelope is not acceptable.
    TransportRejected,
    /// Too old to be of use.
    StaleEpoch,
    /// The group is known already.
    AlreadyApplied,
}

impl RejectCode {
    /// Stable snake_case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidEncoding => "invalid_encoding",
            Self::InvalidSignature => "invalid_signature",
            Self::AuthorizationFailed => "authorization_failed",
            Self::UnsupportedRequiredFeature => "unsupported_required_feature",
            Self::WrongRecipient => "wrong_recipient",
            Self::UnknownGroup => "unknown_group",
            Self::TransportRejected => "transport_rejected",
            Self::StaleEpoch => "stale_epoch",
            Self::AlreadyApplied => "already_applied",
        }
    }
}

/// A verdict with its consequences.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The news: this event's effects and those of events that had waited for it.
    pub events: Vec<EngineEvent>,
    /// Events the caller should publish: the commit that answers a leave, a renewed leave proposal.
    pub reply: Vec<Event>,
}
