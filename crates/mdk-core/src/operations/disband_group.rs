//! The end of a group.

use mdk_store::{CommitStatus, GroupStatus, Seen};
use mdk_wire::GroupId;
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::Lifecycle;

use crate::ctx::Ctx;
use crate::mls::components::admin_policy;
use crate::mls::stage_commit::Plan;
use crate::model::commit_purpose::PURPOSE_DISBAND;
use crate::model::error::{Error, Result};
use crate::model::values::Pending;
use crate::state_store::retained_states;

impl Ctx<'_> {
    /// A disband that no branch has beaten is final. (rule: C5-1)
    pub(crate) fn finish_disbanding(&mut self, id: &GroupId) -> Result<()> {
        let tip = retained_states::tip(self.groups(), id)?;
        // (it may be another group's that shares the routing id)
        self.waiting().rehome_held(id)?;
        let (row, dropped) = (self.groups().current_row(id)?, self.tx.held(id)?);
        self.gaps().report_dropped(&row, dropped)?;
        let row = self.edit_row(id, |row| row.status = GroupStatus::Disbanded)?;
        self.end(&row, tip.committer, tip.commit)?;
        self.memory.rows.forget(id);
        Ok(())
    }

    // rule: C5-3 whoever ended the group on a branch that lost still wants it to end
    /// Makes a disband of ours that lost anew on the winner, as long as we are an admin there.
    pub(crate) fn disband_again(&mut self, id: &GroupId) -> Result<()> {
        let row = self.groups().current_row(id)?;
        let me = self.me();
        if row.pass.contested == 0 || row.status != GroupStatus::Active {
            return Ok(());
        }
        for node in self.tx.nodes(id)?.iter().filter(|n| !n.canonical && n.committer == Some(me)) {
            let Some(commit) = node.commit else { continue };
            let Some(own) = self.tx.pending_by_digest(id, &commit)? else { continue };
            if own.purpose != PURPOSE_DISBAND || own.status != CommitStatus::Confirmed {
                continue;
            }
            // Once per commit that lost. It was seen, and is not placed again.
            self.tx.set_commit_status(own.id, CommitStatus::Discarded)?;
            self.tx.mark_seen(commit.as_bytes(), Seen::OwnEcho)?;
            // (Who is no admin there cannot end it: the withdrawal of the end, and the admins of the winner, were told.)
            if row.admins.contains(&me) && self.tx.pending_of(id)?.is_none() {
                let (mark, tx) = (self.memory.rows.mark(), self.tx);
                match tx.savepoint(|_| self.prepare_disband(id, true)) {
                    Ok(again) => self.effects.publish.extend(again.event),
                    Err(Error::Store(error)) => return Err(error.into()),
                    // What others did to the group must stop neither this call nor the work for other groups.
                    Err(_) => {
                        self.forget_since(mark);
                        self.memory.rows.forget(id);
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
    pub(crate) fn disband(&mut self, id: &GroupId) -> Result<Pending> {
        self.prepare_disband(id, false)
    }

    pub(crate) fn prepare_disband(&mut self, id: &GroupId, automatic: bool) -> Result<Pending> {
        let group = self.take_for_commit(id)?;
        self.require_admin(&group)?;
        let lifecycle =
            Lifecycle::Disbanded.encode().map_err(Error::bug("encoding the lifecycle"))?;
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
                admin_policy(vec![self.me()])?,
                (component_id::LIFECYCLE, Some(lifecycle)),
            ],
            automatic,
            disbands: true,
            ..Plan::default()
        };
        self.prepare(group, &plan)
    }
}
