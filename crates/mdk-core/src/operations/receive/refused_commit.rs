//! The result of a refused handshake: refused for ever, or for now.

use mdk_store::InputClass;
use openmls::prelude::ProtocolMessage;
use openmls_traits::OpenMlsProvider;

use crate::mls::refusal::Refusal;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::Verdict;
use crate::operations::receive::{locate_parent, refuse};
use crate::state_store::retained_states;

/// As `refuse`, for a commit that claims to be made on the tip.
pub(crate) fn refuse_commit(
    work: &mut Work<'_>,
    opened: &Opened,
    message: &ProtocolMessage,
    refusal: Refusal,
) -> Result<Verdict, Halt> {
    let id = &opened.row.id;
    // Proposals loaded for a commit that does not apply do not stay in the OpenMLS store.
    let mut group = work.take(id)?;
    let provider = work.provider();
    group.mls.clear_pending_proposals(provider.storage())?;
    work.put(group);
    let epoch = opened.row.epoch;
    match refusal {
        Refusal::Elsewhere => {
            locate_parent::place_commit(&mut work.records, work.crypto, opened, message, true)
        }
        // rule: D5-3 a commit waits for the proposals that it refers to
        Refusal::Wait(reason) => {
            let tip = retained_states::tip(work.records.groups(), id)?;
            refuse::wait_on(&mut work.records, opened, &tip, epoch, reason)
        }
        Refusal::OwnLost => {
            let tip = retained_states::tip(work.records.groups(), id)?;
            work.records.handshakes().own_lost(opened, &tip, epoch)
        }
        refusal => {
            refuse::refuse(&mut work.records, opened, epoch, Some(InputClass::Commit), refusal)
        }
    }
}
