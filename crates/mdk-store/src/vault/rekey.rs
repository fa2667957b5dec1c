//! stub
use super::{Progress, VaultError};
use crate::{DatabaseKey, Store};
/// What `rekey` did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RekeyReport {
    /// Bytes encrypted anew.
    pub bytes: u64,
}
impl Store {
    /// Encrypts the database anew: with a fresh key in the same source (`None`), or with the key of another source.
    pub fn rekey(
        &mut self,
        _to: Option<&DatabaseKey>,
        _progress: &mut Progress<'_>,
    ) -> Result<RekeyReport, VaultError> {
        unimplemented!()
    }
}
