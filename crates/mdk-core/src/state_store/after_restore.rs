//! The renewals that an account owes after it came from a backup.

use mdk_store::{Store, StoreError, Tx};
use mdk_wire::GroupId;

use crate::model::error::{Error, Result};

/// Name of the `meta` row with the engine's note of a restore: its time, 8 bytes, and the id of the newest commit that
/// came with the backup, 8 bytes. Such a commit does not renew a leaf, for the old copy has its keys too.
const RESTORE_FLOOR: &str = "restore_floor";

/// Notes which commits came with a backup, when the database is opened for the first time after it was restored. Whether
/// it was.
pub(crate) fn note_restore(store: &mut Store) -> Result<bool> {
    let note = |tx: &Tx<'_>| {
        let Some(time) = tx.restored_at()? else { return Ok::<_, StoreError>((false, None)) };
        if tx.meta(RESTORE_FLOOR)?.is_some_and(|row| row.starts_with(&time.to_be_bytes())) {
            return Ok((true, None));
        }
        let newest = tx.pendings()?.last().map_or(0, |pending| pending.id);
        Ok((true, Some([time.to_be_bytes(), newest.to_be_bytes()].concat())))
    };
    let (restored, row) = store.read(note)?;
    if let Some(row) = row {
        store.write(|tx| tx.set_meta(RESTORE_FLOOR, &row))?;
    }
    Ok(restored)
}

/// The renewals that are still to be done.
#[derive(Clone, Copy)]
pub(crate) struct AfterRestore<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) restored: bool,
}

impl AfterRestore<'_> {
    /// Refuses to send with the message keys of a leaf that came with a backup.
    pub(crate) fn require_renewed(&self, id: &GroupId) -> Result<()> {
        if self.restored && self.tx.must_update_after_restore(id)? {
            return Err(Error::SelfUpdateRequired);
        }
        Ok(())
    }

    /// A commit of ours took effect. It has an update path, so our leaf is new, unless it was made before the backup.
    pub(crate) fn note_renewed(&self, id: &GroupId, pending: i64) -> Result<()> {
        if !self.restored {
            return Ok(());
        }
        let floor = self.tx.meta(RESTORE_FLOOR)?;
        let newest = floor.as_deref().and_then(|row| row.last_chunk()).copied();
        if newest.is_none_or(|newest| pending > i64::from_be_bytes(newest)) {
            self.tx.clear_must_update_after_restore(id)?;
        }
        Ok(())
    }
}
