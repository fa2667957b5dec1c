//! The commits and messages that an open choice between branches lets us make.

use std::collections::HashMap;

use mdk_store::GroupRow;
use mdk_wire::GroupId;

use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::limits::MINUTE;
use crate::model::membership;
use crate::state_store::groups::{Groups, Windows};
use crate::state_store::memory::Undecided;

/// Lets a commit of ours through, or says how long it has to wait. The caller has closed what was due, where it could.
pub(crate) fn check_settled(windows: Windows<'_>, id: &GroupId) -> Result<()> {
    let pass = windows.groups.current_row(id)?.pass;
    match windows.deadline(id, &pass) {
        Some(at) if !windows.is_due(id, &pass) => {
            Err(Error::Settling { millis: at.saturating_sub(windows.call.now_millis) })
        }
        _ => Ok(()),
    }
}

/// Whether a message of ours is said while branches compete.
pub(crate) struct Speaking<'a> {
    pub(crate) call: Call<'a>,
    pub(crate) groups: Groups<'a>,
    /// Groups with branches that compete.
    pub(crate) undecided: &'a mut HashMap<GroupId, Undecided>,
}

impl Speaking<'_> {
    /// rule: C3-1 (not while a commit of the user's is unresolved)
    // rule: C3-9 while branches compete what a client says waits: on the one that loses nobody would read it
    /// Lets a message of ours through, or says how long it has to wait: not for a loser of an earlier choice.
    pub(crate) fn check_may_speak(&mut self, id: &GroupId) -> Result<()> {
        let row = self.groups.current_row(id)?;
        membership::require_active(&row)?;
        let Some(left) = self.waits_to_speak(&row) else { return Ok(()) };
        match check_settled(Windows { groups: self.groups, call: self.call }, id) {
            Err(Error::Settling { millis }) if left > 0 => {
                Err(Error::Settling { millis: millis.min(left) })
            }
            Err(Error::Settling { .. }) => Ok(()),
            decided => decided,
        }
    }

    /// The longest wait of a message of ours, in milliseconds, if branches compete. In a minute that is not longer than
    /// one choice takes. If choices follow each other without end, the message is said on the followed branch.
    pub(crate) fn waits_to_speak(&mut self, row: &GroupRow) -> Option<u64> {
        let Call { config, now_millis: now, .. } = self.call;
        let known = self.undecided.get_mut(&row.id)?;
        let open = row.pass.opened != 0 && known.rival >= row.pass.opened;
        if config.settling.speak_undecided || !open {
            return None;
        }
        let waited = now.checked_sub(known.silent).filter(|waited| *waited < MINUTE).unwrap_or(0);
        known.silent = now - waited;
        Some(config.settling.max_millis.saturating_sub(waited))
    }
}
