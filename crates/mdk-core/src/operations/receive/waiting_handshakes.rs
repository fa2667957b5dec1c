//! Handshakes that waited, tried on the states that came since.

use mdk_store::{CommitStatus, GroupStatus, InputClass, InputRow, InputState, NodeRow};
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::fork_choice::settling::beyond;
use crate::mls::decode;
use crate::mls::replay::Edge;
use crate::model::error::Result;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::model::state_id::Auth;
use crate::state_store::handshakes_tried;
use crate::state_store::handshakes_tried::proposals_on;

impl Ctx<'_> {
    /// After a pass, or a restart: what waits is tried on every retained state that it was not tried on yet.
    pub(crate) fn look_again(&mut self, id: &GroupId) -> Result<()> {
        let row = self.groups().current_row(id)?;
        let inputs = self.tx.input_heads(id)?;
        if inputs.iter().all(|i| i.state != mdk_store::InputState::Waiting) {
            return Ok(());
        }
        if membership::is_over(row.status) || self.groups().publishing(&row)? {
            return Ok(());
        }
        for node in self.tx.states(id)?.iter() {
            let proposals = handshakes_tried::proposals_on(&inputs, &node.authenticator);
            let open = |i| self.memory.tried.is_open(i, node, proposals, self.call.now_millis);
            if inputs.iter().any(open) {
                self.effects.fresh.push((id.clone(), node.authenticator));
            }
        }
        Ok(())
    }

    /// What a timer wakes: leaves to be answered, commits to be judged again.
    pub(crate) fn wake_inputs(&mut self) -> Result<()> {
        let due = self.tx.due_inputs(self.call.now_millis)?;
        let mut leaves: Vec<GroupId> = Vec::new();
        for input in due {
            if input.class == mdk_store::InputClass::Commit {
                self.judge_again(&input)?;
            } else if !leaves.contains(&input.group) {
                leaves.push(input.group);
            }
        }
        for id in leaves {
            self.answer_leaves(&id)?;
        }
        Ok(())
    }

    /// Tries what waits for a state on a state that is new, or that a proposal was made on. True when something moved.
    pub(crate) fn place_waiting(&mut self, id: &GroupId, auth: &Auth) -> Result<bool> {
        let mut moved = false;
        for class in [InputClass::Proposal, InputClass::Commit] {
            let states = self.tx.states(id)?;
            let Some(node) = states.get(auth) else { return Ok(moved) };
            let mut waiting = self.tx.input_heads(id)?;
            let (proposals, now) = (proposals_on(&waiting, auth), self.call.now_millis);
            waiting
                .retain(|i| i.class == class && self.memory.tried.is_open(i, node, proposals, now));
            // rule: E3-4 in the order of their digests, whatever came first
            waiting.sort_by_key(|i| i.content_id);
            for head in waiting {
                // (what another one has changed meanwhile is tried as it is now)
                let Some(input) = self.tx.input(id, &head.content_id)? else { continue };
                if input.state == InputState::Waiting {
                    moved |= self.try_input(&input, node)?;
                }
            }
        }
        Ok(moved)
    }

    /// Inputs that a timer wakes: commits that could not be judged.
    pub(crate) fn judge_again(&mut self, input: &InputRow) -> Result<()> {
        let nodes = self.tx.nodes(&input.group)?;
        let node = nodes.into_iter().find(|n| Some(n.authenticator) == input.parent_auth);
        match node {
            Some(node) => self.try_input(input, &node).map(|_| ()),
            None => Ok(self.tx.drop_input(&input.group, &input.content_id)?),
        }
    }

    fn try_input(&mut self, input: &InputRow, node: &NodeRow) -> Result<bool> {
        let id = input.group.clone();
        let row = self.groups().current_row(&id)?;
        if matches!(row.status, GroupStatus::Unrecoverable | GroupStatus::Disbanded) {
            return Ok(false);
        }
        if input.class == InputClass::Commit
            && beyond(&row.pass, input.epoch, self.records.input.batching)
        {
            return Ok(false);
        }
        let Ok(message) = decode::decode(&input.bytes) else {
            self.tx.drop_input(&id, &input.content_id)?;
            return Ok(true);
        };
        let opened = Opened::from_input(row, input, node.authenticator);
        let on_tip = node.authenticator == opened.row.authenticator;
        let verdict = self.guarded(|ctx| match input.class {
            InputClass::Proposal if on_tip => ctx.apply_proposal(opened, message),
            InputClass::Proposal => ctx.place_proposal(&opened, &message),
            InputClass::Commit => match ctx.tx.pending_by_digest(&id, &input.content_id)? {
                Some(own) if own.status == CommitStatus::Discarded => ctx.place_own(&opened, &own),
                _ if on_tip => ctx.apply_commit(opened, message),
                _ => match ctx.copies().try_edge(&opened, message.clone(), node)? {
                    Edge::Elsewhere => {
                        ctx.not_there(&opened, node.authenticator);
                        Ok(Verdict::Deferred(DeferredReason::MissingParent))
                    }
                    Edge::Missing => Ok(Verdict::Deferred(DeferredReason::MissingParent)),
                    Edge::Wait(reason) => ctx.wait_on(&opened, node, input.epoch, reason),
                    Edge::OwnLost => ctx.handshakes().own_lost(&opened, node, input.epoch),
                    Edge::Made(made) => ctx.add_candidate(&opened, *made),
                },
            },
        })?;
        match verdict {
            Ok(Verdict::Deferred(reason)) if reason != DeferredReason::Rival => Ok(false),
            Ok(_) => {
                // A proposal that was verified stays as an input; a commit is a state now, and may be kept as such.
                let left = self.tx.input(&id, &input.content_id)?;
                if left
                    .is_some_and(|i| i.class == InputClass::Commit && i.state != InputState::Placed)
                {
                    self.tx.drop_input(&id, &input.content_id)?;
                }
                Ok(true)
            }
            Err(_) => {
                self.tx.drop_input(&id, &input.content_id)?;
                Ok(true)
            }
        }
    }
}
