//! All rows of one group as one secret blob, the content of a retained epoch.
//!
//! Version (1), then for every row in the order of label and key: label (1), length of the key (4, big-endian), key,
//! length of the value (4), value.

use mdk_wire::{GroupId, KeyPackageRef, SecretVec};
use zeroize::Zeroize as _;

use super::{
    MlsMemory, Provider,
    rows::{Label, Map, RowRef, Rows, Table, Value},
};
use crate::{Result, StoreError, Tx};

const VERSION: u8 = 1;

/// The first bytes of OpenMLS's `MlsGroupState`: the mark of postcard, then the variant. `Operational` has no more
/// bytes.
const PENDING: [u8; 2] = [super::codec::POSTCARD, 0];
const OPERATIONAL: [u8; 2] = [super::codec::POSTCARD, 1];

impl Tx<'_> {
    /// The storage that OpenMLS reads and writes in this transaction.
    #[must_use]
    pub fn mls(&self) -> super::MlsStorage<'_> {
        Provider(Table(self.conn))
    }

    /// All MLS rows of a group as one blob.
    pub fn mls_dump(&self, group: &GroupId) -> Result<SecretVec> {
        dump(Table(self.conn).scope(group.as_bytes())?)
    }

    /// As [`Tx::mls_dump`], without a pending commit of ours: the group as others see it.
    pub fn mls_dump_settled(&self, group: &GroupId) -> Result<SecretVec> {
        let mut rows = Table(self.conn).scope(group.as_bytes())?;
        for (label, _, value) in &mut rows {
            if *label == Label::GroupState as u8 && value.starts_with(&PENDING) {
                value.zeroize();
                value.extend_from_slice(&OPERATIONAL);
            }
        }
        dump(rows)
    }

    /// Replaces the MLS rows of a group by those of a blob from [`Tx::mls_dump`].
    ///
    /// # Errors
    /// [`StoreError::Decode`] when the blob is not one. Then nothing was changed.
    pub fn mls_restore(&self, group: &GroupId, blob: &[u8]) -> Result<()> {
        Table(self.conn).replace_scope(group.as_bytes(), &parse(blob)?)
    }

    /// Removes all MLS rows of a group.
    pub fn mls_delete(&self, group: &GroupId) -> Result<()> {
        Table(self.conn).replace_scope(group.as_bytes(), &[])
    }

    /// The group's state row as OpenMLS wrote it. It holds the pending commit when there is one.
    pub fn mls_group_state(&self, group: &GroupId) -> Result<Option<SecretVec>> {
        let value = Table(self.conn).get(group.as_bytes(), Label::GroupState, &[])?;
        Ok(value.map(|mut value| SecretVec::new(std::mem::take(&mut *value))))
    }

    /// The stored bundle of a KeyPackage, private keys included, as it was written by OpenMLS.
    ///
    /// OpenMLS deletes the bundle when a Welcome for it is processed. A caller that keeps a last-resort KeyPackage
    /// reads it before and puts it back after.
    pub fn mls_key_package_bytes(&self, reference: &KeyPackageRef) -> Result<Option<SecretVec>> {
        let value = Table(self.conn).get(&[], Label::KeyPackage, reference.as_bytes())?;
        Ok(value.map(|mut value| SecretVec::new(std::mem::take(&mut *value))))
    }

    /// Stores a bundle that [`Tx::mls_key_package_bytes`] returned.
    pub fn mls_put_key_package_bytes(
        &self,
        reference: &KeyPackageRef,
        bundle: &[u8],
    ) -> Result<()> {
        Table(self.conn).put(&[], Label::KeyPackage, reference.as_bytes(), bundle)
    }

    /// Removes the bundle of a KeyPackage, private keys included.
    pub fn mls_delete_key_package(&self, reference: &KeyPackageRef) -> Result<()> {
        Table(self.conn).delete(&[], Label::KeyPackage, reference.as_bytes())
    }
}

impl MlsMemory {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A storage with the rows of a blob from [`Tx::mls_dump`], for work on a copy of a group.
    ///
    /// # Errors
    /// [`StoreError::Decode`] when the blob is not one.
    pub fn from_dump(group: &GroupId, blob: &[u8]) -> Result<Self> {
        let rows = Map::default();
        rows.replace_scope(group.as_bytes(), &parse(blob)?)?;
        Ok(Provider(rows))
    }

    /// All rows of a group as one blob.
    ///
    /// # Errors
    /// None in practice. The type is that of [`Tx::mls_dump`].
    pub fn dump(&self, group: &GroupId) -> Result<SecretVec> {
        dump(self.0.scope(group.as_bytes())?)
    }
}

fn dump(rows: Vec<(u8, Vec<u8>, Value)>) -> Result<SecretVec> {
    // The exact size is allocated at once, so that growing leaves no copy behind.
    let size = 1 + rows.iter().map(|(_, key, value)| 9 + key.len() + value.len()).sum::<usize>();
    let mut blob = Vec::with_capacity(size);
    blob.push(VERSION);
    for (label, key, value) in &rows {
        blob.push(*label);
        for part in [key, &**value] {
            let length = u32::try_from(part.len())
                .map_err(|_| StoreError::Invalid { what: "MLS row over 4 GiB" })?;
            blob.extend_from_slice(&length.to_be_bytes());
            blob.extend_from_slice(part);
        }
    }
    Ok(SecretVec::new(blob))
}

/// The rows of a blob, strictly: known version, ascending without repetition, nothing after the last.
pub(super) fn parse(blob: &[u8]) -> Result<Vec<RowRef<'_>>> {
    fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
        rest.split_off(..usize::try_from(length).ok()?)
    }
    fn rows(mut rest: &[u8]) -> Option<Vec<RowRef<'_>>> {
        if rest.split_off_first() != Some(&VERSION) {
            return None;
        }
        let mut rows: Vec<RowRef<'_>> = Vec::new();
        while let Some(&label) = rest.split_off_first() {
            let (key, value) = (part(&mut rest)?, part(&mut rest)?);
            if rows.last().is_some_and(|&(l, k, _)| (l, k) >= (label, key)) {
                return None;
            }
            rows.push((label, key, value));
        }
        Some(rows)
    }
    rows(blob).ok_or(StoreError::Decode { what: "MLS dump" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_blob_is_read_strictly() {
        let group = GroupId::from_bytes(&[1; 16]).unwrap();
        let memory = MlsMemory::new();
        memory.0.put(group.as_bytes(), Label::Tree, b"", b"tree").unwrap();
        memory.0.put(group.as_bytes(), Label::Tree, b"k", b"").unwrap();
        memory.0.put(&[2; 16], Label::Tree, b"", b"other group").unwrap();
        let blob = memory.dump(&group).unwrap();
        let blob = blob.expose();
        assert_eq!(blob.len(), 1 + 9 + 4 + 9 + 1);
        let copy = MlsMemory::from_dump(&group, blob).unwrap();
        assert_eq!(copy.dump(&group).unwrap().expose(), blob);
        for end in (0..blob.len()).filter(|&end| end != 1 && end != 14) {
            assert!(parse(&blob[..end]).is_err(), "cut at {end}");
        }
        assert!(parse(&[blob, &[1]].concat()).is_err(), "trailing byte");
        assert!(parse(&[&[2], &blob[1..]].concat()).is_err(), "version");
        assert!(parse(&[blob, &blob[1..]].concat()).is_err(), "order");
    }
}
