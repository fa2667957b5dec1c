//! What one thing makes due elsewhere, worked off until nothing is due. The only place that knows which operation does it.

use mdk_wire::Event;

use crate::engine::ctx::Ctx;
use crate::model::error::Result;
use crate::model::follow_up::{FollowUp, Published};
use crate::operations::receive::waiting_handshakes;
use crate::operations::settle_branches::{limit, switch};
use crate::operations::{
    answer_leaves, confirm_commit, disband_group, discard_commit, leave_group, release_welcomes,
    removals,
};

/// How far what is due is worked off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// What belongs to the event that made it due. The rest is seen to by whoever reads on.
    AtOnce,
    All,
}

impl Ctx<'_> {
    /// Does what is due, the smallest first, until nothing is.
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
            FollowUp::WorkOffRemovals(id) => removals::work_off_removals(&mut self.work, &id),
            FollowUp::TakeUpWelcomes => self.take_up_welcomes(due),
            FollowUp::TryHandshakes(id) => {
                waiting_handshakes::look_again(&mut self.work.records, &id)
            }
            FollowUp::RetryBuffered(id) => self.retry_held(&id),
            FollowUp::EndHold(id, tip) => self.close_unless_moved(&id, tip),
            FollowUp::CloseIfDue(id) => self.close_due(&id),
        }
    }

    /// Takes up Welcomes that waited for what has gone.
    fn take_up_welcomes(&mut self, due: Due) -> Result<()> {
        for held in std::mem::take(&mut self.work.records.effects.welcomes) {
            if let Ok(event) = Event::from_stored_json(held.event_json.as_bytes()) {
                let _ = self.attempt(event, due)?;
            }
        }
        Ok(())
    }
}
