//! Declining an invite: the data that came with it goes, and the group is asked to let us go.

use mdk_store::GroupRow;
use mdk_wire::{Event, EventId};

use crate::mls::leave_proposal;
use crate::mls::work::Work;
use crate::model::error::{Error, Result};
use crate::model::membership::is_invited;
use crate::model::outbox::OutboxPurpose;
use crate::state_store::outbox::Letter;
use crate::state_store::pending_welcomes;

/// Declines an invite: everything that came with it is deleted. If the group is to be told, gives our request to leave it,
/// where there is one to make; without it the other members see our leaf until an admin removes it.
pub(crate) fn decline(work: &mut Work<'_>, invite: &EventId, tell: bool) -> Result<Option<Event>> {
    let Some(row) = work.records.tx.group_by_welcome(invite)? else {
        pending_welcomes::turn_down(work.records.groups(), work.records.call.keys, invite)?;
        return Ok(None);
    };
    if !is_invited(row.status) {
        return Err(Error::InviteNotFound);
    }
    let request = if tell { farewell(work, &row)? } else { None };
    // Another invitation is another question.
    let others = work.records.welcomes().put_away_for_others(row, true)?;
    work.records.effects.take_up(others);
    Ok(request)
}

/// Our request to leave a group that we were invited to (rule 2.7-6). It goes out by itself: its group is about to be
/// deleted, and nothing is kept to ask again in a later epoch.
fn farewell(work: &mut Work<'_>, row: &GroupRow) -> Result<Option<Event>> {
    let me = work.records.me();
    if row.admins.contains(&me) || row.members.as_slice() == [me] {
        return Ok(None);
    }
    let mut group = work.take(&row.id)?;
    let proposal = leave_proposal::self_remove(work, &mut group)?;
    let event =
        leave_proposal::seal_proposal(work.records.tx, work.records.call, &group.row, &proposal)?;
    let relays = group.row.relays.clone();
    let letter =
        Letter { purpose: OutboxPurpose::Proposal, group: None, event: &event, relays: &relays };
    work.records.outbox().post(&letter)?;
    Ok(Some(event))
}
