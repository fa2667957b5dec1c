//! History: every payload that was sent or received, in the order of arrival.

use mdk_wire::{EventId, GroupId, PublicKey, Timestamp};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, U64, encode_list, guarded_debug};
use crate::store::tables::message_row::{MessageRow, MessageStatus};
use crate::{Result, StoreError, Tx};

// The statements are macros, so that they are literals: one text per statement in the cache, nothing formatted per
// call.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT seq, group_id, id, content_id, outer_id, sender, kind, created_at, received_at, epoch, \
             authenticator, content, tags, target, mine, delivery, expires_at, status FROM messages ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO messages (group_id, id, content_id, outer_id, sender, kind, created_at, received_at, \
     epoch, authenticator, content, tags, target, mine, delivery, expires_at, status) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
pub(crate) const BY_ID: &str =
    select!("WHERE group_id = ?1 AND id = ?2 AND status < 3 ORDER BY seq LIMIT 1");
pub(crate) const COPIES: &str =
    select!("WHERE group_id = ?1 AND id = ?2 AND status <> 3 ORDER BY seq");
pub(crate) const PAGE_NEWEST: &str = select!(
    "INDEXED BY messages_shown WHERE group_id = ?1 AND seq > ?2 AND seq < ?3 AND kind <> 5 AND kind <> 7 AND kind <> 1009 \
     AND status < 3 ORDER BY seq DESC LIMIT ?4"
);
pub(crate) const PAGE_OLDEST: &str = select!(
    "INDEXED BY messages_shown WHERE group_id = ?1 AND seq > ?2 AND kind <> 5 AND kind <> 7 AND kind <> 1009 \
     AND status < 3 ORDER BY seq LIMIT ?3"
);
pub(crate) const LAST: &str = select!(
    "INDEXED BY messages_shown WHERE group_id = ?1 AND kind <> 5 AND kind <> 7 AND kind <> 1009 \
     AND status < 3 ORDER BY seq DESC LIMIT 1"
);
pub(crate) const LAST_HEARD: &str = "SELECT received_at FROM messages INDEXED BY messages_shown WHERE group_id = ?1 \
     AND kind <> 5 AND kind <> 7 AND kind <> 1009 AND status < 3 AND mine = 0 ORDER BY seq DESC LIMIT 1";
pub(crate) const LAST_CAME: &str = "SELECT received_at FROM messages INDEXED BY messages_shown WHERE group_id = ?1 \
     AND kind <> 5 AND kind <> 7 AND kind <> 1009 AND status < 3 ORDER BY seq DESC LIMIT 1";
pub(crate) const LAST_SAID: &str = "SELECT created_at, id FROM messages INDEXED BY messages_shown WHERE group_id = ?1 \
     AND kind <> 5 AND kind <> 7 AND kind <> 1009 AND status < 3 AND mine = 1 ORDER BY seq DESC LIMIT 1";
pub(crate) const LAST_SHOWN: &str = "SELECT created_at, id FROM messages INDEXED BY messages_shown WHERE group_id = ?1 \
     AND kind <> 5 AND kind <> 7 AND kind <> 1009 AND status < 3 ORDER BY seq DESC LIMIT 1";
pub(crate) const EXPIRED: &str = select!(
    "WHERE expires_at IS NOT NULL AND status <> 1 AND expires_at <= ?1 ORDER BY expires_at, seq LIMIT ?2"
);
pub(crate) const NEWEST_EDIT: &str = select!(
    "INDEXED BY messages_by_target WHERE group_id = ?1 AND target = ?2 AND kind = 1009 AND sender = ?3 AND status = 0 \
     ORDER BY created_at DESC, seq DESC LIMIT 1"
);
// The first test finds messages that match in their own text or in an edit. The shown text is compared only for those.
// The first test costs nothing beyond the scan, and there are few edits.
macro_rules! search {
    ($index:literal, $where:literal, $edits:literal) => {
        concat!(
            "SELECT seq, group_id, id, content_id, outer_id, sender, kind, created_at, received_at, epoch, \
             authenticator, content, tags, target, mine, delivery, expires_at, status FROM messages AS m ",
            $index,
            "WHERE ",
            $where,
            "status = 0 AND kind <> 5 AND kind <> 7 AND kind <> 1009 \
             AND (content LIKE ?1 ESCAPE '\\' OR id IN (SELECT target FROM messages INDEXED BY messages_edits WHERE ",
            $edits,
            "kind = 1009 AND status = 0 AND content LIKE ?1 ESCAPE '\\')) \
             AND coalesce((SELECT e.content FROM messages AS e INDEXED BY messages_by_target \
             WHERE e.group_id = m.group_id AND e.target = m.id AND e.kind = 1009 AND e.sender = m.sender AND e.status = 0 \
             ORDER BY e.created_at DESC, e.seq DESC LIMIT 1), content) LIKE ?1 ESCAPE '\\' \
             ORDER BY seq DESC LIMIT ?2"
        )
    };
}
pub(crate) const SEARCH_ALL: &str = search!("", "", "");
pub(crate) const SEARCH_GROUP: &str =
    search!("INDEXED BY messages_shown ", "group_id = ?3 AND ", "group_id = ?3 AND ");

pub(crate) const SURPLUS: &str = "SELECT seq FROM messages INDEXED BY messages_hidden \
     WHERE group_id = ?1 AND status >= 3 AND status = 4 AND epoch < ?2 AND EXISTS (SELECT 1 FROM messages AS shown \
     WHERE shown.group_id = messages.group_id AND shown.id = messages.id AND shown.status < 3) \
     AND EXISTS (SELECT 1 FROM messages AS first \
     WHERE first.group_id = messages.group_id AND first.id = messages.id AND first.status <> 3 \
     AND (first.epoch < messages.epoch OR first.epoch = messages.epoch AND first.seq < messages.seq))";
const SAID_IN: &str =
    select!("WHERE group_id = ?1 AND seq > ?2 AND authenticator = ?3 AND status <> 3 ORDER BY seq");

/// The messages that others know: messages of others, and our own that a relay has. An account without an outbox
/// publishes by itself.
macro_rules! heard {
    ($columns:literal, $where:literal) => {
        concat!(
            "SELECT DISTINCT ",
            $columns,
            " FROM messages WHERE group_id = ?1 AND seq > ?2",
            $where,
            " AND (mine = 0 OR delivery = 1 OR (delivery = 0 AND NOT EXISTS \
             (SELECT 1 FROM outbox WHERE outbox.event_id = messages.outer_id)))"
        )
    };
}

/// The record that an account said something in a state of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WitnessRow {
    /// Epoch of the state.
    pub epoch: u64,
    /// Epoch authenticator of the state.
    pub authenticator: [u8; 32],
    /// The account.
    pub sender: PublicKey,
}
guarded_debug!(WitnessRow { epoch });

/// SQLite's limit for a pattern (`SQLITE_MAX_LIKE_PATTERN_LENGTH`).
const MAX_PATTERN: usize = 50_000;

fn read_place(row: &Row<'_>) -> Result<(Timestamp, EventId)> {
    let mut c = Columns::new(row, "messages");
    Ok((c.u64()?, c.event_id()?))
}

pub(crate) fn read(row: &Row<'_>) -> Result<MessageRow> {
    let mut c = Columns::new(row, "messages");
    Ok(MessageRow {
        seq: c.i64()?,
        group: c.group_id()?,
        id: c.event_id()?,
        content_id: c.content_id()?,
        outer_id: c.event_id()?,
        sender: c.public_key()?,
        kind: c.u16()?,
        created_at: c.u64()?,
        received_at: c.u64()?,
        epoch: c.u64()?,
        authenticator: c.array()?,
        content: c.text()?,
        tags: c.list()?,
        target: c.opt(Columns::event_id)?,
        mine: c.bool()?,
        delivery: c.u8()?,
        expires_at: c.opt(Columns::u64)?,
        status: c.variant(MessageStatus::from_stored)?,
    })
}

impl Tx<'_> {
    /// Appends a message to the history and returns its position. `row.seq` is ignored.
    pub fn insert_message(&self, row: &MessageRow) -> Result<i64> {
        self.exec(
            INSERT,
            params![
                row.group.as_bytes(),
                row.id.as_bytes(),
                row.content_id.as_bytes(),
                row.outer_id.as_bytes(),
                row.sender.as_bytes(),
                row.kind,
                U64(row.created_at),
                U64(row.received_at),
                U64(row.epoch),
                &row.authenticator[..],
                row.content,
                encode_list(&row.tags)?,
                row.target.as_ref().map(EventId::as_bytes),
                row.mine,
                row.delivery,
                row.expires_at.map(U64),
                row.status as u8,
            ],
        )?;
        let seq = self.last_id();
        self.add_to_share(row)?;
        Ok(seq)
    }

    /// The shown message with this id; of several, the oldest.
    pub fn message(&self, group: &GroupId, id: &EventId) -> Result<Option<MessageRow>> {
        self.one(BY_ID, params![group.as_bytes(), id.as_bytes()], read)
    }

    /// All messages with this id, in every status but expired, ascending.
    pub fn copies(&self, group: &GroupId, id: &EventId) -> Result<Vec<MessageRow>> {
        self.all(COPIES, params![group.as_bytes(), id.as_bytes()], read)
    }

    /// Positions of the parked messages from before `min_epoch` with the id of a shown message. The copy of the lowest
    /// epoch is left out: it gives the lifetime.
    pub fn surplus(&self, group: &GroupId, min_epoch: u64) -> Result<Vec<i64>> {
        self.all(SURPLUS, params![group.as_bytes(), U64(min_epoch)], |row| {
            Columns::new(row, "messages").i64()
        })
    }

    /// The message at this position.
    pub fn message_by_seq(&self, seq: i64) -> Result<Option<MessageRow>> {
        self.one(select!("WHERE seq = ?1"), [seq], read)
    }

    /// Up to `limit` messages of kinds other than 5, 7 and 1009, in every status, ascending. `before` and `after` are
    /// positions and excluded. With only `after`, they are the oldest ones above it. Otherwise they are the newest
    /// ones, below `before` if given, and above `after` if given too.
    pub fn page(
        &self,
        group: &GroupId,
        limit: u32,
        before: Option<i64>,
        after: Option<i64>,
    ) -> Result<Vec<MessageRow>> {
        if let (Some(after), None) = (after, before) {
            return self.all(PAGE_OLDEST, params![group.as_bytes(), after, limit], read);
        }
        let bounds = (after.unwrap_or(i64::MIN), before.unwrap_or(i64::MAX));
        let mut page =
            self.all(PAGE_NEWEST, params![group.as_bytes(), bounds.0, bounds.1, limit], read)?;
        page.reverse();
        Ok(page)
    }

    /// The newest valid edit (kind 1009) of a message by `author`. Its text is shown.
    pub fn newest_edit(
        &self,
        group: &GroupId,
        target: &EventId,
        author: &PublicKey,
    ) -> Result<Option<MessageRow>> {
        let params = params![group.as_bytes(), target.as_bytes(), author.as_bytes()];
        self.one(NEWEST_EDIT, params, read)
    }

    /// Blanks content and tags of a message and marks it deleted. The connection overwrites the freed bytes. No such
    /// message: nothing happens.
    pub fn erase_message(&self, seq: i64) -> Result<()> {
        let none: [Vec<String>; 0] = [];
        let params = params![seq, encode_list(&none)?, MessageStatus::Deleted as u8];
        self.recounted(seq, || {
            let sql = "UPDATE messages SET content = '', tags = ?2, status = ?3 WHERE seq = ?1";
            self.reweighed(seq, || self.erase(sql, params)).map(|_| seq)
        })?;
        Ok(())
    }

    /// Hides a message and takes everything from it but the fields by which branches are compared. The connection
    /// overwrites the freed bytes. No such message: nothing happens.
    pub fn expire_message(&self, seq: i64) -> Result<()> {
        let none: [Vec<String>; 0] = [];
        let params = params![seq, encode_list(&none)?, MessageStatus::Expired as u8];
        self.recounted(seq, || {
            let sql = "UPDATE messages SET id = content_id, outer_id = content_id, content = '', tags = ?2, \
                 target = NULL, created_at = 0, received_at = 0, expires_at = NULL, status = ?3 WHERE seq = ?1";
            self.reweighed(seq, || self.erase(sql, params)).map(|_| seq)
        })?;
        Ok(())
    }

    /// Forgets the expired messages of a group from before `min_epoch`, except those whose copies are still to be
    /// known.
    pub fn purge_expired(&self, group: &GroupId, min_epoch: u64) -> Result<()> {
        // The newest position of all must not be given out again: events name messages by it.
        self.exec(
            "DELETE FROM messages WHERE group_id = ?1 AND status >= 3 AND status = 3 AND epoch < ?2 \
             AND expires_at IS NULL AND seq < (SELECT max(seq) FROM messages)",
            params![group.as_bytes(), U64(min_epoch)],
        )?;
        Ok(())
    }

    /// Hands the newest position of all to another group when its message goes. It must not be given out again: events
    /// of other groups name messages by it, and a read mark may lie at it after the messages of its group around there
    /// have expired. So another group gets the row, emptied, as an expired message by which no branch is compared.
    /// Nothing remembers the position if there is no other group.
    pub(crate) fn hand_over_newest_position(&self, id: &GroupId, after: i64) -> Result<()> {
        self.erase(
            "UPDATE messages SET group_id = (SELECT group_id FROM groups WHERE group_id <> ?1 LIMIT 1), \
             id = zeroblob(32), content_id = zeroblob(32), outer_id = zeroblob(32), authenticator = zeroblob(32), \
             sender = coalesce((SELECT value FROM meta WHERE name = 'account'), sender), kind = 9, mine = 1, \
             delivery = 2, status = 3, target = NULL, expires_at = NULL, created_at = 0, received_at = 0, epoch = 0, \
             tags = x'00', content = '' \
             WHERE seq = (SELECT max(seq) FROM messages) AND group_id = ?1 AND seq > ?2 \
             AND EXISTS (SELECT 1 FROM groups WHERE group_id <> ?1)",
            params![id.as_bytes(), after],
        )?;
        Ok(())
    }

    /// Shows a message at the end of the history, from any place. Returns the new position.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or does not have the message.
    pub fn show_message_last(&self, seq: i64) -> Result<i64> {
        let last = self.newest_message()?.saturating_add(1);
        self.recounted(seq, || {
            self.exec_one(
                "UPDATE messages SET seq = ?2, status = ?3 WHERE seq = ?1",
                params![seq, last, MessageStatus::Valid as u8],
                "an unknown message",
            )?;
            Ok(last)
        })
    }

    /// Position of the newest message of all groups, 0 when there is none.
    pub fn newest_message(&self) -> Result<i64> {
        let last = self.one("SELECT max(seq) FROM messages", [], |row| {
            Columns::new(row, "messages").opt(Columns::i64)
        })?;
        Ok(last.flatten().unwrap_or(0))
    }

    /// Position of the newest message of a group in every status, 0 when it has none.
    pub fn newest_of(&self, group: &GroupId) -> Result<i64> {
        let sql = "SELECT max(seq) FROM messages WHERE group_id = ?1";
        let last = self
            .one(sql, [group.as_bytes()], |row| Columns::new(row, "messages").opt(Columns::i64))?;
        Ok(last.flatten().unwrap_or(0))
    }

    /// The messages above `after_seq` that were sent in one state of a group, in every status but expired, ascending.
    pub fn said_in(
        &self,
        group: &GroupId,
        authenticator: &[u8; 32],
        after_seq: i64,
    ) -> Result<Vec<MessageRow>> {
        self.all(SAID_IN, params![group.as_bytes(), after_seq, &authenticator[..]], read)
    }

    /// The accounts that said something, with the state, above `after_seq`, in every status, each once. A message of
    /// ours that still waits for a relay, or that no relay has taken, says nothing to anybody and is left out.
    pub fn witnesses(&self, group: &GroupId, after_seq: i64) -> Result<Vec<WitnessRow>> {
        self.all(
            heard!("epoch, authenticator, sender", ""),
            params![group.as_bytes(), after_seq],
            |row| {
                let mut c = Columns::new(row, "messages");
                Ok(WitnessRow {
                    epoch: c.u64()?,
                    authenticator: c.array()?,
                    sender: c.public_key()?,
                })
            },
        )
    }

    /// The accounts of [`Self::witnesses`] that spoke in one state.
    pub fn witnesses_of(
        &self,
        group: &GroupId,
        authenticator: &[u8; 32],
        after_seq: i64,
    ) -> Result<Vec<PublicKey>> {
        self.all(
            heard!("sender", " AND authenticator = ?3"),
            params![group.as_bytes(), after_seq, &authenticator[..]],
            |row| Columns::new(row, "messages").public_key(),
        )
    }

    /// The states in which something was said above `after_seq`, by `by` or by anybody, whether it went out or not.
    pub fn spoken_in(
        &self,
        group: &GroupId,
        by: Option<&PublicKey>,
        after_seq: i64,
    ) -> Result<Vec<[u8; 32]>> {
        self.all(
            "SELECT DISTINCT authenticator FROM messages WHERE group_id = ?1 AND seq > ?2 \
             AND (?3 IS NULL OR sender = ?3)",
            params![group.as_bytes(), after_seq, by.map(PublicKey::as_bytes)],
            |row| Columns::new(row, "messages").array(),
        )
    }

    /// The states in which another account than `me` said something after this second, of every kind and in every
    /// status. Both its own time and its arrival are after the second.
    pub fn heard_after(
        &self,
        group: &GroupId,
        me: &PublicKey,
        after: Timestamp,
    ) -> Result<Vec<[u8; 32]>> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.all(
            "SELECT DISTINCT authenticator FROM messages WHERE group_id = ?1 AND sender <> ?2 AND created_at > ?3 \
             AND received_at > ?3",
            params![group.as_bytes(), me.as_bytes(), after],
            |row| Columns::new(row, "messages").array(),
        )
    }

    /// The time at which another account than `me` last said something, of every kind and in every status. It is the
    /// message's own time, as far as that is not later than its arrival.
    pub fn heard_until(&self, group: &GroupId, me: &PublicKey) -> Result<Option<Timestamp>> {
        let latest = self.one(
            "SELECT max(min(created_at, received_at)) FROM messages WHERE group_id = ?1 AND sender <> ?2",
            params![group.as_bytes(), me.as_bytes()],
            |row| Columns::new(row, "messages").opt(Columns::u64),
        )?;
        Ok(latest.flatten())
    }

    /// Up to `limit` messages of all groups above `after_seq`, of all kinds and in every status, ascending.
    pub fn messages_after(&self, after_seq: i64, limit: u32) -> Result<Vec<MessageRow>> {
        self.all(select!("WHERE seq > ?1 ORDER BY seq LIMIT ?2"), params![after_seq, limit], read)
    }

    /// Sets whether a message is to be shown. No such message: nothing happens.
    pub fn set_message_status(&self, seq: i64, status: MessageStatus) -> Result<()> {
        self.recounted(seq, || {
            let sql = "UPDATE messages SET status = ?2 WHERE seq = ?1";
            self.exec(sql, params![seq, status as u8]).map(|_| seq)
        })?;
        Ok(())
    }

    /// Sets the state of the delivery for all messages with this id. No such message: nothing happens.
    pub fn set_delivery(&self, group: &GroupId, id: &EventId, delivery: u8) -> Result<()> {
        self.exec(
            "UPDATE messages SET delivery = ?3 WHERE group_id = ?1 AND id = ?2",
            params![group.as_bytes(), id.as_bytes(), delivery],
        )?;
        Ok(())
    }

    /// The newest message of kinds other than 5, 7 and 1009, in every status.
    pub fn last_message(&self, group: &GroupId) -> Result<Option<MessageRow>> {
        self.one(LAST, [group.as_bytes()], read)
    }

    /// The arrival time of the newest message of another account, of the same kinds and in every status.
    pub fn last_heard(&self, group: &GroupId) -> Result<Option<Timestamp>> {
        self.one(LAST_HEARD, [group.as_bytes()], |row| Columns::new(row, "messages").u64())
    }

    /// The arrival time of the newest message, of the same kinds and in every status, or the time of its making if it
    /// is ours.
    pub fn last_came(&self, group: &GroupId) -> Result<Option<Timestamp>> {
        self.one(LAST_CAME, [group.as_bytes()], |row| Columns::new(row, "messages").u64())
    }

    /// Date and id of our newest message, of the same kinds and in every status.
    pub fn last_said(&self, group: &GroupId) -> Result<Option<(Timestamp, EventId)>> {
        self.one(LAST_SAID, [group.as_bytes()], read_place)
    }

    /// Date and id of the newest message, of the same kinds and in every status.
    pub fn last_shown(&self, group: &GroupId) -> Result<Option<(Timestamp, EventId)>> {
        self.one(LAST_SHOWN, [group.as_bytes()], read_place)
    }

    /// Valid messages of kinds other than 5, 7 and 1009 whose content contains `text`, in one group or all, newest
    /// first. The content of the newest edit counts for an edited message. ASCII letters match in both cases. Content
    /// is compared up to its first NUL character, and a `text` with one finds nothing.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `text`, escaped, is longer than 49,998 bytes; [`StoreError`] when the database
    /// fails or a row cannot be decoded.
    pub fn search(
        &self,
        text: &str,
        group: Option<&GroupId>,
        limit: u32,
    ) -> Result<Vec<MessageRow>> {
        // LIKE takes NUL as the end of a pattern: the rest would be dropped and the wrong messages found.
        if text.contains('\0') {
            return Ok(Vec::new());
        }
        let mut pattern = String::with_capacity(text.len() + 2);
        pattern.push('%');
        for c in text.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        if pattern.len() > MAX_PATTERN {
            return Err(StoreError::Invalid {
                what: "search text: at most 49998 bytes after escaping",
            });
        }
        match group {
            Some(group) => self.all(SEARCH_GROUP, params![pattern, limit, group.as_bytes()], read),
            None => self.all(SEARCH_ALL, params![pattern, limit], read),
        }
    }

    /// Up to `limit` messages that have reached their time and are not erased yet, first due first, and expired ones
    /// whose copies need not be known any more.
    pub fn expired(&self, now: Timestamp, limit: u32) -> Result<Vec<MessageRow>> {
        self.all(EXPIRED, params![U64(now), limit], read)
    }
}
