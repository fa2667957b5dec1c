//! stub
use super::{Progress, VaultError};
use crate::DatabaseKey;
use mdk_wire::{GroupId, SecretVec};
use std::path::Path;
/// What `restore` brought back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Groups in the database.
    pub groups: Vec<GroupId>,
    /// Groups in which this account is a member and must renew its leaf before it sends.
    pub must_update: Vec<GroupId>,
}
/// Restores a backup into a new database file.
pub fn restore(
    _archive: &Path,
    _to: &Path,
    _passphrase: &SecretVec,
    _key: &DatabaseKey,
    _progress: &mut Progress<'_>,
) -> Result<RestoreReport, VaultError> {
    unimplemented!()
}
