//! Follow-ups are worked off here until nothing is due. This is the only place that knows which operation does it.
//! Windows in which branches compete are closed here, when their time has come.

use mdk_store::GroupStatus;
use mdk_wire::{Event, GroupId};

use crate::engine::ctx::Ctx;
use crate::model::error::Result;
use crate::model::follow_up::{FollowUp, Published};
use crate::model::limits::MAX_PASSES;
use crate::model::membership;
use crate::model::state_id::Auth;
use crate::operations::receive::retry_handshakes;
use crate::operations::settle_branches::{self, limit, switch};
use crate::operations::{
    answer_leaves, confirm_commit, disband_group, discard_commit, hold_removals, leave_group,
    release_welcomes,
};

/// The extent to which due work is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Follow-ups that belong to the event that made them due. The call that reads on sees to the rest.
    AtOnce,
    All,
}

impl Ctx<'_> {
    /// Does the due work, the smallest first, until nothing is due.
    pub(crate) fn work_off(&mut self, due: Due) -> Result<()> {
        let wanted = |next: &FollowUp| due == Due::All || next.is_at_once();
        while self.work.records.effects.follow_ups.first().is_some_and(wanted) {
            if let Some(next) = self.work.records.effects.follow_ups.pop_first() {
                self.follow(next, due)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, next: FollowUp, due: Due) -> Result<()> {
        match next {
            FollowUp::SettleOwnCommit(id, Published::There) => {
                confirm_commit::confirm(&mut self.work, id).map(|_| ())
            }
            FollowUp::SettleOwnCommit(id, Published::Nowhere) => {
                discard_commit::discard(&mut self.work, id)
            }
            FollowUp::FollowBranch(id, tip) => switch::follow_branch(&mut self.work, &id, &tip),
            FollowUp::LimitBranches(id) => limit::limit_rivals(&mut self.work.records, &id),
            FollowUp::RenewLeave(id) => leave_group::renew_leave(&mut self.work, &id),
            FollowUp::ReleaseWelcomes(id) => {
                release_welcomes::invite_again(&mut self.work.records, self.work.identity, &id)
            }
            FollowUp::DisbandAgain(id) => disband_group::disband_again(&mut self.work, &id),
            FollowUp::AnswerLeaves(id) => answer_leaves::answer_leaves(&mut self.work, &id),
            FollowUp::WorkOffRemovals(id) => hold_removals::work_off_removals(&mut self.work, &id),
            FollowUp::TakeUpWelcomes => self.take_up_welcomes(due),
            FollowUp::TryHandshakes(id) => {
                retry_handshakes::look_again(&mut self.work.records, &id)
            }
            FollowUp::RetryBuffered(id) => self.retry_held(&id),
            FollowUp::EndHold(id, tip) => self.close_unless_moved(&id, tip),
            FollowUp::CloseIfDue(id) => self.close_due(&id),
        }
    }

    /// Takes up Welcomes that waited for something that has gone.
    fn take_up_welcomes(&mut self, due: Due) -> Result<()> {
        for held in std::mem::take(&mut self.work.records.effects.welcomes) {
            if let Ok(event) = Event::from_stored_json(held.event_json.as_bytes()) {
                let _ = self.attempt(event, due)?;
            }
        }
        Ok(())
    }
}

/// Windows in which branches compete.
impl Ctx<'_> {
    /// Closes the pass if its time has come.
    pub(crate) fn close_due(&mut self, id: &GroupId) -> Result<()> {
        // An event that had waited may have opened another one, which is over too where no quiet is waited for.
        for _ in 0..MAX_PASSES {
            let pass = self.work.records.groups().pass_of(id)?;
            // A batch is one input.
            if !self.work.records.settling().is_due(id, &pass)
                || self.work.records.input.batching
                    && pass.relevant == self.work.records.call.now_millis
            {
                break;
            }
            self.close_pass(id)?;
            if self.work.records.groups().pass_of(id)? == pass {
                break;
            }
        }
        Ok(())
    }

    // rule: E5-3 while a pass is open no commit of ours is made
    /// A choice that time has decided is made before a commit of ours.
    pub(crate) fn close_to_commit(&mut self, id: &GroupId) -> Result<()> {
        let row = self.work.records.tx.group(id)?;
        let active = row.is_some_and(|row| membership::require_active(&row).is_ok());
        if active { self.close_due(id) } else { Ok(()) }
    }

    /// Applies what time has decided before a message of ours is said, if the message would wait for it.
    pub(crate) fn close_to_speak(&mut self, id: &GroupId) -> Result<()> {
        let Some(row) = self.work.records.tx.group(id)? else { return Ok(()) };
        let waits = membership::require_active(&row).is_ok()
            && self.work.records.speaking().waits_to_speak(&row).is_some();
        if waits { self.close_due(id) } else { Ok(()) }
    }

    /// Closes passes until none is open: held events may open another.
    pub(crate) fn close_all(&mut self, id: &GroupId) -> Result<()> {
        // Each pass advances the group or is the last one; the number bounds a loop that cannot happen.
        for _ in 0..MAX_PASSES {
            let row = self.work.records.groups().current_row(id)?;
            if row.pass.opened == 0 || self.work.records.groups().publishing(&row)? {
                break;
            }
            self.close_pass(id)?;
        }
        Ok(())
    }

    /// Ends a pass that was opened for held events, if there was nothing in it to choose.
    pub(crate) fn close_unless_moved(&mut self, id: &GroupId, tip: Auth) -> Result<()> {
        let row = self.work.records.groups().current_row(id)?;
        let still = row.authenticator == tip && row.pass.contested == 0;
        if still && row.status != GroupStatus::Disbanding { self.close_pass(id) } else { Ok(()) }
    }

    /// Chooses, applies the choice, lets go of the states that were kept for it, and takes up events that had waited
    /// for it.
    fn close_pass(&mut self, id: &GroupId) -> Result<()> {
        if !settle_branches::may_close(self.work.records.groups(), id)? {
            return Ok(());
        }
        settle_branches::decide_pass(&mut self.work, id)?;
        // (members that the winner has added are invited before the commits are let go)
        self.work_off(Due::AtOnce)?;
        let goes_on = settle_branches::end_pass(&mut self.work.records, id)?;
        self.work_off(Due::AtOnce)?;
        if goes_on { self.retry_held(id) } else { Ok(()) }
    }
}
