//! Finding the state that a handshake message was made on, when it is not the tip.

use mdk_store::{CommitStatus, GroupStatus, InputClass, InputRow, InputState, NodeRow, PendingRow};
use mdk_wire::GroupId;
use openmls::prelude::ProtocolMessage;

use super::branch::{Auth, away};
use super::replay::Edge;
use super::tried::{Vain, proposals_on};
use super::{base_for_rival, beyond, touch};
use crate::ctx::Ctx;
use crate::error::Result;
use crate::event_log::Stored;
use crate::halt::Halt;
use crate::inbound::classify;
use crate::inbound::open::Opened;
use crate::outcome::{DeferredReason, Verdict};

/// When a commit that the clock forbids to judge is tried again, in milliseconds.
pub(super) const JUDGE_AGAIN: u64 = 600_000;

impl Ctx<'_, '_> {
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
        let live = |n: &NodeRow| n.authenticator == tip && !crate::group::is_out(opened.row.status);
        // (where we are out there is no state to lose)
        let out = crate::group::is_out(opened.row.status);
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
        nodes.retain(|n| !self.cache.tried.is_elsewhere(opened.content_id, n.authenticator));
        for node in &nodes {
            match self.try_edge(opened, message.clone(), node)? {
                Edge::Elsewhere => self.not_there(opened, node.authenticator),
                Edge::Missing => {}
                Edge::Wait(reason) => return self.wait_on(opened, node, epoch, reason),
                Edge::OwnLost => return self.own_lost(opened, node, epoch),
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
    fn hold_there(
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
        self.keep_input(opened, class, epoch, place, reason)
    }

    fn not_there(&mut self, opened: &Opened, state: Auth) {
        self.cache.tried.note(opened.content_id, state, Vain::Elsewhere);
    }

    /// A commit whose state is known, but which lacks something else.
    pub(crate) fn wait_on(
        &mut self,
        opened: &Opened,
        node: &NodeRow,
        epoch: u64,
        reason: DeferredReason,
    ) -> Result<Verdict, Halt> {
        let due = (reason == DeferredReason::CannotJudge)
            .then(|| self.now_millis.saturating_add(JUDGE_AGAIN));
        let parent = Some(node.authenticator);
        if reason == DeferredReason::CannotJudge {
            self.tell_unjudged(opened, node)?;
        }
        if reason == DeferredReason::MissingParent {
            let inputs = self.tx.input_heads(&opened.row.id)?;
            let lacks = Vain::Lacks(proposals_on(&inputs, &node.authenticator));
            self.cache.tried.note(opened.content_id, node.authenticator, lacks);
        }
        self.keep_input(
            opened,
            InputClass::Commit,
            epoch,
            (InputState::Waiting, parent, due),
            reason,
        )
    }

    // rule: F1-12 who still stands before a commit that nobody may judge any more when it is tried again is told, once
    /// No verdict on the group: any member can send such a commit, and a clock that is wrong makes one. But if the others
    /// took it in time, this member cannot follow them, and learns it from nothing else.
    fn tell_unjudged(&mut self, opened: &Opened, node: &NodeRow) -> Result<(), Halt> {
        let id = &opened.row.id;
        let tried = self.tx.input(id, &opened.content_id)?.map(|input| input.received_at);
        let again = tried.is_some_and(|at| at.saturating_add(JUDGE_AGAIN / 1000) <= self.now());
        if again && self.current_row(id)?.authenticator == node.authenticator {
            let subject = [&b"unjudged"[..], &node.authenticator].concat();
            self.emit(id, &subject, &Stored::CannotFollow { epoch: node.epoch })?;
        }
        Ok(())
    }

    /// A commit of ours that was made where we have no memory of it (an older copy of the database).
    pub(crate) fn own_lost(
        &mut self,
        opened: &Opened,
        node: &NodeRow,
        epoch: u64,
    ) -> Result<Verdict, Halt> {
        let now = self.now_millis;
        self.edit_row(&opened.row.id, |row| touch(&mut row.pass, row.epoch, now))?;
        let parent = Some(node.authenticator);
        let reason = DeferredReason::CannotJudge;
        self.keep_input(
            opened,
            InputClass::Commit,
            epoch,
            (InputState::Verified, parent, None),
            reason,
        )
    }

    /// Our own commit that we had given up and that a relay has after all.
    pub(crate) fn place_own(
        &mut self,
        opened: &Opened,
        pending: &PendingRow,
    ) -> Result<Verdict, Halt> {
        debug_assert!(pending.status == CommitStatus::Discarded);
        let nodes = self.tx.nodes(&opened.row.id)?;
        let Some(parent) = nodes.iter().find(|n| n.authenticator == pending.source_auth) else {
            let epoch = pending.source_epoch;
            return self.hold_input(opened, InputClass::Commit, epoch, DeferredReason::CannotJudge);
        };
        match self.own_edge(opened, parent, &pending.group_state)? {
            Edge::Made(made) => {
                self.done(opened)?;
                self.tx.drop_input(&opened.row.id, &opened.content_id)?;
                self.add_rival(*made)
            }
            _ => self.own_lost(opened, parent, pending.source_epoch),
        }
    }

    /// A state beside the followed branch. (rule: E3-2)
    fn add_candidate(&mut self, opened: &Opened, node: NodeRow) -> Result<Verdict, Halt> {
        self.done(opened)?;
        self.tx.drop_input(&opened.row.id, &opened.content_id)?;
        if self.is_surplus(&node)? {
            // (and keeps no pass open)
            return Ok(Verdict::Deferred(DeferredReason::Rival));
        }
        if let Some(parent) = node.parent {
            self.keep_commit(opened, node.epoch.saturating_sub(1), parent)?;
        }
        self.add_rival(node)
    }

    /// As [`Ctx::add_candidate`], when nothing has to be noted about what led there.
    pub(crate) fn add_rival(&mut self, node: NodeRow) -> Result<Verdict, Halt> {
        let id = node.group.clone();
        self.tx.put_route(&node.nostr_group_id, &id, node.epoch)?;
        self.cache.rerouted = true;
        self.tx.put_node(&node)?;
        self.note_put_out(&node)?;
        let (now, epoch, auth) = (self.now_millis, node.epoch, node.authenticator);
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
        self.cache.undecided.entry(id.clone()).or_default().rival = now;
        self.fresh.push((id.clone(), auth));
        // Nothing competes with a commit on the tip.
        if node.parent == Some(row.authenticator) && !crate::group::is_out(row.status) {
            let nodes = self.tx.nodes(&id)?;
            if let Some(at) = nodes.iter().position(|n| n.authenticator == auth) {
                self.switch(&id, &nodes, &[at])?;
            }
            self.retry_held(&id)?;
            return Ok(Verdict::Applied);
        }
        self.limit_rivals(&id)?;
        self.retry_held(&id)?;
        Ok(Verdict::Deferred(DeferredReason::Rival))
    }

    /// A proposal that was not made on the tip. (rule: D2-9)
    pub(crate) fn place_proposal(
        &mut self,
        opened: &Opened,
        message: &ProtocolMessage,
    ) -> Result<Verdict, Halt> {
        let epoch = message.epoch().as_u64();
        let id = opened.row.id.clone();
        let states = self.tx.states(&id)?;
        let mut nodes: Vec<&NodeRow> =
            states.iter().filter(|n| n.authenticator == opened.opener).collect();
        nodes.retain(|n| n.epoch == epoch && !n.removed);
        nodes.retain(|n| !self.cache.tried.is_elsewhere(opened.content_id, n.authenticator));
        for node in nodes {
            let proposed = self.try_proposal(&id, opened.content_id, message.clone(), node)?;
            let Some(proposed) = proposed else { continue };
            let mut input = opened.input(InputClass::Proposal, epoch, self.now());
            input.state = InputState::Verified;
            input.sender = proposed.sender;
            input.parent_auth = Some(node.authenticator);
            if !self.keep_proposal(&input)? {
                return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
            }
            debug_assert!(proposed.view.sender.is_some() || proposed.sender.is_none());
            self.done(opened)?;
            self.fresh.push((id.clone(), node.authenticator));
            self.retry_held(&id)?;
            // It has no effect of its own here; a commit of its state may refer to it.
            return Ok(Verdict::Deferred(DeferredReason::Rival));
        }
        self.hold_there(opened, InputClass::Proposal, epoch, DeferredReason::MissingParent)
    }

    /// Tries what waits for a state on a state that is new, or that a proposal was made on. True when something moved.
    pub(crate) fn place_waiting(&mut self, id: &GroupId, auth: &Auth) -> Result<bool> {
        let mut moved = false;
        for class in [InputClass::Proposal, InputClass::Commit] {
            let states = self.tx.states(id)?;
            let Some(node) = states.get(auth) else { return Ok(moved) };
            let mut waiting = self.tx.input_heads(id)?;
            let (proposals, now) = (proposals_on(&waiting, auth), self.now_millis);
            waiting
                .retain(|i| i.class == class && self.cache.tried.is_open(i, node, proposals, now));
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
        let row = self.current_row(&id)?;
        if matches!(row.status, GroupStatus::Unrecoverable | GroupStatus::Disbanded) {
            return Ok(false);
        }
        if input.class == InputClass::Commit && beyond(&row.pass, input.epoch, self.batching) {
            return Ok(false);
        }
        let Ok(message) = classify::decode(&input.bytes) else {
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
                _ => match ctx.try_edge(&opened, message.clone(), node)? {
                    Edge::Elsewhere => {
                        ctx.not_there(&opened, node.authenticator);
                        Ok(Verdict::Deferred(DeferredReason::MissingParent))
                    }
                    Edge::Missing => Ok(Verdict::Deferred(DeferredReason::MissingParent)),
                    Edge::Wait(reason) => ctx.wait_on(&opened, node, input.epoch, reason),
                    Edge::OwnLost => ctx.own_lost(&opened, node, input.epoch),
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
