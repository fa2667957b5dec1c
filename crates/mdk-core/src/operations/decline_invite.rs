//! Declining an invite and telling its group (protocol/leaving.md 2.7).

use mdk_store::{GroupRow, GroupStatus, Tx};
use mdk_wire::{Event, EventId, GroupId, NostrGroupId};

use crate::mls::decline_invite;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::membership::is_invited;
use crate::state_store::declined_invites::{declined, is_declined, mark};
use crate::state_store::{declined_invites, settling};

// rule: 2.7-6 who declines leaves, when all is read that the group's relays have: a leave counts in one epoch
/// Declines an invite; its group is told later. Two sorts of invites are declined at once, without telling the group:
/// one beside a membership, and one to a group that we were in before, whose history stays.
pub(crate) fn decline_and_follow(work: &mut Work<'_>, invite: &EventId) -> Result<()> {
    match work.records.tx.group_by_welcome(invite)? {
        Some(row) if row.status == GroupStatus::Invited => {
            declined_invites::require_unanswered(work.records.tx, &row)?;
            Ok(work.records.tx.set_client_state(&mark(&row.id), Some(&[]))?)
        }
        _ => decline_invite::decline(work, invite, true).map(|_| ()),
    }
}

/// Declines an invite that waits for an answer, see `decline`.
pub(crate) fn decline_waiting(
    work: &mut Work<'_>,
    invite: &EventId,
    tell: bool,
) -> Result<Option<Event>> {
    if let Some(row) = work.records.tx.group_by_welcome(invite)? {
        declined_invites::require_unanswered(work.records.tx, &row)?;
    }
    decline_invite::decline(work, invite, tell)
}

/// Groups that are still to be told, and the routing ids of their events by now.
pub(crate) fn farewells(tx: &Tx<'_>) -> Result<Vec<(GroupId, NostrGroupId)>> {
    let declined = declined(tx)?;
    let rows = tx.groups()?.into_iter();
    let rows = rows.filter(|row| declined.contains(&row.id.to_hex()));
    Ok(rows.map(|row| (row.id, row.nostr_group_id)).collect())
}

/// Tells a group by leaving it, and deletes it. The caller has read all that relays have of the group under `route`,
/// and has closed what was due. Returns false if the group has another routing id by now, which is to be read first.
pub(crate) fn farewell_to(work: &mut Work<'_>, id: &GroupId, route: &NostrGroupId) -> Result<bool> {
    if !is_declined(work.records.tx, id)? {
        return Ok(true);
    }
    let row = work.records.groups().current_row(id)?;
    let Some(invite) = row.welcome.filter(|_| is_invited(row.status)) else {
        // Somebody else's commit has put us out, or it cannot be followed.
        let row = GroupRow { status: GroupStatus::Invited, ..row };
        let others = work.records.welcomes().put_away_for_others(row, true)?;
        work.records.effects.take_up(others);
        return Ok(true);
    };
    if row.nostr_group_id != *route {
        return Ok(false);
    }
    settling::check_settled(work.records.settling(), id)?;
    decline_invite::decline(work, &invite, true)?;
    Ok(true)
}
