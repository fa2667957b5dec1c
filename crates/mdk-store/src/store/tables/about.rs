//! What members say about a message: reactions (kind 7), edits (1009), deletions (5). Anybody may say any number of them,
//! so each question reads what it needs and no more.

use mdk_wire::{EventId, GroupId, PublicKey, Timestamp};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, guarded_debug};
use crate::store::tables::messages::POINTED_AT;
use crate::{MessageRow, MessageStatus, Result, Tx};

pub(crate) const REACTIONS: &str = "SELECT seq, id, sender, content FROM messages INDEXED BY messages_by_target \
     WHERE group_id = ?1 AND target = ?2 AND kind = 7 AND (?3 IS NULL OR sender = ?3) AND status = 0 LIMIT ?4";
pub(crate) const SAID_BY: &str = "SELECT seq, created_at, status FROM messages INDEXED BY messages_by_target \
     WHERE group_id = ?1 AND target = ?2 AND kind = ?3 AND sender = ?4 ORDER BY created_at, seq";
pub(crate) const SAYS: &str = "SELECT 1 FROM messages INDEXED BY messages_by_target \
     WHERE group_id = ?1 AND target = ?2 AND kind = ?3 AND sender = ?4 LIMIT 1";
pub(crate) const EDITS: &str = "SELECT seq, id, outer_id, sender, mine, status FROM messages \
     INDEXED BY messages_by_target WHERE group_id = ?1 AND target = ?2 AND kind = 1009";
pub(crate) const SPENT: &str = "DELETE FROM messages INDEXED BY messages_spent WHERE group_id = ?1 AND \
     authenticator = ?2 AND sender = ?3 AND status = 3 AND expires_at IS NULL AND seq < ?4";

/// A reaction that is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ReactionRow {
    /// Its position in the history.
    pub seq: i64,
    /// Its own id.
    pub id: EventId,
    /// Who reacts.
    pub sender: PublicKey,
    /// What it says.
    pub emoji: String,
}
guarded_debug!(ReactionRow { seq });

/// An edit, without what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct EditRow {
    /// Its position in the history.
    pub seq: i64,
    /// Its own id.
    pub id: EventId,
    /// Id of the event that carried it.
    pub outer_id: EventId,
    /// Who edits.
    pub sender: PublicKey,
    /// Sent by this account.
    pub mine: bool,
    /// Whether it counts.
    pub status: MessageStatus,
}
guarded_debug!(EditRow { seq, mine, status });

/// One of what a member says about a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaidRow {
    /// Its position in the history.
    pub seq: i64,
    /// As its author says, Unix seconds.
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
    /// Whether anything of kinds 5, 7 and 1009 is about a message, in whatever status.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails.
    pub fn is_pointed_at(&self, group: &GroupId, target: &EventId) -> Result<bool> {
        let params = params![group.as_bytes(), target.as_bytes()];
        Ok(self.one(POINTED_AT, params, |_| Ok(()))?.is_some())
    }

    /// Whether a member says something of this kind about a message, in whatever status.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails.
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

    /// What a member says of one kind about a message, in every status but expired, by its own time.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or a row cannot be decoded.
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

    /// Up to `limit` valid reactions to a message, of one account or of all, in the order of arrival. Of more than that
    /// it is not said which.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or a row cannot be decoded.
    pub fn reactions(
        &self,
        group: &GroupId,
        target: &EventId,
        by: Option<&PublicKey>,
        limit: u32,
    ) -> Result<Vec<ReactionRow>> {
        let by = by.map(PublicKey::as_bytes);
        let params = params![group.as_bytes(), target.as_bytes(), by, limit];
        // Sorted here: in the query all of them would be sorted before the limit.
        let mut reactions = self.all(REACTIONS, params, read_reaction)?;
        reactions.sort_unstable_by_key(|reaction| reaction.seq);
        Ok(reactions)
    }

    /// The edits of a message by whomever, in every status but expired, ascending.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or a row cannot be decoded.
    pub fn edits(&self, group: &GroupId, target: &EventId) -> Result<Vec<EditRow>> {
        let mut edits = self.all(EDITS, params![group.as_bytes(), target.as_bytes()], read_edit)?;
        edits.sort_unstable_by_key(|edit| edit.seq);
        Ok(edits)
    }

    /// Stores that somebody said something, and nothing of what: who has said more than is kept still counts for the state
    /// that it was said in. Of one sender in one state the last one stays. Returns its position.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails.
    pub fn insert_spent(&self, row: &MessageRow) -> Result<i64> {
        let nothing = EventId::from_bytes(*row.content_id.as_bytes());
        let seq = self.insert_message(&MessageRow {
            id: nothing,
            outer_id: nothing,
            content: String::new(),
            tags: Vec::new(),
            target: None,
            expires_at: None,
            status: MessageStatus::Expired,
            ..row.clone()
        })?;
        self.forget_spent(&row.group, &row.authenticator, &row.sender, seq)?;
        Ok(seq)
    }

    /// Takes away what somebody said as [`Tx::insert_spent`] would not have kept it. No such message: nothing happens.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or the row cannot be decoded.
    pub fn spend_message(&self, seq: i64) -> Result<()> {
        let Some(row) = self.message_by_seq(seq)? else { return Ok(()) };
        self.expire_message(seq)?;
        self.forget_spent(&row.group, &row.authenticator, &row.sender, seq)
    }

    fn forget_spent(
        &self,
        group: &GroupId,
        authenticator: &[u8; 32],
        sender: &PublicKey,
        below: i64,
    ) -> Result<()> {
        let params = params![group.as_bytes(), &authenticator[..], sender.as_bytes(), below];
        self.exec(SPENT, params)?;
        Ok(())
    }
}
