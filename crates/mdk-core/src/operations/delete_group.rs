//! Deleting a group that is over for this account, and the facts that are kept of it.

use mdk_store::{EndedRow, GroupRow, GroupStatus, Tx};
use mdk_wire::{GroupId, NostrGroupId};

use crate::model::error::{Error, Result};
use crate::state_store::log_entry::Stored;
use crate::state_store::previous_memberships::earlier;
use crate::state_store::records::Records;
use crate::state_store::{competing_invites, invite_deliveries, log_rows, settling};

/// Whether the group may go, and if not, the step that has to come before it.
fn require_over(status: GroupStatus) -> Result<()> {
    Err(Error::NotAllowed(match status {
        GroupStatus::Left
        | GroupStatus::Removed
        | GroupStatus::Disbanded
        | GroupStatus::Unrecoverable
        | GroupStatus::RunsElsewhere => return Ok(()),
        GroupStatus::Founding => return Err(Error::GroupNotFound),
        GroupStatus::Invited | GroupStatus::Reinvited => {
            "an invite to this group waits for an answer: decline it"
        }
        GroupStatus::Active => "this account is in the group: leave it first",
        GroupStatus::Leaving => {
            "this account is in the group until a member has answered its leave: wait for that"
        }
        GroupStatus::Disbanding => "the end of the group is not final yet: wait for it",
    }))
}

/// Deletes a group that is over, and returns the routing ids that it had. The caller has applied what time alone
/// decides.
pub(crate) fn delete_group(records: &mut Records<'_>, id: &GroupId) -> Result<Vec<NostrGroupId>> {
    require_over(records.groups().listed(id)?.status)?;
    // The branch that put us out may still lose. Then we are in the group again, and nobody tells us so.
    settling::check_settled(records.settling(), id)?;
    let row = records.groups().listed(id)?;
    require_over(row.status)?;
    // Nobody else lets in an account that we have invited.
    if invite_deliveries::has_invites_on_their_way(records.tx, id)? {
        return Err(Error::NotAllowed(
            "an invite of this account is still on its way to a relay: wait for that",
        ));
    }
    records.waiting().rehome_held(id)?;
    // An invitation that came meanwhile is another question.
    let invitations = records.waiting().held_welcomes(id)?;
    let routes = records.tx.routes(id)?;
    let ended = ended_as(records.tx, &row)?;
    records.memory.rows.forget(id);
    records.memory.buffered.dates.remove(id);
    records.tx.drop_client_states_of(id)?;
    records.tx.delete_group(id)?;
    if let Some(ended) = ended {
        records.tx.keep_ended(id, &ended)?;
    }
    records.effects.take_up(invitations);
    Ok(routes)
}

/// The facts of the last membership that later Welcomes are judged by.
fn ended_as(tx: &Tx<'_>, row: &GroupRow) -> Result<Option<EndedRow>> {
    let of = |row: &GroupRow, disbanded| EndedRow {
        disbanded,
        epoch: row.epoch,
        join_epoch: row.join_epoch,
        joined_at: row.pass.joined_at,
    };
    let before = earlier(tx, row)?;
    // rule: B4-34 what nobody had accepted was no membership: the one before it counts, if there was one
    if competing_invites::ended_unanswered(tx, row)? {
        let Some(before) = before else {
            let again = row.welcome.map_or(Ok(None), |invite| {
                let like = Stored::Reinvited { welcome: *invite.as_bytes(), after: 0 };
                log_rows::recorded(tx, &row.id, invite.as_bytes(), &like)
            })?;
            // (nothing is known of it, so nothing counts as older)
            let none = EndedRow { disbanded: false, epoch: 0, join_epoch: 0, joined_at: 0 };
            return Ok(again.map(|_| none));
        };
        let mut row = row.clone();
        before.restores(&mut row)?;
        return Ok(Some(of(&row, false)));
    }
    let disbanded = row.status == GroupStatus::Disbanded;
    // The member who ended it may have ended a copy of his own (see `is_asked_after_a_strangers`).
    if let Some(before) = before.filter(|before| disbanded && !before.knows(row.welcomer)) {
        let mut row = row.clone();
        before.restores(&mut row)?;
        return Ok(Some(of(&row, false)));
    }
    Ok(Some(of(row, disbanded)))
}
