//! OpenMLS storage over the rows of a transaction or of a map: one implementation for both.
//!
//! Group rows live under the scope of their group id, so a group can be copied, restored and deleted as a whole.
//! Signature keys, KeyPackages, encryption keys and PSKs belong to the account.

mod codec;
mod dump;
mod rows;
mod skipped;
mod storage;

use openmls_traits::storage::{CURRENT_VERSION as V, Entity};
use serde::Serialize;

use self::rows::{Label, Map, Rows, Table};
pub use self::skipped::skipped_messages;
use crate::{Result, StoreError};

/// OpenMLS storage over some rows. Use it as [`MlsStorage`] or [`MlsMemory`].
#[derive(Clone, Copy, Default)]
pub struct Provider<R>(R);

/// The storage of a transaction. Made by [`Tx::mls`](crate::Tx::mls).
pub type MlsStorage<'a> = Provider<Table<'a>>;

/// A storage in memory with the same encoding, for work on a copy of a group.
pub type MlsMemory = Provider<Map>;

impl<R> std::fmt::Debug for Provider<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider(..)")
    }
}

/// The scope of rows that belong to the account.
const ACCOUNT: &[u8] = &[];

impl<R: Rows> Provider<R> {
    fn set<T: Serialize + ?Sized>(
        &self,
        group: &impl Serialize,
        label: Label,
        value: &T,
    ) -> Result<()> {
        self.0.put(&codec::byte_key(group)?, label, &[], &codec::encode(value)?)
    }

    fn fetch<T: Entity<V>>(&self, group: &impl Serialize, label: Label) -> Result<Option<T>> {
        let value = self.0.get(&codec::byte_key(group)?, label, &[])?;
        value.map(|value| codec::decode(&value)).transpose()
    }

    fn clear(&self, group: &impl Serialize, label: Label) -> Result<()> {
        self.0.delete_label(&codec::byte_key(group)?, label)
    }

    fn set_account<T: Serialize>(&self, label: Label, key: &[u8], value: &T) -> Result<()> {
        self.0.put(ACCOUNT, label, key, &codec::encode(value)?)
    }

    fn fetch_account<T: Entity<V>>(&self, label: Label, key: &[u8]) -> Result<Option<T>> {
        self.0.get(ACCOUNT, label, key)?.map(|value| codec::decode(&value)).transpose()
    }

    /// The stored key of a queued proposal: its number in the queue, then its reference.
    fn queued(&self, scope: &[u8], reference: &[u8]) -> Result<Option<Vec<u8>>> {
        let rows = self.0.list(scope, Label::QueuedProposal)?;
        Ok(rows.into_iter().map(|(key, _)| key).find(|key| key.get(4..) == Some(reference)))
    }

    /// The next number for a label whose keys begin with a number.
    fn next_number(&self, scope: &[u8], label: Label) -> Result<[u8; 4]> {
        let rows = self.0.list(scope, label)?;
        let last = rows
            .last()
            .and_then(|(key, _)| key.first_chunk::<4>().copied())
            .map(u32::from_be_bytes);
        let next = match last {
            None => 0,
            Some(last) => last.checked_add(1).ok_or(StoreError::internal("MLS list is full"))?,
        };
        Ok(next.to_be_bytes())
    }
}
