//! Messages for which a group has no room: the fact that an account said something stays, and nothing of the content.

use mdk_wire::{EventId, GroupId, PublicKey};
use rusqlite::params;

use crate::store::columns::Columns;
use crate::store::tables::message_row::{MessageRow, MessageStatus};
use crate::store::tables::shares::Share;
use crate::{Result, Tx};

pub(crate) const SPENT: &str = "DELETE FROM messages INDEXED BY messages_spent WHERE group_id = ?1 AND \
     authenticator = ?2 AND sender = ?3 AND status = 3 AND expires_at IS NULL AND seq < ?4";
// Each message is read once for a sender: the next walk goes on from the end of the last one.
const OLDEST: &str = "SELECT seq FROM messages NOT INDEXED WHERE seq > (SELECT cut FROM shares WHERE group_id = ?1 \
     AND sender = ?2) AND group_id = ?1 AND sender = ?2 AND mine = 0 AND status <> 3 ORDER BY seq LIMIT ?3";

impl Tx<'_> {
    /// Removes up to `most` messages of a member, the oldest first, as [`Tx::spend_message`] does, with the keys of
    /// their files, until `enough` returns `true` for the remaining share. Returns the number of removed messages.
    pub fn cut_oldest(
        &self,
        group: &GroupId,
        sender: &PublicKey,
        most: u32,
        enough: impl Fn(Share, Share) -> bool,
    ) -> Result<u32> {
        let params = params![group.as_bytes(), sender.as_bytes(), most];
        let oldest = self.all(OLDEST, params, |row| Columns::new(row, "messages").i64())?;
        let mut gone = 0;
        for seq in oldest {
            if enough(self.share(group, Some(sender))?, self.share(group, None)?) {
                break;
            }
            self.drop_file_keys(seq)?;
            self.spend_message(seq)?;
            self.exec(
                "UPDATE shares SET cut = ?3 WHERE group_id = ?1 AND sender = ?2",
                params![group.as_bytes(), sender.as_bytes(), seq],
            )?;
            gone += 1;
        }
        Ok(gone)
    }

    /// Stores that an account said something, and nothing of the content. A member who has said more than is kept still
    /// counts for the state in which it was said. The last one of one sender in one state stays. Returns its position.
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

    /// Removes the parts of a message that [`Tx::insert_spent`] would not have kept. No such message: nothing happens.
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
