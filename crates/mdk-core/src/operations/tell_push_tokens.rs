//! Telling members the tokens that wake phones, asking for them, and choosing those to wake
//! (docs/internals/protocol/push.md).

use std::collections::BTreeSet;

use mdk_store::{MessageRow, MessageStatus, PushRequestRow, PushTokenRow, Seen};
use mdk_wire::push::{self, TokenRecord};
use mdk_wire::{Event, EventId, GroupId, UnsignedEvent, kind};

use crate::mls::push_owners::owns_leaf;
use crate::mls::work::Work;
use crate::mls::{encrypt, own_commit};
use crate::model::error::Result;
use crate::model::membership;
use crate::model::outbox::OutboxPurpose;
use crate::state_store::may_say;
use crate::state_store::message_expiry::Kept;
use crate::state_store::outbox::Letter;
use crate::state_store::records::Records;

/// Records in one message of ours: the event stays below 64 KiB.
const IN_ONE: usize = 16;
/// Records in one answer.
const IN_ANSWER: usize = 256;

/// Groups in which an answer or a request of ours is due.
pub(crate) fn groups_to_tell(records: &Records<'_>) -> Result<BTreeSet<GroupId>> {
    let now = records.call.now_millis;
    let open = records.tx.open_push_requests()?.into_iter();
    let due = open.filter(|row| row.due_at.is_some_and(|due| due <= now));
    Ok(due.map(|row| row.group).collect())
}

// rule: 2.11-12 an answer has what nobody has told since the request
// rule: 2.11-13 a member that has joined asks once
/// Answers all open requests of a group at once, and sends ours.
pub(crate) fn tell_group(work: &mut Work<'_>, id: &GroupId) -> Result<Vec<Event>> {
    let me = work.records.me();
    let mut open = work.records.tx.open_push_requests()?;
    open.retain(|row| row.group == *id);
    let mut events = Vec::new();
    if open.iter().any(|row| row.requester == me) {
        events.push(say(work, id, kind::PUSH_TOKENS, push::records_content(&[]))?);
    }
    let asked = open.iter().filter(|row| row.requester != me).map(|row| row.asked_at).max();
    if let Some(asked) = asked {
        let known = tokens_of_members(work, id)?;
        let mut untold: Vec<_> = known.into_iter().filter(|row| row.told_at < asked).collect();
        untold.sort_unstable_by_key(|row| row.told_at);
        untold.truncate(IN_ANSWER);
        for rows in untold.chunks(IN_ONE) {
            let records: Vec<_> = rows.iter().filter_map(|row| row.record.clone()).collect();
            events.push(say(work, id, kind::PUSH_KNOWN_TOKENS, push::records_content(&records))?);
        }
        for row in untold {
            let told_at = work.records.call.now_millis;
            work.records.tx.put_push_token(&PushTokenRow { told_at, ..row })?;
        }
    }
    for row in open {
        work.records.tx.put_push_request(&PushRequestRow { due_at: None, ..row })?;
    }
    Ok(events)
}

/// The tokens to wake for a message.
pub(crate) fn tokens_to_wake(
    work: &mut Work<'_>,
    id: &GroupId,
    message: &EventId,
) -> Result<Vec<TokenRecord>> {
    // rule: 2.11-14 a chat message wakes phones, as long as it counts
    let counts =
        |row: &MessageRow| row.mine && row.kind == kind::CHAT && row.status == MessageStatus::Valid;
    let said = work.records.tx.message(id, message)?;
    let gone = membership::is_over(work.records.groups().current_row(id)?.status);
    if gone || !said.as_ref().is_some_and(counts) {
        return Ok(Vec::new());
    }
    let me = work.records.me();
    let records = tokens_of_members(work, id)?.into_iter().filter_map(|row| row.record);
    Ok(records.filter(|record| record.key.member != me).collect())
}

/// The records of leaves that are in the group now.
fn tokens_of_members(work: &mut Work<'_>, id: &GroupId) -> Result<Vec<PushTokenRow>> {
    let mut rows = work.records.tx.push_tokens(id)?;
    let group = work.take(id)?;
    rows.retain(|row| row.record.is_some() && owns_leaf(&group.mls, &row.key));
    work.put(group);
    Ok(rows)
}

/// Says something about tokens. It is encrypted like a message, and does not stand in the history.
pub(crate) fn say(work: &mut Work<'_>, id: &GroupId, kind: u16, content: String) -> Result<Event> {
    may_say::may_say(&mut work.records, id)?;
    let mut group = work.take_active(id)?;
    own_commit::may_send(work.records.tx, &group)?;
    let (me, now) = (work.records.me(), work.records.now());
    let tags = vec![vec!["v".to_owned(), push::VERSION.to_owned()]];
    let payload = UnsignedEvent { pubkey: me, created_at: now, kind, tags, content };
    let payload_id = payload.id();
    let json = payload.to_json_with(&payload_id);
    let sealed = encrypt::encrypt(work, &mut group, &json, now, Kept::AsReaders)?;
    work.records.tx.mark_seen(sealed.event.id().as_bytes(), Seen::OwnEcho)?;
    // Others count it for the branch that it is said on, so we do.
    work.records.tx.insert_spent(&MessageRow {
        seq: 0,
        group: id.clone(),
        id: payload_id,
        content_id: sealed.content_id,
        outer_id: sealed.event.id(),
        sender: me,
        kind,
        created_at: now,
        received_at: now,
        epoch: group.row.epoch,
        authenticator: group.row.authenticator,
        content: String::new(),
        target: None,
        tags: Vec::new(),
        mine: true,
        delivery: 0,
        expires_at: None,
        status: MessageStatus::Valid,
    })?;
    let relays = group.row.relays.clone();
    work.put(group);
    let (purpose, event) = (OutboxPurpose::PushTokens, &sealed.event);
    work.records.outbox().post(&Letter { purpose, group: Some(id), event, relays: &relays })?;
    Ok(sealed.event)
}
