//! What can be done with the whole database of an open account. The work is the store's; the engine adds what only it can
//! judge: whether every group's MLS state loads, and that a restored leaf is renewed before it sends.

use std::path::Path;

use mdk_store::{
    BackupReport, DatabaseKey, GroupRow, GroupStatus, Progress, RekeyReport, Store, StoreError, Tx,
    VaultError, VerifyReport,
};
use mdk_wire::{GroupId, SecretVec};
use openmls::group::MlsGroup;

use crate::ctx::Ctx;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::group;

/// Name of the `meta` row with what the engine notes of a restore: its time, 8 bytes, and the id of the newest commit that
/// came with the backup, 8 bytes. Such a commit does not renew a leaf, for the old copy has its keys too.
const RESTORE_FLOOR: &str = "restore_floor";

/// Most findings of one kind in a report, as in the store's.
const MAX_FINDINGS: usize = 100;

impl Engine {
    /// Encrypts the database anew: with a fresh key in the same source (`None`), or with the key of another source.
    ///
    /// # Errors
    /// [`Error::Vault`].
    pub fn rekey(
        &mut self,
        to: Option<&DatabaseKey>,
        progress: &mut Progress<'_>,
    ) -> Result<RekeyReport> {
        let report = self.store.rekey(to, progress)?;
        tracing::info!(bytes = report.bytes, "the database was encrypted with another key");
        Ok(report)
    }

    /// Writes an encrypted backup into a new file. Restoring it is a move: two running copies of one leaf would use
    /// the same message keys.
    ///
    /// # Errors
    /// [`Error::Vault`].
    pub fn backup(
        &mut self,
        to: &Path,
        passphrase: &SecretVec,
        progress: &mut Progress<'_>,
    ) -> Result<BackupReport> {
        let report = self.store.backup(to, passphrase, progress)?;
        tracing::info!(bytes = report.bytes, "a backup was written");
        Ok(report)
    }

    /// Verifies the database: its pages, its structure, its rows, and that OpenMLS loads the state of every group.
    /// Damage is reported, not an error.
    ///
    /// # Errors
    /// [`Error::Vault`] when the file cannot be read at all, or the caller cancelled.
    pub fn verify(&mut self, progress: &mut Progress<'_>) -> Result<VerifyReport> {
        let mut report = self.store.verify(progress)?;
        // The database, not the cache, is what is verified.
        let loaded: Result<Vec<String>> = self.store.read(|tx| {
            let groups = tx.groups()?;
            Ok(groups.iter().enumerate().filter_map(|(at, row)| unloadable(tx, at, row)).collect())
        });
        match loaded {
            Ok(found) => report.logic.extend(found),
            // Then the pages and the structure say why.
            Err(Error::Store(_)) => report.logic.push("the list of groups cannot be read".into()),
            Err(other) => return Err(other),
        }
        report.logic.truncate(MAX_FINDINGS);
        tracing::info!(
            pages = report.pages,
            intact = report.is_intact(),
            "the database was verified"
        );
        Ok(report)
    }
}

/// What is wrong with the MLS state of a group. Groups are told apart by their place in the list, never by id.
fn unloadable(tx: &Tx<'_>, at: usize, row: &GroupRow) -> Option<String> {
    if group::is_over(row.status) || row.status == GroupStatus::Unrecoverable {
        return None;
    }
    let founding = row.status == GroupStatus::Founding;
    let id = openmls::group::GroupId::from_slice(row.id.as_bytes());
    let problem = match MlsGroup::load(&tx.mls(), &id) {
        Ok(Some(mls)) if !founding && mls.epoch().as_u64() != row.epoch => {
            "is of another epoch than its row"
        }
        // (who is put out by the end of a group has none until that is final)
        Ok(Some(mls)) if mls.own_leaf_node().is_none() && row.status != GroupStatus::Disbanding => {
            "holds no leaf of this account"
        }
        Ok(Some(_)) => return None,
        Ok(None) => "is not there",
        Err(_) => "does not load",
    };
    Some(format!("the MLS state of group number {} {problem}", at + 1))
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Open(error) => Self::Open(error),
            VaultError::Store(error) => Self::Store(error),
            other => Self::Vault(other),
        }
    }
}

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

impl Ctx<'_, '_> {
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
