//! Sending: chat, reply, reaction, edit, delete, any kind.

pub(crate) mod files;
mod mentions;
pub(crate) mod order;
pub(crate) mod payload;
pub(crate) mod target;

use mdk_store::{MessageRow, MessageStatus, Seen};
use mdk_wire::v2::Attachment;
use mdk_wire::{EventId, GroupId, Secret, UnsignedEvent, kind};

use crate::media::attachments;
use crate::mls::encrypt::Sealed;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::work::Work;
use crate::mls::{encrypt, media_secret, own_commit};
use crate::model::error::{Error, Result};
use crate::model::message_kinds::{MAX_REACTION_CHARS, target_of};
use crate::model::outbox::OutboxPurpose;
use crate::model::values::{NewMessage, Outgoing};
use crate::state_store::message_order::Place;
use crate::state_store::outbox::Letter;
use crate::state_store::records::Records;
use crate::state_store::{file_keys, history, may_say};

/// A message as its author gives it.
struct Draft {
    kind: u16,
    content: String,
    tags: Vec<Vec<String>>,
    attachments: Vec<Attachment>,
    /// The place of the message that it answers.
    answers: Option<Place>,
}

impl Draft {
    /// One that says something about another message, which its tags name.
    fn about(kind: u16, content: String, tags: Vec<Vec<String>>) -> Self {
        Self { kind, content, tags, attachments: Vec::new(), answers: None }
    }
}

/// Encrypts a message in the current epoch and stores it (protocol/messages.md C3).
pub(crate) fn create_message(
    work: &mut Work<'_>,
    id: &GroupId,
    message: NewMessage,
) -> Result<Outgoing> {
    payload::check_kind(message.kind)?;
    let mut tags = message.tags;
    let mut answers = None;
    if let Some(target) = message.reply_to {
        // rule: 2.4-20. Readers take the first of such tags for the message that is answered, or another one.
        let says_it_too = |tag: &Vec<String>| tag.first().is_some_and(|n| n == "e" || n == "q");
        if tags.iter().any(says_it_too) {
            return Err(Error::input("tags", "an e or q tag beside reply_to"));
        }
        let row = work.records.tx.message(id, &target)?.ok_or(Error::MessageNotFound)?;
        answers = Some(Place::of(&row));
        let target = row.id.to_hex();
        tags.push(vec!["e".into(), target.clone()]);
        tags.push(vec!["q".into(), target]);
    }
    if message.kind == kind::CHAT {
        tags.append(&mut mentions::tags(&message.text, &tags));
    }
    let attachments = message.attachments;
    tags.append(&mut files::tags(message.kind, &attachments)?);
    let draft = Draft { kind: message.kind, content: message.text, tags, attachments, answers };
    send(work, id, draft)
}

pub(crate) fn react(
    work: &mut Work<'_>,
    id: &GroupId,
    target: &EventId,
    emoji: &str,
) -> Result<Outgoing> {
    let length = emoji.chars().count();
    if length == 0 {
        return Err(Error::empty("emoji", "empty"));
    }
    if length > MAX_REACTION_CHARS {
        return Err(Error::too_large("emoji", MAX_REACTION_CHARS, length));
    }
    work.records.groups().row(id)?;
    let row = work.records.tx.message(id, target)?.ok_or(Error::MessageNotFound)?;
    let tags = vec![vec!["e".into(), row.id.to_hex()], vec!["p".into(), row.sender.to_hex()]];
    send(work, id, Draft::about(kind::REACTION, emoji.to_owned(), tags))
}

pub(crate) fn edit(
    work: &mut Work<'_>,
    id: &GroupId,
    target: &EventId,
    text: &str,
) -> Result<Outgoing> {
    let row = work.records.messages().own_message(id, target)?;
    target::may_be_about(kind::EDIT, &row)?;
    let mut tags = vec![vec!["e".into(), row.id.to_hex()]];
    tags.append(&mut mentions::tags(text, &tags));
    send(work, id, Draft::about(kind::EDIT, text.to_owned(), tags))
}

pub(crate) fn delete(work: &mut Work<'_>, id: &GroupId, target: &EventId) -> Result<Outgoing> {
    let row = work.records.messages().own_message(id, target)?;
    target::may_be_about(kind::DELETE, &row)?;
    let tags = vec![vec!["e".into(), row.id.to_hex()]];
    send(work, id, Draft::about(kind::DELETE, String::new(), tags))
}

/// The secret that the files of a message open with, if it carries any and they are of now.
fn secret_of(
    work: &Work<'_>,
    group: &LoadedGroup,
    carried: &[Attachment],
    given: &[Attachment],
) -> Result<Option<Secret<32>>> {
    if carried.is_empty() {
        return Ok(None);
    }
    let secret = media_secret::media_secret(&group.mls, work.crypto)?;
    let recent = &work.records.memory.recent;
    file_keys::check_attachments(work.records.tx, recent, &group.row.id, given, &secret)?;
    Ok(Some(secret))
}

fn send(work: &mut Work<'_>, id: &GroupId, draft: Draft) -> Result<Outgoing> {
    let Draft { kind, content, tags, attachments, answers } = draft;
    may_say::may_say(&mut work.records, id)?;
    let mut group = work.take_active(id)?;
    own_commit::may_send(work.records.tx, &group)?;
    let carried = attachments::attachments(kind, &tags);
    let media_secret = match secret_of(work, &group, &carried, &attachments) {
        Ok(secret) => secret,
        Err(stale) => {
            work.put(group);
            return Err(stale);
        }
    };
    let now = work.records.now();
    let before = order::goes_after(&mut work.records, id, kind, answers)?;
    let mut payload = UnsignedEvent {
        pubkey: work.records.me(),
        created_at: order::dated(work.records.tx, work.records.call, id, kind, &tags, before)?,
        kind,
        tags,
        content,
    };
    let payload_id = payload::make_distinct(
        work.records.tx,
        work.records.call,
        &group.row,
        &mut payload,
        before,
    )?;
    let json = payload.to_json_with(&payload_id);
    if let Err(problem) =
        payload::check_payload(work.records.call, &payload, &json, attachments.len())
    {
        work.put(group);
        return Err(problem);
    }

    let target = target_of(kind, &payload.tags);
    let kept = work.records.expiry().kept(id, kind, target.as_ref())?;
    let sealed = encrypt::encrypt(work, &mut group, &json, payload.created_at, kept)?;
    let Sealed { event, content_id, expires_at } = sealed;
    let row = MessageRow {
        seq: 0,
        group: id.clone(),
        id: payload_id,
        content_id,
        outer_id: event.id(),
        sender: payload.pubkey,
        kind,
        created_at: payload.created_at,
        received_at: now,
        epoch: group.row.epoch,
        authenticator: group.row.authenticator,
        content: payload.content,
        target,
        tags: payload.tags,
        mine: true,
        delivery: 0,
        expires_at,
        status: MessageStatus::Valid,
    };
    let secret = media_secret.as_ref();
    let row = keep_own(&mut work.records, row, &carried, secret)?;
    let relays = group.row.relays.clone();
    work.put(group);
    let purpose = OutboxPurpose::Message { message_id: payload_id };
    work.records.outbox().post(&Letter {
        purpose,
        group: Some(id),
        event: &event,
        relays: &relays,
    })?;
    // Its id is new here, so nothing points at it yet.
    Ok(Outgoing { event, message: history::view_with(row, None, Vec::new()), relays })
}

/// Puts a message of ours into the history, and applies it to its target. Returns the row as it stands there.
fn keep_own(
    records: &mut Records<'_>,
    mut row: MessageRow,
    carried: &[Attachment],
    secret: Option<&Secret<32>>,
) -> Result<MessageRow> {
    if records.messages().is_void(&row)? {
        row.status = MessageStatus::Deleted;
        row.content = String::new();
        row.tags = Vec::new();
    }
    // A message of ours cannot be decrypted by us, in any wrapping: its content needs no mark.
    records.tx.mark_seen(row.outer_id.as_bytes(), Seen::OwnEcho)?;
    row.seq = records.tx.insert_message(&row)?;
    order::was_said(records, &row);
    if let Some(secret) = secret {
        file_keys::put_file_keys(records.tx, &row, carried, secret)?;
    }
    records.messages().apply_to_target(&row)?;
    Ok(row)
}
