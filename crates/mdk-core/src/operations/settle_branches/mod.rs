//! Members that see the same events in different orders end in the same state.
//!
//! A commit on the tip applies at once. A commit on any other retained state is tried on a copy and becomes a
//! *candidate*: a state beside the followed branch, with its key, so that what is said there can be read and counted.
//! The first commit of either sort opens a *pass*; when nothing relevant has come for a while, or after a while in any
//! case, the pass closes: the tips are compared (`fork_choice::branch_order`), and if another one wins, the group moves there in one
//! transaction (`switch`). Until then no commit of ours is made.
//!
//! All of it is in the rows: what is compared are the retained states and who spoke in them, so nothing has to be
//! frozen, and a restart at any point finds the same choice. Why applying at once comes to what waiting comes to: the
//! choice depends on the tree and the witnesses only, and the tree on which commits came, not on which one is followed
//! meanwhile. The epoch that eligibility is counted from is that of the opening of the pass, for both.

pub(crate) mod decide;
pub(crate) mod limit;
pub(crate) mod switch;

use mdk_store::{GroupStatus, PassRow};
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::model::error::{Error, Result};
use crate::model::limits::{MAX_PASSES, MINUTE};
use crate::model::membership;
use crate::model::state_id::Auth;
use crate::state_store::retained_states;

impl Ctx<'_> {
    // rule: E5-3 while a pass is open no commit of ours is made
    /// Lets a commit of ours through, or says how long it has to wait.
    pub(crate) fn require_settled(&mut self, id: &GroupId) -> Result<()> {
        let row = self.groups().current_row(id)?;
        if self.settling().is_due(id, &row.pass) {
            self.close_pass(id)?;
            return Ok(());
        }
        match self.settling().deadline(id, &row.pass) {
            Some(at) => Err(Error::Settling { millis: at.saturating_sub(self.call.now_millis) }),
            None => Ok(()),
        }
    }

    /// Closes the pass if its time has come.
    pub(crate) fn close_due(&mut self, id: &GroupId) -> Result<()> {
        // What is taken up together is one input, and is taken up before anything is let go (rule: F1-3).
        if self.retrying {
            return Ok(());
        }
        // What had waited may have opened another, which is over too where no quiet is waited for.
        for _ in 0..MAX_PASSES {
            let pass = self.groups().pass_of(id)?;
            // A batch is one input.
            if !self.settling().is_due(id, &pass)
                || self.records.input.batching && pass.relevant == self.call.now_millis
            {
                break;
            }
            self.close_pass(id)?;
            if self.groups().pass_of(id)? == pass {
                break;
            }
        }
        Ok(())
    }

    /// Ends a pass that was opened for what had been held, if there was nothing in it to choose.
    pub(crate) fn close_unless_moved(&mut self, id: &GroupId, auth: Auth) -> Result<()> {
        let row = self.groups().current_row(id)?;
        let still = row.authenticator == auth && row.pass.contested == 0;
        if still && row.status != GroupStatus::Disbanding { self.close_pass(id) } else { Ok(()) }
    }

    /// Chooses, applies the choice, and lets go of what was kept for it.
    pub(crate) fn close_pass(&mut self, id: &GroupId) -> Result<()> {
        let row = self.groups().current_row(id)?;
        // While a commit of the user's is being published, its parent stays where it is (C2-4).
        if row.pass.opened == 0
            || self.groups().publishing(&row)?
            || row.status == GroupStatus::Unrecoverable
        {
            return Ok(());
        }
        if row.pass.contested != 0 {
            self.decide(id, row.pass.base)?;
        } else if membership::is_out(row.status) {
            // (what was said before we were out and came since)
            self.branch_messages().sort_messages(id)?;
        }
        let horizon = |epoch| retained_states::horizon(epoch);
        let floor = horizon(self.groups().current_row(id)?.epoch);
        let mut row = self.groups().current_row(id)?;
        row.pass.floor = floor.max(row.pass.floor);
        let (floor, contested) = (row.pass.floor, self.states().prune(&row)?);
        if contested != 0 {
            self.limit_rivals(id)?;
        }
        let row = self.edit_row(id, |row| {
            row.pass = PassRow { opened: 0, relevant: 0, base: 0, floor, contested, ..row.pass };
        })?;
        if row.status == GroupStatus::Disbanding {
            return self.finish_disbanding(id);
        }
        self.check_own_lost(id)?;
        self.disband_again(id)?;
        self.answer_leaves(id)?;
        self.work_off_removals(id)?;
        self.look_again(id)?;
        self.retry_held(id)
    }

    /// Closes passes until none is open: what was held may open another.
    pub(crate) fn close_all(&mut self, id: &GroupId) -> Result<()> {
        // Each pass advances the group or is the last one; the number bounds what cannot happen.
        for _ in 0..MAX_PASSES {
            let row = self.groups().current_row(id)?;
            if row.pass.opened == 0 || self.groups().publishing(&row)? {
                break;
            }
            self.close_pass(id)?;
        }
        Ok(())
    }

    /// A commit of ours whose realisation is lost, on the state that we stand on: the others go where we cannot.
    fn check_own_lost(&mut self, id: &GroupId) -> Result<()> {
        let row = self.groups().current_row(id)?;
        let lost = self.tx.input_heads(id)?.iter().any(|i| {
            i.class == mdk_store::InputClass::Commit
                && i.state == mdk_store::InputState::Verified
                && i.parent_auth == Some(row.authenticator)
        });
        if lost { self.give_up(id, "own_commit_lost") } else { Ok(()) }
    }

    /// Preconditions of every commit by the user, before its group is taken (C1 step 1).
    pub(crate) fn ready_for_commit(&mut self, id: &GroupId) -> Result<()> {
        membership::require_active(&self.groups().current_row(id)?)?;
        self.require_settled(id)
    }

    /// rule: C3-1 (not while a commit of the user's is unresolved)
    // rule: C3-9 while branches compete what a client says waits: on the one that loses nobody would read it
    /// Not for a loser of an earlier choice, and in a minute not for longer than one choice takes: where they follow each
    /// other without end it is said on the branch that is followed.
    pub(crate) fn require_decided(&mut self, id: &GroupId) -> Result<()> {
        let row = self.groups().current_row(id)?;
        membership::require_active(&row)?;
        let now = self.call.now_millis;
        let config = self.call.config;
        let Some(known) = self.memory.undecided.get_mut(id) else { return Ok(()) };
        let open = row.pass.opened != 0 && known.rival >= row.pass.opened;
        if config.speak_undecided || !open {
            return Ok(());
        }
        let waited = now.checked_sub(known.silent).filter(|waited| *waited < MINUTE).unwrap_or(0);
        known.silent = now - waited;
        let left = config.settle_max_millis.saturating_sub(waited);
        match self.require_settled(id) {
            Err(Error::Settling { millis }) if left > 0 => {
                Err(Error::Settling { millis: millis.min(left) })
            }
            Err(Error::Settling { .. }) => Ok(()),
            decided => decided,
        }
    }
}
