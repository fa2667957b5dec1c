//! The rows of OpenMLS, in a table of the transaction or in a map.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use zeroize::Zeroizing;

use super::codec;
use crate::Result;

/// A secret value.
pub(super) type Value = Zeroizing<Vec<u8>>;

/// A row of a scope: label, key, value.
pub(super) type RowRef<'a> = (u8, &'a [u8], &'a [u8]);

/// The kind of a row. The numbers are stored and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Label {
    JoinConfig = 1,
    OwnLeafNodes = 2,
    QueuedProposal = 3,
    Tree = 4,
    InterimTranscriptHash = 5,
    GroupContext = 6,
    ConfirmationTag = 7,
    GroupState = 8,
    MessageSecrets = 9,
    ResumptionPskStore = 10,
    OwnLeafIndex = 11,
    EpochSecrets = 12,
    ApplicationExportTree = 13,
    EpochKeyPairs = 14,
    SignatureKeyPair = 32,
    EncryptionKeyPair = 33,
    KeyPackage = 34,
    Psk = 35,
}

/// Rows addressed by scope (a group id, or empty for the account), label and key.
pub trait Rows {
    /// The value of a row.
    fn get(&self, scope: &[u8], label: Label, key: &[u8]) -> Result<Option<Value>>;
    /// Inserts or replaces a row.
    fn put(&self, scope: &[u8], label: Label, key: &[u8], value: &[u8]) -> Result<()>;
    /// Removes a row if it is there.
    fn delete(&self, scope: &[u8], label: Label, key: &[u8]) -> Result<()>;
    /// All rows of a label, in the order of their keys.
    fn list(&self, scope: &[u8], label: Label) -> Result<Vec<(Vec<u8>, Value)>>;
    /// Removes all rows of a label.
    fn delete_label(&self, scope: &[u8], label: Label) -> Result<()>;
    /// All rows of a scope, in the order of label and key.
    fn scope(&self, scope: &[u8]) -> Result<Vec<(u8, Vec<u8>, Value)>>;
    /// Replaces all rows of a scope.
    fn replace_scope(&self, scope: &[u8], rows: &[RowRef<'_>]) -> Result<()>;
}

/// The table `mls_rows` of a transaction.
#[derive(Clone, Copy)]
pub struct Table<'a>(pub(crate) &'a Connection);

impl Rows for Table<'_> {
    fn get(&self, scope: &[u8], label: Label, key: &[u8]) -> Result<Option<Value>> {
        let mut get = self.0.prepare_cached(
            "SELECT value FROM mls_rows WHERE scope = ?1 AND label = ?2 AND key = ?3",
        )?;
        Ok(get
            .query_row(params![scope, label as u8, key], |row| row.get(0).map(Zeroizing::new))
            .optional()?)
    }

    fn put(&self, scope: &[u8], label: Label, key: &[u8], value: &[u8]) -> Result<()> {
        if label == Label::MessageSecrets {
            return self.put_message_secrets(scope, key, value);
        }
        let mut update = self.0.prepare_cached(
            "UPDATE mls_rows SET value = ?4 WHERE scope = ?1 AND label = ?2 AND key = ?3",
        )?;
        if update.execute(params![scope, label as u8, key, value])? == 0 {
            self.insert(scope, label as u8, key, value)?;
        }
        Ok(())
    }

    fn delete(&self, scope: &[u8], label: Label, key: &[u8]) -> Result<()> {
        let mut delete = self
            .0
            .prepare_cached("DELETE FROM mls_rows WHERE scope = ?1 AND label = ?2 AND key = ?3")?;
        delete.execute(params![scope, label as u8, key])?;
        Ok(())
    }

    fn list(&self, scope: &[u8], label: Label) -> Result<Vec<(Vec<u8>, Value)>> {
        let mut list = self.0.prepare_cached(
            "SELECT key, value FROM mls_rows WHERE scope = ?1 AND label = ?2 ORDER BY key",
        )?;
        let rows = list.query_map(params![scope, label as u8], |row| {
            Ok((row.get(0)?, row.get(1).map(Zeroizing::new)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn delete_label(&self, scope: &[u8], label: Label) -> Result<()> {
        let mut delete =
            self.0.prepare_cached("DELETE FROM mls_rows WHERE scope = ?1 AND label = ?2")?;
        delete.execute(params![scope, label as u8])?;
        Ok(())
    }

    fn scope(&self, scope: &[u8]) -> Result<Vec<(u8, Vec<u8>, Value)>> {
        let mut list = self.0.prepare_cached(
            "SELECT label, key, value FROM mls_rows WHERE scope = ?1 ORDER BY label, key",
        )?;
        let rows = list.query_map(params![scope], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2).map(Zeroizing::new)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn replace_scope(&self, scope: &[u8], rows: &[RowRef<'_>]) -> Result<()> {
        self.0.prepare_cached("DELETE FROM mls_rows WHERE scope = ?1")?.execute(params![scope])?;
        for (label, key, value) in rows {
            self.insert(scope, *label, key, value)?;
        }
        Ok(())
    }
}

impl Table<'_> {
    /// Inserts a row. Message secrets fill a page, and the state of a group grows to half of one and more while a
    /// commit is pending. They have a place of their own, at the front. The other rows of a group then share a page
    /// that a pending commit leaves as it is. The number of a row means nothing else.
    fn insert(&self, scope: &[u8], label: u8, key: &[u8], value: &[u8]) -> Result<()> {
        let at_front = [Label::MessageSecrets, Label::GroupState].map(|label| label as u8);
        let sql = if at_front.contains(&label) {
            "INSERT INTO mls_rows (id, scope, label, key, value) \
             VALUES (min(coalesce((SELECT min(id) FROM mls_rows), 1), 1) - 1, ?1, ?2, ?3, ?4)"
        } else {
            "INSERT INTO mls_rows (scope, label, key, value) VALUES (?1, ?2, ?3, ?4)"
        };
        self.0.prepare_cached(sql)?.execute(params![scope, label, key, value])?;
        Ok(())
    }

    /// Overwrites the row in place as long as it can keep its length. SQLite joins pages that have become too empty
    /// where a row is deleted, not where one has shrunk. This row shrinks in its page when it begins to need others. So
    /// a row with another length is inserted anew, in the same place.
    fn put_message_secrets(&self, scope: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        let label = Label::MessageSecrets as u8;
        let mut update = self.0.prepare_cached(
            "UPDATE mls_rows SET value = ?4 \
             WHERE scope = ?1 AND label = ?2 AND key = ?3 AND length(value) = length(?4)",
        )?;
        if update.execute(params![scope, label, key, value])? > 0 {
            return Ok(());
        }
        let mut find = self.0.prepare_cached(
            "SELECT id, length(value) FROM mls_rows WHERE scope = ?1 AND label = ?2 AND key = ?3",
        )?;
        let row = find
            .query_row(params![scope, label, key], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?))
            })
            .optional()?;
        let Some((id, length)) = row else { return self.insert(scope, label, key, value) };
        if let Some(longer) = codec::filled_to(value, length as usize) {
            update.execute(params![scope, label, key, &*longer])?;
            return Ok(());
        }
        self.0.prepare_cached("DELETE FROM mls_rows WHERE id = ?1")?.execute([id])?;
        let mut insert = self.0.prepare_cached(
            "INSERT INTO mls_rows (id, scope, label, key, value) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        insert.execute(params![id, scope, label, key, value])?;
        Ok(())
    }
}

/// Rows by scope, label and key.
type Tree = BTreeMap<(Vec<u8>, u8, Vec<u8>), Value>;

/// A map in memory.
#[derive(Default)]
pub struct Map(Mutex<Tree>);

impl Map {
    fn lock(&self) -> MutexGuard<'_, Tree> {
        // No operation leaves the map half-changed, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows for Map {
    fn get(&self, scope: &[u8], label: Label, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.lock().get(&(scope.to_vec(), label as u8, key.to_vec())).cloned())
    }

    fn put(&self, scope: &[u8], label: Label, key: &[u8], value: &[u8]) -> Result<()> {
        self.lock()
            .insert((scope.to_vec(), label as u8, key.to_vec()), Zeroizing::new(value.to_vec()));
        Ok(())
    }

    fn delete(&self, scope: &[u8], label: Label, key: &[u8]) -> Result<()> {
        self.lock().remove(&(scope.to_vec(), label as u8, key.to_vec()));
        Ok(())
    }

    fn list(&self, scope: &[u8], label: Label) -> Result<Vec<(Vec<u8>, Value)>> {
        let map = self.lock();
        let rows = map.range((scope.to_vec(), label as u8, Vec::new())..);
        Ok(rows
            .take_while(|((s, l, _), _)| s == scope && *l == label as u8)
            .map(|((_, _, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    fn delete_label(&self, scope: &[u8], label: Label) -> Result<()> {
        self.lock().retain(|(s, l, _), _| s != scope || *l != label as u8);
        Ok(())
    }

    fn scope(&self, scope: &[u8]) -> Result<Vec<(u8, Vec<u8>, Value)>> {
        let map = self.lock();
        let rows =
            map.range((scope.to_vec(), 0, Vec::new())..).take_while(|((s, ..), _)| s == scope);
        Ok(rows.map(|((_, label, key), value)| (*label, key.clone(), value.clone())).collect())
    }

    fn replace_scope(&self, scope: &[u8], rows: &[RowRef<'_>]) -> Result<()> {
        let mut map = self.lock();
        map.retain(|(s, ..), _| s != scope);
        for (label, key, value) in rows {
            map.insert((scope.to_vec(), *label, key.to_vec()), Zeroizing::new(value.to_vec()));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::schema;

    const GROUPS: [[u8; 16]; 3] = [[1; 16], [2; 16], [3; 16]];

    /// Writes the rows of groups as epochs go by. Small rows come first, message secrets grow past a page, and the
    /// state of a group is large while a commit is pending.
    fn age(table: &Table<'_>) {
        for (group, label, size) in GROUPS.iter().flat_map(|group| {
            let small = [(Label::Tree, 1024), (Label::GroupContext, 512), (Label::JoinConfig, 300)];
            let apart = [(Label::MessageSecrets, 1024), (Label::GroupState, 2)];
            small.into_iter().chain(apart).map(move |(label, size)| (group, label, size))
        }) {
            table.put(group, label, &[], &vec![1; size]).unwrap();
        }
        for epoch in 0..8 {
            for group in &GROUPS {
                let secrets = (2048 + 512 * epoch).min(4352);
                let writes = [
                    (Label::GroupState, 2048),
                    (Label::MessageSecrets, secrets),
                    (Label::GroupState, 2),
                ];
                for (label, size) in writes {
                    table.put(group, label, &[], &vec![2; size]).unwrap();
                }
            }
        }
    }

    fn database() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::migrate(&mut conn, true).unwrap();
        conn
    }

    #[test]
    fn message_secrets_keep_their_row_and_leave_no_gaps() {
        let conn = database();
        let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let used = || one("PRAGMA page_count") - one("PRAGMA freelist_count");
        let empty = used();
        let table = Table(&conn);
        age(&table);
        for group in &GROUPS {
            let got = table.get(group, Label::MessageSecrets, &[]).unwrap().unwrap();
            assert_eq!(&**got, &[2; 4352]);
            assert_eq!(table.list(group, Label::MessageSecrets).unwrap().len(), 1);
            assert_eq!(table.scope(group).unwrap().len(), 5);
        }
        assert_eq!(one("SELECT count(DISTINCT id) FROM mls_rows"), 15);
        assert_eq!(one("SELECT min(id) FROM mls_rows"), -5, "no row has moved");
        // The first page is an inner one now. The new pages are one for the heads of the message secrets and the
        // states, two for the other rows, and three for the bytes behind the heads.
        assert_eq!(used() - empty, 6);
    }

    #[test]
    fn message_secrets_that_are_a_little_shorter_keep_their_length() {
        let conn = database();
        let table = Table(&conn);
        let stored = |value: &[u8]| {
            table.put(&GROUPS[0], Label::MessageSecrets, &[], value).unwrap();
            table.get(&GROUPS[0], Label::MessageSecrets, &[]).unwrap().unwrap().to_vec()
        };
        assert_eq!(stored(&[1; 6144]), [1; 6144]);
        let shorter = stored(&[2; 5120]);
        assert_eq!((&shorter[..5120], &shorter[5120..]), (&[2; 5120][..], &[0; 1024][..]));
        assert_eq!(stored(&[3; 6144]), [3; 6144]);
        assert_eq!(stored(&[4; 3072]), [4; 3072], "much shorter");
        assert_eq!(stored(&[5; 7680]), [5; 7680]);
    }
}
