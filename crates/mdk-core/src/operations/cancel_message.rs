//! Sending a message again, and taking it back.

use mdk_store::{MessageRow, OutgoingEnd, OutgoingRow, SendState};
use mdk_wire::{EventId, GroupId, kind};

use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::values::{Delivery, Message};
use crate::state_store::deliveries::{TAKEN_BACK, give_up};
use crate::state_store::history;
use crate::state_store::outbox::accepted;
use crate::state_store::records::Records;

pub(crate) fn outbox_retry(records: &mut Records<'_>, message: &EventId) -> Result<Message> {
    let mut row = records.tx.outgoing_message(message)?.ok_or(Error::MessageNotFound)?;
    if row.end != Some(OutgoingEnd::Refused) {
        return Err(Error::NotAllowed("this message has not failed"));
    }
    if row.event_json.is_none() {
        return Err(Error::MessageNotFound);
    }
    let group = row.group.clone().ok_or(Error::Unrecoverable("outbox"))?;
    membership::require_active(&records.groups().current_row(&group)?)?;
    if records.tx.message(&group, message)?.is_none() {
        return Err(Error::MessageNotFound);
    }
    row.end = None;
    row.finished_at = None;
    for target in &mut row.targets {
        target.state = SendState::Waiting;
        target.attempts = 0;
        target.next_at = 0;
        target.reason = None;
    }
    records.tx.put_outgoing(&row)?;
    records.deliveries().change_delivery(&row, Delivery::Queued)?;
    let again = records.tx.message(&group, message)?.ok_or(Error::MessageNotFound)?;
    history::view(records.tx, again)
}

// rule: OB-13 what a relay has cannot be taken back, and of what can only ids are left
pub(crate) fn outbox_cancel(records: &mut Records<'_>, message: &EventId) -> Result<bool> {
    let Some(row) = records.tx.outgoing_message(message)? else { return Ok(false) };
    let Some(group) = row.group.clone() else { return Ok(false) };
    // (one that was taken back before has no bytes any more)
    if accepted(&row) || row.finished_at.is_some() && row.event_json.is_none() {
        return Ok(false);
    }
    let sent = records.tx.message(&group, message)?;
    if sent.as_ref().is_some_and(|sent| sent.kind == kind::DELETE) {
        return Err(Error::NotAllowed("a deletion cannot be taken back"));
    }
    take_back(records, row)?;
    if let Some(sent) = sent {
        unsay(records, &group, sent)?;
    }
    Ok(true)
}

/// Ends a message that is taken back, and keeps its ids: a relay may have had it all the same, and then it is said.
fn take_back(records: &mut Records<'_>, mut row: OutgoingRow) -> Result<()> {
    if row.end.is_none() {
        records.deliveries().change_delivery(&row, Delivery::Failed)?;
    }
    give_up(&mut row, TAKEN_BACK);
    row.end = Some(OutgoingEnd::Refused);
    row.finished_at = Some(records.now());
    row.event_json = None;
    Ok(records.tx.put_outgoing(&row)?)
}

/// Takes a message of ours out of the history, with its effect on another one.
fn unsay(records: &mut Records<'_>, group: &GroupId, sent: MessageRow) -> Result<()> {
    if sent.kind == kind::EDIT {
        records.tx.erase_message(sent.seq)?;
        return records.branch_messages().withdraw(&sent);
    }
    // Its edits point at nothing any more.
    for edit in records.tx.edits(group, &sent.id)? {
        let edit = records.tx.outgoing_message(&edit.id)?;
        if let Some(edit) = edit.filter(|edit| !accepted(edit)) {
            take_back(records, edit)?;
        }
    }
    let subject = *sent.content_id.as_bytes();
    match records.messages().erase(sent)? {
        Some(stored) => records.log().emit(group, &subject, &stored),
        None => Ok(()),
    }
}
