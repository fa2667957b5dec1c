//! What works with OpenMLS: who we are, the groups that are loaded, and the records that go with them.

use mdk_store::Tx;
use openmls_rust_crypto::RustCrypto;

use crate::mls::identity::Identity;
use crate::mls::loaded_groups::LoadedGroups;
use crate::mls::provider::{Provider, TxProvider};
use crate::state_store::records::Records;

pub(crate) struct Mls<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) crypto: &'a RustCrypto,
    pub(crate) loaded: &'a mut LoadedGroups,
    pub(crate) records: Records<'a>,
}

impl<'a> Mls<'a> {
    pub(crate) fn provider(&self) -> TxProvider<'a> {
        let tx: &'a Tx<'a> = self.records.tx;
        Provider::new(self.crypto, tx.mls())
    }
}

impl<'a> std::ops::Deref for Mls<'a> {
    type Target = Records<'a>;

    fn deref(&self) -> &Records<'a> {
        &self.records
    }
}

impl std::ops::DerefMut for Mls<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.records
    }
}
