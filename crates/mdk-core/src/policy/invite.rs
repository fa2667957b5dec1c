//! Which invite may stand beside another one, and which belongs to a membership that is over.

use mdk_store::{EndedRow, GroupRow, GroupStatus};
use mdk_wire::{PublicKey, Timestamp};

use crate::fork_choice::branch_order;
use crate::fork_choice::settling::base_for_rival;
use crate::model::invites::{Beside, Earlier};

// rule: B4-32 an invitation by somebody else is asked beside the one that waits for its answer, and beside what it led to
/// Whether an invitation that cannot be placed is asked, beside what we have of the group. `earlier` is the membership that
/// this one has taken the place of.
///
/// Anybody who knows the id of a group, a former admin above all, can make a Welcome that looks like one to it, of any
/// epoch. So none must keep another one from being asked. What was accepted stays until the user says otherwise; it is
/// asked only what an admin made of the time before, or when we want to go anyway.
pub(crate) fn may_stand_beside(row: &GroupRow, earlier: Option<&Earlier>, said: &Beside) -> bool {
    let maker = PublicKey::from_bytes(said.inviter).ok();
    if maker.is_none() || maker == row.welcomer {
        return false;
    }
    if earlier.is_some_and(|earlier| is_before(earlier, row, said.epoch, said.made)) {
        return false;
    }
    match row.status {
        GroupStatus::Invited | GroupStatus::Reinvited => true,
        _ if is_bygone(row, said.epoch, said.made) => false,
        GroupStatus::Leaving => true,
        GroupStatus::Active => {
            earlier.is_some_and(|earlier| !earlier.knows(row.welcomer) && earlier.knows(maker))
        }
        _ => false,
    }
}

/// Whether a Welcome is from before a membership that another one has taken the place of, as B4-20 has it for one that has
/// ended.
pub(crate) fn is_before(earlier: &Earlier, now: &GroupRow, epoch: u64, made: Timestamp) -> bool {
    let mut row = now.clone();
    (row.epoch, row.join_epoch) = (earlier.epoch, earlier.join_epoch);
    row.pass.joined_at = earlier.joined_at;
    is_bygone(&row, epoch, made)
}

/// Whether a Welcome to `epoch` may be the second invitation to what we are in: we came by one, to the same epoch or
/// to a later one of another branch, the state that it led to is still retained, and the branches may have parted so far
/// back. (What leads further than our own beginning may be a later membership: it waits, see B4-15 and B4-16.)
pub(crate) fn may_rival(row: &GroupRow, epoch: u64) -> bool {
    row.welcome.is_some()
        && epoch <= row.join_epoch
        && row.pass.floor <= row.join_epoch
        && branch_order::eligible(
            epoch.saturating_sub(1),
            base_for_rival(row),
            &branch_order::POLICY,
        )
        && matches!(
            row.status,
            GroupStatus::Active
                | GroupStatus::Leaving
                | GroupStatus::Invited
                | GroupStatus::Reinvited
        )
}

/// Whether a Welcome to `epoch` is older than the membership that has ended, and than every branch that could still win
/// over what ended it. Its maker chooses the epoch: who leads into a copy far ahead must not make all that comes from the
/// others old, so what was made after that membership began is not.
pub(crate) fn is_bygone(row: &GroupRow, epoch: u64, made: Timestamp) -> bool {
    is_bygone_of(
        &EndedRow {
            disbanded: false,
            epoch: row.epoch,
            join_epoch: row.join_epoch,
            joined_at: row.pass.joined_at,
        },
        epoch,
        made,
    )
}

/// The same, of a membership whose group may have been deleted.
pub(crate) fn is_bygone_of(ended: &EndedRow, epoch: u64, made: Timestamp) -> bool {
    epoch < ended.join_epoch
        && made <= ended.joined_at
        && !branch_order::eligible(epoch.saturating_sub(1), ended.epoch, &branch_order::POLICY)
}
