//! OpenMLS storage over the rows of a transaction or of a map: one implementation for both.
//!
//! Group rows live under the scope of their group id, so a group can be copied, restored and deleted as a whole.
//! Signature keys, KeyPackages, encryption keys and PSKs belong to the account.

mod codec;
mod dump;
mod rows;

use openmls_traits::storage::{CURRENT_VERSION as V, Entity, StorageProvider, traits};
use serde::{Deserialize, Serialize};

use self::rows::{Label, Map, Rows, Table};
use crate::{Result, StoreError};

/// OpenMLS storage over some rows. Use it as [`MlsStorage`] or [`MlsMemory`].
#[derive(Clone, Copy, Default)]
pub struct Provider<R>(R);

/// The storage of a transaction. Made by [`Tx::mls`](crate::Tx::mls).
pub type MlsStorage<'a> = Provider<Table<'a>>;

/// A storage in memory with the same encoding, for work on a copy of a group.
pub type MlsMemory = Provider<Map>;

impl<R> std::fmt::Debug for Provider<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider(..)")
    }
}

/// The scope of what belongs to the account.
const ACCOUNT: &[u8] = &[];

impl<R: Rows> Provider<R> {
    fn set<T: Serialize + ?Sized>(
        &self,
        group: &impl Serialize,
        label: Label,
        value: &T,
    ) -> Result<()> {
        self.0.put(&codec::byte_key(group)?, label, &[], &codec::encode(value)?)
    }

    fn fetch<T: Entity<V>>(&self, group: &impl Serialize, label: Label) -> Result<Option<T>> {
        let value = self.0.get(&codec::byte_key(group)?, label, &[])?;
        value.map(|value| codec::decode(&value)).transpose()
    }

    fn clear(&self, group: &impl Serialize, label: Label) -> Result<()> {
        self.0.delete_label(&codec::byte_key(group)?, label)
    }

    fn set_account<T: Serialize>(&self, label: Label, key: &[u8], value: &T) -> Result<()> {
        self.0.put(ACCOUNT, label, key, &codec::encode(value)?)
    }

    fn fetch_account<T: Entity<V>>(&self, label: Label, key: &[u8]) -> Result<Option<T>> {
        self.0.get(ACCOUNT, label, key)?.map(|value| codec::decode(&value)).transpose()
    }

    /// The position of a queued proposal and its stored key: its number in the queue, then its reference.
    fn queued(&self, scope: &[u8], reference: &[u8]) -> Result<Option<Vec<u8>>> {
        let rows = self.0.list(scope, Label::QueuedProposal)?;
        Ok(rows.into_iter().map(|(key, _)| key).find(|key| key.get(4..) == Some(reference)))
    }

    /// The next number of a label whose keys begin with one.
    fn next_number(&self, scope: &[u8], label: Label) -> Result<[u8; 4]> {
        let rows = self.0.list(scope, label)?;
        let last = rows
            .last()
            .and_then(|(key, _)| key.first_chunk::<4>().copied())
            .map(u32::from_be_bytes);
        let next = match last {
            None => 0,
            Some(last) => last.checked_add(1).ok_or(StoreError::internal("MLS list is full"))?,
        };
        Ok(next.to_be_bytes())
    }
}

/// The key pairs of an epoch, named by epoch and leaf.
///
/// Those of the next epoch overwrite them in their row: OpenMLS stores them just before it deletes these. A row of their
/// own for each epoch would move at every commit, and the index with it. Older databases have such rows, with the name
/// as their key.
#[derive(Serialize, Deserialize)]
struct EpochKeys<T> {
    name: Vec<u8>,
    pairs: T,
}

fn epoch_name(epoch: &impl Serialize, leaf_index: u32) -> Result<Vec<u8>> {
    codec::key(&(epoch, leaf_index))
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

    fn write_tree<GroupId: traits::GroupId<V>, TreeSync: traits::TreeSync<V>>(
        &self,
        group: &GroupId,
        value: &TreeSync,
    ) -> Result<()> {
        self.set(group, Label::Tree, value)
    }

    fn tree<GroupId: traits::GroupId<V>, TreeSync: traits::TreeSync<V>>(
        &self,
        group: &GroupId,
    ) -> Result<Option<TreeSync>> {
        self.fetch(group, Label::Tree)
    }

    fn delete_tree<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
        self.clear(group, Label::Tree)
    }

    fn write_interim_transcript_hash<
        GroupId: traits::GroupId<V>,
        InterimTranscriptHash: traits::InterimTranscriptHash<V>,
    >(
        &self,
        group: &GroupId,
        value: &InterimTranscriptHash,
    ) -> Result<()> {
        self.set(group, Label::InterimTranscriptHash, value)
    }

    fn interim_transcript_hash<
        GroupId: traits::GroupId<V>,
        InterimTranscriptHash: traits::InterimTranscriptHash<V>,
    >(
        &self,
        group: &GroupId,
    ) -> Result<Option<InterimTranscriptHash>> {
        self.fetch(group, Label::InterimTranscriptHash)
    }

    fn delete_interim_transcript_hash<GroupId: traits::GroupId<V>>(
        &self,
        group: &GroupId,
    ) -> Result<()> {
        self.clear(group, Label::InterimTranscriptHash)
    }

    fn write_context<GroupId: traits::GroupId<V>, GroupContext: traits::GroupContext<V>>(
        &self,
        group: &GroupId,
        value: &GroupContext,
    ) -> Result<()> {
        self.set(group, Label::GroupContext, value)
    }

    fn group_context<GroupId: traits::GroupId<V>, GroupContext: traits::GroupContext<V>>(
        &self,
        group: &GroupId,
    ) -> Result<Option<GroupContext>> {
        self.fetch(group, Label::GroupContext)
    }

    fn delete_context<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
        self.clear(group, Label::GroupContext)
    }

    fn write_confirmation_tag<
        GroupId: traits::GroupId<V>,
        ConfirmationTag: traits::ConfirmationTag<V>,
    >(
        &self,
        group: &GroupId,
        value: &ConfirmationTag,
    ) -> Result<()> {
        self.set(group, Label::ConfirmationTag, value)
    }

    fn confirmation_tag<
        GroupId: traits::GroupId<V>,
        ConfirmationTag: traits::ConfirmationTag<V>,
    >(
        &self,
        group: &GroupId,
    ) -> Result<Option<ConfirmationTag>> {
        self.fetch(group, Label::ConfirmationTag)
    }

    fn delete_confirmation_tag<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
        self.clear(group, Label::ConfirmationTag)
    }

    fn write_message_secrets<
        GroupId: traits::GroupId<V>,
        MessageSecrets: traits::MessageSecrets<V>,
    >(
        &self,
        group: &GroupId,
        value: &MessageSecrets,
    ) -> Result<()> {
        self.set(group, Label::MessageSecrets, value)
    }

    fn message_secrets<GroupId: traits::GroupId<V>, MessageSecrets: traits::MessageSecrets<V>>(
        &self,
        group: &GroupId,
    ) -> Result<Option<MessageSecrets>> {
        self.fetch(group, Label::MessageSecrets)
    }

    fn delete_message_secrets<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
        self.clear(group, Label::MessageSecrets)
    }

    fn write_resumption_psk_store<
        GroupId: traits::GroupId<V>,
        ResumptionPskStore: traits::ResumptionPskStore<V>,
    >(
        &self,
        group: &GroupId,
        value: &ResumptionPskStore,
    ) -> Result<()> {
        self.set(group, Label::ResumptionPskStore, value)
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

    fn write_own_leaf_index<
        GroupId: traits::GroupId<V>,
        LeafNodeIndex: traits::LeafNodeIndex<V>,
    >(
        &self,
        group: &GroupId,
        value: &LeafNodeIndex,
    ) -> Result<()> {
        self.set(group, Label::OwnLeafIndex, value)
    }

    fn own_leaf_index<GroupId: traits::GroupId<V>, LeafNodeIndex: traits::LeafNodeIndex<V>>(
        &self,
        group: &GroupId,
    ) -> Result<Option<LeafNodeIndex>> {
        self.fetch(group, Label::OwnLeafIndex)
    }

    fn delete_own_leaf_index<GroupId: traits::GroupId<V>>(&self, group: &GroupId) -> Result<()> {
        self.clear(group, Label::OwnLeafIndex)
    }

    fn write_group_epoch_secrets<
        GroupId: traits::GroupId<V>,
        GroupEpochSecrets: traits::GroupEpochSecrets<V>,
    >(
        &self,
        group: &GroupId,
        value: &GroupEpochSecrets,
    ) -> Result<()> {
        self.set(group, Label::EpochSecrets, value)
    }

    fn group_epoch_secrets<
        GroupId: traits::GroupId<V>,
        GroupEpochSecrets: traits::GroupEpochSecrets<V>,
    >(
        &self,
        group: &GroupId,
    ) -> Result<Option<GroupEpochSecrets>> {
        self.fetch(group, Label::EpochSecrets)
    }

    fn delete_group_epoch_secrets<GroupId: traits::GroupId<V>>(
        &self,
        group: &GroupId,
    ) -> Result<()> {
        self.clear(group, Label::EpochSecrets)
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
