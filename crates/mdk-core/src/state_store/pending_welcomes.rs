//! Welcomes that an invitation has taken in while it waits for its answer (protocol/welcomes.md B4).

use std::collections::BTreeSet;

use mdk_store::{GroupRow, HeldRow, Loss};
use mdk_wire::{ContentId, Event, EventId, GroupId, WelcomeRumor, gift_wrap, welcome};

use crate::ctx::Ctx;
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::membership::is_invited;

impl Ctx<'_, '_> {
    pub(crate) fn rumor_of(&self, event: &Event) -> Option<WelcomeRumor> {
        let unwrapped = gift_wrap::unwrap(event, &self.identity.keys).ok()?;
        welcome::parse(unwrapped).ok()
    }
}

/// Rivals' Welcomes that are kept beside that of an invitation.
const MAX_RIVALS: usize = 8;

impl Ctx<'_, '_> {
    // rule: B4-35 what an invitation has taken in is another question, should that one be declined or another one accepted
    /// Keeps a Welcome that was taken up, until the invitation that it led to, or is a rival of, is answered: on the
    /// branch that is followed then nobody may invite us again.
    pub(crate) fn keep_until_answered(&mut self, id: &GroupId, event: &Event) -> Result<()> {
        let row = self.current_row(id)?;
        if is_invited(row.status) && self.tx.kept_welcomes(id)?.len() <= MAX_RIVALS {
            self.tx.keep_welcome(&HeldRow {
                event_id: event.id(),
                group: id.clone(),
                event_json: event.to_json(),
                received_at: self.now(),
                loss: Loss::Kept,
                closed: false,
            })?;
        }
        Ok(())
    }

    /// Welcomes that waited for what has gone are taken up.
    pub(crate) fn take_up(&mut self, welcomes: Vec<HeldRow>) {
        self.effects.welcomes.extend(welcomes);
        self.effects.follow(FollowUp::TakeUpWelcomes);
    }

    /// Puts away an invitation that has no answer, because it was declined or for the sake of another one. Gives the
    /// Welcomes that are other questions: what it had taken in, and what waited beside it.
    pub(crate) fn put_away_for_others(
        &mut self,
        row: GroupRow,
        declined: bool,
    ) -> Result<Vec<HeldRow>> {
        let mut others = self.held_welcomes(&row.id)?;
        let nodes = self.tx.nodes(&row.id)?;
        let mut kept = Vec::new();
        for held in self.tx.kept_welcomes(&row.id)? {
            let event = Event::from_stored_json(held.event_json.as_bytes()).ok();
            let Some(rumor) = event.and_then(|event| self.rumor_of(&event)) else { continue };
            let Ok(known_by) = welcome::content_id(&rumor.mls_message) else { continue };
            kept.push((held, ContentId::of(&rumor.mls_message), known_by));
        }
        let first = row.welcome;
        kept.retain(|(held, commit, _)| match first == Some(held.event_id) {
            true => !declined,
            // (what is not retained any more has lost)
            false => nodes.iter().any(|node| node.commit == Some(*commit)),
        });
        self.put_away(row)?;
        if let Some(invite) = first.filter(|_| !kept.is_empty() || !others.is_empty()) {
            self.tx.forget_done_for(&invite)?;
        }
        for (held, _, known_by) in kept {
            self.tx.forget_seen(held.event_id.as_bytes())?;
            self.tx.forget_seen(known_by.as_bytes())?;
            others.push(held);
        }
        Ok(others)
    }

    /// The KeyPackages, by their events, that Welcomes say they are for that may have to be taken up, or taken up again.
    pub(crate) fn key_packages_of_welcomes(&mut self) -> Result<BTreeSet<EventId>> {
        let mut named = BTreeSet::new();
        for row in self.tx.groups()? {
            let mut welcomes = self.held_welcomes(&row.id)?;
            let kept = self.tx.kept_welcomes(&row.id)?;
            // (where nothing else is asked it is not needed again)
            if welcomes.len() + kept.len() > 1 {
                welcomes.extend(kept);
            }
            for held in welcomes {
                let event = Event::from_stored_json(held.event_json.as_bytes()).ok();
                named.extend(
                    event.and_then(|e| self.rumor_of(&e)).map(|rumor| rumor.key_package_event),
                );
            }
        }
        Ok(named)
    }
}
