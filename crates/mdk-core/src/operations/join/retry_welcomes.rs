//! Welcomes and events that wait: for the end of a membership, or for another group (protocol/welcomes.md B4).

use mdk_store::{GroupRow, HeldRow};
use mdk_wire::budget::group::MAX_WELCOMES;
use mdk_wire::{Event, EventId, GroupId};

use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::limits::PATIENCE;
use crate::model::membership;
use crate::model::outcome::{DeferredReason, Rejection, Verdict};
use crate::state_store::records::Records;
use crate::state_store::{competing_invites, history_gaps, removals_of_us};

/// The waiting Welcomes that may be taken up again.
pub(crate) enum Retry {
    Nothing,
    /// They are due already.
    All,
    /// Each that has waited long enough, or is `awaited`.
    Each {
        row: Box<GroupRow>,
        awaited: bool,
        waiting: Vec<HeldRow>,
    },
}

/// Whether our membership did not begin on a branch that may still turn out to have lost: we founded the group, or have
/// followed it until no state is retained of when we came.
pub(crate) fn is_settled(row: &GroupRow) -> bool {
    row.welcome.is_none() || row.pass.floor > row.join_epoch
}

// rule: B4-15 a Welcome of a later membership waits for the end of this one
/// Gift wraps and the group's events come by two subscriptions, so the invitation may be there before the commit
/// that removed us: it is kept, and taken up when that commit has come.
pub(crate) fn hold_welcome(
    records: &mut Records<'_>,
    id: &GroupId,
    event: &Event,
) -> Result<Verdict, Halt> {
    let row = records.groups().current_row(id)?;
    let waiting = records.waiting().held_welcomes(id)?;
    if waiting.len() >= MAX_WELCOMES && !waiting.iter().any(|w| w.event_id == event.id()) {
        return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
    }
    records.buffered().hold(&row, event, DeferredReason::FutureEpoch)
}

/// Welcomes that may have waited long enough for a removal that does not come.
pub(crate) fn welcomes_to_retry(records: &mut Records<'_>, id: &GroupId) -> Result<Retry> {
    let row = records.groups().current_row(id)?;
    let waiting = match row.pass.opened {
        0 => records.waiting().held_welcomes(id)?,
        _ => return Ok(Retry::Nothing),
    };
    if waiting.is_empty() {
        return Ok(Retry::Nothing);
    }
    if membership::is_over(row.status) {
        if !competing_invites::ended_unanswered(records.tx, &row)? {
            return Ok(Retry::Nothing);
        }
        records.effects.take_up(waiting);
        return Ok(Retry::All);
    }
    let awaited = removals_of_us::is_awaited(records.tx, &row)?;
    // (a message that is heard is no new state, in which it would be taken up again)
    if !awaited && is_settled(&row) && !history_gaps::is_quiet(records.tx, records.call, &row)? {
        return Ok(Retry::Nothing);
    }
    Ok(Retry::Each { row: Box::new(row), awaited, waiting })
}

/// Whether one of them is to be tried now. To take one up opens a whole group, so it is done once in each state.
pub(crate) fn is_to_be_tried(
    records: &mut Records<'_>,
    row: &GroupRow,
    awaited: bool,
    held: &HeldRow,
) -> Result<bool> {
    let patient = awaited || held.received_at.saturating_add(PATIENCE) <= records.now();
    Ok(patient && !records.waiting().was_woken(row, &held.event_id)?)
}

/// Notes the verdict on a Welcome that was tried. One that waits for a later epoch is noted as tried; a refused one is
/// held no longer.
pub(crate) fn note_tried(
    records: &mut Records<'_>,
    row: &GroupRow,
    welcome: &EventId,
    verdict: std::result::Result<Verdict, Rejection>,
) -> Result<()> {
    match verdict {
        Ok(Verdict::Deferred(DeferredReason::FutureEpoch))
            if !records.groups().publishing(row)? =>
        {
            let wants_sign = records.input.wants_sign;
            records.waiting().note_woken(row, *welcome, wants_sign)
        }
        Ok(_) => Ok(()),
        Err(_) => Ok(records.tx.unhold(welcome)?),
    }
}
