//! Finding the state that a handshake message was made on, when it is not the tip.

use mdk_store::{InputClass, InputState, NodeRow};
use openmls::prelude::ProtocolMessage;

use crate::ctx::Ctx;
use crate::fork_choice::state_tree::away;
use crate::mls::replay::Edge;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::limits::JUDGE_AGAIN;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::model::state_id::Auth;
use crate::state_store::handshakes_tried::Vain;
use crate::state_store::log_entry::Stored;

impl Ctx<'_> {
    /// A commit that the tip does not take: tried on the state whose key sealed it. (rule: E3-1)
    ///
    /// `tip_refused` says that the tip was tried and it was not made there.
    pub(crate) fn place_commit(
        &mut self,
        opened: &Opened,
        message: &ProtocolMessage,
        tip_refused: bool,
    ) -> Result<Verdict, Halt> {
        let epoch = message.epoch().as_u64();
        let id = opened.row.id.clone();
        let states = self.tx.states(&id)?;
        // (another invitation than the one we follow may lead to an epoch before that one)
        let began = states.iter().find(|n| n.canonical && n.parent.is_none()).map(|n| n.epoch);
        let away = away(&states).is_some_and(|away| away.contains(&epoch));
        let here = states.iter().filter(|n| n.epoch == epoch && !n.removed);
        let mut nodes: Vec<&NodeRow> = here.collect();
        let tip = opened.row.authenticator;
        // rule: E6-2 a state that must be there is not: nothing is chosen without it
        let live = |n: &NodeRow| n.authenticator == tip && !membership::is_out(opened.row.status);
        // (where we are out there is no state to lose)
        let out = membership::is_out(opened.row.status);
        let mut lost = epoch >= began.unwrap_or(0).max(opened.row.pass.floor)
            && epoch <= opened.row.epoch
            && !away
            && !(out && epoch == opened.row.epoch);
        for node in nodes.iter().filter(|n| n.canonical) {
            lost &= !live(node) && self.tx.node_state(&id, &node.authenticator)?.is_none();
        }
        if tip_refused {
            self.not_there(opened, tip);
            nodes.retain(|n| n.authenticator != tip);
        }
        // What is made on a state is sealed with its key. To try it on every rival of its epoch would make each of those that
        // sleep anew, and to try it on those that do not would let what came first decide.
        nodes.retain(|n| n.authenticator == opened.opener);
        nodes.retain(|n| !self.memory.tried.is_elsewhere(opened.content_id, n.authenticator));
        for node in &nodes {
            match self.try_edge(opened, message.clone(), node)? {
                Edge::Elsewhere => self.not_there(opened, node.authenticator),
                Edge::Missing => {}
                Edge::Wait(reason) => return self.wait_on(opened, node, epoch, reason),
                Edge::OwnLost => return self.handshakes().own_lost(opened, node, epoch),
                Edge::Made(made) => return self.add_candidate(opened, *made),
            }
        }
        if lost {
            let verdict =
                self.hold_there(opened, InputClass::Commit, epoch, DeferredReason::CannotJudge)?;
            self.give_up(&id, "retained_state_lost")?;
            return Ok(verdict);
        }
        self.hold_there(opened, InputClass::Commit, epoch, DeferredReason::MissingParent)
    }

    /// Keeps what the state whose key sealed it does not take, or not yet. What is known of it from another state stays.
    pub(crate) fn hold_there(
        &mut self,
        opened: &Opened,
        class: InputClass,
        epoch: u64,
        reason: DeferredReason,
    ) -> Result<Verdict, Halt> {
        if self.tx.input(&opened.row.id, &opened.content_id)?.is_some() {
            return Ok(Verdict::Deferred(reason));
        }
        let place = (InputState::Waiting, Some(opened.opener), None);
        self.handshakes().keep_input(opened, class, epoch, place, reason)
    }

    pub(crate) fn not_there(&mut self, opened: &Opened, state: Auth) {
        self.memory.tried.note(opened.content_id, state, Vain::Elsewhere);
    }

    // rule: F1-12 who still stands before a commit that nobody may judge any more when it is tried again is told, once
    /// No verdict on the group: any member can send such a commit, and a clock that is wrong makes one. But if the others
    /// took it in time, this member cannot follow them, and learns it from nothing else.
    pub(crate) fn tell_unjudged(&mut self, opened: &Opened, node: &NodeRow) -> Result<(), Halt> {
        let id = &opened.row.id;
        let tried = self.tx.input(id, &opened.content_id)?.map(|input| input.received_at);
        let again = tried.is_some_and(|at| at.saturating_add(JUDGE_AGAIN / 1000) <= self.now());
        if again && self.groups().current_row(id)?.authenticator == node.authenticator {
            let subject = [&b"unjudged"[..], &node.authenticator].concat();
            self.log().emit(id, &subject, &Stored::CannotFollow { epoch: node.epoch })?;
        }
        Ok(())
    }
}
