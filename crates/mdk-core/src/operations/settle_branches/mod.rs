//! Members that see the same events in different orders end in the same state.
//!
//! A commit on the tip applies at once. A commit on any other retained state is tried on a copy and becomes a
//! *candidate*: a state beside the followed branch, with its key, so that messages there can be read and counted.
//! The first commit of either sort opens a *pass*. The pass closes when nothing relevant has come for a while, or after
//! a while in any case. The tips are compared then (`fork_choice::branch_order`). If another one wins, the group moves
//! there in one transaction (`switch`). Until then no commit of ours is made.
//!
//! All of it is in the rows: retained states are compared, and the members who spoke in them. So nothing has to be
//! frozen, and a restart at any point finds the same choice. Applying at once leads to the same result as waiting. The
//! choice depends on the tree and the witnesses only. The tree depends on the commits that came, not on the branch that
//! is followed meanwhile. The epoch that eligibility is counted from is that of the opening of the pass, for both.

pub(crate) mod decide;
pub(crate) mod limit;
mod runs_elsewhere;
pub(crate) mod switch;

use mdk_store::{GroupStatus, PassRow};
use mdk_wire::GroupId;

use crate::mls::end_membership;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::membership;
use crate::state_store::groups::Groups;
use crate::state_store::records::Records;
use crate::state_store::retained_states;

/// Whether a pass is open that can be closed.
pub(crate) fn may_close(groups: Groups<'_>, id: &GroupId) -> Result<bool> {
    let row = groups.current_row(id)?;
    // While a commit of the user's is being published, its parent stays where it is (C2-4).
    Ok(row.pass.opened != 0 && !groups.publishing(&row)? && !row.status.is_stuck())
}

/// Chooses, and goes to the chosen branch.
pub(crate) fn decide_pass(work: &mut Work<'_>, id: &GroupId) -> Result<()> {
    let row = work.records.groups().current_row(id)?;
    if row.pass.contested != 0 {
        decide::decide(work, id, row.pass.base)
    } else if membership::is_out(row.status) {
        // (messages from before we were out, which have come since)
        work.records.branch_messages().sort_messages(id)
    } else {
        Ok(())
    }
}

/// Drops the states that were kept for the choice. Returns whether the group goes on.
pub(crate) fn end_pass(records: &mut Records<'_>, id: &GroupId) -> Result<bool> {
    let mut row = records.groups().current_row(id)?;
    row.pass.floor = retained_states::horizon(row.epoch).max(row.pass.floor);
    let floor = row.pass.floor;
    records.gaps().report_skipped(&row, floor)?;
    let contested = records.states().prune(&row)?;
    if contested != 0 {
        records.effects.follow(FollowUp::LimitBranches(id.clone()));
    }
    let row = records.edit_row(id, |row| {
        row.pass = PassRow { opened: 0, relevant: 0, base: 0, floor, contested, ..row.pass };
    })?;
    if row.status == GroupStatus::Disbanding {
        end_membership::finish_disbanding(records, id)?;
        return Ok(false);
    }
    runs_elsewhere::check_own_lost(records, id)?;
    let due = [
        FollowUp::DisbandAgain,
        FollowUp::AnswerLeaves,
        FollowUp::WorkOffRemovals,
        FollowUp::TryHandshakes,
    ];
    records.effects.follow_ups.extend(due.map(|next| next(id.clone())));
    Ok(true)
}
