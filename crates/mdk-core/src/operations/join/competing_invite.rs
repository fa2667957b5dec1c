//! A second invitation by somebody else than the maker of the first one, where neither is known to be of the others
//! (protocol/welcomes.md B4): both are asked.

use mdk_store::GroupRow;
use mdk_wire::budget::group::MAX_WELCOMES;
use mdk_wire::{Event, EventId, GroupId, WelcomeRumor};

use crate::mls::welcome;
use crate::mls::welcome::Glance;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::invites::Beside;
use crate::state_store::competing_invites::{is_asked, may_ask};
use crate::state_store::log_entry::{BESIDE, Stored};
use crate::state_store::log_rows::recorded_as;
use crate::state_store::pending_welcomes;

/// Tells of a Welcome that has come to wait, if it is a question.
pub(crate) fn ask_beside(
    work: &mut Work<'_>,
    id: &GroupId,
    invite: EventId,
    rumor: &WelcomeRumor,
) -> Result<(), Halt> {
    let row = work.records.groups().current_row(id)?;
    if recorded_as(work.records.tx, id, invite.as_bytes(), BESIDE)?.is_none()
        && let Some(said) = question(work, &row, invite, rumor)?
    {
        work.records.log().emit(id, invite.as_bytes(), &Stored::Beside(Box::new(said)))?;
    }
    Ok(())
}

/// Whether a Welcome that leads nowhere from where we are is to be asked all the same.
pub(crate) fn is_question(
    work: &mut Work<'_>,
    row: &GroupRow,
    invite: EventId,
    rumor: &WelcomeRumor,
) -> Result<bool, Halt> {
    Ok(question(work, row, invite, rumor)?.is_some())
}

/// Returns the question for the user, if there is one. A Welcome by an admin in our view, if it leads further, is no
/// question: see B4-15 and B4-16.
pub(crate) fn question(
    work: &mut Work<'_>,
    row: &GroupRow,
    invite: EventId,
    rumor: &WelcomeRumor,
) -> Result<Option<Beside>, Halt> {
    if !may_ask(work.records.tx, row)? {
        return Ok(None);
    }
    let Glance { said, vouched, .. } = welcome::glance_at(work, row, invite, rumor)?;
    let leads = vouched && said.epoch > row.join_epoch;
    Ok(if !leads && is_asked(work.records.tx, row, &said)? { Some(said) } else { None })
}

// rule: B4-33 Welcomes of admins that we know go before others where few may wait
/// Whether one more Welcome may wait. A Welcome whose maker we do not know as an admin leaves one place for Welcomes of
/// admins, and gives its place to them. An admin at the time of a Welcome may be none any more.
pub(crate) fn may_wait(
    work: &mut Work<'_>,
    id: &GroupId,
    invite: EventId,
    rumor: &WelcomeRumor,
) -> Result<bool, Halt> {
    let waiting = work.records.waiting().held_welcomes(id)?;
    if waiting.len() + 1 < MAX_WELCOMES || waiting.iter().any(|w| w.event_id == invite) {
        return Ok(true);
    }
    let row = work.records.groups().current_row(id)?;
    let new = welcome::glance_at(work, &row, invite, rumor)?;
    let mut others = Vec::with_capacity(waiting.len());
    for held in waiting {
        let event = Event::from_stored_json(held.event_json.as_bytes()).ok();
        let rumor =
            event.and_then(|event| pending_welcomes::rumor_of(work.records.call.keys, &event));
        match rumor.map(|rumor| welcome::glance_at(work, &row, held.event_id, &rumor)) {
            // (the newest Welcome of one maker says it all)
            Some(Ok(old)) if old.said.inviter == new.said.inviter => {
                let newer = old.said.made <= new.said.made;
                if newer {
                    work.records.tx.unhold(&held.event_id)?;
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
    // (a Welcome that cannot be read any more goes as well)
    let unknown = others.into_iter().find(|(_, known)| !known);
    if let Some((held, _)) = &unknown {
        work.records.tx.unhold(&held.event_id)?;
    }
    Ok(unknown.is_some())
}
