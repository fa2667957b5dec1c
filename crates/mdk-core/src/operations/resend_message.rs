//! A message of ours once more, for a caller who moves the events himself and does not know whether this one went out.

use mdk_store::{MessageRow, MessageStatus, Seen};
use mdk_wire::{EventId, GroupId, UnsignedEvent};

use crate::media::attachments;
use crate::mls::encrypt::Sealed;
use crate::mls::work::Work;
use crate::mls::{encrypt, own_commit};
use crate::model::error::{Error, Result};
use crate::model::message_kinds::is_bare;
use crate::model::values::Outgoing;
use crate::state_store::history;
use crate::state_store::message_expiry::Kept;

// rule: C3-8 a message that may not have gone out can be had again: the same id, so that it is shown once
pub(crate) fn resend(work: &mut Work<'_>, id: &GroupId, message: &EventId) -> Result<Outgoing> {
    let row = work.records.messages().own_message(id, message)?;
    if is_bare(&row) {
        return Err(Error::MessageNotFound);
    }
    if row.status != MessageStatus::Valid {
        return Err(Error::NotAllowed("the message is deleted, or was lost with its branch"));
    }
    if work.records.tx.outgoing_message(message)?.is_some_and(|waits| waits.finished_at.is_none()) {
        return Err(Error::NotAllowed("the message is in the outbox"));
    }
    work.records.after_restore().require_renewed(id)?;
    let mut group = work.take_active(id)?;
    own_commit::may_send(work.records.tx, &group)?;
    let said = work.records.tx.copies(id, message)?;
    let here = said.iter().any(|copy| copy.authenticator == group.row.authenticator);
    // rule: 2.10-17
    if row.authenticator != group.row.authenticator
        && !attachments::attachments(row.kind, &row.tags).is_empty()
    {
        work.put(group);
        return Err(Error::MediaStale);
    }
    let payload = UnsignedEvent {
        pubkey: row.sender,
        created_at: row.created_at,
        kind: row.kind,
        tags: row.tags.clone(),
        content: row.content.clone(),
    };
    if payload.id() != row.id {
        return Err(Error::Internal("a message is not what its id says"));
    }
    let kept = match work.records.expiry().kept(id, row.kind, row.target.as_ref())? {
        Kept::AsReaders => Kept::AtMost(row.expires_at),
        kept => kept,
    };
    let Sealed { event, content_id, .. } =
        encrypt::encrypt(work, &mut group, &payload.to_json_with(&row.id), row.created_at, kept)?;
    work.records.tx.mark_seen(event.id().as_bytes(), Seen::OwnEcho)?;
    if !here {
        // As with everybody who knows the first one: it counts in this state, too, and stands for the other if
        // that one loses.
        work.records.tx.insert_message(&MessageRow {
            content_id,
            outer_id: event.id(),
            received_at: work.records.now(),
            epoch: group.row.epoch,
            authenticator: group.row.authenticator,
            // rule: 2.9-6 (as the row says)
            status: MessageStatus::Parked,
            ..row.clone()
        })?;
    }
    let relays = group.row.relays.clone();
    work.put(group);
    Ok(Outgoing { event, message: history::view(work.records.tx, row)?, relays })
}
