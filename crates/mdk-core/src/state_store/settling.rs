//! What an open choice between branches allows us to make and to say.

use mdk_store::GroupRow;
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::model::error::{Error, Result};
use crate::model::limits::MINUTE;
use crate::model::membership;

impl Ctx<'_, '_> {
    /// Lets a commit of ours through, or says how long it has to wait. What was due was closed before, where it could be.
    pub(crate) fn check_settled(&self, id: &GroupId) -> Result<()> {
        let pass = self.current_row(id)?.pass;
        match self.deadline(id, &pass) {
            Some(at) if !self.is_due(id, &pass) => {
                Err(Error::Settling { millis: at.saturating_sub(self.now_millis) })
            }
            _ => Ok(()),
        }
    }

    /// rule: C3-1 (not while a commit of the user's is unresolved)
    // rule: C3-9 while branches compete what a client says waits: on the one that loses nobody would read it
    /// Lets a message of ours through, or says how long it has to wait: not for a loser of an earlier choice.
    pub(crate) fn check_may_speak(&mut self, id: &GroupId) -> Result<()> {
        let row = self.current_row(id)?;
        membership::require_active(&row)?;
        let Some(left) = self.waits_to_speak(&row) else { return Ok(()) };
        match self.check_settled(id) {
            Err(Error::Settling { millis }) if left > 0 => {
                Err(Error::Settling { millis: millis.min(left) })
            }
            Err(Error::Settling { .. }) => Ok(()),
            decided => decided,
        }
    }

    /// How long a message of ours waits at most, in milliseconds, if branches compete. In a minute that is not longer than
    /// one choice takes: where they follow each other without end it is said on the branch that is followed.
    pub(crate) fn waits_to_speak(&mut self, row: &GroupRow) -> Option<u64> {
        let now = self.now_millis;
        let known = self.memory.undecided.get_mut(&row.id)?;
        let open = row.pass.opened != 0 && known.rival >= row.pass.opened;
        if self.config.speak_undecided || !open {
            return None;
        }
        let waited = now.checked_sub(known.silent).filter(|waited| *waited < MINUTE).unwrap_or(0);
        known.silent = now - waited;
        Some(self.config.settle_max_millis.saturating_sub(waited))
    }
}
