//! The end of a group.

use mdk_store::{CommitStatus, GroupStatus, Seen};
use mdk_wire::GroupId;
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::Lifecycle;

use crate::mls::components::admin_policy;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::mls::{own_commit, stage_commit};
use crate::model::commit_purpose::PURPOSE_DISBAND;
use crate::model::error::{Error, Result};
use crate::model::values::Pending;

// rule: C5-3 whoever ended the group on a branch that lost still wants it to end
/// Makes a disband of ours that lost anew on the winner, as long as we are an admin there.
pub(crate) fn disband_again(work: &mut Work<'_>, id: &GroupId) -> Result<()> {
    let row = work.records.groups().current_row(id)?;
    let me = work.records.me();
    if row.pass.contested == 0 || row.status != GroupStatus::Active {
        return Ok(());
    }
    for node in
        work.records.tx.nodes(id)?.iter().filter(|n| !n.canonical && n.committer == Some(me))
    {
        let Some(commit) = node.commit else { continue };
        let Some(own) = work.records.tx.pending_by_digest(id, &commit)? else { continue };
        if own.purpose != PURPOSE_DISBAND || own.status != CommitStatus::Confirmed {
            continue;
        }
        // Once per commit that lost. It was seen, and is not placed again.
        work.records.tx.set_commit_status(own.id, CommitStatus::Discarded)?;
        work.records.tx.mark_seen(commit.as_bytes(), Seen::OwnEcho)?;
        // (A member who is no admin there cannot end it: the withdrawal of the end, and the admins of the winner, were
        // told.)
        if row.admins.contains(&me) && work.records.tx.pending_of(id)?.is_none() {
            let (mark, tx) = (work.records.memory.rows.mark(), work.records.tx);
            match tx.savepoint(|_| prepare_disband(work, id, true)) {
                Ok(again) => work.records.effects.publish.extend(again.event),
                Err(Error::Store(error)) => return Err(error.into()),
                // Changes by others must stop neither this call nor the work for other groups.
                Err(_) => {
                    work.records.forget_since(mark);
                    work.records.memory.rows.forget(id);
                    tracing::warn!("a group could not be ended again");
                }
            }
            return Ok(());
        }
    }
    Ok(())
}

/// Ends the group for everybody: one commit with the lifecycle, the admin list and every other leaf, and
/// nothing else (protocol/leaving.md C5).
pub(crate) fn disband(work: &mut Work<'_>, id: &GroupId) -> Result<Pending> {
    prepare_disband(work, id, false)
}

pub(crate) fn prepare_disband(
    work: &mut Work<'_>,
    id: &GroupId,
    automatic: bool,
) -> Result<Pending> {
    let group = own_commit::take_for_commit(work, id)?;
    stage_commit::require_admin(work.records.call, &group)?;
    let lifecycle = Lifecycle::Disbanded.encode().map_err(Error::bug("encoding the lifecycle"))?;
    let own = group.mls.own_leaf_index();
    let plan = Plan {
        removes: group
            .mls
            .members()
            .map(|m| m.index)
            .filter(|i| *i != own)
            .map(|i| i.u32())
            .collect(),
        components: vec![
            admin_policy(vec![work.records.me()])?,
            (component_id::LIFECYCLE, Some(lifecycle)),
        ],
        automatic,
        disbands: true,
        ..Plan::default()
    };
    own_commit::prepare(work, group, &plan)
}
