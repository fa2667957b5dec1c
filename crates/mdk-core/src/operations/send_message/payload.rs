//! The checks of a message of ours: it is within every limit, acceptable to receivers, and unlike the others.

use mdk_store::{GroupRow, Tx};
use mdk_wire::limits::{MAX_TAG_VALUES, MAX_TAGS};
use mdk_wire::{EventId, OsRandom, Payload, Random as _, UnsignedEvent, kind};

use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::message_kinds::{MAX_REACTION_CHARS, is_about_tokens};
use crate::operations::send_message::order;
use crate::state_store::message_order::Place;

/// Two equal messages within one second would have one id. Readers that keep messages by id would lose one of them, so
/// a tag tells the later ones apart. The same holds for a message that waits for relays, in any group. A message at a
/// limit is dated later instead, so that a limit is the same for every call. Returns the id.
///
/// If messages expire, the clock may have been set back to the second of an expired one: its copies are known.
pub(crate) fn make_distinct(
    tx: &Tx<'_>,
    call: Call<'_>,
    group: &GroupRow,
    payload: &mut UnsignedEvent,
    before: Option<Place>,
) -> Result<EventId> {
    let id = &group.id;
    order::rise(call, payload, before);
    let tags = payload.tags.len();
    let mut room = None;
    loop {
        let payload_id = payload.id();
        if tx.message(id, &payload_id)?.is_none()
            && !(call.outbox && tx.outgoing_message(&payload_id)?.is_some())
            && (group.retention == 0 || tx.buried(id, &payload_id)?.is_empty())
        {
            return Ok(payload_id);
        }
        if !*room.get_or_insert_with(|| order::has_room(call, payload)) {
            let later = payload.created_at.checked_add(1);
            payload.created_at = later.ok_or(Error::Internal("the clock is at its end"))?;
            continue;
        }
        let mut nonce = [0; 8];
        OsRandom.fill(&mut nonce);
        payload.tags.truncate(tags);
        payload.tags.push(vec!["n".into(), hex::encode(nonce)]);
    }
}

/// Whether the payload, `json` when written, may be sent: a payload that no receiver would take must not look sent.
/// `files` of its tags, the last ones, are those of attachments.
pub(crate) fn check_payload(
    call: Call<'_>,
    payload: &UnsignedEvent,
    json: &str,
    files: usize,
) -> Result<()> {
    check_tags(&payload.tags)?;
    let limit = usize::try_from(call.config.max_message_bytes).unwrap_or(usize::MAX);
    if json.len() > limit {
        return Err(Error::too_large(largest_part(payload, files), limit, json.len()));
    }
    let length = payload.content.chars().count();
    if payload.kind == kind::REACTION && length > MAX_REACTION_CHARS {
        return Err(Error::too_large("text", MAX_REACTION_CHARS, length));
    }
    match Payload::parse(json.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::input("tags", "no receiver would accept them")),
    }
}

// rule: 2.4-13 what is only a template for a signature is never sent; from others it is a kind like any unknown one
pub(crate) fn check_kind(kind: u16) -> Result<()> {
    // rule: 2.11-17 an app of ours tells no token
    let problem = match kind {
        kind::IDENTITY_PROOF | kind::PUSH_PROOF => "a template for signatures, which is never sent",
        kind::PUSH_TRIGGER => "for a notification server, and never sent into a group",
        _ if is_about_tokens(kind) => "about push tokens, which the engine tells by itself",
        _ => return Ok(()),
    };
    Err(Error::InvalidInput { field: "kind", problem, limit: None, actual: Some(kind.into()) })
}

fn check_tags(tags: &[Vec<String>]) -> Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(Error::too_large("tags", MAX_TAGS, tags.len()));
    }
    for tag in tags {
        if tag.is_empty() {
            return Err(Error::empty("tags", "a tag without a name"));
        }
        if tag.len() > MAX_TAG_VALUES {
            return Err(Error::too_large("tags", MAX_TAG_VALUES, tag.len()));
        }
    }
    Ok(())
}

/// The argument that takes the most of a payload.
fn largest_part(payload: &UnsignedEvent, files: usize) -> &'static str {
    let size = |tags: &[Vec<String>]| tags.iter().flatten().map(|text| text.len() + 3).sum();
    let (tags, files) = payload.tags.split_at(payload.tags.len().saturating_sub(files));
    let (text, tags, files): (usize, usize, usize) =
        (payload.content.len(), size(tags), size(files));
    match text.max(tags).max(files) {
        most if most == text => "text",
        most if most == tags => "tags",
        _ => "attachments",
    }
}
