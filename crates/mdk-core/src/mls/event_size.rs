//! The largest size of an event of ours.

use mdk_wire::{Event, PublicKey};

use crate::model::call::Call;
use crate::model::error::{Error, Result};

pub(crate) fn check_event_size(call: Call<'_>, event: &Event) -> Result<()> {
    check_size(event, call.config.max_event_bytes)
}

/// As [`check_event_size`], also by the limit of the invitee's relays: before anything is published.
pub(crate) fn check_invite_size(call: Call<'_>, event: &Event, invitee: &PublicKey) -> Result<()> {
    let limit = call.hints.invite_limits.get(invitee).copied().unwrap_or(u64::MAX);
    check_size(event, call.config.max_event_bytes.min(limit))
}

fn check_size(event: &Event, limit: u64) -> Result<()> {
    // The rest of an event of ours is far below a KiB: most need not be written out to be measured.
    if (event.content().len() as u64).saturating_add(1024) <= limit {
        return Ok(());
    }
    let size = event.to_json().len() as u64;
    if size > limit { Err(Error::GroupTooLarge { size, limit }) } else { Ok(()) }
}
