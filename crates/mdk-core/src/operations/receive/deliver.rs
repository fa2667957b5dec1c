//! Application payloads: delivery, and the effects of edits, reactions and deletes (protocol/events.md D3).

use mdk_store::{MessageRow, MessageStatus, Tx};
use mdk_wire::budget::member::{
    MAX_DELETIONS, MAX_EDITS, MAX_REACTIONS, MAX_REASON_BYTES, MAX_TAGS_ABOUT_BYTES,
};
use mdk_wire::{EventId, Payload, PublicKey, kind};

use crate::media::attachments;
use crate::mls::media_secret;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::message_kinds::{
    MAX_REACTION_CHARS, expiry, is_about, is_about_tokens, target_of,
};
use crate::model::opened::Opened;
use crate::model::outcome::{RejectCode, Rejection};
use crate::operations::receive::push_gossip;
use crate::state_store::log_entry::Stored;
use crate::state_store::records::Records;

/// The state a message was opened in.
pub(crate) struct Source {
    pub(crate) epoch: u64,
    pub(crate) authenticator: [u8; 32],
    pub(crate) retention: u64,
    /// It is on the branch that is followed.
    pub(crate) followed: bool,
}

/// Checks the payload against its MLS sender and stores it once; surplus messages go.
pub(crate) fn deliver(
    work: &mut Work<'_>,
    opened: &Opened,
    sender: PublicKey,
    source: &Source,
    plaintext: &[u8],
) -> Result<(), Halt> {
    store_payload(work, opened, sender, source, plaintext)?;
    Ok(work.records.quota().keep_to_quota(&opened.row.id, &sender)?)
}

fn store_payload(
    work: &mut Work<'_>,
    opened: &Opened,
    sender: PublicKey,
    source: &Source,
    plaintext: &[u8],
) -> Result<(), Halt> {
    let payload = Payload::parse(plaintext)?;
    judge_payload(&payload, &sender)?;
    let mut row = message_row(work.records.call, opened, sender, source, payload);
    // rule: 2.5-10 what was said before, under the same id, is shown once
    let copies = work.records.tx.copies(&row.group, &row.id)?;
    if copies.iter().any(|copy| copy.authenticator == row.authenticator) {
        // Said in this state already, and counted there: nothing is new.
        return Ok(());
    }
    if is_about_tokens(row.kind) {
        return Ok(push_gossip::deliver_gossip(work, row)?);
    }
    let late = work.records.expiry().has_had_its_time(&mut row, &copies)?;
    let known = |status| copies.iter().any(|copy| copy.status == status);
    let gone = known(MessageStatus::Deleted);
    if known(MessageStatus::Valid) {
        // In another state, which may lose: then this one stands for it.
        row.status = MessageStatus::Parked;
    }
    // A delete by the same author may have come before what it deletes.
    let erased =
        work.records.messages().is_deleted(&row)? || work.records.messages().is_void(&row)?;
    if late || gone || erased {
        row.content = String::new();
        row.tags = Vec::new();
    }
    if erased {
        row.status = MessageStatus::Deleted;
        work.records.messages().erase_edits(&row.group, &row.id, None)?;
    }
    work.records.witnesses().witness(&row)?;
    if copies.is_empty() && !has_room_about(work.records.tx, &row)? {
        // The facts that branches are compared by stay.
        work.records.tx.insert_spent(&row)?;
        return Ok(());
    }
    row.seq = work.records.tx.insert_message(&row)?;
    if attachments::is_kept(&row, late) {
        media_secret::keep_file_keys(work, &row, &source.authenticator)?;
    }
    match row.status {
        _ if late || gone => store_late(&mut work.records, &row, late, gone)?,
        MessageStatus::Parked => {
            delete_early(&mut work.records, &row)?;
            work.records.branch_messages().place_late(&row)?;
        }
        _ => show_payload(&mut work.records, row, &copies)?,
    }
    Ok(())
}

/// The row of a member's message, as it is kept.
fn message_row(
    call: Call<'_>,
    opened: &Opened,
    sender: PublicKey,
    source: &Source,
    payload: Payload,
) -> MessageRow {
    let (id, kind, created_at) = (payload.id, payload.kind, payload.created_at);
    let target = target_of(kind, &payload.tags);
    let (content, tags) = needed(payload, target.as_ref());
    MessageRow {
        seq: 0,
        group: opened.row.id.clone(),
        id,
        content_id: opened.content_id,
        outer_id: opened.event_id,
        sender,
        // rule: 2.4-19 a message of a kind that is not known here is delivered like any other
        kind,
        created_at,
        received_at: call.now(),
        epoch: source.epoch,
        authenticator: source.authenticator,
        content,
        target,
        tags,
        mine: sender == call.me(),
        delivery: 1,
        // rule: 2.9-1
        expires_at: expiry(created_at, source.retention),
        // rule: E5-9 what is said on a branch that has not won is not shown, but counted
        status: if source.followed { MessageStatus::Valid } else { MessageStatus::Parked },
    }
}

/// Stores a message whose time is over, or that was deleted in another state. Only the facts that branches are compared
/// by stay of it.
fn store_late(records: &mut Records<'_>, row: &MessageRow, late: bool, gone: bool) -> Result<()> {
    if late && row.kind == kind::DELETE {
        // rule: 2.9-8
        delete_early(records, row)?;
        return records.expiry().retire_deletion(row, true);
    }
    records.expiry().bury_late(row, gone)
}

/// Applies a message of the followed branch to its target, and tells of it.
fn show_payload(records: &mut Records<'_>, row: MessageRow, copies: &[MessageRow]) -> Result<()> {
    records.messages().park_copies(copies)?;
    let Some(stored) = records.messages().apply_to_target(&row)? else { return Ok(()) };
    let group = row.group.clone();
    if let Stored::MessageReceived { .. } = stored {
        records.log().emit_message(row)
    } else {
        records.log().emit(&group, row.content_id.as_bytes(), &stored)
    }
}

/// A deletion counts on every branch: not even a lost one brings the message back.
fn delete_early(records: &mut Records<'_>, row: &MessageRow) -> Result<()> {
    if row.kind != kind::DELETE {
        return Ok(());
    }
    if let Some(stored) = records.messages().apply_to_target(row)? {
        records.log().emit(&row.group.clone(), row.content_id.as_bytes(), &stored)?;
    }
    Ok(())
}

// rule: 2.4-21 what a member says about one message is kept in so many pieces
/// Makes room for a reaction, an edit or a deletion among those of its sender about that message. Returns false if
/// there is no room, or if it does nothing: then it is not kept.
fn has_room_about(tx: &Tx<'_>, row: &MessageRow) -> Result<bool> {
    let most = match row.kind {
        kind::REACTION => MAX_REACTIONS,
        kind::EDIT => MAX_EDITS,
        kind::DELETE => MAX_DELETIONS,
        _ => return Ok(true),
    };
    let Some(target) = &row.target else { return Ok(true) };
    if row.kind != kind::REACTION {
        let of = tx.message(&row.group, target)?;
        if of.is_some_and(|of| of.sender != row.sender) {
            return Ok(false);
        }
    }
    let known = tx.said_about(&row.group, target, row.kind, &row.sender)?;
    if known.len() < most {
        return Ok(true);
    }
    let gone = known.iter().find(|one| one.status == MessageStatus::Deleted);
    let oldest =
        known.first().filter(|one| row.kind == kind::EDIT && one.created_at <= row.created_at);
    let Some(place) = gone.or(oldest) else { return Ok(false) };
    tx.spend_message(place.seq)?;
    Ok(true)
}

/// Checks a message against its sender.
fn judge_payload(payload: &Payload, sender: &PublicKey) -> Result<(), Rejection> {
    let no = |rule, reason| Err(Rejection::new(RejectCode::InvalidEncoding, rule, reason));
    // rule: 2.5-9
    if payload.pubkey != *sender {
        return no("2.5-9", "the payload's author is not the MLS sender");
    }
    // rule: 2.4-8
    if payload.kind == kind::REACTION && payload.content.chars().count() > MAX_REACTION_CHARS {
        return no("2.4-8", "the reaction is too long");
    }
    Ok(())
}

/// The size of a tag in memory, in bytes.
fn size(tag: &[String]) -> usize {
    size_of::<Vec<String>>() + size_of_val(tag) + tag.iter().map(String::len).sum::<usize>()
}

/// Content and tags of a payload, as far as they are needed. A payload about another message needs no tag but the one
/// that names it. Only that tag stays where there are more tags than any client makes.
fn needed(payload: Payload, target: Option<&EventId>) -> (String, Vec<Vec<String>>) {
    let Payload { kind, mut content, mut tags, .. } = payload;
    if !is_about(kind) {
        return (content, tags);
    }
    if tags.iter().map(|tag| size(tag)).sum::<usize>() > MAX_TAGS_ABOUT_BYTES {
        tags = target.map(|id| vec!["e".to_owned(), id.to_hex()]).into_iter().collect();
    }
    if kind == kind::DELETE && content.len() > MAX_REASON_BYTES {
        content = String::new();
    }
    (content, tags)
}
