//! stub
use super::{Progress, VaultError};
use crate::Store;
use mdk_wire::SecretVec;
use std::path::Path;
/// What `backup` wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BackupReport {
    /// Bytes of the archive.
    pub bytes: u64,
}
impl Store {
    /// Writes an encrypted backup into a new file.
    pub fn backup(
        &mut self,
        _to: &Path,
        _passphrase: &SecretVec,
        _progress: &mut Progress<'_>,
    ) -> Result<BackupReport, VaultError> {
        unimplemented!()
    }
}
