//! One event, or one of several: refused, it leaves nothing behind.

use mdk_store::{InputClass, InputRow, NodeRow};
use mdk_wire::{Event, kind};

use crate::engine::ctx::{Ctx, Undo};
use crate::engine::follow_ups::Due;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::outcome::{RejectCode, Rejection, Verdict};
use crate::operations::receive::waiting_handshakes;
use crate::operations::{join, receive};
use crate::state_store::key_package_plans;

impl Ctx<'_> {
    /// Processes one verified event of any kind, and what it makes due as far as `due`.
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
            // What came after the end of a pass is no part of it. (What is taken up together is one input, and is taken up
            // before anything is let go, rule: F1-3.)
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
            waiting_handshakes::opened_from(&self.work.records, input, node)?
        else {
            return Ok(false);
        };
        let Some(message) = message else { return Ok(true) };
        let verdict = self.guarded(|ctx| {
            let verdict =
                waiting_handshakes::receive_handshake(&mut ctx.work, opened, message, input, node)?;
            ctx.work_off(Due::AtOnce)?;
            Ok(verdict)
        })?;
        waiting_handshakes::after_handshake(self.work.records.tx, input, verdict)
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

    /// What a timer wakes: leaves to be answered, commits to be judged again.
    pub(crate) fn wake_inputs(&mut self) -> Result<()> {
        let due = self.work.records.tx.due_inputs(self.work.records.call.now_millis)?;
        let (commits, leaves): (Vec<InputRow>, Vec<InputRow>) =
            due.into_iter().partition(|input| input.class == InputClass::Commit);
        for input in commits {
            if let Some(node) = waiting_handshakes::parent_of(self.work.records.tx, &input)? {
                self.try_handshake(&input, &node)?;
                self.work_off(Due::All)?;
            }
        }
        let leaves = leaves.into_iter().map(|input| FollowUp::AnswerLeaves(input.group));
        self.work.records.effects.follow_ups.extend(leaves);
        self.work_off(Due::All)
    }
}
