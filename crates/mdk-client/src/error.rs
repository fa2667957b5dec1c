//! What can go wrong between the engine and the relays. Text of a relay is passed on, never interpreted as ours.

/// Result of this crate.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// Errors of the client, sorted by who must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The engine refused. Remedy: as its own error says.
    #[error(transparent)]
    Engine(#[from] mdk_core::Error),
    /// The engine was closed. Remedy: open the account again.
    #[error("the account is closed")]
    EngineGone,
    /// A relay URL is not ws:// or wss:// with a host. Remedy: correct it.
    #[error("invalid relay URL: {0}")]
    InvalidRelayUrl(&'static str),
    /// An address that somebody else named must not be dialled. Remedy: none; name it yourself if you trust it.
    #[error("this relay address is not dialled: {0}")]
    AddressRefused(&'static str),
    /// There are as many connections to relays as there may be. Remedy: as it says, or wait until one is given up.
    #[error("no room for another connection: {0}")]
    NoRoom(&'static str),
    /// No connection to this relay now. Remedy: wait; the client goes on trying.
    #[error("not connected")]
    NotConnected,
    /// The relay did not answer in time. Remedy: wait, or choose another relay.
    #[error("the relay did not answer in time")]
    NoAnswer,
    /// The relay closed the request. Remedy: as its reason says.
    #[error("the relay refused the request")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// Every relay refused for good, with what each said. Remedy: other relays, or what they ask for.
    #[error("no relay accepted it")]
    NoRelayAccepted {
        /// Relay URL and its words.
        reasons: Vec<(String, String)>,
    },
    /// A file server's URL cannot be one. Remedy: correct it.
    #[error("invalid server URL: {0}")]
    InvalidServerUrl(&'static str),
    /// No server took a blob, or none has it; with what each said. Remedy: other servers, or another time.
    #[error("{problem}")]
    MediaUnavailable {
        /// Which of the two.
        problem: &'static str,
        /// Server and its words, or ours.
        reasons: Vec<(String, String)>,
    },
    /// Every server that has the blob sends more than is read. Remedy: a larger `max_media_bytes`.
    #[error("the file is larger than {limit} bytes")]
    MediaTooLarge {
        /// Largest blob that is read, bytes.
        limit: u64,
    },
    /// What every server sent for the blob is not what it is named after. Remedy: ask for it to be sent again.
    #[error("what the servers sent is not the file")]
    MediaCorrupt,
    /// None of the account's relays has a usable KeyPackage of this account. Remedy: ask its owner to come online.
    #[error("no usable KeyPackage was found")]
    KeyPackageNotFound,
    /// The commit did not become true: another one won. Remedy: look at the group and try again.
    #[error("another commit won; nothing was changed")]
    CommitLost,
    /// The client was closed while the call waited. Remedy: none.
    #[error("the client is closed")]
    Closed,
    /// A bug of ours. Remedy: report it.
    #[error("internal error: {0}")]
    Internal(&'static str),
}
