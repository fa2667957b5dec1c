//! Which invite may stand beside another one, and which belongs to a membership that is over.

use mdk_store::{EndedRow, GroupRow, GroupStatus, NodeRow, Tx};
use mdk_wire::{EventId, GroupId, PublicKey, Timestamp};

use crate::fork_choice::branch_order;
use crate::fork_choice::settling::base_for_rival;
use crate::model::error::{Error, Result};
use crate::model::invites::Beside;
use crate::model::membership::is_invited;
use crate::model::state_id::removed_by;
use crate::model::values::Invite;
use crate::state_store::log_entry::{BESIDE, Stored};
use crate::state_store::previous_memberships::{accounts, earlier};
use crate::state_store::read_events::recorded_as;

// rule: B4-32 an invitation by somebody else is asked beside the one that waits for its answer, and beside what it led to
/// Whether an invitation that cannot be placed is asked, beside what we have of the group.
///
/// Anybody who knows the id of a group, a former admin above all, can make a Welcome that looks like one to it, of any
/// epoch. So none must keep another one from being asked. What was accepted stays until the user says otherwise; it is
/// asked only what an admin made of the time before, or when we want to go anyway.
pub(crate) fn is_asked(tx: &Tx<'_>, row: &GroupRow, said: &Beside) -> Result<bool> {
    let maker = PublicKey::from_bytes(said.inviter).ok();
    if maker.is_none() || maker == row.welcomer {
        return Ok(false);
    }
    let earlier = earlier(tx, row)?;
    if earlier.as_ref().is_some_and(|before| before.is_after(row, said.epoch, said.made)) {
        return Ok(false);
    }
    Ok(match row.status {
        GroupStatus::Invited | GroupStatus::Reinvited => true,
        _ if is_bygone(row, said.epoch, said.made) => false,
        GroupStatus::Leaving => true,
        GroupStatus::Active => {
            earlier.is_some_and(|before| !before.knows(row.welcomer) && before.knows(maker))
        }
        _ => false,
    })
}

/// Whether anything may be asked there, seen from what costs little.
pub(crate) fn may_ask(tx: &Tx<'_>, row: &GroupRow) -> Result<bool> {
    Ok(match row.status {
        GroupStatus::Active => earlier(tx, row)?.is_some_and(|before| !before.knows(row.welcomer)),
        status => is_invited(status) || status == GroupStatus::Leaving,
    })
}

/// The invitation with this id, if it waits beside what we have of its group.
pub(crate) fn invite_beside(
    tx: &Tx<'_>,
    id: &GroupId,
    welcome: &EventId,
) -> Result<Option<Invite>> {
    let held = tx.held_event(welcome)?.is_some_and(|held| held.group == *id);
    let Some(row) = tx.group(id)?.filter(|_| held) else { return Ok(None) };
    let Some((_, Stored::Beside(said))) = recorded_as(tx, id, welcome.as_bytes(), BESIDE)? else {
        return Ok(None);
    };
    if !is_asked(tx, &row, &said)? {
        return Ok(None);
    }
    Ok(Some(Invite {
        id: *welcome,
        group_id: id.clone(),
        group_name: said.name,
        description: said.description,
        inviter: PublicKey::from_bytes(said.inviter)
            .map_err(|_| Error::Unrecoverable("event log"))?,
        member_count: usize::try_from(said.member_count).unwrap_or(usize::MAX),
        admins: accounts(&said.admins)?,
        relays: said.relays,
        received_at: said.received_at,
    }))
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

/// Whether a state is where we were taken out.
pub(crate) fn removes(node: &NodeRow) -> bool {
    node.commit.is_some_and(|commit| node.authenticator == removed_by(&commit))
}
