//! What works with OpenMLS: who we are, the groups that are loaded, and the records that go with them.

use mdk_store::Tx;
use openmls_rust_crypto::RustCrypto;

use crate::mls::identity::Identity;
use crate::mls::loaded_groups::LoadedGroups;
use crate::mls::provider::{Provider, TxProvider};
use crate::mls::rebuild_state::Copies;
use crate::state_store::records::Records;

pub(crate) struct Work<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) crypto: &'a RustCrypto,
    pub(crate) loaded: &'a mut LoadedGroups,
    pub(crate) records: Records<'a>,
}

impl<'a> Work<'a> {
    /// Makes copies of states.
    pub(crate) fn copies(&self) -> Copies<'_> {
        Copies::new(self.records.groups(), self.records.call, self.crypto)
    }

    pub(crate) fn provider(&self) -> TxProvider<'a> {
        let tx: &'a Tx<'a> = self.records.tx;
        Provider::new(self.crypto, tx.mls())
    }
}
