//! Events of ours that come back. A relay that gives one out has it, even if its answer was another one.

use mdk_store::{OutgoingEnd, OutgoingPurpose, OutgoingRow, SendState, Tx};
use mdk_wire::EventId;

use crate::model::error::Result;
use crate::model::outbox::RelayVerdict;
use crate::operations::record_relay_answer::noted::{Noted, note};
use crate::state_store::outbox::accepted;

/// Those of `events` for which it matters that a relay has them.
pub(crate) fn outbox_awaits(tx: &Tx<'_>, events: &[EventId]) -> Result<Vec<EventId>> {
    let mut awaited = Vec::new();
    for event in events {
        if tx.outgoing_event(event)?.is_some_and(|row| matters(&row)) {
            awaited.push(*event);
        }
    }
    Ok(awaited)
}

// rule: OB-16 what came back from a relay is on it: a lost answer, or a refusal of the second attempt, makes no
// failure of what others can read
pub(crate) fn outbox_echo(
    tx: &Tx<'_>,
    event: &EventId,
    relay: &str,
    same: &dyn Fn(&str) -> bool,
) -> Result<Noted> {
    let Some(mut row) = tx.outgoing_event(event)?.filter(matters) else {
        return Ok(Noted::Finished);
    };
    if row.purpose != OutgoingPurpose::Welcome {
        row.end = None;
    }
    row.finished_at = None;
    let had = accepted(&row);
    let known = row.targets.iter().find(|target| same(&target.relay));
    let relay = known.map_or_else(|| relay.to_owned(), |target| target.relay.clone());
    Ok(match note(&mut row, &relay, RelayVerdict::Accepted) {
        true => Noted::Answered { row: Box::new(row), first: !had },
        false => Noted::Nothing,
    })
}

/// An event that has not been everywhere, or a message that was given up.
fn matters(row: &OutgoingRow) -> bool {
    let failed = row.purpose == OutgoingPurpose::Message && row.end == Some(OutgoingEnd::Refused);
    failed || row.finished_at.is_none() && row.targets.iter().any(not_there)
}

fn not_there(target: &mdk_store::TargetRow) -> bool {
    target.state != SendState::Accepted
}
