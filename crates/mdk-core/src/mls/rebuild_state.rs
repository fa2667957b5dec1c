//! Copies of retained states, rebuilt where they were unloaded.

use mdk_store::{InputRow, InputState, MlsMemory, NodeRow};
use mdk_wire::{GroupId, SecretVec};
use openmls::group::MlsGroup;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider as _;

use crate::mls::capabilities::configure;
use crate::mls::decode;
use crate::mls::proposals::{load_proposals, resolve};
use crate::mls::provider::Provider;
use crate::mls::refusal::{Refusal, refusal};
use crate::mls::state_keys::authenticator;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::state_id::Auth;
use crate::state_store::groups::Groups;

/// Makes copies of states.
#[derive(Clone, Copy)]
pub(crate) struct Copies<'a> {
    pub(crate) groups: Groups<'a>,
    pub(crate) call: Call<'a>,
    pub(crate) crypto: &'a RustCrypto,
}

impl<'a> Copies<'a> {
    pub(crate) const fn new(groups: Groups<'a>, call: Call<'a>, crypto: &'a RustCrypto) -> Self {
        Self { groups, call, crypto }
    }

    /// Makes the states of a path whole. `false`: one of them cannot be made again now.
    pub(crate) fn wake_path(
        &self,
        id: &GroupId,
        nodes: &[NodeRow],
        path: &[usize],
    ) -> Result<bool> {
        for node in path.iter().rev().map(|place| &nodes[*place]).filter(|n| !n.removed) {
            if self.groups.tx.node_state(id, &node.authenticator)?.is_some() {
                continue;
            }
            let Some(state) = self.made_again(id, node)? else { return Ok(false) };
            self.groups.tx.set_node_state(id, &node.authenticator, &state)?;
        }
        Ok(true)
    }

    // rule: E3-7 a rival that was let sleep is made again from its parent and its commit
    /// The rows of a state that sleeps, as they were before anything was said there. A valid commit is not judged
    /// again. But OpenMLS compares the lifetime of an added KeyPackage with the clock: the result is `None` until it
    /// fits.
    pub(crate) fn made_again(&self, id: &GroupId, node: &NodeRow) -> Result<Option<SecretVec>> {
        let Some(at) = self.stepped_again(id, node)? else { return Ok(None) };
        if authenticator(&at.mls)? != node.authenticator {
            return Ok(None);
        }
        Ok(Some(at.provider.storage().dump(id)?))
    }

    /// The state that a commit leads to from its parent, if both are kept. It may also be the state of a commit that
    /// takes us out.
    pub(crate) fn stepped_again(
        &self,
        id: &GroupId,
        node: &NodeRow,
    ) -> Result<Option<Replica<'a>>> {
        let (Some(commit), Some(parent)) = (node.commit, node.parent) else { return Ok(None) };
        let placed = |input: &InputRow| input.state == InputState::Placed;
        let Some(input) = self.groups.tx.input(id, &commit)?.filter(placed) else {
            return Ok(None);
        };
        let below = self.groups.tx.nodes(id)?.into_iter().find(|n| n.authenticator == parent);
        // (epochs fall strictly, even in a damaged row)
        let Some(below) = below.filter(|n| n.epoch < node.epoch) else { return Ok(None) };
        let Some(state) = self.state_of(id, &below)? else { return Ok(None) };
        let Ok(message) = decode::decode(&input.bytes) else { return Ok(None) };
        let mut at = self.bare_replica(id, &state, &below.authenticator)?;
        let Replica { provider, mls } = &mut at;
        let processed = match mls.process_message(provider, message) {
            Ok(processed) => processed,
            Err(error) => return asleep(refusal(&error)),
        };
        let staged = match resolve(provider, mls, processed) {
            Ok(staged) => staged,
            Err(refusal) => return asleep(refusal),
        };
        mls.merge_staged_commit(provider, *staged)
            .map_err(|_| Error::Internal("merging a verified commit"))?;
        Ok(Some(at))
    }
}

pub(crate) fn asleep<T>(refusal: Refusal) -> Result<Option<T>> {
    match refusal {
        Refusal::Fail(error) => Err(error),
        _ => Ok(None),
    }
}

/// A state in a storage of its own.
pub(crate) struct Replica<'a> {
    pub(crate) provider: Provider<'a, MlsMemory>,
    pub(crate) mls: MlsGroup,
}

impl<'a> Copies<'a> {
    /// The rows of a state: the live ones if it is the tip, else the retained ones.
    pub(crate) fn state_of(&self, id: &GroupId, node: &NodeRow) -> Result<Option<SecretVec>> {
        if node.removed {
            return Ok(None);
        }
        let tip = match self.groups.cached_row(id) {
            Some(row) => row.authenticator,
            None => self.groups.row(id)?.authenticator,
        };
        if tip == node.authenticator {
            return Ok(Some(self.groups.tx.mls_dump(id)?));
        }
        match self.groups.tx.node_state(id, &node.authenticator)? {
            None if !node.canonical => self.made_again(id, node),
            state => Ok(state),
        }
    }

    pub(crate) fn replica(&self, id: &GroupId, state: &SecretVec) -> Result<Replica<'a>> {
        let provider = Provider::new(self.crypto, MlsMemory::from_dump(id, state.expose())?);
        let mls_id = openmls::group::GroupId::from_slice(id.as_bytes());
        let mut mls = MlsGroup::load(provider.storage(), &mls_id)?
            .ok_or(Error::Unrecoverable("a retained state does not load"))?;
        configure(self.call.config, &mut mls, provider.storage())?;
        Ok(Replica { provider, mls })
    }

    /// A copy of a state for a commit of it, with the proposals that such a commit may refer to.
    pub(crate) fn bare_replica(
        &self,
        id: &GroupId,
        state: &SecretVec,
        auth: &Auth,
    ) -> Result<Replica<'a>> {
        let mut at = self.replica(id, state)?;
        let Replica { provider, mls } = &mut at;
        // Our own pending commit in the copy says nothing about others' commits.
        mls.clear_pending_commit(provider.storage())?;
        mls.clear_pending_proposals(provider.storage())?;
        load_proposals(self.groups.tx, provider, mls, id, auth)?;
        Ok(at)
    }
}
