//! A commit beside the followed branch.

use mdk_store::NodeRow;

use crate::ctx::Ctx;
use crate::fork_choice::settling::{base_for_rival, touch};
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::state_store::seen;

impl Ctx<'_> {
    /// As [`Ctx::add_candidate`], when nothing has to be noted about what led there.
    pub(crate) fn add_rival(&mut self, node: NodeRow) -> Result<Verdict, Halt> {
        let id = node.group.clone();
        self.tx.put_route(&node.nostr_group_id, &id, node.epoch)?;
        self.memory.rerouted = true;
        self.tx.put_node(&node)?;
        self.note_put_out(&node)?;
        let (now, epoch, auth) = (self.call.now_millis, node.epoch, node.authenticator);
        let row = self.edit_row(&id, |row| {
            let base = base_for_rival(row);
            touch(&mut row.pass, row.epoch, now);
            row.pass.base = base;
            // (what we were invited to has left our own branch before either began)
            let from = node.parent.map_or(row.join_epoch.min(epoch), |_| epoch);
            row.pass.contested = match row.pass.contested {
                0 => from,
                other => other.min(from),
            };
        })?;
        self.memory.undecided.entry(id.clone()).or_default().rival = now;
        self.effects.new_states.push((id.clone(), auth));
        self.effects.follow(FollowUp::RetryBuffered(id.clone()));
        // Nothing competes with a commit on the tip.
        if node.parent == Some(row.authenticator) && !membership::is_out(row.status) {
            self.effects.follow(FollowUp::FollowBranch(id, auth));
            return Ok(Verdict::Applied);
        }
        self.effects.follow(FollowUp::LimitBranches(id));
        Ok(Verdict::Deferred(DeferredReason::Rival))
    }

    /// A state beside the followed branch. (rule: E3-2)
    pub(crate) fn add_candidate(
        &mut self,
        opened: &Opened,
        node: NodeRow,
    ) -> Result<Verdict, Halt> {
        seen::done(self.tx, opened)?;
        self.tx.drop_input(&opened.row.id, &opened.content_id)?;
        if self.states().is_surplus(&node)? {
            // (and keeps no pass open)
            return Ok(Verdict::Deferred(DeferredReason::Rival));
        }
        if let Some(parent) = node.parent {
            self.states().keep_commit(opened, node.epoch.saturating_sub(1), parent)?;
        }
        self.add_rival(node)
    }
}
