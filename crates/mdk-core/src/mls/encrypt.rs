//! The encryption of a message of ours.

use mdk_wire::{ContentId, Event, OsRandom, group_message};

use crate::mls::event_size;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::work::Work;
use crate::model::error::{Error, Result};
use crate::model::message_kinds::expiry;
use crate::state_store::message_expiry::Kept;

/// A message as it goes out.
pub(crate) struct Sealed {
    pub(crate) event: Event,
    pub(crate) content_id: ContentId,
    pub(crate) expires_at: Option<u64>,
}

pub(crate) fn encrypt(
    work: &mut Work<'_>,
    group: &mut LoadedGroup,
    json: &str,
    created_at: u64,
    kept: Kept,
) -> Result<Sealed> {
    let mls = group
        .mls
        .create_message(&work.provider(), &work.identity.signer, json.as_bytes())
        .map_err(Error::bug("encrypting a message"))?
        .to_bytes()
        .map_err(Error::bug("serialising a message"))?;
    let content_id = ContentId::of(&mls);
    // rule: 2.9-1 (expiry counts from the inner created_at with the retention of the source epoch)
    let expires_at = expiry(created_at, group.row.retention);
    let sent_at = work.records.timestamps().envelope_time(&group.row.id)?;
    let event = group_message::seal(
        &mls,
        &group.row.event_key,
        &group.row.nostr_group_id,
        sent_at,
        kept.by_relays(expires_at),
        &mut OsRandom,
    )
    .map_err(Error::bug("sealing a message"))?;
    event_size::check_event_size(work.records.call, &event)?;
    Ok(Sealed { event, content_id, expires_at })
}
