//! Messages of ours: how far they are, sending one again, taking one back.

use mdk_store::{MessageRow, OutgoingEnd, OutgoingPurpose, OutgoingRow, SendState};
use mdk_wire::{EventId, GroupId, kind};

use super::{accepted, errors};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::event_log::Stored;
use crate::values::{Delivery, Message};
use crate::{group, history};

/// Said in place of a relay's words when we are out of the group.
const NO_MEMBER: &str = "no longer a member of the group";
/// Said in place of the words of a relay that had not answered when a message was taken back.
const TAKEN_BACK: &str = "the message was taken back";
/// Said in place of a relay's words when a message's time has come.
const EXPIRED: &str = "the message has expired";

impl Ctx<'_, '_> {
    // rule: OB-12 every change of a message's delivery is told, once
    /// Notes how far a message is, and tells it.
    pub(super) fn change_delivery(&mut self, row: &OutgoingRow, delivery: Delivery) -> Result<()> {
        let (Some(group), Some(id)) = (&row.group, row.message) else {
            return Err(Error::Unrecoverable("outbox"));
        };
        let number = history::delivery_number(delivery);
        if delivery == Delivery::Accepted {
            self.witness_ours(group, &id)?;
        }
        self.tx.set_delivery(group, &id, number)?;
        // The same state may come twice, after another attempt: the place in the log tells the two apart.
        let place = self.tx.last_event_seq()?.to_be_bytes();
        let subject = [&id.as_bytes()[..], &[number], &place].concat();
        let stored =
            Stored::DeliveryChanged { id: *id.as_bytes(), delivery: number, errors: errors(row) };
        self.emit(&group.clone(), &subject, &stored)
    }

    pub(crate) fn outbox_messages(&self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        for row in self.tx.outgoing(0, u32::MAX)? {
            let (Some(group), Some(id)) = (&row.group, &row.message) else { continue };
            if accepted(&row) {
                continue;
            }
            if let Some(message) = self.tx.message(group, id)? {
                messages.push(history::view(self.tx, message)?);
            }
        }
        Ok(messages)
    }

    pub(crate) fn delivery_errors(&self, message: &EventId) -> Result<Vec<(String, String)>> {
        Ok(self.tx.outgoing_message(message)?.map_or_else(Vec::new, |row| errors(&row)))
    }

    pub(crate) fn outbox_retry(&mut self, message: &EventId) -> Result<Message> {
        let mut row = self.tx.outgoing_message(message)?.ok_or(Error::MessageNotFound)?;
        if row.end != Some(OutgoingEnd::Refused) {
            return Err(Error::NotAllowed("this message has not failed"));
        }
        if row.event_json.is_none() {
            return Err(Error::MessageNotFound);
        }
        let group = row.group.clone().ok_or(Error::Unrecoverable("outbox"))?;
        group::require_active(&self.current_row(&group)?)?;
        if self.tx.message(&group, message)?.is_none() {
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
        self.tx.put_outgoing(&row)?;
        self.change_delivery(&row, Delivery::Queued)?;
        let again = self.tx.message(&group, message)?.ok_or(Error::MessageNotFound)?;
        history::view(self.tx, again)
    }

    // rule: OB-13 what a relay has cannot be taken back, and of what can only ids are left
    pub(crate) fn outbox_cancel(&mut self, message: &EventId) -> Result<bool> {
        let Some(row) = self.tx.outgoing_message(message)? else { return Ok(false) };
        let Some(group) = row.group.clone() else { return Ok(false) };
        // (one that was taken back before has no bytes any more)
        if accepted(&row) || row.finished_at.is_some() && row.event_json.is_none() {
            return Ok(false);
        }
        let sent = self.tx.message(&group, message)?;
        if sent.as_ref().is_some_and(|sent| sent.kind == kind::DELETE) {
            return Err(Error::NotAllowed("a deletion cannot be taken back"));
        }
        self.take_back(row)?;
        if let Some(sent) = sent {
            self.unsay(&group, sent)?;
        }
        Ok(true)
    }

    /// Of a message that is taken back the ids stay: a relay may have had it all the same, and then it is said.
    fn take_back(&mut self, mut row: OutgoingRow) -> Result<()> {
        if row.end.is_none() {
            self.change_delivery(&row, Delivery::Failed)?;
        }
        give_up(&mut row, TAKEN_BACK);
        row.end = Some(OutgoingEnd::Refused);
        row.finished_at = Some(self.now());
        row.event_json = None;
        Ok(self.tx.put_outgoing(&row)?)
    }

    /// Takes a message of ours out of the history, with what it did to another one.
    fn unsay(&mut self, group: &GroupId, sent: MessageRow) -> Result<()> {
        if sent.kind == kind::EDIT {
            self.tx.erase_message(sent.seq)?;
            return self.withdraw(&sent);
        }
        // Its edits point at nothing any more.
        for edit in self.tx.edits(group, &sent.id)? {
            let edit = self.tx.outgoing_message(&edit.id)?;
            if let Some(edit) = edit.filter(|edit| !accepted(edit)) {
                self.take_back(edit)?;
            }
        }
        let subject = *sent.content_id.as_bytes();
        match self.erase(sent)? {
            Some(stored) => self.emit(group, &subject, &stored),
            None => Ok(()),
        }
    }

    /// Whether a message of ours is still to be taken by a relay.
    pub(crate) fn waits_to_go_out(&self, message: &MessageRow) -> Result<bool> {
        if !message.mine {
            return Ok(false);
        }
        Ok(self.tx.outgoing_event(&message.outer_id)?.is_some_and(|row| row.finished_at.is_none()))
    }

    // rule: OB-14 an expired message leaves the outbox, too
    /// Takes out a message whose time has come.
    pub(crate) fn expire_outgoing(&mut self, mine: bool, outer_id: &EventId) -> Result<()> {
        if !mine {
            return Ok(());
        }
        let Some(mut row) = self.tx.outgoing_event(outer_id)? else { return Ok(()) };
        self.tx.drop_outgoing(row.seq)?;
        if row.finished_at.is_none() && !accepted(&row) {
            give_up(&mut row, EXPIRED);
            self.change_delivery(&row, Delivery::Failed)?;
        }
        Ok(())
    }

    // rule: OB-15 who is out of a group says nothing more in it: what waits has failed
    /// Ends what waits for a group that we are out of. Commits that are true still go out, and Welcomes where it goes on.
    pub(crate) fn abandon_outgoing(&mut self, group: &GroupId) -> Result<()> {
        for mut row in self.tx.outgoing_of_group(group)? {
            match row.purpose {
                OutgoingPurpose::Message if accepted(&row) => {
                    give_up(&mut row, NO_MEMBER);
                    row.end = Some(OutgoingEnd::Accepted);
                    self.finish(&mut row)?;
                }
                OutgoingPurpose::Message => {
                    give_up(&mut row, NO_MEMBER);
                    row.end = Some(OutgoingEnd::Refused);
                    self.finish(&mut row)?;
                    self.change_delivery(&row, Delivery::Failed)?;
                }
                OutgoingPurpose::Proposal => self.tx.drop_outgoing(row.seq)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Relays that have not answered are not asked any more.
pub(super) fn give_up(row: &mut OutgoingRow, reason: &str) {
    for target in row.targets.iter_mut().filter(|t| t.state == SendState::Waiting) {
        target.state = SendState::Refused;
        target.reason = Some(reason.to_owned());
    }
}
