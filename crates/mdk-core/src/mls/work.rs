//! The context for work with OpenMLS: our identity, the groups that are loaded, and the records that go with them.

use mdk_store::{GroupRow, Tx};
use mdk_wire::GroupId;
use openmls::group::MlsGroup;
use openmls_rust_crypto::RustCrypto;

use crate::mls::capabilities::configure;
use crate::mls::identity::Identity;
use crate::mls::loaded_groups::{LoadedGroup, LoadedGroups};
use crate::mls::provider::{Provider, TxProvider};
use crate::mls::rebuild_state::Copies;
use crate::model::error::{Error, Result};
use crate::model::membership;
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

impl Work<'_> {
    /// Takes the group out of the cache, or loads it. Put it back with [`Work::put`] on success.
    pub(crate) fn take(&mut self, id: &GroupId) -> Result<LoadedGroup> {
        let mut group = match self.loaded.take(&mut self.records.memory.rows, id) {
            Some(group) => group,
            None => self.load(self.records.groups().row(id)?)?,
        };
        if !self.records.call.reading {
            configure(self.records.call.config, &mut group.mls, &self.records.tx.mls())?;
        }
        Ok(group)
    }

    /// As [`Work::take`], for an operation that needs an accepted, live membership.
    pub(crate) fn take_active(&mut self, id: &GroupId) -> Result<LoadedGroup> {
        match self.records.memory.rows.get(id) {
            Some(row) => membership::require_active(row)?,
            None => membership::require_active(&self.records.groups().row(id)?)?,
        }
        self.take(id)
    }

    pub(crate) fn load(&self, row: GroupRow) -> Result<LoadedGroup> {
        let mls_id = openmls::group::GroupId::from_slice(row.id.as_bytes());
        let mls = MlsGroup::load(&self.records.tx.mls(), &mls_id)?
            .ok_or(Error::Unrecoverable("MLS rows are missing"))?;
        Ok(LoadedGroup::new(mls, row))
    }

    pub(crate) fn put(&mut self, group: LoadedGroup) {
        self.loaded.put(&mut self.records.memory.rows, group);
    }
}
