//! Errors of the client and of the local relay, and the class that each is raised as. A test compares the variants with this file.

use mdk_client::ClientError;
use mdk_relay::RelayError;

use super::{Class, Detail, Raise};

impl From<ClientError> for Raise {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        let new = |class| Self::new(class, message);
        match error {
            ClientError::Engine(error) => error.into(),
            ClientError::EngineGone | ClientError::Closed => new(Class::Closed),
            ClientError::InvalidRelayUrl(_) => new(Class::InvalidRelayUrl).text("field", "relays"),
            ClientError::AddressRefused(_) => new(Class::AddressRefused),
            ClientError::NotConnected | ClientError::NoRoom(_) => new(Class::NotConnected),
            ClientError::NoAnswer => new(Class::NoAnswer),
            ClientError::Refused { reason } => {
                new(Class::RelayRefused).detail("reason", Detail::Owned(reason))
            }
            ClientError::NoRelayAccepted { reasons } => {
                new(Class::NoRelayAccepted).detail("reasons", Detail::Reasons(reasons))
            }
            ClientError::InvalidServerUrl(_) => new(Class::InvalidInput).text("field", "blossom"),
            ClientError::MediaUnavailable { reasons, .. } => {
                new(Class::MediaUnavailable).detail("reasons", Detail::Reasons(reasons))
            }
            ClientError::MediaTooLarge { limit } => {
                new(Class::MediaTooLarge).number("limit", Some(limit))
            }
            ClientError::MediaCorrupt => new(Class::MediaCorrupt),
            ClientError::KeyPackageNotFound => new(Class::KeyPackageNotFound),
            ClientError::CommitLost => new(Class::CommitLost),
            ClientError::Internal(_) => new(Class::InternalError),
            // The enum may grow; a test compares its variants with this file.
            _ => new(Class::InternalError),
        }
    }
}

impl From<RelayError> for Raise {
    fn from(error: RelayError) -> Self {
        let message = error.to_string();
        match error {
            RelayError::PortTaken => Self::new(Class::PortTaken, message),
            // The enum may grow; a test compares its variants with this file.
            _ => Self::new(Class::InternalError, message),
        }
    }
}
