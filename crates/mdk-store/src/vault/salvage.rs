//! stub
use super::{Progress, VaultError};
use crate::DatabaseKey;
use std::path::Path;
/// What `salvage` saved and what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Pages that could not be read.
    pub bad_pages: u64,
    /// Rows saved, by table.
    pub saved: Vec<(String, u64)>,
    /// What is missing, one sentence each, without content.
    pub missing: Vec<String>,
}
/// Reads all that is intact in a damaged database into a new one.
pub fn salvage(
    _damaged: &Path,
    _key: &DatabaseKey,
    _to: &Path,
    _to_key: &DatabaseKey,
    _progress: &mut Progress<'_>,
) -> Result<SalvageReport, VaultError> {
    unimplemented!()
}
