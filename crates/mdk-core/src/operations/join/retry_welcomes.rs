//! Welcomes and events that wait: for the end of a membership, or for another group (protocol/welcomes.md B4).

use mdk_store::{GroupRow, HeldRow};
use mdk_wire::{Event, GroupId};

use crate::ctx::Ctx;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::limits::{MAX_WELCOMES, PATIENCE};
use crate::model::membership;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::state_store::competing_invites;
use crate::state_store::removals_of_us;

impl Ctx<'_> {
    /// Takes up Welcomes that waited for what has gone.
    pub(crate) fn attempt_all(&mut self, held: Vec<HeldRow>) -> Result<()> {
        for held in held {
            if let Ok(event) = Event::from_stored_json(held.event_json.as_bytes()) {
                let _ = self.attempt(event)?;
            }
        }
        Ok(())
    }
}

/// Whether our membership did not begin on a branch that may still turn out to have lost: we founded the group, or have
/// followed it until no state is retained of when we came.
pub(crate) fn is_settled(row: &GroupRow) -> bool {
    row.welcome.is_none() || row.pass.floor > row.join_epoch
}

impl Ctx<'_> {
    // rule: B4-15 a Welcome of a later membership waits for the end of this one
    /// Gift wraps and the group's events come by two subscriptions, so the invitation may be there before the commit
    /// that removed us: it is kept, and taken up when that commit has come.
    pub(crate) fn hold_welcome(&mut self, id: &GroupId, event: &Event) -> Result<Verdict, Halt> {
        let row = self.groups().current_row(id)?;
        let waiting = self.waiting().held_welcomes(id)?;
        if waiting.len() >= MAX_WELCOMES && !waiting.iter().any(|w| w.event_id == event.id()) {
            return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
        }
        self.buffered().hold(&row, event, DeferredReason::FutureEpoch)
    }

    // rule: B4-16 who joined on a branch that nobody follows is let go by the invitation of the others
    /// Takes up Welcomes that have waited long enough for a removal that does not come.
    pub(crate) fn wake_welcomes(&mut self, id: &GroupId) -> Result<()> {
        let row = self.groups().current_row(id)?;
        let waiting = match row.pass.opened {
            0 => self.waiting().held_welcomes(id)?,
            _ => return Ok(()),
        };
        if waiting.is_empty() {
            return Ok(());
        }
        if membership::is_over(row.status) {
            if competing_invites::ended_unanswered(self.tx, &row)? {
                self.attempt_all(waiting)?;
            }
            return Ok(());
        }
        let awaited = removals_of_us::is_awaited(self.tx, &row)?;
        // (what is heard is no new state, in which it would be taken up again)
        if !awaited && is_settled(&row) && !self.is_quiet(&row)? {
            return Ok(());
        }
        for held in waiting {
            // To take one up opens a whole group, so it is done once in each state.
            if !awaited && held.received_at.saturating_add(PATIENCE) > self.now()
                || self.waiting().was_woken(&row, &held.event_id)?
            {
                continue;
            }
            let Ok(event) = Event::from_stored_json(held.event_json.as_bytes()) else { continue };
            // Whatever it comes to, it stays or goes by itself.
            self.records.input.wants_sign = None;
            match self.attempt(event)? {
                Ok(Verdict::Deferred(DeferredReason::FutureEpoch))
                    if !self.groups().publishing(&row)? =>
                {
                    let wants_sign = self.records.input.wants_sign;
                    self.waiting().note_woken(&row, held.event_id, wants_sign)?;
                }
                Ok(_) => {}
                Err(_) => self.tx.unhold(&held.event_id)?,
            }
        }
        Ok(())
    }
}
