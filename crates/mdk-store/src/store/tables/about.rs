//! The events of members about a message: reactions (kind 7), edits (1009), deletions (5). Anybody may send any number
//! of them, so each query reads only the rows that it needs.

use mdk_wire::{EventId, GroupId, PublicKey, Timestamp};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, guarded_debug};
use crate::store::tables::message_row::MessageStatus;
use crate::{Result, Tx};

pub(crate) const POINTED_AT: &str =
    "SELECT 1 FROM messages WHERE group_id = ?1 AND target = ?2 LIMIT 1";
pub(crate) const REACTIONS: &str = "SELECT seq, id, sender, content FROM messages INDEXED BY messages_by_target \
     WHERE group_id = ?1 AND target = ?2 AND kind = 7 AND (?3 IS NULL OR sender = ?3) AND status = 0 LIMIT ?4";
pub(crate) const SAID_BY: &str = "SELECT seq, created_at, status FROM messages INDEXED BY messages_by_target \
     WHERE group_id = ?1 AND target = ?2 AND kind = ?3 AND sender = ?4 ORDER BY created_at, seq";
pub(crate) const SAYS: &str = "SELECT 1 FROM messages INDEXED BY messages_by_target \
     WHERE group_id = ?1 AND target = ?2 AND kind = ?3 AND sender = ?4 LIMIT 1";
pub(crate) const EDITS: &str = "SELECT seq, id, outer_id, sender, mine, status FROM messages \
     INDEXED BY messages_by_target WHERE group_id = ?1 AND target = ?2 AND kind = 1009";
/// A reaction that is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ReactionRow {
    /// Its position in the history.
    pub seq: i64,
    /// Its own id.
    pub id: EventId,
    /// The account that reacts.
    pub sender: PublicKey,
    /// The reaction.
    pub emoji: String,
}
guarded_debug!(ReactionRow { seq });

/// An edit, without its text.
#[derive(Clone, PartialEq, Eq)]
pub struct EditRow {
    /// Its position in the history.
    pub seq: i64,
    /// Its own id.
    pub id: EventId,
    /// Id of the event that carried it.
    pub outer_id: EventId,
    /// The account that edits.
    pub sender: PublicKey,
    /// Sent by this account.
    pub mine: bool,
    /// Whether it counts.
    pub status: MessageStatus,
}
guarded_debug!(EditRow { seq, mine, status });

/// One event of a member about a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaidRow {
    /// Its position in the history.
    pub seq: i64,
    /// The time that its author gives, Unix seconds.
    pub created_at: Timestamp,
    /// Whether it counts.
    pub status: MessageStatus,
}
guarded_debug!(SaidRow { seq, status });

fn read_reaction(row: &Row<'_>) -> Result<ReactionRow> {
    let mut c = Columns::new(row, "messages");
    Ok(ReactionRow { seq: c.i64()?, id: c.event_id()?, sender: c.public_key()?, emoji: c.text()? })
}

fn read_edit(row: &Row<'_>) -> Result<EditRow> {
    let mut c = Columns::new(row, "messages");
    Ok(EditRow {
        seq: c.i64()?,
        id: c.event_id()?,
        outer_id: c.event_id()?,
        sender: c.public_key()?,
        mine: c.bool()?,
        status: c.variant(MessageStatus::from_stored)?,
    })
}

impl Tx<'_> {
    /// Whether any event of kinds 5, 7 and 1009 is about a message, in any status.
    pub fn is_pointed_at(&self, group: &GroupId, target: &EventId) -> Result<bool> {
        let params = params![group.as_bytes(), target.as_bytes()];
        Ok(self.one(POINTED_AT, params, |_| Ok(()))?.is_some())
    }

    /// Whether a member has an event of this kind about a message, in any status.
    pub fn says_about(
        &self,
        group: &GroupId,
        target: &EventId,
        kind: u16,
        sender: &PublicKey,
    ) -> Result<bool> {
        let params = params![group.as_bytes(), target.as_bytes(), kind, sender.as_bytes()];
        Ok(self.one(SAYS, params, |_| Ok(()))?.is_some())
    }

    /// The events of one kind that a member has about a message, in every status but expired, by their own time.
    pub fn said_about(
        &self,
        group: &GroupId,
        target: &EventId,
        kind: u16,
        sender: &PublicKey,
    ) -> Result<Vec<SaidRow>> {
        let params = params![group.as_bytes(), target.as_bytes(), kind, sender.as_bytes()];
        self.all(SAID_BY, params, |row| {
            let mut c = Columns::new(row, "messages");
            Ok(SaidRow {
                seq: c.i64()?,
                created_at: c.u64()?,
                status: c.variant(MessageStatus::from_stored)?,
            })
        })
    }

    /// Up to `limit` valid reactions to a message, of one account or of all, in the order of arrival. If there are
    /// more, any of them may be left out.
    pub fn reactions(
        &self,
        group: &GroupId,
        target: &EventId,
        by: Option<&PublicKey>,
        limit: u32,
    ) -> Result<Vec<ReactionRow>> {
        let by = by.map(PublicKey::as_bytes);
        let params = params![group.as_bytes(), target.as_bytes(), by, limit];
        // The rows are sorted here: the query would sort all of them before the limit.
        let mut reactions = self.all(REACTIONS, params, read_reaction)?;
        reactions.sort_unstable_by_key(|reaction| reaction.seq);
        Ok(reactions)
    }

    /// The edits of a message by any account, in every status but expired, ascending.
    pub fn edits(&self, group: &GroupId, target: &EventId) -> Result<Vec<EditRow>> {
        let mut edits = self.all(EDITS, params![group.as_bytes(), target.as_bytes()], read_edit)?;
        edits.sort_unstable_by_key(|edit| edit.seq);
        Ok(edits)
    }
}
