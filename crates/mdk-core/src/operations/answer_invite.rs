//! Answering an invite (protocol/welcomes.md B4).

use mdk_store::{GroupStatus, HeldRow, PassRow, Tx};
use mdk_wire::{Event, EventId, GroupId};

use crate::mls::work::Work;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::membership::is_invited;
use crate::model::outcome::{Rejection, Verdict};
use crate::model::values::Invite;
use crate::state_store::declined_invites::declined;
use crate::state_store::log_entry::Stored;
use crate::state_store::records::Records;
use crate::state_store::{competing_invites, declined_invites, history};

/// Answers an invitation beside the row of its group with yes: the row goes, and this group is joined next. Returns the
/// invitation's event and the Welcomes that waited beside both.
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

/// Returns an error unless the account has joined by this invite.
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

/// Invites that wait for an answer, oldest first. Among invites of one time, those that wait beside another one come
/// last.
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

/// Accepts the invite that led to the row of its group; `waiting` are the Welcomes that waited beside it. Accepting it
/// again gives the same group.
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
