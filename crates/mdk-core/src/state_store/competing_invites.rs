//! Invites to one group that compete.

use mdk_store::{GroupRow, GroupStatus, Tx};
use mdk_wire::{Event, EventId, GroupId, PublicKey, Timestamp};

use crate::model::error::{Error, Result};
use crate::model::invites::{Beside, accounts};
use crate::model::membership;
use crate::model::membership::is_invited;
use crate::model::values::Invite;
use crate::policy::invite::{is_before, may_stand_beside};
use crate::state_store::buffered_memory::Waiting;
use crate::state_store::groups::Groups;
use crate::state_store::history;
use crate::state_store::log_entry::{BESIDE, Stored};
use crate::state_store::log_rows::{recorded, recorded_as};
use crate::state_store::previous_memberships::earlier;

/// Whether an invitation that cannot be placed is asked beside the row of the group.
pub(crate) fn is_asked(tx: &Tx<'_>, row: &GroupRow, said: &Beside) -> Result<bool> {
    Ok(may_stand_beside(row, earlier(tx, row)?.as_ref(), said))
}

/// Whether anything may be asked there, by facts that cost little.
pub(crate) fn may_ask(tx: &Tx<'_>, row: &GroupRow) -> Result<bool> {
    Ok(match row.status {
        GroupStatus::Active => earlier(tx, row)?.is_some_and(|before| !before.knows(row.welcomer)),
        status => is_invited(status) || status == GroupStatus::Leaving,
    })
}

/// The invitation with this id, if it waits beside the row of its group.
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

/// The application's view of an invitation that waits beside another.
pub(crate) fn told(tx: &Tx<'_>, id: &GroupId, said: &Beside) -> Result<Option<Invite>> {
    let welcome = EventId::from_bytes(said.welcome);
    match tx.group_by_welcome(&welcome)? {
        Some(row) => Ok(history::invite(&row)),
        None => invite_beside(tx, id, &welcome),
    }
}

/// Invitations that are asked beside the membership of a row.
pub(crate) fn invites_beside(waiting: &mut Waiting<'_>, row: &GroupRow) -> Result<Vec<Invite>> {
    let mut invites = Vec::new();
    if may_ask(waiting.groups.tx, row)? {
        for held in waiting.held_welcomes(&row.id)? {
            invites.extend(invite_beside(waiting.groups.tx, &row.id, &held.event_id)?);
        }
    }
    Ok(invites)
}

// rule: B4-34 an invitation that was not answered was no membership, however its copy of the group ends
/// Whether the row of a group was an invitation that has ended before it was answered.
pub(crate) fn ended_unanswered(tx: &Tx<'_>, row: &GroupRow) -> Result<bool> {
    let Some(welcome) = row.welcome.filter(|_| membership::is_over(row.status)) else {
        return Ok(false);
    };
    Ok(recorded(tx, &row.id, welcome.as_bytes(), &Stored::Joined)?.is_none())
}

/// Whether a group that was ended is asked for again. The membership before did not know its inviter as an admin, so it
/// may have been a copy of his own.
pub(crate) fn is_asked_after_a_strangers(
    tx: &Tx<'_>,
    row: &GroupRow,
    epoch: u64,
    made: Timestamp,
) -> Result<bool> {
    let before = earlier(tx, row)?.filter(|before| !before.knows(row.welcomer));
    Ok(before.is_some_and(|before| !is_before(&before, row, epoch, made)))
}

pub(crate) fn asked_beside(groups: Groups<'_>, welcome: &EventId) -> Result<(GroupRow, Event)> {
    let held = groups.tx.held_event(welcome)?.ok_or(Error::InviteNotFound)?;
    if invite_beside(groups.tx, &held.group, welcome)?.is_none() {
        return Err(Error::InviteNotFound);
    }
    let event = Event::from_stored_json(held.event_json.as_bytes())
        .map_err(|_| Error::Unrecoverable("a held event"))?;
    Ok((groups.current_row(&held.group)?, event))
}
