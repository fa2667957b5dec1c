//! Answering an invite (protocol/welcomes.md B4).

use mdk_store::Tx;
use mdk_store::{GroupRow, GroupStatus, HeldRow, PassRow, Seen};
use mdk_wire::{Event, EventId, GroupId, welcome};

use crate::mls::leave_proposal;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::membership::is_invited;
use crate::model::outbox::OutboxPurpose;
use crate::model::outcome::{Rejection, Verdict};
use crate::model::values::Invite;
use crate::state_store::competing_invites;
use crate::state_store::declined_invites;
use crate::state_store::declined_invites::declined;
use crate::state_store::groups::Groups;
use crate::state_store::history;
use crate::state_store::log_entry::Stored;
use crate::state_store::outbox::Letter;
use crate::state_store::pending_welcomes;
use crate::state_store::records::Records;

/// Answers an invitation beside what we have of its group with yes: that goes, and this is joined next. Gives
/// its event and the Welcomes that waited beside both.
pub(crate) fn turn_to(
    records: &mut Records<'_>,
    welcome: &EventId,
) -> Result<(Event, Vec<HeldRow>)> {
    let (row, event) = competing_invites::asked_beside(records.groups(), welcome)?;
    if records.groups().publishing(&row)? {
        return Err(Error::CommitPending);
    }
    let mut rest = if is_invited(row.status) {
        records.welcomes().put_away_for_others(row, false)?
    } else {
        records.edit_row(&row.id, |row| {
            row.status = GroupStatus::Left;
            row.pass = PassRow { joined_at: row.pass.joined_at, ..PassRow::default() };
        })?;
        records.memberships().clear_state(&row.id)?;
        records.waiting().held_welcomes(&row.id)?
    };
    rest.retain(|held| held.event_id != *welcome);
    Ok((event, rest))
}

/// What came of joining by it.
pub(crate) fn turned_to(
    tx: &Tx<'_>,
    welcome: &EventId,
    verdict: std::result::Result<Verdict, Rejection>,
) -> Result<()> {
    match verdict {
        Ok(Verdict::Applied) if tx.group_by_welcome(welcome)?.is_some() => Ok(()),
        Ok(Verdict::Deferred(_)) => {
            Err(Error::NotAllowed("too many other invites wait for an answer"))
        }
        _ => Err(Error::InviteNotFound),
    }
}

/// Answers it with no.
pub(crate) fn turn_down(groups: Groups<'_>, call: Call<'_>, welcome: &EventId) -> Result<()> {
    let (_, event) = competing_invites::asked_beside(groups, welcome)?;
    groups.tx.unhold(welcome)?;
    groups.tx.mark_seen(welcome.as_bytes(), Seen::Done)?;
    if let Some(rumor) = pending_welcomes::rumor_of(call.keys, &event)
        && let Ok(known_by) = welcome::content_id(&rumor.mls_message)
    {
        groups.tx.mark_seen(known_by.as_bytes(), Seen::Done)?;
    }
    Ok(())
}

/// Invites that wait for an answer, oldest first; of what came together, what waits beside another one after that.
pub(crate) fn invites(records: &mut Records<'_>) -> Result<Vec<Invite>> {
    let mut rows = records.tx.groups()?;
    let declined = declined(records.tx)?;
    rows.retain(|row| !declined.contains(&row.id.to_hex()));
    let asked = rows.iter().filter(|row| is_invited(row.status)).filter_map(history::invite);
    let mut invites: Vec<(bool, Invite)> = asked.map(|invite| (false, invite)).collect();
    for row in &rows {
        invites.extend(
            competing_invites::invites_beside(&mut records.waiting(), row)?
                .into_iter()
                .map(|invite| (true, invite)),
        );
    }
    invites.sort_by_key(|(beside, invite)| (invite.received_at, *beside, invite.id));
    Ok(invites.into_iter().map(|(_, invite)| invite).collect())
}

/// Accepts the invite that led to what we have of its group; `waiting` are the Welcomes that waited beside it. Accepting
/// it again gives the same group.
pub(crate) fn accept(
    work: &mut Work<'_>,
    invite: &EventId,
    waiting: Vec<HeldRow>,
) -> Result<GroupId> {
    let row = work.records.tx.group_by_welcome(invite)?.ok_or(Error::InviteNotFound)?;
    declined_invites::require_unanswered(work.records.tx, &row)?;
    match row.status {
        GroupStatus::Invited | GroupStatus::Reinvited => {}
        status if membership::is_over(status) => return Err(Error::InviteNotFound),
        _ => return Ok(row.id),
    }
    let mut group = work.take(&row.id)?;
    group.row.status = GroupStatus::Active;
    work.records.tx.update_group(&group.row)?;
    work.put(group);
    work.records.tx.drop_kept(&row.id)?;
    work.records.log().emit(&row.id, invite.as_bytes(), &Stored::Joined)?;
    work.records.effects.take_up(waiting);
    Ok(row.id)
}

/// Declines an invite: everything that came with it is deleted. If the group is to be told, gives our request to leave it,
/// where there is one to make; without it the other members see our leaf until an admin removes it.
pub(crate) fn decline(work: &mut Work<'_>, invite: &EventId, tell: bool) -> Result<Option<Event>> {
    let Some(row) = work.records.tx.group_by_welcome(invite)? else {
        turn_down(work.records.groups(), work.records.call, invite)?;
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
