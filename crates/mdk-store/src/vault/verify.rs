//! stub
use super::{Progress, VaultError};
use crate::{DatabaseKey, Store};
use std::path::Path;

/// What `verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Pages in the file.
    pub pages: u64,
    /// Numbers (from 1) of pages that fail their HMAC, ascending, the first 1,000.
    pub bad_pages: Vec<u64>,
    /// How many pages fail.
    pub bad_page_count: u64,
    /// What SQLite's `integrity_check` and `foreign_key_check` say, without content; the first 100.
    pub structure: Vec<String>,
    /// What does not fit together in groups and messages; the first 100.
    pub logic: Vec<String>,
}

/// Verifies a database that nobody has open.
pub fn verify(
    _path: &Path,
    _key: &DatabaseKey,
    _progress: &mut Progress<'_>,
) -> Result<VerifyReport, VaultError> {
    unimplemented!()
}
impl Store {
    /// Verifies the open database.
    pub fn verify(&mut self, _progress: &mut Progress<'_>) -> Result<VerifyReport, VaultError> {
        unimplemented!()
    }
}
