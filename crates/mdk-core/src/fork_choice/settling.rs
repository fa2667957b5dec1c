//! The window in which branches compete: how it opens, how long it stays, how far it reaches.

use mdk_store::{GroupRow, PassRow};

use crate::fork_choice::branch_order;

/// Opens the pass, or makes it wait on. (rule: E5-1)
pub(crate) fn touch(pass: &mut PassRow, epoch: u64, now_millis: u64) {
    if pass.opened == 0 {
        pass.opened = now_millis.max(1);
        pass.base = epoch;
    }
    pass.relevant = now_millis.max(1);
}

/// The epoch that the choice counts from which a rival of now takes part in. A line may have gone far since its pass was
/// opened; branches are counted in the window of where it has come to.
pub(crate) fn base_for_rival(row: &GroupRow) -> u64 {
    match (row.pass.opened, row.pass.contested) {
        (0, _) => row.epoch,
        (_, 0) => {
            row.pass.base.max(row.epoch.saturating_sub(branch_order::POLICY.max_rewind_commits))
        }
        _ => row.pass.base,
    }
}

/// Whether a commit leads further than the open pass reaches: what lies beyond is for the next one, and what was said
/// before can still come meanwhile. (rule: E5-7)
///
/// A pass without rivals has nothing to choose, so a line of commits is followed as far as it goes (rule: E5-8). With
/// rivals it reaches as far from the fork, or from its opening, as branches may differ: a member that waited with the
/// whole line would open its pass there. `early` says that rivals may be among what is still to be read in this call:
/// then the line is left to the end of it, when everything is taken up by epochs and no rival is passed by.
pub(crate) fn beyond(pass: &PassRow, epoch: u64, early: bool) -> bool {
    let from = match pass.contested {
        _ if pass.opened == 0 => return false,
        0 if !early => return false,
        0 => pass.base,
        contested => pass.base.max(contested.saturating_sub(1)),
    };
    epoch >= from.saturating_add(branch_order::POLICY.max_rewind_commits)
}

/// Whether another branch may still take the place of the followed one: a choice is to come, or a branch that lost is
/// retained.
pub(crate) fn undecided(pass: &PassRow) -> bool {
    pass.opened != 0 || pass.contested != 0
}
