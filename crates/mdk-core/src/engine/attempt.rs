//! One event, or one of several: a refused one leaves nothing behind. Buffered events are tried until no more open.

use mdk_store::{InputClass, InputRow, InputState, NodeRow};
use mdk_wire::{Event, GroupId, kind};

use crate::engine::ctx::{Ctx, Undo};
use crate::engine::follow_ups::Due;
use crate::model::error::{Error, Result};
use crate::model::halt::Halt;
use crate::model::outcome::{DeferredReason, RejectCode, Rejection, Verdict};
use crate::model::state_id::Auth;
use crate::operations::receive::retry_handshakes;
use crate::operations::retry_buffered::Openable;
use crate::operations::{join, receive, retry_buffered};
use crate::state_store::{buffered_events, buffered_memory, key_package_plans};

impl Ctx<'_> {
    /// Processes one verified event of any kind, and its follow-ups as far as `due`.
    pub(crate) fn process_event(&mut self, event: Event, due: Due) -> Result<Verdict, Halt> {
        match event.kind() {
            kind::GROUP_MESSAGE => self.process_group_message(event, due),
            kind::GIFT_WRAP => {
                let verdict = join::process_gift_wrap(&mut self.work, &event)?;
                self.work_off(due)?;
                Ok(verdict)
            }
            // Our own KeyPackage coming back from a relay.
            kind::KEY_PACKAGE if event.pubkey() == self.work.identity.account() => {
                key_package_plans::promote_key_package(
                    self.work.records.tx,
                    self.work.records.call,
                    &event.id(),
                )?;
                Ok(Verdict::Duplicate)
            }
            _ => Err(Rejection::new(
                RejectCode::TransportRejected,
                "2.4-11", // rule: 2.4-11
                "the engine takes kinds 445 and 1059",
            )
            .into()),
        }
    }

    fn process_group_message(&mut self, event: Event, due: Due) -> Result<Verdict, Halt> {
        let Some(mut sealed) = receive::read_envelope(self.work.records.tx, event)? else {
            return Ok(Verdict::Duplicate);
        };
        let mut opened = None;
        for id in sealed.take_claims() {
            // An event that came after the end of a pass is no part of it. (Events that are taken up together are one input,
            // and are taken up before anything is let go, rule: F1-3.)
            if due == Due::All {
                self.close_due(&id)?;
            }
            opened = receive::open_in(&mut self.work.records, &id, &mut sealed)?;
            if opened.is_some() {
                break;
            }
        }
        let Some(opened) = opened else {
            return receive::keep_closed(&mut self.work.records, sealed);
        };
        let (id, content_id) = (opened.row.id.clone(), opened.content_id);
        let verdict = receive::receive(&mut self.work, opened, &sealed)?;
        self.work_off(due)?;
        Ok(receive::settled_verdict(self.work.records.tx, &id, &content_id, verdict)?)
    }

    /// Processes an event so that a rejection leaves nothing behind.
    pub(crate) fn attempt(
        &mut self,
        event: Event,
        due: Due,
    ) -> Result<std::result::Result<Verdict, Rejection>> {
        self.work.records.input.behind = None;
        let verdict = self.guarded(|ctx| ctx.process_event(event, due))?;
        if let (Err(_), Some((id, at))) = (&verdict, self.work.records.input.behind.take()) {
            self.work.records.gaps().report_behind(&id, at)?;
        }
        Ok(verdict)
    }

    /// Tries a handshake that waits on a state, so that a rejection leaves nothing behind. True when something moved.
    pub(crate) fn try_handshake(&mut self, input: &InputRow, node: &NodeRow) -> Result<bool> {
        let Some((opened, message)) =
            retry_handshakes::opened_from(&self.work.records, input, node)?
        else {
            return Ok(false);
        };
        let Some(message) = message else { return Ok(true) };
        let verdict = self.guarded(|ctx| {
            let verdict =
                retry_handshakes::receive_handshake(&mut ctx.work, opened, message, input, node)?;
            ctx.work_off(Due::AtOnce)?;
            Ok(verdict)
        })?;
        retry_handshakes::after_handshake(self.work.records.tx, input, verdict)
    }

    /// Does something so that a rejection leaves nothing behind.
    fn guarded(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<Verdict, Halt>,
    ) -> Result<std::result::Result<Verdict, Rejection>> {
        let mark = self.work.records.memory.rows.mark();
        let effects = self.work.records.effects.mark();
        let tx = self.work.records.tx;
        let written = tx.changes();
        let result = match self.undo {
            Undo::Savepoint => tx.savepoint(|_| f(self)),
            Undo::Unneeded | Undo::Needed => f(self),
        };
        match result {
            Ok(verdict) => {
                self.work.records.effects.merge(effects);
                Ok(Ok(verdict))
            }
            Err(halt) => {
                self.work.records.forget_since(mark);
                self.work.records.effects.undo_to(effects);
                match halt {
                    Halt::Rejected(_)
                        if self.undo != Undo::Savepoint && tx.changes() != written =>
                    {
                        self.undo = Undo::Needed;
                        Err(Error::Internal("an event has to be undone"))
                    }
                    Halt::Rejected(rejection) => Ok(Err(rejection)),
                    Halt::Failed(error) => Err(error),
                }
            }
        }
    }
}

/// Buffered events.
impl Ctx<'_> {
    // rule: D5-2 held input is tried again when the state changes
    /// Tries everything that waits for the group until a whole round changes nothing.
    ///
    /// Within a round, messages of an epoch go before the commit that would leave it (rule: F1-3), because each round
    /// runs against one tip: a commit that applies ends the round.
    pub(crate) fn retry_held(&mut self, id: &GroupId) -> Result<()> {
        if self.work.records.input.batching {
            self.drain.entry(id.clone()).or_default();
            return Ok(());
        }
        let own = self.work.records.effects.told.len();
        let due = std::mem::take(&mut self.work.records.effects.follow_ups);
        self.work.records.buffered().drop_old_held(id)?;
        self.retry_rounds(id)?;
        let effects = &mut self.work.records.effects;
        effects.told_later.extend(effects.told.drain(own.min(effects.told.len())..));
        // The rounds go on until nothing opens, and the caller that began them closes: their follow-ups are done.
        // (Follow-ups in another group are done with its next event, or tick.)
        self.work.records.effects.follow_ups = due;
        Ok(())
    }

    /// As `retry_held`, for the passing of time: mostly nothing has changed since, and nothing is read.
    pub(crate) fn retry_if_moved(&mut self, id: &GroupId) -> Result<()> {
        if self.has_moved(id)? { self.retry_held(id) } else { Ok(()) }
    }

    /// Whether a waiting event may have a new result since all of them were tried in vain.
    pub(crate) fn has_moved(&self, id: &GroupId) -> Result<bool> {
        let fresh = self.work.records.effects.new_states.iter().any(|(group, _)| group == id);
        Ok(fresh
            || buffered_memory::may_be_old(
                &self.work.records.memory.buffered,
                self.work.records.now(),
                id,
            )
            || !buffered_memory::is_idle(
                self.work.records.groups(),
                &self.work.records.memory.buffered,
                id,
            )?)
    }

    fn retry_rounds(&mut self, id: &GroupId) -> Result<()> {
        loop {
            let mut progress = false;
            let of_group = |(group, _): &(GroupId, Auth)| group == id;
            while let Some(at) = self.work.records.effects.new_states.iter().position(of_group) {
                let (_, auth) = self.work.records.effects.new_states.remove(at);
                progress |= self.try_waiting(id, &auth)?;
            }
            let holders = buffered_events::holders(self.work.records.tx, id)?;
            if !progress && buffered_events::nothing_is_held(self.work.records.tx, &holders)? {
                return Ok(());
            }
            let mut drain = self.drain.remove(id).unwrap_or_default();
            let mut waits = self.work.records.memory.buffered.waits.remove(id).unwrap_or_default();
            let sorted = retry_buffered::sort_waiting(
                &mut self.work.records,
                id,
                &mut drain,
                &mut waits,
                &holders,
            );
            self.drain.insert(id.clone(), drain);
            self.work.records.memory.buffered.waits.insert(id.clone(), waits);
            let Openable { others, commits, welcomes } = sorted?;
            // (there may be room for an invite, whatever became of this group)
            let idle = welcomes.is_empty();
            // rule: B4-15 taken up when the membership that they waited for has ended
            for event in welcomes {
                progress |= self.retry_one(event)?.is_none();
            }
            let (settled, mut listens) = self.retry_said(id, others)?;
            progress |= settled;
            for event in commits {
                if self.retry_one(event)?.is_none() {
                    progress = true;
                    break;
                }
                listens = true;
            }
            if !progress {
                let idle = idle && self.work.records.tx.group(id)?.is_some();
                return if idle {
                    self.work.records.waiting().note_idle(id, listens)
                } else {
                    Ok(())
                };
            }
        }
    }

    /// Tries inputs that wait for a state on a state that is new, or that got a proposal. Returns true when something
    /// moved.
    fn try_waiting(&mut self, id: &GroupId, auth: &Auth) -> Result<bool> {
        let mut moved = false;
        for class in [InputClass::Proposal, InputClass::Commit] {
            let Some((node, waiting)) =
                retry_handshakes::waiting_for(&self.work.records, id, auth, class)?
            else {
                return Ok(moved);
            };
            for head in waiting {
                // (an input that another one has changed meanwhile is tried as it is now)
                let Some(input) = self.work.records.tx.input(id, &head)? else { continue };
                if input.state == InputState::Waiting {
                    moved |= self.try_handshake(&input, &node)?;
                }
            }
        }
        Ok(moved)
    }

    /// Messages and proposals that open now. Gives whether one was settled, and whether one was not.
    fn retry_said(&mut self, id: &GroupId, events: Vec<(u64, Event)>) -> Result<(bool, bool)> {
        let (mut settled, mut listens) = (false, false);
        let mut far: Vec<(u32, u64)> = Vec::new();
        for (event, place) in self.in_order(events)? {
            let event_id = event.id();
            // A later message of the sender is farther ahead still.
            let beyond = place.as_ref().is_some_and(|place| far.contains(&place.sender()));
            let waits = if beyond { None } else { Some(self.retry_one(event)?) };
            match (waits, place) {
                (Some(None), place) => {
                    settled = true;
                    if let (Some(waits), Some(place)) =
                        (self.work.records.memory.buffered.waits.get_mut(id), place)
                    {
                        waits.heard(&place);
                    }
                }
                (None | Some(Some(DeferredReason::FutureGeneration)), Some(place)) => {
                    far.push(place.sender());
                    self.work
                        .records
                        .memory
                        .buffered
                        .waits
                        .entry(id.clone())
                        .or_default()
                        .is_far(event_id, place);
                }
                _ => listens = true,
            }
        }
        Ok((settled, listens))
    }

    /// One held event in its own savepoint. Gives why it waits on; `None`: it is settled, or kept in another form.
    fn retry_one(&mut self, event: Event) -> Result<Option<DeferredReason>> {
        let id = event.id();
        self.work.records.input.kept_raw = false;
        let source = std::mem::take(&mut self.work.records.input.source);
        let verdict = self.attempt(event, Due::AtOnce);
        self.work.records.input.source = source;
        match verdict? {
            Ok(Verdict::Deferred(reason)) if self.work.records.input.kept_raw => Ok(Some(reason)),
            Ok(_) | Err(_) => {
                self.work.records.tx.unhold(&id)?;
                Ok(None)
            }
        }
    }
}
