//! Errors of a call to the engine, sorted by the person who must act.
//!
//! Input of a *peer* is never an error: it ends as an [`Outcome`](crate::Outcome). The variants here are faults of the
//! caller, of the group's state, of this machine, or of this crate.

use mdk_store::{OpenError, StoreError, VaultError};
use mdk_wire::{PublicKey, WireError};

/// Result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed engine call. No text of it has ids, keys, URLs or content, and only [`Error::IncompatibleMember`] names accounts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is not acceptable. Remedy: correct the named field.
    #[error("{field}: {problem}{}", limit_text(*.limit, *.actual))]
    InvalidInput {
        /// The argument's name.
        field: &'static str,
        /// The problem with it.
        problem: &'static str,
        /// The limit that was passed, if it is a matter of size. For a value that is too small it is the least size.
        limit: Option<u64>,
        /// The size that was given.
        actual: Option<u64>,
    },
    /// An event handed in by the caller is malformed or its signature does not verify. Remedy: fetch it again.
    #[error("invalid event: {0}")]
    InvalidEvent(&'static str),
    /// A key, npub or nsec does not parse. Remedy: check the text.
    #[error("invalid key: {0}")]
    InvalidKey(&'static str),
    /// A relay URL is not ws:// or wss:// with a host. Remedy: correct it.
    #[error("invalid relay URL: {0}")]
    InvalidRelayUrl(&'static str),
    /// No such group here. Remedy: list `groups()`.
    #[error("no such group")]
    GroupNotFound,
    /// No such message in this group. Remedy: check the id and the group.
    #[error("no such message")]
    MessageNotFound,
    /// No such invite; it may have been accepted or declined. Remedy: list `invites()`.
    #[error("no such invite")]
    InviteNotFound,
    /// No such KeyPackage or pending commit. Remedy: list them.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Only an admin may do this. Remedy: ask an admin.
    #[error("only an admin of the group may do this")]
    NotAdmin,
    /// The account is not (or no longer) a member who may act. Remedy: none without a new invite.
    #[error("not an active member of this group: {0}")]
    NotMember(&'static str),
    /// The group would be left without an admin. Remedy: promote somebody first.
    #[error("the group would be left without an admin")]
    LastAdmin,
    /// The protocol forbids this to anybody. Remedy: as the reason says.
    #[error("not allowed: {0}")]
    NotAllowed(&'static str),
    /// An earlier commit of ours is unresolved. Remedy: confirm or discard it (`pending()`).
    #[error("an earlier commit of this group is still pending: confirm or discard it first")]
    CommitPending,
    /// Commits of others came just now, and another one may still win. Remedy: try again after so many milliseconds.
    #[error("the group is settling: try again in {millis} ms")]
    Settling {
        /// The time to wait.
        millis: u64,
    },
    /// A removed member, or a demoted admin, is back because another branch won. Remedy: remove or demote them again,
    /// or say that it is well (`accept_members()`).
    #[error("the group is contested: a removal or demotion was undone")]
    Contested,
    /// The commit is not pending any more: another one won, or it was discarded. Remedy: do the operation again. (An automatic
    /// one that a relay has may win yet, and is done by itself where it is needed.)
    #[error("this commit is no longer pending")]
    CommitLost,
    /// The client of an invitee cannot be in this group, or that of a member on whom more requirements are to be put.
    /// Remedy: another KeyPackage, or another group; a member updates the client, or is removed.
    #[error("a client does not fit into the group: {reason}")]
    IncompatibleMember {
        /// The check that failed.
        reason: &'static str,
        /// Rule id of protocol/key-packages.md A2, or B5 for members.
        rule: &'static str,
        /// The accounts of these clients.
        who: Vec<PublicKey>,
    },
    /// An event would be over `Config::max_event_bytes`. Remedy: invite fewer members at once, write less, or raise
    /// the limit if the relays allow it.
    #[error("the event would take {size} bytes, the limit is {limit}")]
    GroupTooLarge {
        /// Bytes of the event.
        size: u64,
        /// `Config::max_event_bytes`.
        limit: u64,
    },
    /// The state of that epoch is not retained any more. Remedy: none.
    #[error("the state of that epoch is no longer retained")]
    EpochUnavailable,
    /// State that the group needs was lost from storage. Remedy: be re-invited, or restore a backup.
    #[error("the group's state is damaged: {0}")]
    Unrecoverable(&'static str),
    /// The group got a commit of this account that this database did not make: the account goes on in another copy of it,
    /// for instance a restored backup. Remedy: use that copy, or be re-invited.
    #[error(
        "this account seems to run elsewhere: a commit of it is not in this database; go on with the other copy"
    )]
    RunsElsewhere,
    /// The outbox has as many events as it takes. Remedy: let it empty, or cancel events that are not needed.
    #[error("the outbox is full: {limit} events wait to be published")]
    OutboxFull {
        /// Most events that it takes.
        limit: u64,
    },
    /// A file is over a limit. Remedy: send a smaller one, or raise `Config::max_media_bytes`.
    #[error("the file is too large: {actual} {what}, the limit is {limit}")]
    MediaTooLarge {
        /// The things that are counted.
        what: &'static str,
        /// Most that is taken.
        limit: u64,
        /// The actual size or number.
        actual: u64,
    },
    /// A file does not match its message, or a picture does not match its group. Remedy: fetch it from another place.
    #[error("the file is corrupt: {0}")]
    MediaCorrupt(&'static str),
    /// A file was encrypted for another epoch of the group than the present one, or before a restart: nobody could open
    /// it. Remedy: encrypt it again, and upload that.
    #[error("the file was encrypted for another epoch: encrypt it again")]
    MediaStale,
    /// A file cannot be sent or opened. Remedy: as the reason says.
    #[error("{0}")]
    Media(&'static str),
    /// The database keeps no account keys. Remedy: open it with the account's keys.
    #[error("the database keeps no account keys: open it with them")]
    KeysMissing,
    /// The database belongs to another account. Remedy: open it with that account's keys.
    #[error("the database belongs to another account")]
    WrongAccount,
    /// Opening the database failed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing the database failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An operation on the whole database failed; the data from before still stands.
    #[error(transparent)]
    Vault(VaultError),
    /// The database was restored from a backup, and our leaf in this group has not been renewed since: the copy that was
    /// backed up could have used its next message keys. Remedy: `self_update` and `confirm`.
    #[error("this group was restored from a backup: renew its keys before sending")]
    SelfUpdateRequired,
    /// A bug of this crate. Remedy: report it with the text.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

fn limit_text(limit: Option<u64>, actual: Option<u64>) -> String {
    match (limit, actual) {
        (Some(limit), Some(actual)) => format!(" (limit {limit}, got {actual})"),
        (Some(limit), None) => format!(" (limit {limit})"),
        _ => String::new(),
    }
}

impl Error {
    /// An argument that is wrong in kind, not in size.
    pub(crate) fn input(field: &'static str, problem: &'static str) -> Self {
        Self::InvalidInput { field, problem, limit: None, actual: None }
    }

    /// An argument over its limit.
    pub(crate) fn too_large(field: &'static str, limit: usize, actual: usize) -> Self {
        Self::InvalidInput {
            field,
            problem: "too large",
            limit: Some(limit as u64),
            actual: Some(actual as u64),
        }
    }

    /// An argument of which there must be at least one.
    pub(crate) fn empty(field: &'static str, problem: &'static str) -> Self {
        Self::InvalidInput { field, problem, limit: Some(1), actual: Some(0) }
    }

    /// A wire error in something the *caller* gave.
    pub(crate) fn from_argument(field: &'static str, error: WireError) -> Self {
        match error.measured() {
            Some((limit, actual)) => Self::too_large(field, limit, actual),
            None => Self::input(field, "not valid"),
        }
    }

    /// A step that cannot fail unless this crate or OpenMLS has a bug.
    pub(crate) fn bug<E>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |_| Self::Internal(what)
    }
}
