//! The proposal to leave, ours and others'.

use std::collections::BTreeMap;

use mdk_store::{GroupRow, InputClass, InputRow, InputState, Seen, Tx};
use mdk_wire::{ContentId, Event, OsRandom, group_message};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{ProcessedMessageContent, Proposal, Sender};
use openmls_traits::OpenMlsProvider as _;

use crate::mls::decode;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::{Error, Result};

/// The MLS message that proposes our own removal.
pub(crate) fn self_remove(work: &Work<'_>, group: &mut LoadedGroup) -> Result<Vec<u8>> {
    let provider = work.provider();
    let proposal = group
        .mls
        .leave_group_via_self_remove(&provider, &work.identity.signer)
        .map_err(Error::bug("proposing SelfRemove"))?
        .tls_serialize_detached()
        .map_err(Error::bug("serialising SelfRemove"))?;
    // OpenMLS queues its own proposal, which would stop every later message and commit.
    group.mls.clear_pending_proposals(provider.storage())?;
    Ok(proposal)
}

/// Its event. Neither asks anything of us when it comes back.
pub(crate) fn seal_proposal(
    tx: &Tx<'_>,
    call: Call<'_>,
    row: &GroupRow,
    proposal: &[u8],
) -> Result<Event> {
    let event = group_message::seal(
        proposal,
        &row.event_key,
        &row.nostr_group_id,
        call.now_millis / 1000,
        None,
        &mut OsRandom,
    )
    .map_err(Error::bug("sealing a proposal"))?;
    tx.mark_seen(ContentId::of(proposal).as_bytes(), Seen::OwnEcho)?;
    tx.mark_seen(event.id().as_bytes(), Seen::OwnEcho)?;
    Ok(event)
}

/// Puts one proposal per leaving leaf, the lowest content id (rule: 2.7-5), into the OpenMLS store.
pub(crate) fn store_leaves(
    work: &mut Work<'_>,
    group: &mut LoadedGroup,
    leaves: &[InputRow],
) -> Result<usize> {
    let own = group.mls.own_leaf_index();
    let mut chosen: BTreeMap<u32, (&InputRow, Box<_>)> = BTreeMap::new();
    for input in leaves {
        let Ok(message) = decode::decode(&input.bytes) else { continue };
        let Ok(processed) = group.mls.process_message(&work.provider(), message) else {
            continue;
        };
        let Sender::Member(sender) = *processed.sender() else { continue };
        let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() else {
            continue;
        };
        if sender == own || !matches!(proposal.proposal(), Proposal::SelfRemove) {
            continue;
        }
        let lowest =
            chosen.get(&sender.u32()).is_none_or(|(kept, _)| input.content_id < kept.content_id);
        if lowest {
            chosen.insert(sender.u32(), (input, proposal));
        }
    }
    let count = chosen.len();
    let provider = work.provider();
    for (_, proposal) in chosen.into_values() {
        group.mls.store_pending_proposal(provider.storage(), *proposal)?;
    }
    Ok(count)
}

/// Wait per rank before the next member answers a leave, in milliseconds. The lowest remaining leaf answers
/// at once; the others step in only if it does not, so that one leave does not make a race of commits.
const ANSWER_DELAY_MILLIS: u64 = 500;

// rule: 2.7-4 the lowest remaining leaf answers a leave at once, the others only if it does not
/// The time at which this member should answer the leave of `leaving`, in Unix milliseconds.
pub(crate) fn answer_time(call: Call<'_>, group: &LoadedGroup, leaving: u32) -> u64 {
    let own = group.mls.own_leaf_index().u32();
    let rank = group
        .mls
        .members()
        .map(|m| m.index.u32())
        .filter(|leaf| *leaf != leaving && *leaf < own)
        .count() as u64;
    call.now_millis.saturating_add(rank.saturating_mul(ANSWER_DELAY_MILLIS))
}

/// Leaves that were asked for in the state that is followed now become ours to answer.
pub(crate) fn schedule_answers(work: &mut Work<'_>, group: &mut LoadedGroup) -> Result<()> {
    let me = work.records.me();
    let (class, state) = (InputClass::Proposal, InputState::Verified);
    for mut input in
        work.records.tx.inputs_on(&group.row.id, class, state, &group.row.authenticator)?
    {
        let here = input.due_at.is_none() && input.sender.is_some_and(|sender| sender != me);
        let Ok(message) = decode::decode(&input.bytes) else { continue };
        if !here {
            continue;
        }
        let Ok(processed) = group.mls.process_message(&work.provider(), message) else {
            continue;
        };
        let Sender::Member(leaf) = *processed.sender() else { continue };
        if let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content()
            && matches!(proposal.proposal(), Proposal::SelfRemove)
        {
            input.due_at = Some(answer_time(work.records.call, group, leaf.u32()));
            work.records.tx.put_input(&input, u32::MAX)?;
        }
    }
    Ok(())
}
