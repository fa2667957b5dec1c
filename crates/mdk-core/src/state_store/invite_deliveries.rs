//! Invites that no relay takes: they stay, and the inviter is told.

use mdk_store::{OutgoingEnd, OutgoingPurpose, OutgoingRow, Tx};
use mdk_wire::GroupId;

use crate::model::error::{Error, Result};
use crate::model::outbox::OutboxChange;
use crate::model::values::Delivery;
use crate::state_store::deliveries::give_up;
use crate::state_store::event_log::EventLog;
use crate::state_store::history;
use crate::state_store::log_entry::Stored;
use crate::state_store::outbox::{Outbox, accepted, errors, refused};

/// The time for which an invite that every relay refuses is tried, in seconds: its KeyPackage ends at about that time.
const TRIED_FOR: u64 = 30 * 86_400;

const GROUP_ENDED: &str = "the group has ended";

/// The deliveries of invites.
pub(crate) struct InviteDeliveries<'a> {
    pub(crate) outbox: Outbox<'a>,
    pub(crate) log: EventLog<'a>,
}

impl InviteDeliveries<'_> {
    // rule: OB-18 who was invited is a member whatever relays say: the invite stays as long as that holds, and its
    // refusal is told
    /// Keeps an invite that every relay has refused so far.
    pub(crate) fn invite_refused(
        &mut self,
        mut row: OutgoingRow,
        change: &mut OutboxChange,
    ) -> Result<()> {
        let group = row.group.clone().ok_or(Error::Unrecoverable("outbox"))?;
        let recipient = row.recipient.ok_or(Error::Unrecoverable("outbox"))?;
        let members = self.outbox.tx.group(&group)?.map(|group| group.members).unwrap_or_default();
        if !members.contains(&recipient) {
            change.finished = true;
            // (the commit that ended the membership may lose, rule: C2-8)
            self.outbox.tx.withhold_welcome(&row.event_id)?;
            return Ok(self.outbox.tx.drop_outgoing(row.seq)?);
        }
        row.end = Some(OutgoingEnd::Refused);
        if row.created_at.saturating_add(TRIED_FOR) <= self.outbox.now {
            change.finished = true;
            self.outbox.tx.drop_welcome(&row.event_id)?;
            self.outbox.finish(&mut row)?;
            return self.tell_invite(&row, Delivery::Failed);
        }
        self.outbox.tx.put_outgoing(&row)?;
        self.tell_invite(&row, Delivery::Queued)
    }

    // rule: C5-5 nobody is invited any more to a group that has ended
    /// Drops the invites of a group that is over for all, and tells of those that no relay had.
    pub(crate) fn drop_invites(&mut self, group: &GroupId) -> Result<()> {
        for mut row in self.outbox.tx.outgoing_of_group(group)? {
            if row.purpose != OutgoingPurpose::Welcome {
                continue;
            }
            self.outbox.tx.drop_outgoing(row.seq)?;
            if !accepted(&row) {
                give_up(&mut row, GROUP_ENDED);
                self.tell_invite(&row, Delivery::Failed)?;
            }
        }
        Ok(self.outbox.tx.drop_group_welcomes(group)?)
    }

    /// Notes the delivery of an invite, once for each state and each choice of relays that are against it.
    pub(crate) fn tell_invite(&mut self, row: &OutgoingRow, delivery: Delivery) -> Result<()> {
        let (Some(group), Some(account)) = (&row.group, row.recipient) else {
            return Err(Error::Unrecoverable("outbox"));
        };
        let delivery = history::delivery_number(delivery);
        let errors = errors(row);
        let mut subject = [&row.event_id.as_bytes()[..], &[delivery]].concat();
        for (relay, _) in &errors {
            subject.extend_from_slice(relay.as_bytes());
            subject.push(0);
        }
        let account = *account.as_bytes();
        let stored = Stored::InviteDeliveryChanged { account, delivery, errors };
        self.log.emit(&group.clone(), &subject, &stored)
    }
}

/// Whether an invite to this group waits for a relay that may take it.
pub(crate) fn has_invites_on_their_way(tx: &Tx<'_>, group: &GroupId) -> Result<bool> {
    let rows = tx.outgoing_of_group(group)?;
    let invite = |row: &OutgoingRow| row.purpose == OutgoingPurpose::Welcome;
    Ok(rows.iter().any(|row| invite(row) && !accepted(row) && !refused(row)))
}
