//! The calls for the whole database of an open account. The work is the store's; the engine adds two things that only
//! it can judge: whether every group's MLS state loads, and that a restored leaf is renewed before it sends.

use std::path::Path;

use mdk_store::{
    BackupReport, DatabaseKey, GroupRow, GroupStatus, Progress, RekeyReport, Tx, VaultError,
    VerifyReport,
};
use mdk_wire::SecretVec;
use openmls::group::MlsGroup;

use crate::engine::Engine;
use crate::model::error::{Error, Result};
use crate::model::membership;

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
        // The check reads the database, not the cache.
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

/// The problem with the MLS state of a group. Groups are told apart by their place in the list, never by id.
fn unloadable(tx: &Tx<'_>, at: usize, row: &GroupRow) -> Option<String> {
    if membership::is_over(row.status) || row.status.is_stuck() {
        return None;
    }
    let founding = row.status == GroupStatus::Founding;
    let id = openmls::group::GroupId::from_slice(row.id.as_bytes());
    let problem = match MlsGroup::load(&tx.mls(), &id) {
        Ok(Some(mls)) if !founding && mls.epoch().as_u64() != row.epoch => {
            "is of another epoch than its row"
        }
        // (an account that the end of a group puts out has no leaf until that is final)
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
