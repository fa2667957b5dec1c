//! The errors of the relay.

/// Result of this crate.
pub type Result<T, E = RelayError> = std::result::Result<T, E>;

/// Errors of the local relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The local relay could not be started. Remedy: choose another port.
    #[error("the local relay cannot listen on this port")]
    PortTaken,
}
