//! The storage interface of OpenMLS.

use openmls_traits::storage::{CURRENT_VERSION as V, StorageProvider, traits};
use serde::{Deserialize, Serialize};

use super::rows::{Label, Rows};
use super::{ACCOUNT, Provider, codec};
use crate::{Result, StoreError};

/// The key pairs of an epoch, named by epoch and leaf.
///
/// The keys of the next epoch overwrite them in their row: OpenMLS stores the new keys just before it deletes these. A
/// row of its own for each epoch would move at every commit, and the index with it. Older databases have such rows,
/// with the name as their key.
#[derive(Serialize, Deserialize)]
struct EpochKeys<T> {
    name: Vec<u8>,
    pairs: T,
}

/// A store of resumption secrets as OpenMLS encodes it: the most that there may be, the present ones, and a position.
const NO_RESUMPTION_PSKS: (usize, &[()], usize) = (0, &[], 0);

fn epoch_name(epoch: &impl Serialize, leaf_index: u32) -> Result<Vec<u8>> {
    codec::key(&(epoch, leaf_index))
}

/// A value that a group has once.
macro_rules! of_group {
    ($label:ident: $write:ident, $read:ident, $delete:ident, $value:ident) => {
        fn $write<GroupId: traits::GroupId<V>, $value: traits::$value<V>>(
            &self,
            group: &GroupId,
            value: &$value,
        ) -> Result<()> {
            self.set(group, Label::$label, value)
        }

        fn $read<GroupId: traits::GroupId<V>, $value: traits::$value<V>>(
            &self,
            group: &GroupId,
        ) -> Result<Option<$value>> {
            self.fetch(group, Label::$label)
        }

        fn $delete<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
            self.clear(group, Label::$label)
        }
    };
}

impl<R: Rows> StorageProvider<V> for Provider<R> {
    type Error = StoreError;

    // The join config needs a self-describing format; see codec.rs.
    fn write_mls_join_config<
        GroupId: traits::GroupId<V>,
        MlsGroupJoinConfig: traits::MlsGroupJoinConfig<V>,
    >(
        &self,
        group: &GroupId,
        config: &MlsGroupJoinConfig,
    ) -> Result<()> {
        self.0.put(&codec::byte_key(group)?, Label::JoinConfig, &[], &codec::encode_json(config)?)
    }

    fn mls_group_join_config<
        GroupId: traits::GroupId<V>,
        MlsGroupJoinConfig: traits::MlsGroupJoinConfig<V>,
    >(
        &self,
        group: &GroupId,
    ) -> Result<Option<MlsGroupJoinConfig>> {
        self.fetch(group, Label::JoinConfig)
    }

    fn delete_group_config<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
        self.clear(group, Label::JoinConfig)
    }

    of_group!(Tree: write_tree, tree, delete_tree, TreeSync);
    of_group! {
        InterimTranscriptHash: write_interim_transcript_hash, interim_transcript_hash,
        delete_interim_transcript_hash, InterimTranscriptHash
    }
    of_group!(GroupContext: write_context, group_context, delete_context, GroupContext);
    of_group! {
        ConfirmationTag: write_confirmation_tag, confirmation_tag,
        delete_confirmation_tag, ConfirmationTag
    }
    of_group! {
        MessageSecrets: write_message_secrets, message_secrets,
        delete_message_secrets, MessageSecrets
    }

    // OpenMLS gives a founder room for the secrets of 32 epochs, and a joiner none. No commit refers to one, so nobody
    // needs any. A store without room is written.
    fn write_resumption_psk_store<
        GroupId: traits::GroupId<V>,
        ResumptionPskStore: traits::ResumptionPskStore<V>,
    >(
        &self,
        group: &GroupId,
        _store: &ResumptionPskStore,
    ) -> Result<()> {
        self.set(group, Label::ResumptionPskStore, &NO_RESUMPTION_PSKS)
    }

    fn resumption_psk_store<
        GroupId: traits::GroupId<V>,
        ResumptionPskStore: traits::ResumptionPskStore<V>,
    >(
        &self,
        group: &GroupId,
    ) -> Result<Option<ResumptionPskStore>> {
        self.fetch(group, Label::ResumptionPskStore)
    }

    fn delete_all_resumption_psk_secrets<GroupId: traits::GroupId<V>>(
        &self,
        group: &GroupId,
    ) -> Result<()> {
        self.clear(group, Label::ResumptionPskStore)
    }

    of_group! {
        OwnLeafIndex: write_own_leaf_index, own_leaf_index,
        delete_own_leaf_index, LeafNodeIndex
    }
    of_group! {
        EpochSecrets: write_group_epoch_secrets, group_epoch_secrets,
        delete_group_epoch_secrets, GroupEpochSecrets
    }

    fn write_group_state<GroupState: traits::GroupState<V>, GroupId: traits::GroupId<V>>(
        &self,
        group: &GroupId,
        value: &GroupState,
    ) -> Result<()> {
        self.set(group, Label::GroupState, value)
    }

    fn group_state<GroupState: traits::GroupState<V>, GroupId: traits::GroupId<V>>(
        &self,
        group: &GroupId,
    ) -> Result<Option<GroupState>> {
        self.fetch(group, Label::GroupState)
    }

    fn delete_group_state<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
        self.clear(group, Label::GroupState)
    }

    fn write_application_export_tree<
        GroupId: traits::GroupId<V>,
        ApplicationExportTree: traits::ApplicationExportTree<V>,
    >(
        &self,
        group: &GroupId,
        value: &ApplicationExportTree,
    ) -> Result<()> {
        self.set(group, Label::ApplicationExportTree, value)
    }

    fn application_export_tree<
        GroupId: traits::GroupId<V>,
        ApplicationExportTree: traits::ApplicationExportTree<V>,
    >(
        &self,
        group: &GroupId,
    ) -> Result<Option<ApplicationExportTree>> {
        self.fetch(group, Label::ApplicationExportTree)
    }

    fn delete_application_export_tree<
        GroupId: traits::GroupId<V>,
        ApplicationExportTree: traits::ApplicationExportTree<V>,
    >(
        &self,
        group: &GroupId,
    ) -> Result<()> {
        self.clear(group, Label::ApplicationExportTree)
    }

    fn append_own_leaf_node<GroupId: traits::GroupId<V>, LeafNode: traits::LeafNode<V>>(
        &self,
        group: &GroupId,
        leaf_node: &LeafNode,
    ) -> Result<()> {
        let scope = codec::byte_key(group)?;
        let number = self.next_number(&scope, Label::OwnLeafNodes)?;
        self.0.put(&scope, Label::OwnLeafNodes, &number, &codec::encode(leaf_node)?)
    }

    fn own_leaf_nodes<GroupId: traits::GroupId<V>, LeafNode: traits::LeafNode<V>>(
        &self,
        group: &GroupId,
    ) -> Result<Vec<LeafNode>> {
        let rows = self.0.list(&codec::byte_key(group)?, Label::OwnLeafNodes)?;
        rows.iter().map(|(_, value)| codec::decode(value)).collect()
    }

    fn delete_own_leaf_nodes<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
        self.clear(group, Label::OwnLeafNodes)
    }

    fn queue_proposal<
        GroupId: traits::GroupId<V>,
        ProposalRef: traits::ProposalRef<V>,
        QueuedProposal: traits::QueuedProposal<V>,
    >(
        &self,
        group: &GroupId,
        reference: &ProposalRef,
        proposal: &QueuedProposal,
    ) -> Result<()> {
        let (scope, reference) = (codec::byte_key(group)?, codec::key(reference)?);
        // The number keeps the order of the queue; a proposal that is queued again keeps its place.
        let key = match self.queued(&scope, &reference)? {
            Some(key) => key,
            None => {
                [&self.next_number(&scope, Label::QueuedProposal)?, reference.as_slice()].concat()
            }
        };
        self.0.put(&scope, Label::QueuedProposal, &key, &codec::encode(proposal)?)
    }

    fn queued_proposal_refs<GroupId: traits::GroupId<V>, ProposalRef: traits::ProposalRef<V>>(
        &self,
        group: &GroupId,
    ) -> Result<Vec<ProposalRef>> {
        let rows = self.0.list(&codec::byte_key(group)?, Label::QueuedProposal)?;
        rows.iter().map(|(key, _)| codec::decode_key(key.get(4..).unwrap_or_default())).collect()
    }

    fn queued_proposals<
        GroupId: traits::GroupId<V>,
        ProposalRef: traits::ProposalRef<V>,
        QueuedProposal: traits::QueuedProposal<V>,
    >(
        &self,
        group: &GroupId,
    ) -> Result<Vec<(ProposalRef, QueuedProposal)>> {
        let rows = self.0.list(&codec::byte_key(group)?, Label::QueuedProposal)?;
        rows.iter()
            .map(|(key, value)| {
                Ok((codec::decode_key(key.get(4..).unwrap_or_default())?, codec::decode(value)?))
            })
            .collect()
    }

    fn remove_proposal<GroupId: traits::GroupId<V>, ProposalRef: traits::ProposalRef<V>>(
        &self,
        group: &GroupId,
        reference: &ProposalRef,
    ) -> Result<()> {
        let scope = codec::byte_key(group)?;
        match self.queued(&scope, &codec::key(reference)?)? {
            Some(key) => self.0.delete(&scope, Label::QueuedProposal, &key),
            None => Ok(()),
        }
    }

    fn clear_proposal_queue<GroupId: traits::GroupId<V>, ProposalRef: traits::ProposalRef<V>>(
        &self,
        group: &GroupId,
    ) -> Result<()> {
        self.clear(group, Label::QueuedProposal)
    }

    fn write_encryption_epoch_key_pairs<
        GroupId: traits::GroupId<V>,
        EpochKey: traits::EpochKey<V>,
        HpkeKeyPair: traits::HpkeKeyPair<V>,
    >(
        &self,
        group: &GroupId,
        epoch: &EpochKey,
        leaf_index: u32,
        key_pairs: &[HpkeKeyPair],
    ) -> Result<()> {
        let keys = EpochKeys { name: epoch_name(epoch, leaf_index)?, pairs: key_pairs };
        self.0.put(&codec::byte_key(group)?, Label::EpochKeyPairs, &[], &codec::encode(&keys)?)
    }

    fn encryption_epoch_key_pairs<
        GroupId: traits::GroupId<V>,
        EpochKey: traits::EpochKey<V>,
        HpkeKeyPair: traits::HpkeKeyPair<V>,
    >(
        &self,
        group: &GroupId,
        epoch: &EpochKey,
        leaf_index: u32,
    ) -> Result<Vec<HpkeKeyPair>> {
        let (scope, name) = (codec::byte_key(group)?, epoch_name(epoch, leaf_index)?);
        if let Some(value) = self.0.get(&scope, Label::EpochKeyPairs, &[])? {
            let keys: EpochKeys<Vec<HpkeKeyPair>> = codec::decode(&value)?;
            if keys.name == name {
                return Ok(keys.pairs);
            }
        }
        let value = self.0.get(&scope, Label::EpochKeyPairs, &name)?;
        value.map_or_else(|| Ok(Vec::new()), |value| codec::decode(&value))
    }

    fn delete_encryption_epoch_key_pairs<
        GroupId: traits::GroupId<V>,
        EpochKey: traits::EpochKey<V>,
    >(
        &self,
        group: &GroupId,
        epoch: &EpochKey,
        leaf_index: u32,
    ) -> Result<()> {
        let (scope, name) = (codec::byte_key(group)?, epoch_name(epoch, leaf_index)?);
        if let Some(value) = self.0.get(&scope, Label::EpochKeyPairs, &[])?
            && codec::decode_prefix::<Vec<u8>>(&value)? == name
        {
            return self.0.delete(&scope, Label::EpochKeyPairs, &[]);
        }
        self.0.delete(&scope, Label::EpochKeyPairs, &name)
    }

    fn write_signature_key_pair<
        SignaturePublicKey: traits::SignaturePublicKey<V>,
        SignatureKeyPair: traits::SignatureKeyPair<V>,
    >(
        &self,
        key: &SignaturePublicKey,
        value: &SignatureKeyPair,
    ) -> Result<()> {
        self.set_account(Label::SignatureKeyPair, &codec::key(key)?, value)
    }

    fn signature_key_pair<
        SignaturePublicKey: traits::SignaturePublicKey<V>,
        SignatureKeyPair: traits::SignatureKeyPair<V>,
    >(
        &self,
        key: &SignaturePublicKey,
    ) -> Result<Option<SignatureKeyPair>> {
        self.fetch_account(Label::SignatureKeyPair, &codec::key(key)?)
    }

    fn delete_signature_key_pair<SignaturePublicKey: traits::SignaturePublicKey<V>>(
        &self,
        key: &SignaturePublicKey,
    ) -> Result<()> {
        self.0.delete(ACCOUNT, Label::SignatureKeyPair, &codec::key(key)?)
    }

    fn write_encryption_key_pair<
        EncryptionKey: traits::EncryptionKey<V>,
        HpkeKeyPair: traits::HpkeKeyPair<V>,
    >(
        &self,
        key: &EncryptionKey,
        value: &HpkeKeyPair,
    ) -> Result<()> {
        self.set_account(Label::EncryptionKeyPair, &codec::key(key)?, value)
    }

    fn encryption_key_pair<
        HpkeKeyPair: traits::HpkeKeyPair<V>,
        EncryptionKey: traits::EncryptionKey<V>,
    >(
        &self,
        key: &EncryptionKey,
    ) -> Result<Option<HpkeKeyPair>> {
        self.fetch_account(Label::EncryptionKeyPair, &codec::key(key)?)
    }

    fn delete_encryption_key_pair<EncryptionKey: traits::EncryptionKey<V>>(
        &self,
        key: &EncryptionKey,
    ) -> Result<()> {
        self.0.delete(ACCOUNT, Label::EncryptionKeyPair, &codec::key(key)?)
    }

    fn write_key_package<
        HashReference: traits::HashReference<V>,
        KeyPackage: traits::KeyPackage<V>,
    >(
        &self,
        key: &HashReference,
        value: &KeyPackage,
    ) -> Result<()> {
        self.set_account(Label::KeyPackage, &codec::byte_key(key)?, value)
    }

    fn key_package<HashReference: traits::HashReference<V>, KeyPackage: traits::KeyPackage<V>>(
        &self,
        key: &HashReference,
    ) -> Result<Option<KeyPackage>> {
        self.fetch_account(Label::KeyPackage, &codec::byte_key(key)?)
    }

    fn delete_key_package<HashReference: traits::HashReference<V>>(
        &self,
        key: &HashReference,
    ) -> Result<()> {
        self.0.delete(ACCOUNT, Label::KeyPackage, &codec::byte_key(key)?)
    }

    fn write_psk<PskId: traits::PskId<V>, PskBundle: traits::PskBundle<V>>(
        &self,
        key: &PskId,
        value: &PskBundle,
    ) -> Result<()> {
        self.set_account(Label::Psk, &codec::key(key)?, value)
    }

    fn psk<PskBundle: traits::PskBundle<V>, PskId: traits::PskId<V>>(
        &self,
        key: &PskId,
    ) -> Result<Option<PskBundle>> {
        self.fetch_account(Label::Psk, &codec::key(key)?)
    }

    fn delete_psk<PskId: traits::PskId<V>>(&self, key: &PskId) -> Result<()> {
        self.0.delete(ACCOUNT, Label::Psk, &codec::key(key)?)
    }
}
