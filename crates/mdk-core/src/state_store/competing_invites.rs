//! Invites to one group that compete.

use mdk_store::{GroupRow, Tx};
use mdk_wire::{Event, EventId, GroupId, Timestamp, WelcomeRumor};

use crate::ctx::Ctx;
use crate::mls::welcome::Glance;
use crate::model::error::{Error, Result};
use crate::model::halt::Halt;
use crate::model::invites::Beside;
use crate::model::limits::MAX_WELCOMES;
use crate::model::membership;
use crate::model::values::Invite;
use crate::policy::invite::{invite_beside, is_asked, may_ask};
use crate::state_store::history;
use crate::state_store::log_entry::Stored;
use crate::state_store::previous_memberships::earlier;

impl Ctx<'_, '_> {
    /// Invitations that are asked beside what a row stands for.
    pub(crate) fn invites_beside(&mut self, row: &GroupRow) -> Result<Vec<Invite>> {
        let mut invites = Vec::new();
        if may_ask(self.tx, row)? {
            for held in self.held_welcomes(&row.id)? {
                invites.extend(invite_beside(self.tx, &row.id, &held.event_id)?);
            }
        }
        Ok(invites)
    }

    /// Whether a Welcome that leads nowhere from where we are is to be asked all the same.
    pub(crate) fn is_question(
        &mut self,
        row: &GroupRow,
        invite: EventId,
        rumor: &WelcomeRumor,
    ) -> Result<bool, Halt> {
        Ok(self.question(row, invite, rumor)?.is_some())
    }

    /// What to ask. What an admin by our own account made, and leads further, is no question: see B4-15 and B4-16.
    pub(crate) fn question(
        &mut self,
        row: &GroupRow,
        invite: EventId,
        rumor: &WelcomeRumor,
    ) -> Result<Option<Beside>, Halt> {
        if !may_ask(self.tx, row)? {
            return Ok(None);
        }
        let Glance { said, vouched, .. } = self.glance_at(row, invite, rumor)?;
        let leads = vouched && said.epoch > row.join_epoch;
        Ok(if !leads && is_asked(self.tx, row, &said)? { Some(said) } else { None })
    }

    // rule: B4-33 Welcomes of admins that we know go before others where few may wait
    /// Whether one more Welcome may wait: what nobody made whom we know as an admin leaves a place for those, and gives
    /// its place to them. Who was an admin when a Welcome came may be none any more.
    pub(crate) fn may_wait(
        &mut self,
        id: &GroupId,
        invite: EventId,
        rumor: &WelcomeRumor,
    ) -> Result<bool, Halt> {
        let waiting = self.held_welcomes(id)?;
        if waiting.len() + 1 < MAX_WELCOMES || waiting.iter().any(|w| w.event_id == invite) {
            return Ok(true);
        }
        let row = self.current_row(id)?;
        let new = self.glance_at(&row, invite, rumor)?;
        let mut others = Vec::with_capacity(waiting.len());
        for held in waiting {
            let event = Event::from_stored_json(held.event_json.as_bytes()).ok();
            let rumor = event.and_then(|event| self.rumor_of(&event));
            match rumor.map(|rumor| self.glance_at(&row, held.event_id, &rumor)) {
                // (of one maker the newest says it all)
                Some(Ok(old)) if old.said.inviter == new.said.inviter => {
                    let newer = old.said.made <= new.said.made;
                    if newer {
                        self.tx.unhold(&held.event_id)?;
                    }
                    return Ok(newer);
                }
                Some(Err(Halt::Failed(error))) => return Err(Halt::Failed(error)),
                glance => others.push((held, glance.is_some_and(|g| g.is_ok_and(|g| g.known)))),
            }
        }
        if !new.known {
            return Ok(false);
        }
        if others.len() < MAX_WELCOMES {
            return Ok(true);
        }
        // (what cannot be read any more goes as well)
        let unknown = others.into_iter().find(|(_, known)| !known);
        if let Some((held, _)) = &unknown {
            self.tx.unhold(&held.event_id)?;
        }
        Ok(unknown.is_some())
    }

    // rule: B4-34 an invitation that was not answered was no membership, however its copy of the group ends
    /// Whether what we had of a group was an invitation that has ended before it was answered.
    pub(crate) fn ended_unanswered(&self, row: &GroupRow) -> Result<bool> {
        let Some(welcome) = row.welcome.filter(|_| membership::is_over(row.status)) else {
            return Ok(false);
        };
        Ok(self.recorded(&row.id, welcome.as_bytes(), &Stored::Joined)?.is_none())
    }

    /// Whether a group that was ended is asked for again: to that membership somebody led us whom the one before did not know
    /// as an admin, so it may have been a copy of his own.
    pub(crate) fn is_asked_after_a_strangers(
        &self,
        row: &GroupRow,
        epoch: u64,
        made: Timestamp,
    ) -> Result<bool> {
        let before = earlier(self.tx, row)?.filter(|before| !before.knows(row.welcomer));
        Ok(before.is_some_and(|before| !before.is_after(row, epoch, made)))
    }

    pub(crate) fn asked_beside(&self, welcome: &EventId) -> Result<(GroupRow, Event)> {
        let held = self.tx.held_event(welcome)?.ok_or(Error::InviteNotFound)?;
        if invite_beside(self.tx, &held.group, welcome)?.is_none() {
            return Err(Error::InviteNotFound);
        }
        let event = Event::from_stored_json(held.event_json.as_bytes())
            .map_err(|_| Error::Unrecoverable("a held event"))?;
        Ok((self.current_row(&held.group)?, event))
    }
}

/// What an application is told of an invitation that waits beside another.
pub(crate) fn told(tx: &Tx<'_>, id: &GroupId, said: &Beside) -> Result<Option<Invite>> {
    let welcome = EventId::from_bytes(said.welcome);
    match tx.group_by_welcome(&welcome)? {
        Some(row) => Ok(history::invite(&row)),
        None => invite_beside(tx, id, &welcome),
    }
}
