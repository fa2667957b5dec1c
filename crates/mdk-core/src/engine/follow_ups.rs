//! What one thing makes due elsewhere, worked off until nothing is due. The only place that knows which operation does it.

use mdk_wire::Event;

use crate::ctx::Ctx;
use crate::model::error::Result;
use crate::model::follow_up::{FollowUp, Published};

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
        while self.effects.follow_ups.first().is_some_and(wanted) {
            if let Some(next) = self.effects.follow_ups.pop_first() {
                self.follow(next, due)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, next: FollowUp, due: Due) -> Result<()> {
        match next {
            FollowUp::SettleOwnCommit(id, Published::There) => self.confirm(id).map(|_| ()),
            FollowUp::SettleOwnCommit(id, Published::Nowhere) => self.discard(id),
            FollowUp::FollowBranch(id, tip) => self.follow_branch(&id, &tip),
            FollowUp::LimitBranches(id) => self.limit_rivals(&id),
            FollowUp::RenewLeave(id) => self.renew_leave(&id),
            FollowUp::ReleaseWelcomes(id) => self.invite_again(&id),
            FollowUp::DisbandAgain(id) => self.disband_again(&id),
            FollowUp::AnswerLeaves(id) => self.answer_leaves(&id),
            FollowUp::WorkOffRemovals(id) => self.work_off_removals(&id),
            FollowUp::TakeUpWelcomes => self.take_up_welcomes(due),
            FollowUp::TryHandshakes(id) => self.look_again(&id),
            FollowUp::RetryBuffered(id) => self.retry_held(&id),
            FollowUp::EndHold(id, tip) => self.close_unless_moved(&id, tip),
            FollowUp::CloseIfDue(id) => self.close_due(&id),
        }
    }

    /// Takes up Welcomes that waited for what has gone.
    fn take_up_welcomes(&mut self, due: Due) -> Result<()> {
        for held in std::mem::take(&mut self.effects.welcomes) {
            if let Ok(event) = Event::from_stored_json(held.event_json.as_bytes()) {
                let _ = self.attempt(event, due)?;
            }
        }
        Ok(())
    }
}
