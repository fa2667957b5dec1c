//! Leaves of others: whose turn it is to commit them, and when.

use mdk_store::{GroupStatus, InputClass, InputRow, InputState};
use mdk_wire::GroupId;

use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::mls::{leave_proposal, own_commit};
use crate::model::error::{Error, Result};

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
