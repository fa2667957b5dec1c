//! stub
use super::{Progress, VaultError};
use crate::DatabaseKey;
use std::path::Path;
/// What `encrypt_existing` did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EncryptReport {
    /// Tables compared.
    pub tables: u64,
    /// Rows compared.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
}
/// Encrypts a plain database in place (`to` is `None`) or into a new file; with `from` it copies an encrypted one to another key.
pub fn encrypt_existing(
    _source: &Path,
    _from: Option<&DatabaseKey>,
    _to: Option<&Path>,
    _key: &DatabaseKey,
    _progress: &mut Progress<'_>,
) -> Result<EncryptReport, VaultError> {
    unimplemented!()
}
