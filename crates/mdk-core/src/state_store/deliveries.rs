//! Messages of ours: their delivery, sending one again, taking one back.

use mdk_store::{MessageRow, OutgoingEnd, OutgoingPurpose, OutgoingRow, SendState, Tx};
use mdk_wire::{EventId, GroupId};

use crate::model::error::{Error, Result};
use crate::model::values::{Delivery, Message};
use crate::state_store::event_log::EventLog;
use crate::state_store::history;
use crate::state_store::log_entry::Stored;
use crate::state_store::outbox::{Outbox, accepted, errors};
use crate::state_store::witnesses::Witnesses;

/// A message that no relay has.
pub(crate) fn waits(row: &OutgoingRow) -> bool {
    row.purpose == OutgoingPurpose::Message && !accepted(row)
}

/// Said in place of a relay's words when we are out of the group.
const NO_MEMBER: &str = "no longer a member of the group";
/// Said in place of the words of a relay that had not answered when a message was taken back.
pub(crate) const TAKEN_BACK: &str = "the message was taken back";
/// Said in place of a relay's words when a message's time has come.
const EXPIRED: &str = "the message has expired";

/// The deliveries of messages.
pub(crate) struct Deliveries<'a> {
    pub(crate) outbox: Outbox<'a>,
    pub(crate) log: EventLog<'a>,
    pub(crate) witnesses: Witnesses<'a>,
}

impl Deliveries<'_> {
    // rule: OB-12 every change of a message's delivery is told, once
    /// Notes the delivery of a message, and tells it.
    pub(crate) fn change_delivery(&mut self, row: &OutgoingRow, delivery: Delivery) -> Result<()> {
        let (Some(group), Some(id)) = (&row.group, row.message) else {
            return Err(Error::Unrecoverable("outbox"));
        };
        let number = history::delivery_number(delivery);
        if delivery == Delivery::Accepted {
            self.witnesses.witness_ours(group, &id)?;
        }
        self.outbox.tx.set_delivery(group, &id, number)?;
        // The same state may come twice, after another attempt: the place in the log tells the two apart.
        let place = self.outbox.tx.last_event_seq()?.to_be_bytes();
        let subject = [&id.as_bytes()[..], &[number], &place].concat();
        let stored =
            Stored::DeliveryChanged { id: *id.as_bytes(), delivery: number, errors: errors(row) };
        self.log.emit(&group.clone(), &subject, &stored)
    }

    // rule: OB-14 an expired message leaves the outbox, too
    /// Takes out a message whose time has come.
    pub(crate) fn expire_outgoing(&mut self, mine: bool, outer_id: &EventId) -> Result<()> {
        if !mine {
            return Ok(());
        }
        let Some(mut row) = self.outbox.tx.outgoing_event(outer_id)? else { return Ok(()) };
        self.outbox.tx.drop_outgoing(row.seq)?;
        if row.finished_at.is_none() && !accepted(&row) {
            give_up(&mut row, EXPIRED);
            self.change_delivery(&row, Delivery::Failed)?;
        }
        Ok(())
    }

    // rule: OB-15 who is out of a group says nothing more in it: what waits has failed
    /// Ends the events that wait for a group that we are out of. Commits that are true still go out, and Welcomes if
    /// the group goes on.
    pub(crate) fn abandon_outgoing(&mut self, group: &GroupId) -> Result<()> {
        for mut row in self.outbox.tx.outgoing_of_group(group)? {
            match row.purpose {
                OutgoingPurpose::Message if accepted(&row) => {
                    give_up(&mut row, NO_MEMBER);
                    row.end = Some(OutgoingEnd::Accepted);
                    self.outbox.finish(&mut row)?;
                }
                OutgoingPurpose::Message => {
                    give_up(&mut row, NO_MEMBER);
                    row.end = Some(OutgoingEnd::Refused);
                    self.outbox.finish(&mut row)?;
                    self.change_delivery(&row, Delivery::Failed)?;
                }
                OutgoingPurpose::Proposal | OutgoingPurpose::PushTokens => {
                    self.outbox.tx.drop_outgoing(row.seq)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

pub(crate) fn outbox_messages(tx: &Tx<'_>) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    for row in tx.outgoing(0, u32::MAX)? {
        let (Some(group), Some(id)) = (&row.group, &row.message) else { continue };
        if accepted(&row) {
            continue;
        }
        if let Some(message) = tx.message(group, id)? {
            messages.push(history::view(tx, message)?);
        }
    }
    Ok(messages)
}

pub(crate) fn delivery_errors(tx: &Tx<'_>, message: &EventId) -> Result<Vec<(String, String)>> {
    Ok(tx.outgoing_message(message)?.map_or_else(Vec::new, |row| errors(&row)))
}

/// Whether a message of ours is still to be taken by a relay.
pub(crate) fn waits_to_go_out(tx: &Tx<'_>, message: &MessageRow) -> Result<bool> {
    if !message.mine {
        return Ok(false);
    }
    Ok(tx.outgoing_event(&message.outer_id)?.is_some_and(|row| row.finished_at.is_none()))
}

/// Relays that have not answered are not asked any more.
pub(crate) fn give_up(row: &mut OutgoingRow, reason: &str) {
    for target in row.targets.iter_mut().filter(|t| t.state == SendState::Waiting) {
        target.state = SendState::Refused;
        target.reason = Some(reason.to_owned());
    }
}
