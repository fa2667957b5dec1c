//! The mark of a restored database: its leaves are to be renewed.
//!
//! The row `restored_at` of `meta` holds the time, 8 bytes, and 16 bytes for each group whose leaf is not renewed yet:
//! the beginning of a hash of its id, so that a deleted group leaves no trace here.

use mdk_wire::{GroupId, Timestamp};
use sha2::{Digest, Sha256};

use crate::{Result, StoreError, Tx};

/// Name of the row.
const ROW: &str = "restored_at";
const TIME: usize = 8;
const MARK: usize = 16;

fn mark(group: &GroupId) -> [u8; MARK] {
    let mut hash = Sha256::new();
    hash.update(b"mdk restored group 1");
    hash.update(group.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut mark = [0; MARK];
    mark.copy_from_slice(&hash[..MARK]);
    mark
}

impl Tx<'_> {
    /// The time at which this database was restored from a backup, in seconds since 1970; `None` if it never was.
    pub fn restored_at(&self) -> Result<Option<Timestamp>> {
        Ok(self.restored()?.map(|(time, _)| time))
    }

    /// Whether this account has to renew its leaf in the group before it sends there, because the database was restored
    /// from a backup. A holder of the old database has the same ratchet keys.
    pub fn must_update_after_restore(&self, group: &GroupId) -> Result<bool> {
        Ok(self.restored()?.is_some_and(|(_, marks)| marks.contains(&mark(group))))
    }

    /// Notes that the leaf was renewed, or that there is a new one because the group was deleted or joined anew. Writes
    /// nothing if there is nothing to note.
    pub fn clear_must_update_after_restore(&self, group: &GroupId) -> Result<()> {
        let Some((time, mut marks)) = self.restored()? else { return Ok(()) };
        let before = marks.len();
        marks.retain(|found| *found != mark(group));
        if marks.len() == before {
            return Ok(());
        }
        self.write_restored(time, &marks)
    }

    /// Notes a restore and the groups whose leaves are to be renewed.
    pub(crate) fn mark_restored(&self, time: Timestamp, groups: &[GroupId]) -> Result<()> {
        let mut marks: Vec<_> = groups.iter().map(mark).collect();
        marks.sort_unstable();
        self.write_restored(time, &marks)
    }

    fn restored(&self) -> Result<Option<(Timestamp, Vec<[u8; MARK]>)>> {
        let Some(row) = self.meta(ROW)? else { return Ok(None) };
        let decoded = row.split_first_chunk::<TIME>().and_then(|(time, rest)| {
            let (marks, rest) = rest.as_chunks::<MARK>();
            rest.is_empty().then(|| (u64::from_be_bytes(*time), marks.to_vec()))
        });
        decoded.map(Some).ok_or(StoreError::Decode { what: ROW })
    }

    fn write_restored(&self, time: Timestamp, marks: &[[u8; MARK]]) -> Result<()> {
        let mut row = Vec::with_capacity(TIME + marks.len() * MARK);
        row.extend_from_slice(&time.to_be_bytes());
        row.extend(marks.iter().flatten());
        self.set_meta(ROW, &row)
    }
}
