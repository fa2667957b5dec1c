//! Messages that waited so long that nobody would look for them any more.
//!
//! A member who was away asks relays for events from a little before the newest one that he has. An event that comes to
//! a relay long after its own time is found only by those who are connected at that moment. Some relays refuse such an
//! event, as they refuse one that lies in the future. So a message that no relay is known to have goes out with the
//! time of now: as another event, around the same encrypted bytes. "Retry byte-identically" (protocol/messages.md C3)
//! is for the MLSMessage, of which there is one. If a relay has taken the old event after all, the second one is a
//! repetition (rule: D1-9).

use mdk_store::{OutgoingRow, Seen};
use mdk_wire::{Event, GroupId, GroupMessage, OsRandom, group_message};

use crate::model::error::{Error, Result};
use crate::state_store::deliveries::waits;
use crate::state_store::records::Records;
use crate::state_store::stale_outgoing::is_misdated;

// rule: OB-19 what no relay has taken for a day goes out with the time of now, around the same encrypted bytes
/// Dates messages anew that are too old or too far ahead, and the messages behind them, so that the order stays.
pub(crate) fn date_anew(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    let mut behind = false;
    for row in records.tx.outgoing_of_group(id)? {
        if !waits(&row) {
            continue;
        }
        behind |= is_misdated(records.call, &row);
        if behind {
            replace(records, id, row)?;
        }
    }
    Ok(())
}

fn replace(records: &mut Records<'_>, id: &GroupId, row: OutgoingRow) -> Result<()> {
    let damaged = || Error::Unrecoverable("outbox");
    let message = row.message.ok_or_else(damaged)?;
    let json = row.event_json.as_deref().ok_or_else(damaged)?;
    let event = Event::from_json(json.as_bytes()).map_err(|_| damaged())?;
    let sealed = GroupMessage::parse(event).map_err(|_| damaged())?;
    let sent_at = records.timestamps().envelope_time(id)?;
    let event = group_message::date_anew(&sealed, sent_at, &mut OsRandom)
        .map_err(Error::bug("dating a message anew"))?;
    records.tx.mark_seen(event.id().as_bytes(), Seen::OwnEcho)?;
    records.tx.replace_event(id, &message, &row.event_id, &event.id())?;
    // (a late answer to the old one is not to be taken for one to this)
    records.tx.drop_outgoing(row.seq)?;
    let (event_id, event_json) = (event.id(), Some(event.to_json()));
    let created_at = records.now();
    records.tx.post(&OutgoingRow { event_id, event_json, created_at, ..row })?;
    Ok(())
}
