//! Real OpenMLS groups on our storage: after every step the group is loaded again and must be the same.

use mdk_store::{MlsMemory, Store, StoreError};
use mdk_wire::{GroupId as OurGroupId, KeyPackageRef, SecretVec};
use openmls::component::ComponentData;
use openmls::prelude::*;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::{OpenMlsRustCrypto, RustCrypto};
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider as Storage};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
const GROUP: &[u8] = &[0xa5; 16];

#[derive(Default)]
struct Provider<S> {
    crypto: RustCrypto,
    storage: S,
}

impl<S: Storage<CURRENT_VERSION>> OpenMlsProvider for Provider<S> {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = S;
    fn storage(&self) -> &S {
        &self.storage
    }
    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }
    fn rand(&self) -> &RustCrypto {
        &self.crypto
    }
}

fn with<S>(storage: S) -> Provider<S> {
    Provider { crypto: RustCrypto::default(), storage }
}

fn our_group() -> OurGroupId {
    OurGroupId::from_bytes(GROUP).unwrap()
}

struct Party<'p, P: OpenMlsProvider> {
    provider: &'p P,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
    group: Option<MlsGroup>,
}

fn capabilities() -> Capabilities {
    Capabilities::new(
        None,
        None,
        Some(&[ExtensionType::AppDataDictionary, ExtensionType::LastResort]),
        Some(&[ProposalType::AppDataUpdate, ProposalType::SelfRemove]),
        None,
    )
}

impl<'p, P: OpenMlsProvider> Party<'p, P> {
    fn new(name: &str, provider: &'p P) -> Self {
        let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
        signer.store(provider.storage()).unwrap();
        let read = SignatureKeyPair::read(
            provider.storage(),
            signer.public(),
            SUITE.signature_algorithm(),
        );
        assert_eq!(read.unwrap().public(), signer.public());
        let credential = CredentialWithKey {
            credential: BasicCredential::new(name.into()).into(),
            signature_key: signer.public().into(),
        };
        Self { provider, signer, credential, group: None }
    }

    fn group(&mut self) -> &mut MlsGroup {
        self.group.as_mut().unwrap()
    }

    fn create(&mut self) {
        let required = RequiredCapabilitiesExtension::new(
            &[ExtensionType::AppDataDictionary],
            &[ProposalType::AppDataUpdate, ProposalType::SelfRemove],
            &[],
        );
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(GROUP))
            .ciphersuite(SUITE)
            .with_capabilities(capabilities())
            .with_group_context_extensions(
                Extensions::single(Extension::RequiredCapabilities(required)).unwrap(),
            )
            .use_ratchet_tree_extension(true)
            .with_wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .max_past_epochs(3)
            .build(self.provider, &self.signer, self.credential.clone())
            .unwrap();
        self.group = Some(group);
        self.reload();
    }

    fn key_package(&self) -> KeyPackage {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .mark_as_last_resort()
            .build(SUITE, self.provider, &self.signer, self.credential.clone())
            .unwrap();
        bundle.key_package().clone()
    }

    fn join(&mut self, welcome: MlsMessageOut) {
        let MlsMessageBodyIn::Welcome(welcome) = wire(welcome).extract() else {
            panic!("no Welcome")
        };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .set_past_epoch_deletion_policy(PastEpochDeletionPolicy::KeepAll)
            .build();
        let staged =
            StagedWelcome::new_from_welcome(self.provider, &config, welcome, None).unwrap();
        self.group = Some(staged.into_group(self.provider).unwrap());
        self.reload();
    }

    /// Loads the group again, compares it with what was in memory, and goes on with the loaded one.
    fn reload(&mut self) {
        let loaded = MlsGroup::load(self.provider.storage(), &GroupId::from_slice(GROUP))
            .unwrap()
            .expect("stored");
        let group = self.group.take().unwrap();
        assert_eq!(loaded.epoch(), group.epoch());
        assert_eq!(loaded.is_active(), group.is_active());
        assert_eq!(loaded.epoch_authenticator().as_slice(), group.epoch_authenticator().as_slice());
        assert_eq!(loaded.extensions(), group.extensions());
        assert_eq!(loaded.members().collect::<Vec<_>>(), group.members().collect::<Vec<_>>());
        assert_eq!(loaded.own_leaf_node(), group.own_leaf_node());
        assert_eq!(loaded.configuration(), group.configuration());
        assert_eq!(
            loaded.resumption_psk_secret().as_slice(),
            group.resumption_psk_secret().as_slice()
        );
        // OpenMLS does not store a cache inside KeyPackages, so the values themselves cannot be compared.
        let next = |g: &MlsGroup| {
            g.pending_commit().map(|staged| {
                let proposals = staged
                    .queued_proposals()
                    .map(|p| (p.proposal_reference_ref().clone(), p.sender().clone()));
                let authenticator = staged.epoch_authenticator().unwrap().as_slice().to_vec();
                (staged.group_context().clone(), proposals.collect::<Vec<_>>(), authenticator)
            })
        };
        assert_eq!(next(&loaded), next(&group));
        let proposals = |g: &MlsGroup| {
            g.pending_proposals()
                .map(|p| (p.proposal_reference_ref().clone(), p.sender().clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(proposals(&loaded), proposals(&group), "in the same order");
        assert_eq!(loaded.export_ratchet_tree(), group.export_ratchet_tree());
        if group.is_active() {
            let export =
                |g: &MlsGroup| g.export_secret(self.provider.crypto(), "test", b"c", 32).unwrap();
            assert_eq!(export(&loaded), export(&group));
        }
        self.group = Some(loaded);
    }

    fn commit(
        &mut self,
        with: impl for<'a> FnOnce(Builder<'a>) -> Builder<'a>,
    ) -> (MlsMessageOut, Option<MlsMessageOut>) {
        let (provider, group) = (self.provider, self.group.as_mut().unwrap());
        let mut stage = with(group.commit_builder()).load_psks(provider.storage()).unwrap();
        let mut updater = stage.app_data_dictionary_updater();
        for proposal in stage.app_data_update_proposals() {
            if let AppDataUpdateOperation::Update(data) = proposal.operation() {
                updater.set(ComponentData::from_parts(proposal.component_id(), data.clone()));
            }
        }
        stage.with_app_data_dictionary_updates(updater.changes());
        let bundle =
            stage.build(provider.rand(), provider.crypto(), &self.signer, |_| true).unwrap();
        let (commit, welcome, _) = bundle.stage_commit(provider).unwrap().into_messages();
        self.reload();
        assert!(self.group().pending_commit().is_some());
        (commit, welcome)
    }

    fn merge(&mut self) {
        let provider = self.provider;
        self.group().merge_pending_commit(provider).unwrap();
        self.reload();
    }

    fn receive(&mut self, message: &MlsMessageOut) -> Option<Vec<u8>> {
        let provider = self.provider;
        let message = wire(message.clone()).try_into_protocol_message().unwrap();
        let group = self.group.as_mut().unwrap();
        let text = match group.process_message(provider, message).unwrap().into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => Some(message.into_bytes()),
            ProcessedMessageContent::ProposalMessage(proposal) => {
                group.store_pending_proposal(provider.storage(), *proposal).unwrap();
                None
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                group.merge_staged_commit(provider, *staged).unwrap();
                None
            }
            ProcessedMessageContent::UnresolvedAppDataCommit(commit) => {
                let mut updater = group.app_data_dictionary_updater();
                for proposal in commit.app_data_update_proposals() {
                    if let AppDataUpdateOperation::Update(data) = proposal.operation() {
                        updater
                            .set(ComponentData::from_parts(proposal.component_id(), data.clone()));
                    }
                }
                let updates = updater.changes();
                let staged = group.stage_app_data_commit(provider, *commit, updates).unwrap();
                group.merge_staged_commit(provider, staged).unwrap();
                None
            }
            _ => panic!("unexpected content"),
        };
        self.reload();
        text
    }

    fn send(&mut self, text: &[u8]) -> MlsMessageOut {
        let provider = self.provider;
        let message =
            self.group.as_mut().unwrap().create_message(provider, &self.signer, text).unwrap();
        self.reload();
        message
    }
}

type Builder<'a> = CommitBuilder<'a, Initial>;

fn wire(message: MlsMessageOut) -> MlsMessageIn {
    use tls_codec::{Deserialize, Serialize};
    let bytes = message.tls_serialize_detached().unwrap();
    MlsMessageIn::tls_deserialize_exact(bytes).unwrap()
}

fn talk<P: OpenMlsProvider>(parties: &mut [&mut Party<'_, P>]) {
    for sender in 0..parties.len() {
        // Sent together, received in another order: skipped ratchet keys are stored and found again.
        let texts: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 1 + n as usize * 100]).collect();
        let sent: Vec<MlsMessageOut> =
            texts.iter().map(|text| parties[sender].send(text)).collect();
        for receiver in (0..parties.len()).filter(|&r| r != sender) {
            for n in [2, 0, 3, 1] {
                assert_eq!(parties[receiver].receive(&sent[n]).as_ref(), Some(&texts[n]));
            }
        }
    }
}

/// One story that touches every entity that OpenMLS stores. It runs on every backend.
fn script<P: OpenMlsProvider>(a: &P, b: &P, c: &P) {
    let (mut alice, mut bob, mut carol) =
        (Party::new("alice", a), Party::new("bob", b), Party::new("carol", c));
    alice.create();

    // Add two, one by one.
    let (_, welcome) = alice.commit(|builder| builder.propose_adds([bob.key_package()]));
    alice.merge();
    bob.join(welcome.unwrap());
    talk(&mut [&mut alice, &mut bob]);
    let (commit, welcome) = bob.commit(|builder| builder.propose_adds([carol.key_package()]));
    alice.receive(&commit);
    bob.merge();
    carol.join(welcome.unwrap());
    talk(&mut [&mut alice, &mut bob, &mut carol]);

    // A message of the epoch before, decrypted with retained secrets.
    let late = alice.send(b"late");
    let (commit, _) = carol.commit(|builder| builder.force_self_update(true));
    alice.receive(&commit);
    carol.merge();
    bob.receive(&commit);
    assert_eq!(bob.receive(&late), Some(b"late".to_vec()));

    // Components, by value; then a pending commit that is dropped.
    let update = |value: &'static [u8]| {
        Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::update(0x8001, value)))
    };
    let (commit, _) = alice.commit(|builder| builder.add_proposal(update(b"one")));
    bob.receive(&commit);
    carol.receive(&commit);
    alice.merge();
    assert!(bob.group().extensions().app_data_dictionary().is_some());
    bob.commit(|builder| builder.add_proposal(update(b"never")));
    let storage = bob.provider.storage();
    bob.group().clear_pending_commit(storage).unwrap();
    bob.reload();

    // Queued proposals of several kinds, in order; one is removed, the rest is committed by another member.
    let (p, s) = (alice.provider, &alice.signer);
    let (first, _) = alice
        .group
        .as_mut()
        .unwrap()
        .propose_self_update(p, s, LeafNodeParameters::default())
        .unwrap();
    alice.reload();
    let (second, second_ref) = {
        let leaf = bob.group().own_leaf_index();
        let (p, s) = (alice.provider, &alice.signer);
        alice.group.as_mut().unwrap().propose_remove_member(p, s, leaf).unwrap()
    };
    alice.reload();
    carol.receive(&first);
    carol.receive(&second);
    assert_eq!(carol.group().pending_proposals().count(), 2);
    for party in [&mut alice, &mut carol] {
        let storage = party.provider.storage();
        party.group().remove_pending_proposal(storage, &second_ref).unwrap();
        party.reload();
        assert_eq!(party.group().pending_proposals().count(), 1);
    }
    let (commit, _) = carol.commit(|builder| builder);
    bob.receive(&first);
    bob.receive(&commit);
    alice.receive(&commit);
    carol.merge();
    talk(&mut [&mut alice, &mut bob, &mut carol]);

    // Self-remove, committed by another.
    let (p, s) = (bob.provider, &bob.signer);
    let leave = bob.group.as_mut().unwrap().leave_group_via_self_remove(p, s).unwrap();
    bob.reload();
    alice.receive(&leave);
    carol.receive(&leave);
    let (commit, _) = alice.commit(|builder| builder);
    carol.receive(&commit);
    bob.receive(&commit);
    alice.merge();
    assert!(!bob.group().is_active());

    // Remove, and delete what is left of the group.
    let leaf = carol.group().own_leaf_index();
    let (commit, _) = alice.commit(|builder| builder.propose_removals([leaf]));
    carol.receive(&commit);
    alice.merge();
    assert!(!carol.group().is_active());
    let storage = carol.provider.storage();
    carol.group().delete(storage).unwrap();
    assert!(MlsGroup::load(storage, &GroupId::from_slice(GROUP)).unwrap().is_none());
}

#[test]
fn the_story_holds_on_the_reference_storage() {
    let (a, b, c) =
        (OpenMlsRustCrypto::default(), OpenMlsRustCrypto::default(), OpenMlsRustCrypto::default());
    script(&a, &b, &c);
}

#[test]
fn the_story_holds_in_memory() {
    script(&with(MlsMemory::new()), &with(MlsMemory::new()), &with(MlsMemory::new()));
}

#[test]
fn the_story_holds_in_transactions() {
    let [mut a, mut b, mut c] = [0; 3].map(|_| Store::in_memory().unwrap());
    a.write(|a| {
        b.write(|b| {
            c.write(|c| {
                script(&with(a.mls()), &with(b.mls()), &with(c.mls()));
                // OpenMLS's own `delete` leaves the key pairs of the last epoch behind for a removed member.
                let left = c.mls_dump(&our_group())?;
                assert_eq!(left.expose().get(1), Some(&14), "EpochKeyPairs only");
                c.mls_delete(&our_group())?;
                assert_eq!(c.mls_dump(&our_group())?.expose(), [1], "no row is left");
                Ok::<_, StoreError>(())
            })
        })
    })
    .unwrap();
}

/// A group of two, each in its own store.
fn two<T>(f: impl FnOnce(&mut Store, &mut Store, KeyPackage, MlsMessageOut) -> T) -> T {
    let (mut a, mut b) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let key_package = b
        .write(|tx| Ok::<_, StoreError>(Party::new("bob", &with(tx.mls())).key_package()))
        .unwrap();
    let welcome = a
        .write(|tx| {
            let provider = with(tx.mls());
            let mut alice = Party::new("alice", &provider);
            alice.create();
            let (_, welcome) = alice.commit(|builder| builder.propose_adds([key_package.clone()]));
            alice.merge();
            Ok::<_, StoreError>(welcome.unwrap())
        })
        .unwrap();
    f(&mut a, &mut b, key_package, welcome)
}

fn join<P: OpenMlsProvider>(provider: &P, welcome: &MlsMessageOut) -> Result<MlsGroup, String> {
    let MlsMessageBodyIn::Welcome(welcome) = wire(welcome.clone()).extract() else {
        panic!("no Welcome")
    };
    StagedWelcome::new_from_welcome(provider, &MlsGroupJoinConfig::default(), welcome, None)
        .and_then(|staged| staged.into_group(provider))
        .map_err(|e| e.to_string())
}

#[test]
fn a_key_package_is_found_by_its_reference_and_can_be_put_back() {
    two(|_, b, key_package, welcome| {
        let reference = key_package.hash_ref(&RustCrypto::default()).unwrap();
        let reference = KeyPackageRef::from_bytes(reference.as_slice().try_into().unwrap());
        b.write(|tx| {
            let bundle = tx.mls_key_package_bytes(&reference)?.expect("stored under its reference");
            // OpenMLS keeps the bundle of a last-resort KeyPackage; whatever it does, ours comes back.
            tx.mls_delete_key_package(&reference)?;
            assert_eq!(tx.mls_key_package_bytes(&reference)?, None);
            assert!(join(&with(tx.mls()), &welcome).is_err(), "no bundle, no joining");
            tx.mls_put_key_package_bytes(&reference, bundle.expose())?;
            assert_eq!(tx.mls_key_package_bytes(&reference)?, Some(bundle));
            join(&with(tx.mls()), &welcome).unwrap();
            Ok::<_, StoreError>(())
        })
        .unwrap();
    });
}

#[test]
fn a_copy_of_a_group_lives_in_memory_and_is_restored() {
    two(|a, _, _, _| {
        let group = our_group();
        let id = GroupId::from_slice(GROUP);
        let before = a.digest().unwrap();
        let dump = a.read(|tx| tx.mls_dump(&group)).unwrap();
        // Work on the copy changes the copy only.
        let copy = with(MlsMemory::from_dump(&group, dump.expose()).unwrap());
        assert_eq!(copy.storage.dump(&group).unwrap(), dump);
        let mut loaded = MlsGroup::load(&copy.storage, &id).unwrap().unwrap();
        let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
        loaded.create_message(&copy, &signer, b"on the copy").unwrap();
        assert_ne!(copy.storage.dump(&group).unwrap(), dump);
        assert_eq!(a.digest().unwrap(), before);
        // Delete, restore: the same rows again.
        a.write(|tx| {
            tx.mls_delete(&group)?;
            assert!(MlsGroup::load(&tx.mls(), &id)?.is_none());
            tx.mls_restore(&group, &dump.expose()[..dump.expose().len() - 1]).unwrap_err();
            tx.mls_restore(&group, dump.expose())?;
            assert!(MlsGroup::load(&tx.mls(), &id)?.is_some());
            Ok::<_, StoreError>(())
        })
        .unwrap();
        assert_eq!(a.digest().unwrap(), before);
    });
}

#[test]
fn a_settled_copy_has_no_pending_commit() {
    two(|a, _, _, _| {
        let (group, id) = (our_group(), GroupId::from_slice(GROUP));
        a.write(|tx| {
            let provider = with(tx.mls());
            assert_eq!(tx.mls_dump_settled(&group)?, tx.mls_dump(&group)?, "none is pending");
            let mut mls = MlsGroup::load(&tx.mls(), &id)?.unwrap();
            let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
            let builder = mls.commit_builder().load_psks(provider.storage()).unwrap();
            builder
                .build(provider.rand(), provider.crypto(), &signer, |_| true)
                .unwrap()
                .stage_commit(&provider)
                .unwrap();
            let load = |dump: SecretVec| {
                let copy = with(MlsMemory::from_dump(&group, dump.expose()).unwrap());
                MlsGroup::load(&copy.storage, &id).unwrap().unwrap()
            };
            assert!(load(tx.mls_dump(&group)?).pending_commit().is_some());
            let settled = load(tx.mls_dump_settled(&group)?);
            assert!(settled.pending_commit().is_none() && settled.is_active());
            assert_eq!(settled.epoch(), mls.epoch());
            Ok::<_, StoreError>(())
        })
        .unwrap();
    });
}

/// The rows of a dump: label, key, value.
fn rows(dump: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>)> {
    let mut rest = &dump[1..];
    let mut take = |n: usize| rest.split_off(..n).unwrap().to_vec();
    let mut found = Vec::new();
    let mut left = dump.len() - 1;
    while left > 0 {
        let label = take(1)[0];
        let [key, value] = [0; 2].map(|_| {
            let length = u32::from_be_bytes(take(4).try_into().unwrap());
            take(length as usize)
        });
        left -= 9 + key.len() + value.len();
        found.push((label, key, value));
    }
    found
}

#[test]
fn key_pairs_of_an_epoch_are_overwritten_and_older_ones_are_found() {
    two(|a, _, _, _| {
        let (group, id) = (our_group(), GroupId::from_slice(GROUP));
        let dump = a.read(|tx| tx.mls_dump(&group)).unwrap();
        // As it was written before: a row named by epoch and leaf, with the pairs alone.
        let mut older = vec![1];
        for (label, mut key, mut value) in rows(dump.expose()) {
            if label == 14 {
                assert!(key.is_empty() && value.len() < 256);
                key = value[2..2 + usize::from(value[1])].to_vec();
                value.drain(1..2 + key.len());
            }
            older.push(label);
            for part in [&key, &value] {
                older.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
                older.extend_from_slice(part);
            }
        }
        assert_ne!(older, dump.expose());
        for blob in [dump.expose(), &older[..]] {
            let copy = with(MlsMemory::from_dump(&group, blob).unwrap());
            let mut mls = MlsGroup::load(&copy.storage, &id).unwrap().unwrap();
            let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
            for _ in 0..2 {
                mls.commit_builder()
                    .load_psks(copy.storage())
                    .unwrap()
                    .build(copy.rand(), copy.crypto(), &signer, |_| true)
                    .unwrap()
                    .stage_commit(&copy)
                    .unwrap();
                // Needs the key pairs of the epoch that ends: those of the path that stay.
                mls.merge_pending_commit(&copy).unwrap();
            }
            let kept = rows(copy.storage.dump(&group).unwrap().expose());
            let kept: Vec<_> = kept.iter().filter(|(label, ..)| *label == 14).collect();
            assert_eq!(kept.len(), 1, "one row, of the current epoch");
            assert!(kept[0].1.is_empty());
        }
    });
}

#[test]
fn a_damaged_value_is_an_error_and_not_a_panic() {
    two(|a, _, _, _| {
        let group = our_group();
        let dump = a.read(|tx| tx.mls_dump(&group)).unwrap();
        let dump = dump.expose();
        let mut refused = 0;
        for at in (0..dump.len()).step_by(97) {
            let mut bad = dump.to_vec();
            bad[at] ^= 0x55;
            if let Ok(memory) = MlsMemory::from_dump(&group, &bad) {
                refused += u32::from(MlsGroup::load(&memory, &GroupId::from_slice(GROUP)).is_err());
            }
        }
        assert!(refused > 0);
    });
}
