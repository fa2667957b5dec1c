//! Why a server did not do what it was asked for.

use crate::dial::DialError;
use crate::error::ClientError;

/// Why one server did not do it.
#[derive(Debug)]
pub(super) enum Failure {
    /// More bytes than are read.
    TooLarge,
    /// Other bytes than were asked for.
    Corrupt,
    /// Anything else.
    Words(String),
}

impl Failure {
    pub(super) fn words_of(words: &str) -> Self {
        Self::Words(words.to_owned())
    }

    /// An address that is not dialled, or not one at all.
    pub(super) fn address(error: ClientError) -> Self {
        match error {
            ClientError::AddressRefused(why) => {
                Self::Words(format!("this address is not dialled: {why}"))
            }
            other => Self::Words(other.to_string()),
        }
    }

    /// The words that are reported for the server.
    pub(super) fn words(&self) -> String {
        match self {
            Self::TooLarge => "it sends more than is read".to_owned(),
            Self::Corrupt => "what it sends is not the file".to_owned(),
            Self::Words(words) => words.clone(),
        }
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Self::Words(error.to_string())
    }
}
