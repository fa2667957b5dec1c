//! Proposals that a commit names.

use mdk_store::{InputClass, InputState, StoreError, Tx};
use mdk_wire::GroupId;
use openmls::group::MlsGroup;
use openmls::prelude::{ProcessedMessage, ProcessedMessageContent, StagedCommit};
use openmls_traits::OpenMlsProvider;
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider};

use crate::mls::refusal::{Refusal, stage_refusal};
use crate::mls::{decode, settings};
use crate::model::error::Result;
use crate::model::outcome::{RejectCode, Rejection};

/// Proposals that were verified on this very state, for commits that reference them.
pub(crate) fn load_proposals(
    tx: &Tx<'_>,
    provider: &impl OpenMlsProvider<
        StorageProvider: StorageProvider<CURRENT_VERSION, Error = StoreError>,
    >,
    mls: &mut MlsGroup,
    id: &GroupId,
    state: &[u8; 32],
) -> Result<()> {
    for input in tx.inputs_on(id, InputClass::Proposal, InputState::Verified, state)? {
        let Ok(message) = decode::decode(&input.bytes) else { continue };
        let Ok(processed) = mls.process_message(provider, message) else { continue };
        if let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() {
            mls.store_pending_proposal(provider.storage(), *proposal)?;
        }
    }
    Ok(())
}

/// The staged commit; AppDataUpdate operations are interpreted as full replacements.
pub(crate) fn resolve(
    provider: &impl OpenMlsProvider,
    mls: &mut MlsGroup,
    processed: ProcessedMessage,
) -> Result<Box<StagedCommit>, Refusal> {
    match processed.into_content() {
        ProcessedMessageContent::StagedCommitMessage(staged) => Ok(staged),
        ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
            let updates = settings::component_updates(unresolved.app_data_update_proposals())
                .map_err(Refusal::Reject)?;
            mls.stage_app_data_commit(provider, *unresolved, updates)
                .map(Box::new)
                .map_err(|error| stage_refusal(&error))
        }
        _ => Err(Refusal::Reject(Rejection::new(
            RejectCode::InvalidEncoding,
            "D1-7",
            "a commit was expected",
        ))),
    }
}
