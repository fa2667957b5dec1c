//! The reasons for which the processing of an incoming event stopped without taking effect.

use mdk_store::StoreError;
use mdk_wire::{Broken, WireError};

use crate::model::error::Error;
use crate::model::outcome::{RejectCode, Rejection};

/// Returned through `?` by everything that works on peers' input. The caller rolls the savepoint back, so a
/// rejected event leaves no trace.
pub(crate) enum Halt {
    /// The peer's fault: becomes an outcome.
    Rejected(Rejection),
    /// Ours or the machine's: becomes an error of the call.
    Failed(Error),
}

impl From<Rejection> for Halt {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// A rejection by a rule.
pub(crate) const fn reject(code: RejectCode, rule: &'static str, reason: &'static str) -> Halt {
    Halt::Rejected(Rejection::new(code, rule, reason))
}

fn what(error: &WireError) -> &'static str {
    match error {
        WireError::InvalidEncoding(what)
        | WireError::InvalidSignature(what)
        | WireError::TransportRejected(what) => what,
        WireError::WrongRecipient => "not addressed to us",
        WireError::DecryptionFailed(_) => "it does not decrypt",
        WireError::InvalidKey(_) => "a public key is not on the curve",
        _ => "over a size limit",
    }
}

impl From<Broken> for Rejection {
    fn from(Broken { rule, error }: Broken) -> Self {
        let code = match error.category() {
            _ if matches!(error, WireError::WrongRecipient) => RejectCode::WrongRecipient,
            mdk_wire::Category::InvalidSignature => RejectCode::InvalidSignature,
            mdk_wire::Category::TransportRejected | mdk_wire::Category::TooLarge => {
                RejectCode::TransportRejected
            }
            _ => RejectCode::InvalidEncoding,
        };
        Self::new(code, rule, what(&error))
    }
}

impl From<Broken> for Halt {
    fn from(broken: Broken) -> Self {
        Self::Rejected(broken.into())
    }
}
