//! The meaning of an OpenMLS error for a message.

use mdk_wire::PublicKey;
use openmls::framing::errors::{MessageDecryptionError, SecretTreeError};
use openmls::group::{
    ProcessMessageError, ProposalValidationError, StageCommitError, ValidationError,
};
use openmls::key_packages::errors::KeyPackageVerifyError;
use openmls::prelude::ProcessedMessage;
use openmls::treesync::errors::LeafNodeValidationError;

use crate::mls::capabilities;
use crate::model::error::Error;
use crate::model::outcome::{DeferredReason, RejectCode, Rejection};

/// The reason for which OpenMLS did not process a message.
pub(crate) enum Refusal {
    /// It was made in another state of its epoch, or of another epoch.
    Elsewhere,
    /// Our own commit without the state to realise it.
    OwnLost,
    /// Wait, for this reason.
    Wait(DeferredReason),
    /// Never.
    Reject(Rejection),
    /// Ours.
    Fail(Error),
}

pub(crate) fn sender_account(processed: &ProcessedMessage) -> Option<PublicKey> {
    capabilities::account_of(processed.credential())
}

/// Judges why OpenMLS refuses a message. Only after the membership tag has verified is a failure final.
pub(crate) fn refusal<E>(error: &ProcessMessageError<E>) -> Refusal {
    let reject = |code, rule, reason| Refusal::Reject(Rejection::new(code, rule, reason));
    match error {
        ProcessMessageError::ValidationError(error) => match error {
            // Before the tag has verified nothing is known.
            ValidationError::InvalidMembershipTag | ValidationError::WrongEpoch => {
                Refusal::Elsewhere
            }
            ValidationError::NoPastEpochData => {
                reject(RejectCode::StaleEpoch, "D2-3", "its epoch is no longer retained")
            }
            // rule: D2-5 MLS validation, signatures included
            ValidationError::InvalidSignature | ValidationError::InvalidLeafNodeSignature => {
                reject(RejectCode::InvalidSignature, "D2-5", "a signature does not verify")
            }
            // An added KeyPackage is compared with the clock already here (rule: D4-7f).
            ValidationError::KeyPackageVerifyError(KeyPackageVerifyError::LifetimeError(_)) => {
                Refusal::Wait(DeferredReason::CannotJudge)
            }
            // rule: D2-7 too far ahead in its sender's ratchet: those before it may still come
            ValidationError::UnableToDecrypt(MessageDecryptionError::SecretTreeError(
                SecretTreeError::TooDistantInTheFuture,
            )) => Refusal::Wait(DeferredReason::FutureGeneration),
            // rule: D2-8 further behind than the tolerance: its key is gone
            ValidationError::UnableToDecrypt(MessageDecryptionError::SecretTreeError(
                SecretTreeError::TooDistantInThePast,
            )) => reject(
                RejectCode::StaleEpoch,
                "D2-8",
                "too far behind later messages of its sender",
            ),
            // rule: D2-6 a message under the group's key decrypts
            ValidationError::UnableToDecrypt(_) => {
                reject(RejectCode::InvalidEncoding, "D2-6", "the message does not decrypt")
            }
            // rule: D4-0 nobody from outside proposes, commits or speaks
            ValidationError::UnauthorizedExternalSender
            | ValidationError::NoExternalSendersExtension
            | ValidationError::NonMemberApplicationMessage
            | ValidationError::UnknownMember => {
                reject(RejectCode::AuthorizationFailed, "D4-0", "the sender is not a member")
            }
            _ => reject(RejectCode::InvalidEncoding, "D2-5", "MLS validation fails"),
        },
        ProcessMessageError::InvalidCommit(error) => stage_refusal(error),
        ProcessMessageError::UnauthorizedExternalApplicationMessage
        | ProcessMessageError::UnauthorizedExternalCommitMessage => {
            reject(RejectCode::AuthorizationFailed, "D4-0", "the sender is not a member")
        }
        ProcessMessageError::StorageError(_) => {
            Refusal::Fail(Error::Internal("storage of a message"))
        }
        ProcessMessageError::LibraryError(_) => {
            reject(RejectCode::InvalidEncoding, "D2-5", "MLS validation fails")
        }
        _ => reject(RejectCode::InvalidEncoding, "D2-5", "MLS validation fails"),
    }
}

pub(crate) fn stage_refusal(error: &StageCommitError) -> Refusal {
    let reject = |code, rule, reason| Refusal::Reject(Rejection::new(code, rule, reason));
    match error {
        StageCommitError::MissingProposal => Refusal::Wait(DeferredReason::MissingParent),
        StageCommitError::OwnCommitMismatch => Refusal::OwnLost,
        // rule: D4-7f OpenMLS compares an added KeyPackage's lifetime with the clock of today: no verdict
        StageCommitError::ProposalValidationError(ProposalValidationError::LeafNodeValidation(
            LeafNodeValidationError::Lifetime(_),
        ))
        | StageCommitError::LeafNodeValidation(LeafNodeValidationError::Lifetime(_)) => {
            Refusal::Wait(DeferredReason::CannotJudge)
        }
        StageCommitError::ProposalValidationError(
            ProposalValidationError::InsufficientCapabilities,
        )
        | StageCommitError::ProposalValidationError(
            ProposalValidationError::UnsupportedProposalType,
        ) => reject(
            RejectCode::UnsupportedRequiredFeature,
            "D4-7",
            "a leaf does not support the proposal",
        ),
        // rule: D4-7 the path, the new leaves and the confirmation tag verify
        StageCommitError::PathLeafNodeVerificationFailure
        | StageCommitError::ConfirmationTagMismatch => reject(
            RejectCode::InvalidSignature,
            "D4-7",
            "the path or the confirmation tag does not verify",
        ),
        _ => reject(RejectCode::InvalidEncoding, "D4-5", "the commit does not apply"),
    }
}
