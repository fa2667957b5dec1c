//! The lifetime of messages, and the marks that keep a gone message from coming back.

use mdk_wire::{EventId, GroupId, Timestamp};
use rusqlite::params;
use sha2::{Digest as _, Sha256};

use crate::store::columns::{Columns, U64, encode_list, guarded_debug};
use crate::{MessageRow, MessageStatus, Result, Tx};

/// The most expired messages of a group whose copies are known: those of the last places in the history.
pub const MAX_BURIED: u32 = 1_000;

pub(crate) const BURIED: &str = "SELECT epoch, received_at FROM messages \
     WHERE group_id = ?1 AND id = ?2 AND status = 3 ORDER BY seq";
pub(crate) const BURIED_LAST: &str = "SELECT seq FROM messages INDEXED BY messages_hidden \
     WHERE group_id = ?1 AND status >= 3 AND status = 3 ORDER BY seq DESC LIMIT 1 OFFSET ?2";

/// The record that a message had its time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BuriedRow {
    /// The epoch in which it was sent.
    pub epoch: u64,
    /// Whether it was shown before.
    pub shown: bool,
}
guarded_debug!(BuriedRow { epoch, shown });

/// The mark by which a copy of a gone message is known. The id itself, which is the hash of the content, does not stay.
fn mark(group: &GroupId, id: &EventId) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"mdk expired message");
    hash.update(group.as_bytes());
    hash.update(id.as_bytes());
    hash.finalize().into()
}

impl Tx<'_> {
    /// Strips a message as [`Tx::expire_message`] does, but leaves a mark of its id until `until`, when
    /// [`Tx::expired`] reports it. [`Tx::buried`] finds the mark. The last [`MAX_BURIED`] expired messages of a group
    /// keep their marks. No such message: nothing happens.
    pub fn bury_message(&self, row: &MessageRow, until: Timestamp, shown: bool) -> Result<()> {
        let none: [Vec<String>; 0] = [];
        let mark = mark(&row.group, &row.id);
        let params = params![
            row.seq,
            &mark[..],
            encode_list(&none)?,
            shown,
            U64(until),
            MessageStatus::Expired as u8
        ];
        self.recounted(row.seq, || {
            let sql = "UPDATE messages SET id = ?2, outer_id = content_id, content = '', tags = ?3, target = NULL, \
                 created_at = 0, received_at = ?4, expires_at = ?5, status = ?6 WHERE seq = ?1";
            self.reweighed(row.seq, || self.erase(sql, params)).map(|_| row.seq)
        })?;
        // There is one more than before, so at most one is too many.
        let surplus = self.one(BURIED_LAST, params![row.group.as_bytes(), MAX_BURIED], |row| {
            Columns::new(row, "messages").i64()
        })?;
        match surplus {
            // The messages before it have no mark any more.
            Some(surplus) => self.expire_message(row.seq.min(surplus)),
            None => Ok(()),
        }
    }

    /// Takes content and tags from a message that is shown nowhere, and lets it stay until `until`. The connection
    /// overwrites the freed bytes. No such message: nothing happens.
    pub fn strip_message(&self, seq: i64, until: Timestamp) -> Result<()> {
        let none: [Vec<String>; 0] = [];
        let sql = "UPDATE messages SET content = '', tags = ?2, expires_at = ?3 WHERE seq = ?1";
        let params = params![seq, encode_list(&none)?, U64(until)];
        self.reweighed(seq, || self.erase(sql, params))?;
        Ok(())
    }

    /// The messages with this id that had their time, as far as that is known, ascending.
    pub fn buried(&self, group: &GroupId, id: &EventId) -> Result<Vec<BuriedRow>> {
        self.all(BURIED, params![group.as_bytes(), &mark(group, id)[..]], |row| {
            let mut c = Columns::new(row, "messages");
            Ok(BuriedRow { epoch: c.u64()?, shown: c.u64()? != 0 })
        })
    }

    /// Sets the time at which the messages with this id disappear, except those that are deleted or gone already.
    pub fn set_lifetime(
        &self,
        group: &GroupId,
        id: &EventId,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        self.exec(
            "UPDATE messages SET expires_at = ?3 WHERE group_id = ?1 AND id = ?2 AND status <> 1 AND status <> 3",
            params![group.as_bytes(), id.as_bytes(), expires_at.map(U64)],
        )?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::{ContentId, Keys, PublicKey};

    use super::*;
    use crate::{Store, StoreError};

    fn group() -> GroupId {
        GroupId::from_bytes(&[1; 16]).unwrap()
    }

    fn id(n: u32) -> EventId {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        EventId::from_bytes(bytes)
    }

    fn said(tx: &Tx<'_>, sender: PublicKey, n: u32, epoch: u64, status: MessageStatus) -> i64 {
        let row = MessageRow {
            seq: 0,
            group: group(),
            id: id(n),
            content_id: ContentId::from_bytes([9; 32]),
            outer_id: id(n),
            sender,
            kind: 9,
            created_at: 1,
            received_at: 1,
            epoch,
            authenticator: [0; 32],
            content: "text".to_owned(),
            tags: Vec::new(),
            target: None,
            mine: false,
            delivery: 1,
            expires_at: Some(5),
            status,
        };
        tx.insert_message(&row).unwrap()
    }

    fn on_a_store(work: impl FnOnce(&Tx<'_>, PublicKey)) {
        let keys = Keys::generate();
        let mut store = Store::in_memory().unwrap();
        store
            .write::<_, StoreError>(|tx| {
                work(tx, keys.public_key());
                Ok(())
            })
            .unwrap();
    }

    /// Marks stay until their time or until there are too many, whichever comes first.
    #[test]
    fn marks_of_what_has_gone_are_bounded() {
        let all = MAX_BURIED + 20;
        for forwards in [true, false] {
            on_a_store(|tx, sender| {
                let mut seqs: Vec<(u32, i64)> =
                    (0..all).map(|n| (n, said(tx, sender, n, 1, MessageStatus::Valid))).collect();
                if !forwards {
                    seqs.reverse();
                }
                for (n, seq) in &seqs {
                    let row = tx.message_by_seq(*seq).unwrap().unwrap();
                    tx.bury_message(&row, 100, n % 2 == 0).unwrap();
                }
                let known: Vec<u32> = (0..all)
                    .filter(|n| !tx.buried(&group(), &id(*n)).unwrap().is_empty())
                    .collect();
                assert_eq!(known, (20..all).collect::<Vec<_>>(), "forwards: {forwards}");
                for n in 20..all {
                    let left = tx.buried(&group(), &id(n)).unwrap();
                    assert_eq!(left, [BuriedRow { epoch: 1, shown: n % 2 == 0 }]);
                }
                for left in tx.messages_after(0, u32::MAX).unwrap() {
                    assert!(left.content.is_empty() && left.created_at == 0);
                    assert!((0..all).all(|n| left.id != id(n) && left.outer_id != id(n)));
                }
                // Their epoch is forgotten. Their marks stay until their time has passed.
                tx.purge_expired(&group(), 9).unwrap();
                assert_eq!(tx.buried(&group(), &id(20)).unwrap().len(), 1);
                assert_eq!(tx.messages_after(0, u32::MAX).unwrap().len(), MAX_BURIED as usize);
                assert!(tx.expired(99, u32::MAX).unwrap().is_empty());
                assert_eq!(tx.expired(100, u32::MAX).unwrap().len(), MAX_BURIED as usize);
            });
        }
    }

    /// The copy of the lowest epoch stays beside the shown one: it gives the lifetime.
    #[test]
    fn the_first_copy_is_no_surplus() {
        on_a_store(|tx, sender| {
            let shown = said(tx, sender, 1, 5, MessageStatus::Valid);
            let first = said(tx, sender, 1, 2, MessageStatus::Parked);
            let surplus = [3, 2].map(|epoch| said(tx, sender, 1, epoch, MessageStatus::Parked));
            assert_eq!(tx.surplus(&group(), 9).unwrap(), surplus);
            let alone = said(tx, sender, 2, 3, MessageStatus::Parked);
            said(tx, sender, 2, 2, MessageStatus::Valid);
            assert_eq!(tx.surplus(&group(), 9).unwrap(), [surplus[0], surplus[1], alone]);
            tx.set_lifetime(&group(), &id(1), None).unwrap();
            let lives = tx.copies(&group(), &id(1)).unwrap();
            assert!(lives.iter().all(|copy| copy.expires_at.is_none()));
            assert!(lives[0].seq == shown && lives[1].seq == first);
            assert_eq!(tx.expired(9, u32::MAX).unwrap().len(), 2);
        });
    }
}
