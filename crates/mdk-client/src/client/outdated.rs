//! Lists and KeyPackages that still wait for a relay when a newer one takes their place.
//!
//! A relay that has the newer one refuses them, each in its own words and some as if another attempt could help.

use mdk_core::{Engine, OutboxPurpose, RelayVerdict, SendState};
use mdk_wire::{Event, EventId};

/// Gives up what waits of this kind, but for the event that took its place.
pub(crate) fn give_up(engine: &mut Engine, kind: u16, but: &EventId) -> mdk_core::Result<()> {
    let of_kind = |json: &str| {
        Event::from_stored_json(json.as_bytes()).is_ok_and(|event| event.kind() == kind)
    };
    for item in engine.outbox(u32::MAX)? {
        let replaced = matches!(item.purpose, OutboxPurpose::List | OutboxPurpose::KeyPackage);
        if !replaced || item.event_id == *but || !of_kind(&item.event) {
            continue;
        }
        for result in item.results.iter().filter(|result| result.state == SendState::Waiting) {
            let reason = "a newer one took its place".to_owned();
            engine.outbox_result(item.seq, &result.relay, RelayVerdict::Refused { reason })?;
        }
    }
    Ok(())
}
