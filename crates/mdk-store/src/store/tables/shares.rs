//! The share of each member of a group in the history: the number of messages, and their bytes.
//!
//! Messages of the account itself are not counted, and neither is the rest of a message that has gone. The sums are a
//! table and not a query: a check with each message must not read the history for it.

use mdk_wire::{GroupId, PublicKey};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, encode_list, guarded_debug};
use crate::store::tables::message_row::{MessageRow, MessageStatus};
use crate::{Result, Tx};

/// The bytes of a message beside its text and tags: its row and its entries in the indexes.
pub const ROW_BYTES: u64 = 512;

// (the row of the whole group names nobody)
const ADD: &str = "INSERT INTO shares (group_id, sender, messages, bytes, cut) VALUES (?1, ?2, ?3, ?4, 0), (?1, x'', ?3, ?4, 0) \
     ON CONFLICT (group_id, sender) DO UPDATE SET messages = messages + excluded.messages, bytes = bytes + excluded.bytes";
const WEIGHT: &str = "SELECT group_id, sender, octet_length(content) + octet_length(tags) + 512 FROM messages \
     WHERE seq = ?1 AND mine = 0 AND status <> 3";
pub(crate) const SHARE: &str =
    "SELECT messages, bytes FROM shares WHERE group_id = ?1 AND sender = ?2";
const LARGEST: &str = "SELECT sender FROM shares WHERE group_id = ?1 AND sender <> x'' \
     ORDER BY CASE WHEN ?2 THEN bytes ELSE messages END DESC LIMIT 1";
/// Counts one group or all anew.
pub(crate) const RECOUNT: &str = "INSERT INTO shares (group_id, sender, messages, bytes, cut) \
     SELECT group_id, sender, count(*), sum(octet_length(content) + octet_length(tags) + 512), 0 FROM messages \
     WHERE mine = 0 AND status <> 3 AND (?1 IS NULL OR group_id = ?1) GROUP BY group_id, sender \
     UNION ALL SELECT group_id, x'', count(*), sum(octet_length(content) + octet_length(tags) + 512), 0 FROM messages \
     WHERE mine = 0 AND status <> 3 AND (?1 IS NULL OR group_id = ?1) GROUP BY group_id";

/// The share of a member, or of a whole group.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Messages of every kind.
    pub messages: u64,
    /// Bytes of their texts and tags, and [`ROW_BYTES`] for each.
    pub bytes: u64,
}
guarded_debug!(Share { messages, bytes });

fn read_weight(row: &Row<'_>) -> Result<(GroupId, PublicKey, i64)> {
    let mut c = Columns::new(row, "messages");
    Ok((c.group_id()?, c.public_key()?, c.i64()?))
}

impl Tx<'_> {
    /// The share of a member of a group, or of everybody.
    pub fn share(&self, group: &GroupId, of: Option<&PublicKey>) -> Result<Share> {
        let of: &[u8] = of.map_or(&[], |sender| sender.as_bytes());
        let share = self.one(SHARE, params![group.as_bytes(), of], |row| {
            let sum = |at: usize| row.get::<_, i64>(at).map(|sum| sum.max(0).unsigned_abs());
            Ok(Share { messages: sum(0)?, bytes: sum(1)? })
        })?;
        Ok(share.unwrap_or_default())
    }

    /// The member with the largest share, in bytes or in messages.
    pub fn largest_share(&self, group: &GroupId, by_bytes: bool) -> Result<Option<PublicKey>> {
        self.one(LARGEST, params![group.as_bytes(), by_bytes], |row| {
            Columns::new(row, "shares").public_key()
        })
    }

    /// Adds a message that came.
    pub(crate) fn add_to_share(&self, row: &MessageRow) -> Result<()> {
        if row.mine || row.status == MessageStatus::Expired {
            return Ok(());
        }
        let bytes = row.content.len() + encode_list(&row.tags)?.len();
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 2) + ROW_BYTES.cast_signed();
        self.change_share(&row.group, &row.sender, 1, bytes)
    }

    fn change_share(
        &self,
        group: &GroupId,
        sender: &PublicKey,
        messages: i64,
        bytes: i64,
    ) -> Result<()> {
        self.exec(ADD, params![group.as_bytes(), sender.as_bytes(), messages, bytes])?;
        Ok(())
    }

    /// Makes a change to the message at this position. The change may leave less of it, but keeps its place.
    pub(crate) fn reweighed<T>(&self, seq: i64, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.one(WEIGHT, [seq], read_weight)?;
        let result = change()?;
        let Some((group, sender, was)) = before else { return Ok(result) };
        match self.one(WEIGHT, [seq], read_weight)? {
            Some((_, _, is)) if is == was => {}
            Some((_, _, is)) => self.change_share(&group, &sender, 0, is - was)?,
            None => self.change_share(&group, &sender, -1, -was)?,
        }
        Ok(result)
    }

    /// Counts a group anew.
    pub(crate) fn recount_shares(&self, group: &GroupId) -> Result<()> {
        self.exec("DELETE FROM shares WHERE group_id = ?1", [group.as_bytes()])?;
        self.exec(RECOUNT, [group.as_bytes()])?;
        Ok(())
    }
}
