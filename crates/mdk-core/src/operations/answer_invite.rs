//! Answering an invite (protocol/welcomes.md B4).

use mdk_store::{GroupRow, GroupStatus, HeldRow, PassRow, Seen};
use mdk_wire::{Event, EventId, GroupId, welcome};

use crate::ctx::Ctx;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::membership::is_invited;
use crate::model::outbox::OutboxPurpose;
use crate::model::outcome::{Rejection, Verdict};
use crate::model::values::Invite;
use crate::state_store::competing_invites;
use crate::state_store::declined_invites;
use crate::state_store::declined_invites::declined;
use crate::state_store::history;
use crate::state_store::log_entry::Stored;
use crate::state_store::outbox::Letter;
use crate::state_store::pending_welcomes;

impl Ctx<'_> {
    /// Answers an invitation beside what we have of its group with yes: that goes, and this is joined next. Gives
    /// its event and the Welcomes that waited beside both.
    pub(crate) fn turn_to(&mut self, welcome: &EventId) -> Result<(Event, Vec<HeldRow>)> {
        let (row, event) = competing_invites::asked_beside(self.groups(), welcome)?;
        if self.groups().publishing(&row)? {
            return Err(Error::CommitPending);
        }
        let mut rest = if is_invited(row.status) {
            self.welcomes().put_away_for_others(row, false)?
        } else {
            self.edit_row(&row.id, |row| {
                row.status = GroupStatus::Left;
                row.pass = PassRow { joined_at: row.pass.joined_at, ..PassRow::default() };
            })?;
            self.memberships().clear_state(&row.id)?;
            self.waiting().held_welcomes(&row.id)?
        };
        rest.retain(|held| held.event_id != *welcome);
        Ok((event, rest))
    }

    /// What came of joining by it.
    pub(crate) fn turned_to(
        &self,
        welcome: &EventId,
        verdict: std::result::Result<Verdict, Rejection>,
    ) -> Result<()> {
        match verdict {
            Ok(Verdict::Applied) if self.tx.group_by_welcome(welcome)?.is_some() => Ok(()),
            Ok(Verdict::Deferred(_)) => {
                Err(Error::NotAllowed("too many other invites wait for an answer"))
            }
            _ => Err(Error::InviteNotFound),
        }
    }

    /// Answers it with no.
    pub(crate) fn turn_down(&mut self, welcome: &EventId) -> Result<()> {
        let (_, event) = competing_invites::asked_beside(self.groups(), welcome)?;
        self.tx.unhold(welcome)?;
        self.tx.mark_seen(welcome.as_bytes(), Seen::Done)?;
        if let Some(rumor) = pending_welcomes::rumor_of(self.call.keys, &event)
            && let Ok(known_by) = welcome::content_id(&rumor.mls_message)
        {
            self.tx.mark_seen(known_by.as_bytes(), Seen::Done)?;
        }
        Ok(())
    }

    /// Invites that wait for an answer, oldest first; of what came together, what waits beside another one after that.
    pub(crate) fn invites(&mut self) -> Result<Vec<Invite>> {
        let mut rows = self.tx.groups()?;
        let declined = declined(self.tx)?;
        rows.retain(|row| !declined.contains(&row.id.to_hex()));
        let asked = rows.iter().filter(|row| is_invited(row.status)).filter_map(history::invite);
        let mut invites: Vec<(bool, Invite)> = asked.map(|invite| (false, invite)).collect();
        for row in &rows {
            invites.extend(
                competing_invites::invites_beside(&mut self.waiting(), row)?
                    .into_iter()
                    .map(|invite| (true, invite)),
            );
        }
        invites.sort_by_key(|(beside, invite)| (invite.received_at, *beside, invite.id));
        Ok(invites.into_iter().map(|(_, invite)| invite).collect())
    }

    /// Accepts the invite that led to what we have of its group; `waiting` are the Welcomes that waited beside it. Accepting
    /// it again gives the same group.
    pub(crate) fn accept(&mut self, invite: &EventId, waiting: Vec<HeldRow>) -> Result<GroupId> {
        let row = self.tx.group_by_welcome(invite)?.ok_or(Error::InviteNotFound)?;
        declined_invites::require_unanswered(self.tx, &row)?;
        match row.status {
            GroupStatus::Invited | GroupStatus::Reinvited => {}
            status if membership::is_over(status) => return Err(Error::InviteNotFound),
            _ => return Ok(row.id),
        }
        let mut group = self.take(&row.id)?;
        group.row.status = GroupStatus::Active;
        self.tx.update_group(&group.row)?;
        self.put(group);
        self.tx.drop_kept(&row.id)?;
        self.log().emit(&row.id, invite.as_bytes(), &Stored::Joined)?;
        self.effects.take_up(waiting);
        Ok(row.id)
    }

    /// Declines an invite: everything that came with it is deleted. If the group is to be told, gives our request to leave it,
    /// where there is one to make; without it the other members see our leaf until an admin removes it.
    pub(crate) fn decline(&mut self, invite: &EventId, tell: bool) -> Result<Option<Event>> {
        let Some(row) = self.tx.group_by_welcome(invite)? else {
            self.turn_down(invite)?;
            return Ok(None);
        };
        if !is_invited(row.status) {
            return Err(Error::InviteNotFound);
        }
        let request = if tell { self.farewell(&row)? } else { None };
        // Another invitation is another question.
        let others = self.welcomes().put_away_for_others(row, true)?;
        self.effects.take_up(others);
        Ok(request)
    }

    /// Our request to leave a group that we were invited to (rule 2.7-6). It goes out by itself: its group is about to be
    /// deleted, and nothing is kept to ask again in a later epoch.
    fn farewell(&mut self, row: &GroupRow) -> Result<Option<Event>> {
        let me = self.me();
        if row.admins.contains(&me) || row.members.as_slice() == [me] {
            return Ok(None);
        }
        let mut group = self.take(&row.id)?;
        let proposal = self.self_remove(&mut group)?;
        let event = self.seal_proposal(&group.row, &proposal)?;
        let relays = group.row.relays.clone();
        let letter = Letter {
            purpose: OutboxPurpose::Proposal,
            group: None,
            event: &event,
            relays: &relays,
        };
        self.outbox().post(&letter)?;
        Ok(Some(event))
    }
}
