//! The date and the id of a message of ours: after the messages that it follows.

use mdk_store::{MessageRow, Tx};
use mdk_wire::limits::MAX_TAGS;
use mdk_wire::{EventId, GroupId, OsRandom, Random as _, UnsignedEvent, kind};

use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::message_kinds::target_of;
use crate::state_store::message_order::Place;
use crate::state_store::records::Records;

/// Seconds ahead of the clock up to which each message has a second of its own.
const AHEAD: u64 = 10;
/// Seconds ahead up to which a message of somebody else is followed that is not answered: clocks differ.
const HEARD: u64 = 60;
/// Seconds ahead at most. A message that lies farther in the future was dated by a wrong clock, and is not followed.
const FARTHEST: u64 = 900;
/// Ids among which the next one of a second is chosen. With eight, some thirteen messages find room in one.
const TRIES: usize = 8;

/// Whether apps show this kind in the order of its time: a payload that only says something about a message stands
/// there with it.
fn is_shown(kind: u16) -> bool {
    !matches!(kind, kind::REACTION | kind::EDIT | kind::DELETE)
}

// rule: OB-21 a message of ours stands after our last one, after what came last, and after what it answers
/// The message that one of ours, made now, has to stand after.
pub(crate) fn goes_after(
    records: &mut Records<'_>,
    id: &GroupId,
    kind: u16,
    answers: Option<Place>,
) -> Result<Option<Place>> {
    if !is_shown(kind) {
        return Ok(None);
    }
    let now = records.now();
    if !records.memory.said.0.contains_key(id) {
        let last = records.tx.last_said(id)?.map(|(at, id)| Place { at, id });
        records.memory.said.0.insert(id.clone(), last);
    }
    let own = records.memory.said.0.get(id).copied().flatten();
    let last = records.tx.last_shown(id)?.map(|(at, id)| Place { at, id });
    let last = last.filter(|last| last.at <= now.saturating_add(HEARD));
    let near = |place: &Place| place.at >= now && place.at <= now.saturating_add(FARTHEST);
    Ok([own, last, answers].into_iter().flatten().filter(near).max())
}

/// Remembers a message of ours.
pub(crate) fn was_said(records: &mut Records<'_>, row: &MessageRow) {
    if is_shown(row.kind) {
        records.memory.said.0.insert(row.group.clone(), Some(Place::of(row)));
    }
}

// rule: 2.4-15 an edit is dated later than the edits before it: the newest counts, in whatever order they come
/// The date of a message that is sent now. Two edits within a second, or while the clock is set back, differ in it.
pub(crate) fn dated(
    tx: &Tx<'_>,
    call: Call<'_>,
    id: &GroupId,
    kind: u16,
    tags: &[Vec<String>],
    before: Option<Place>,
) -> Result<u64> {
    let now = call.now();
    if let Some(before) = before {
        let next = before.at.saturating_add(1);
        return Ok(if next <= now.saturating_add(AHEAD) { next } else { before.at });
    }
    let Some(target) = target_of(kind, tags).filter(|_| kind == kind::EDIT) else {
        return Ok(now);
    };
    let newest = tx.newest_edit(id, &target, &call.me())?;
    Ok(newest.map_or(now, |edit| now.max(edit.created_at.saturating_add(1))))
}

/// Gives a message the smallest of a few ids above that of `before`, if it shares its second; the next second, if there
/// is none.
pub(crate) fn rise(call: Call<'_>, payload: &mut UnsignedEvent, before: Option<Place>) {
    let Some(before) = before.filter(|before| before.at == payload.created_at) else { return };
    let tags = payload.tags.len();
    let mut best: Option<(EventId, Vec<String>)> = None;
    for _ in 0..if has_room(call, payload) { TRIES } else { 0 } {
        let mut nonce = [0; 8];
        OsRandom.fill(&mut nonce);
        let tag = vec!["n".to_owned(), hex::encode(nonce)];
        payload.tags.push(tag.clone());
        let id = payload.id();
        payload.tags.truncate(tags);
        if id > before.id && best.as_ref().is_none_or(|(least, _)| id < *least) {
            best = Some((id, tag));
        }
    }
    match best {
        Some((_, tag)) => payload.tags.push(tag),
        None => payload.created_at = payload.created_at.saturating_add(1),
    }
}

/// Whether the tag fits as well, into all that is bounded.
pub(crate) fn has_room(call: Call<'_>, payload: &UnsignedEvent) -> bool {
    let size = payload.to_json().len() + MARK_BYTES;
    let event = (size + AROUND).div_ceil(3) * 4 + AROUND;
    payload.tags.len() < MAX_TAGS
        && size as u64 <= call.config.max_message_bytes
        && event as u64 <= call.config.max_event_bytes
}

/// The size that a payload gains by the tag that tells equal messages apart.
pub(crate) const MARK_BYTES: usize = r#",["n","0123456789abcdef"]"#.len();

/// More than MLS puts around a payload, and more than the event has beside its content.
pub(crate) const AROUND: usize = 1024;
