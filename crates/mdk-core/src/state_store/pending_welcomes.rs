//! Welcomes that an invitation has taken in while it waits for its answer (protocol/welcomes.md B4).

use std::collections::BTreeSet;

use mdk_store::{GroupRow, HeldRow, Loss, Seen};
use mdk_wire::{ContentId, Event, EventId, GroupId, Keys, WelcomeRumor, gift_wrap, welcome};

use crate::model::error::Result;
use crate::model::membership::is_invited;
use crate::state_store::competing_invites;
use crate::state_store::groups::Groups;
use crate::state_store::memberships::Memberships;

/// Rivals' Welcomes that are kept beside that of an invitation.
const MAX_RIVALS: usize = 8;

/// Welcomes that other questions came with.
pub(crate) struct PendingWelcomes<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) memberships: Memberships<'a>,
}

impl PendingWelcomes<'_> {
    /// Puts away an invitation that has no answer, because it was declined or for the sake of another one. Returns the
    /// Welcomes that are other questions: those that it had taken in, and those that waited beside it.
    pub(crate) fn put_away_for_others(
        &mut self,
        row: GroupRow,
        declined: bool,
    ) -> Result<Vec<HeldRow>> {
        let mut others = self.memberships.waiting().held_welcomes(&row.id)?;
        let nodes = self.memberships.tx.nodes(&row.id)?;
        let mut kept = Vec::new();
        for held in self.memberships.tx.kept_welcomes(&row.id)? {
            let event = Event::from_stored_json(held.event_json.as_bytes()).ok();
            let Some(rumor) = event.and_then(|event| rumor_of(self.keys, &event)) else { continue };
            let Ok(known_by) = welcome::content_id(&rumor.mls_message) else { continue };
            kept.push((held, ContentId::of(&rumor.mls_message), known_by));
        }
        let first = row.welcome;
        kept.retain(|(held, commit, _)| match first == Some(held.event_id) {
            true => !declined,
            // (a commit that is not retained any more has lost)
            false => nodes.iter().any(|node| node.commit == Some(*commit)),
        });
        self.memberships.put_away(row)?;
        if let Some(invite) = first.filter(|_| !kept.is_empty() || !others.is_empty()) {
            self.memberships.tx.forget_done_for(&invite)?;
        }
        for (held, _, known_by) in kept {
            self.memberships.tx.forget_seen(held.event_id.as_bytes())?;
            self.memberships.tx.forget_seen(known_by.as_bytes())?;
            others.push(held);
        }
        Ok(others)
    }

    /// The KeyPackages, by their events, that Welcomes say they are for that may have to be taken up, or taken up again.
    pub(crate) fn key_packages_of_welcomes(&mut self) -> Result<BTreeSet<EventId>> {
        let mut named = BTreeSet::new();
        for row in self.memberships.tx.groups()? {
            let mut welcomes = self.memberships.waiting().held_welcomes(&row.id)?;
            let kept = self.memberships.tx.kept_welcomes(&row.id)?;
            // (if nothing else is asked, it is not needed again)
            if welcomes.len() + kept.len() > 1 {
                welcomes.extend(kept);
            }
            for held in welcomes {
                let event = Event::from_stored_json(held.event_json.as_bytes()).ok();
                named.extend(
                    event
                        .and_then(|e| rumor_of(self.keys, &e))
                        .map(|rumor| rumor.key_package_event),
                );
            }
        }
        Ok(named)
    }
}

pub(crate) fn rumor_of(keys: &Keys, event: &Event) -> Option<WelcomeRumor> {
    let unwrapped = gift_wrap::unwrap(event, keys).ok()?;
    welcome::parse(unwrapped).ok()
}

// rule: B4-35 what an invitation has taken in is another question, should that one be declined or another one accepted
/// Keeps a Welcome that was taken up, until the invitation that it led to, or is a rival of, is answered: on the
/// branch that is followed then nobody may invite us again.
pub(crate) fn keep_until_answered(
    groups: Groups<'_>,
    now: u64,
    id: &GroupId,
    event: &Event,
) -> Result<()> {
    let row = groups.current_row(id)?;
    if is_invited(row.status) && groups.tx.kept_welcomes(id)?.len() <= MAX_RIVALS {
        groups.tx.keep_welcome(&HeldRow {
            event_id: event.id(),
            group: id.clone(),
            event_json: event.to_json(),
            received_at: now,
            loss: Loss::Kept,
            closed: false,
            source: 0,
        })?;
    }
    Ok(())
}

/// Answers it with no.
pub(crate) fn turn_down(groups: Groups<'_>, keys: &Keys, welcome: &EventId) -> Result<()> {
    let (_, event) = competing_invites::asked_beside(groups, welcome)?;
    groups.tx.unhold(welcome)?;
    groups.tx.mark_seen(welcome.as_bytes(), Seen::Done)?;
    if let Some(rumor) = rumor_of(keys, &event)
        && let Ok(known_by) = welcome::content_id(&rumor.mls_message)
    {
        groups.tx.mark_seen(known_by.as_bytes(), Seen::Done)?;
    }
    Ok(())
}
