//! The table `outbox`: signed events until each of their relays has answered. (`outbox.rs` has our commits as MLS sees
//! them; most of those have a row here, too, while they are published.)

use std::collections::HashSet;

use mdk_wire::{EventId, GroupId, PublicKey, Timestamp};
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use crate::store::columns::{Columns, U64, encode_list, guarded_debug, stored_enum};
use crate::{MessageRow, Result, Tx};

stored_enum! {
    /// The kind of an outgoing event.
    pub enum OutgoingPurpose {
        /// A message, reaction, edit or deletion.
        Message = 0,
        /// A commit of ours.
        Commit = 1,
        /// A gift wrap for an invited account.
        Welcome = 2,
        /// Our request to leave a group.
        Proposal = 3,
        /// A KeyPackage event.
        KeyPackage = 4,
        /// Anything else that the account publishes.
        List = 5,
        /// What we tell a group about the tokens that wake phones.
        PushTokens = 6,
    }
}

stored_enum! {
    /// The end of publishing an event.
    pub enum OutgoingEnd {
        /// At least one relay has it.
        Accepted = 0,
        /// Every relay refused it for good.
        Refused = 1,
        /// A commit that could not become true any more.
        Lost = 2,
    }
}

/// The state of one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SendState {
    /// It has not answered for good.
    Waiting,
    /// It has the event.
    Accepted,
    /// It refused for good.
    Refused,
}

/// One relay for an event.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRow {
    /// Its URL.
    pub relay: String,
    /// Its last answer.
    pub state: SendState,
    /// The number of attempts.
    pub attempts: u32,
    /// The time of the next attempt, Unix milliseconds.
    pub next_at: u64,
    /// Its words, or the reason why it was not reached.
    pub reason: Option<String>,
}
guarded_debug!(TargetRow { state, attempts, next_at });

/// An outgoing event, or, for a while, one that is finished.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingRow {
    /// Assigned by the store, ignored on insert; never assigned twice.
    pub seq: i64,
    /// Id of the event.
    pub event_id: EventId,
    /// Its kind.
    pub purpose: OutgoingPurpose,
    /// The group that it is about.
    pub group: Option<GroupId>,
    /// The id of the message, which is that of the inner event; for messages only.
    pub message: Option<EventId>,
    /// The invited account; for Welcomes only.
    pub recipient: Option<PublicKey>,
    /// The [`PendingRow::id`](crate::PendingRow::id); for a commit and its Welcomes only.
    pub pending: Option<i64>,
    /// The time of posting, Unix seconds.
    pub created_at: Timestamp,
    /// Attempts at all relays.
    pub attempts: u32,
    /// The end of its publishing.
    pub end: Option<OutgoingEnd>,
    /// The time of its end, Unix seconds; `None` while there is work to do.
    pub finished_at: Option<Timestamp>,
    /// The relays; empty as long as they are unknown.
    pub targets: Vec<TargetRow>,
    /// The signed event; `None` when it is not needed any more.
    pub event_json: Option<String>,
}
guarded_debug!(OutgoingRow { seq, purpose, attempts, end, finished_at });

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT seq, event_id, purpose, group_id, message_id, recipient, pending, created_at, attempts, result, \
             finished_at, targets, event_json FROM outbox ",
            $rest
        )
    };
}
pub(crate) const OPEN: &str =
    select!("INDEXED BY outbox_open WHERE finished_at IS NULL AND seq > ?1 ORDER BY seq LIMIT ?2");
pub(crate) const OPEN_SEQS: &str =
    "SELECT seq FROM outbox INDEXED BY outbox_open WHERE finished_at IS NULL ORDER BY seq";
// The query runs when a group ends. An index of its own would cost more than it saves.
const OPEN_OF_GROUP: &str =
    select!("INDEXED BY outbox_open WHERE finished_at IS NULL AND group_id = ?1 ORDER BY seq");
pub(crate) const BY_EVENT: &str = select!("WHERE event_id = ?1");
pub(crate) const BY_MESSAGE: &str = select!("WHERE message_id = ?1 ORDER BY seq DESC LIMIT 1");
pub(crate) const BY_COMMIT: &str = select!("WHERE pending = ?1");
pub(crate) const PRUNE: &str =
    "DELETE FROM outbox WHERE finished_at IS NOT NULL AND finished_at <= ?1";

fn read(row: &Row<'_>) -> Result<OutgoingRow> {
    let mut c = Columns::new(row, "outbox");
    Ok(OutgoingRow {
        seq: c.i64()?,
        event_id: c.event_id()?,
        purpose: c.variant(OutgoingPurpose::from_stored)?,
        group: c.opt(Columns::group_id)?,
        message: c.opt(Columns::event_id)?,
        recipient: c.opt(Columns::public_key)?,
        pending: c.opt(Columns::i64)?,
        created_at: c.u64()?,
        attempts: c.u32()?,
        end: c.opt(|c| c.variant(OutgoingEnd::from_stored))?,
        finished_at: c.opt(Columns::u64)?,
        targets: c.list()?,
        event_json: c.opt(Columns::text)?,
    })
}

impl Tx<'_> {
    /// Posts an event; `row.seq` is ignored. `None`: it is there already, finished or not, and nothing happens.
    pub fn post(&self, row: &OutgoingRow) -> Result<Option<i64>> {
        let added = self.exec(
            "INSERT INTO outbox (event_id, purpose, group_id, message_id, recipient, pending, created_at, attempts, \
             result, finished_at, targets, event_json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT (event_id) DO NOTHING",
            params![
                row.event_id.as_bytes(),
                row.purpose as u8,
                row.group.as_ref().map(GroupId::as_bytes),
                row.message.as_ref().map(EventId::as_bytes),
                row.recipient.as_ref().map(PublicKey::as_bytes),
                row.pending,
                U64(row.created_at),
                row.attempts,
                row.end.map(|end| end as u8),
                row.finished_at.map(U64),
                encode_list(&row.targets)?,
                row.event_json,
            ],
        )?;
        Ok((added == 1).then(|| self.last_id()))
    }

    /// Takes over the fields that a new encryption of a message changed, by `row.seq`, and moves it to the end of the
    /// history.
    /// Returns the new position.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the message.
    pub fn say_message_again(&self, row: &MessageRow) -> Result<i64> {
        let last = self.newest_message()?.saturating_add(1);
        self.exec_one(
            "UPDATE messages SET seq = ?2, content_id = ?3, outer_id = ?4, epoch = ?5, authenticator = ?6, \
             expires_at = ?7 WHERE seq = ?1",
            params![
                row.seq,
                last,
                row.content_id.as_bytes(),
                row.outer_id.as_bytes(),
                U64(row.epoch),
                &row.authenticator[..],
                row.expires_at.map(U64),
            ],
            "an unknown message",
        )?;
        Ok(last)
    }

    /// Notes that a message of ours goes out as another event, in the copy whose event is `before`.
    pub fn replace_event(
        &self,
        group: &GroupId,
        message: &EventId,
        before: &EventId,
        now: &EventId,
    ) -> Result<()> {
        self.exec(
            "UPDATE messages SET outer_id = ?4 WHERE group_id = ?1 AND id = ?2 AND outer_id = ?3",
            params![group.as_bytes(), message.as_bytes(), before.as_bytes(), now.as_bytes()],
        )?;
        Ok(())
    }

    /// The oldest `limit` unfinished events above `after_seq`, ascending.
    pub fn outgoing(&self, after_seq: i64, limit: u32) -> Result<Vec<OutgoingRow>> {
        self.all(OPEN, params![after_seq, limit], read)
    }

    /// The oldest `limit` unfinished events but those at the places `aside`, ascending. A place costs little, a row does not.
    pub fn outgoing_but(&self, aside: &HashSet<i64>, limit: u32) -> Result<Vec<OutgoingRow>> {
        if aside.is_empty() {
            return self.outgoing(0, limit);
        }
        let seqs = self.all(OPEN_SEQS, [], |row| Columns::new(row, "outbox").i64())?;
        let wanted = seqs.into_iter().filter(|seq| !aside.contains(seq)).take(limit as usize);
        wanted.filter_map(|seq| self.outgoing_at(seq).transpose()).collect()
    }

    /// The event at this place, finished or not.
    pub fn outgoing_at(&self, seq: i64) -> Result<Option<OutgoingRow>> {
        self.one(select!("WHERE seq = ?1"), [seq], read)
    }

    /// The row of an event, finished or not.
    pub fn outgoing_event(&self, event: &EventId) -> Result<Option<OutgoingRow>> {
        self.one(BY_EVENT, [event.as_bytes()], read)
    }

    /// The row of a message, finished or not; of several, the newest.
    pub fn outgoing_message(&self, message: &EventId) -> Result<Option<OutgoingRow>> {
        self.one(BY_MESSAGE, [message.as_bytes()], read)
    }

    /// The rows of a commit of ours and of its Welcomes, finished or not, in no order.
    pub fn outgoing_of_commit(&self, pending: i64) -> Result<Vec<OutgoingRow>> {
        self.all(BY_COMMIT, [pending], read)
    }

    /// The unfinished rows of a group, ascending.
    pub fn outgoing_of_group(&self, group: &GroupId) -> Result<Vec<OutgoingRow>> {
        self.all(OPEN_OF_GROUP, [group.as_bytes()], read)
    }

    /// Writes the fields of a row that change: attempts, targets, end, and whether its event is kept.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the row.
    pub fn put_outgoing(&self, row: &OutgoingRow) -> Result<()> {
        self.exec_one(
            "UPDATE outbox SET attempts = ?2, result = ?3, finished_at = ?4, targets = ?5, event_json = ?6 \
             WHERE seq = ?1",
            params![
                row.seq,
                row.attempts,
                row.end.map(|end| end as u8),
                row.finished_at.map(U64),
                encode_list(&row.targets)?,
                row.event_json,
            ],
            "an event that is not in the outbox",
        )
    }

    /// Removes a row. The connection overwrites the freed bytes. No such row: nothing happens.
    pub fn drop_outgoing(&self, seq: i64) -> Result<()> {
        self.exec("DELETE FROM outbox WHERE seq = ?1", [seq])?;
        Ok(())
    }

    /// The highest place that is taken; 0 when there is none.
    pub fn outgoing_end(&self) -> Result<i64> {
        let end = self.one("SELECT max(seq) FROM outbox", [], |row| {
            Columns::new(row, "outbox").opt(Columns::i64)
        })?;
        Ok(end.flatten().unwrap_or(0))
    }

    /// An upper bound of the number of rows, at little cost: exact when it is over `enough`.
    pub fn outgoing_count(&self, enough: u64) -> Result<u64> {
        let number = |sql| {
            let count = self.one(sql, [], |row| Columns::new(row, "outbox").opt(Columns::i64))?;
            Ok::<_, crate::StoreError>(count.flatten().and_then(|n| u64::try_from(n).ok()))
        };
        let span =
            number("SELECT (SELECT max(seq) FROM outbox) - (SELECT min(seq) FROM outbox) + 1")?
                .unwrap_or(0);
        if span <= enough {
            return Ok(span);
        }
        Ok(number("SELECT count(*) FROM outbox")?.unwrap_or(0))
    }

    /// Forgets rows that were finished at `until` or before. Returns their number.
    pub fn prune_outgoing(&self, until: Timestamp) -> Result<usize> {
        self.exec(PRUNE, [U64(until)])
    }

    /// Forgets the `count` rows that were finished first. Returns their number.
    pub fn prune_oldest_outgoing(&self, count: u32) -> Result<usize> {
        self.exec(
            "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox INDEXED BY outbox_finished \
             WHERE finished_at IS NOT NULL ORDER BY finished_at, seq LIMIT ?1)",
            [count],
        )
    }
}
