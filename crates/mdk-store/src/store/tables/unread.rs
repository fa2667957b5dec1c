//! The number of unread messages of a group, queried and kept right.

use mdk_wire::GroupId;
use rusqlite::params;

use crate::store::columns::Columns;
use crate::{Result, Tx};

pub(crate) const UNREAD: &str = "SELECT count(*), coalesce(sum(mine = 0 AND status = 0), 0), max(seq) FROM messages \
     INDEXED BY messages_shown WHERE group_id = ?1 AND seq > ?2 AND kind <> 5 AND kind <> 7 AND kind <> 1009";
const COUNTS: &str = "SELECT group_id, mine = 0 AND status = 0 AND kind <> 5 AND kind <> 7 AND kind <> 1009 \
     FROM messages WHERE seq = ?1";

impl Tx<'_> {
    /// The number of valid messages of others above `after_seq`, without kinds 5, 7 and 1009. A second question with
    /// the same `after_seq` looks only at the messages since the first.
    pub fn unread(&self, group: &GroupId, after_seq: i64) -> Result<u64> {
        let mut count = self.unread.above(group, after_seq);
        let more = self.one(UNREAD, params![group.as_bytes(), count.upto], |row| {
            let mut c = Columns::new(row, "messages");
            Ok((c.u64()?, c.u64()?, c.opt(Columns::i64)?))
        })?;
        if let Some((_looked_at, unread, Some(newest))) = more {
            count.unread = count.unread.saturating_add(unread);
            count.upto = newest;
            #[cfg(test)]
            self.unread.looked_at.set(self.unread.looked_at.get() + _looked_at);
        }
        self.unread.put(group, count);
        Ok(count.unread)
    }

    /// Makes a change to the message at this position. The change returns the position after it.
    pub(crate) fn recounted(&self, seq: i64, change: impl FnOnce() -> Result<i64>) -> Result<i64> {
        if self.unread.is_empty() {
            return change();
        }
        let before = self.counts(seq)?;
        let now = change()?;
        if let Some((group, was)) = before {
            let is = self.counts(now)?.is_some_and(|(_, is)| is);
            self.unread.change(&group, (seq, was), (now, is));
        }
        Ok(now)
    }

    fn counts(&self, seq: i64) -> Result<Option<(GroupId, bool)>> {
        self.one(COUNTS, [seq], |row| {
            let mut c = Columns::new(row, "messages");
            Ok((c.group_id()?, c.bool()?))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::{ContentId, EventId, Keys, PublicKey};

    use super::*;
    use crate::{MessageRow, MessageStatus, Store, StoreError};

    fn row(group: u8, sender: PublicKey, mine: bool) -> MessageRow {
        MessageRow {
            seq: 0,
            group: GroupId::from_bytes(&[group; 16]).unwrap(),
            id: EventId::from_bytes([1; 32]),
            content_id: ContentId::from_bytes([1; 32]),
            outer_id: EventId::from_bytes([1; 32]),
            sender,
            kind: 9,
            created_at: 0,
            received_at: 0,
            epoch: 1,
            authenticator: [0; 32],
            content: String::new(),
            tags: Vec::new(),
            target: None,
            mine,
            delivery: 1,
            expires_at: None,
            status: MessageStatus::Valid,
        }
    }

    /// Compares the kept count and a count from nothing with `expected`, and the messages that the question read with
    /// `looked_at`.
    #[track_caller]
    fn asks(store: &mut Store, after: i64, expected: u64, looked_at: u64) {
        let group = row(1, Keys::generate().public_key(), false).group;
        let before = store.unread.looked_at.get();
        let found = store.read(|tx| tx.unread(&group, after)).unwrap();
        assert_eq!((found, store.unread.looked_at.get() - before), (expected, looked_at));
        let kept = std::mem::take(&mut store.unread);
        assert_eq!(store.read(|tx| tx.unread(&group, after)).unwrap(), expected);
        store.unread = kept;
    }

    #[test]
    fn what_was_counted_is_not_looked_at_again() {
        let mut store = Store::in_memory().unwrap();
        let sender = Keys::generate().public_key();
        let add = |store: &mut Store, group: u8, mine: bool, n: u64| {
            store
                .write(|tx| {
                    (0..n)
                        .try_for_each(|_| tx.insert_message(&row(group, sender, mine)).map(|_| ()))
                })
                .unwrap();
        };
        add(&mut store, 1, false, 10_000);
        asks(&mut store, 0, 10_000, 10_000);
        asks(&mut store, 0, 10_000, 0);
        add(&mut store, 1, false, 2);
        add(&mut store, 1, true, 3);
        add(&mut store, 2, false, 5);
        asks(&mut store, 0, 10_002, 5);
        asks(&mut store, 0, 10_002, 0);

        // A change of a message changes the count.
        store
            .write(|tx| {
                tx.erase_message(1)?;
                tx.expire_message(2)?;
                tx.set_message_status(3, MessageStatus::Invalidated)?;
                tx.set_message_status(4, MessageStatus::Parked)?;
                tx.set_message_status(5, MessageStatus::Invalidated)?;
                tx.set_message_status(5, MessageStatus::Valid)?;
                // (ours, and one of another group)
                tx.erase_message(10_003)?;
                tx.erase_message(10_007)
            })
            .unwrap();
        asks(&mut store, 0, 9_998, 0);
        store.write(|tx| tx.show_message_last(4)).unwrap();
        asks(&mut store, 0, 9_999, 1);
        store.write(|tx| tx.show_message_last(6)).unwrap();
        asks(&mut store, 0, 9_999, 1);

        // Messages that are undone were never counted.
        let group = row(1, sender, false).group;
        store
            .write(|tx| {
                tx.insert_message(&row(1, sender, false))?;
                assert_eq!(tx.unread(&group, 0)?, 10_000);
                Err::<(), _>(StoreError::Invalid { what: "on purpose" })
            })
            .unwrap_err();
        add(&mut store, 1, true, 1);
        asks(&mut store, 0, 9_999, 10_006);
        store
            .write(|tx| {
                let undone: Result<()> = tx.savepoint(|tx| {
                    tx.erase_message(7)?;
                    Err(StoreError::Invalid { what: "on purpose" })
                });
                undone.unwrap_err();
                Ok::<_, StoreError>(())
            })
            .unwrap();
        asks(&mut store, 0, 9_999, 10_006);

        // Another mark counts from there, and a group that is gone has nothing.
        asks(&mut store, 10_000, 4, 8);
        store.write(|tx| tx.delete_group(&group)).unwrap();
        asks(&mut store, 10_000, 0, 0);
    }
}
