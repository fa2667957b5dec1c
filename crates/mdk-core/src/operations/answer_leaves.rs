//! Leaves of others: whose turn it is to commit them, and when.

use mdk_store::{GroupStatus, InputClass, InputRow, InputState};
use mdk_wire::GroupId;
use openmls::prelude::{ProcessedMessageContent, Proposal, Sender};

use crate::mls::decode;
use crate::mls::leave_proposal;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::own_commit;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::{Error, Result};

/// Wait per rank before the next member answers a leave, in milliseconds. The lowest remaining leaf answers
/// at once; the others step in only if it does not, so that one leave does not make a race of commits.
const ANSWER_DELAY_MILLIS: u64 = 500;

// rule: 2.7-4 the lowest remaining leaf answers a leave at once, the others only if it does not
/// When this member should answer the leave of `leaving`, in Unix milliseconds.
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

/// Answers every verified leave of the current epoch whose time has come, in one commit.
pub(crate) fn answer_leaves(work: &mut Work<'_>, id: &GroupId) -> Result<()> {
    let Some(row) = work.records.tx.group(id)? else { return Ok(()) };
    if row.status != GroupStatus::Active || work.records.settling().is_settling(id)? {
        return Ok(());
    }
    let leaves: Vec<InputRow> = work
        .records
        .tx
        .inputs_on(id, InputClass::Proposal, InputState::Verified, &row.authenticator)?
        .into_iter()
        .filter(|i| i.due_at.is_some())
        .collect();
    if !leaves.iter().any(|i| i.due_at <= Some(work.records.call.now_millis)) {
        return Ok(());
    }
    let (mark, replies, tx) =
        (work.records.memory.rows.mark(), work.records.effects.publish.len(), work.records.tx);
    match tx.savepoint(|_| answer(work, id, &leaves)) {
        Err(Error::Store(error)) => Err(error.into()),
        // A peer's leave must stop neither this call nor the work for other groups. It stays due.
        Err(_) => {
            work.records.forget_since(mark);
            work.records.memory.rows.forget(id);
            work.records.effects.publish.truncate(replies);
            tracing::warn!("a leave could not be answered");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn answer(work: &mut Work<'_>, id: &GroupId, leaves: &[InputRow]) -> Result<()> {
    let mut group = work.take(id)?;
    if group.mls.pending_commit().is_some() {
        work.put(group);
        return Ok(());
    }
    if leave_proposal::store_leaves(work, &mut group, leaves)? == 0 {
        work.put(group);
        return Ok(());
    }
    let plan = Plan { by_reference: true, automatic: true, ..Plan::default() };
    let pending = own_commit::prepare(work, group, &plan)?;
    work.records.effects.publish.extend(pending.event);
    Ok(())
}
