//! Real OpenMLS groups on our storage.

use mdk_store::{MlsMemory, Store, StoreError};
use mdk_wire::{GroupId as OurGroupId, KeyPackageRef, SecretVec};
use openmls::prelude::*;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::RustCrypto;
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
}

fn capabilities() -> Capabilities {
    let extensions = [ExtensionType::AppDataDictionary, ExtensionType::LastResort];
    let proposals = [ProposalType::AppDataUpdate, ProposalType::SelfRemove];
    Capabilities::new(None, None, Some(&extensions), Some(&proposals), None)
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
        Self { provider, signer, credential }
    }

    fn create(&self) -> MlsGroup {
        MlsGroup::builder()
            .with_group_id(GroupId::from_slice(GROUP))
            .ciphersuite(SUITE)
            .with_capabilities(capabilities())
            .use_ratchet_tree_extension(true)
            .max_past_epochs(3)
            .build(self.provider, &self.signer, self.credential.clone())
            .unwrap()
    }

    fn key_package(&self) -> KeyPackage {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .mark_as_last_resort()
            .build(SUITE, self.provider, &self.signer, self.credential.clone())
            .unwrap();
        bundle.key_package().clone()
    }
}

/// Commits what is pending and what is added here; it is pending then itself.
fn commit<P: OpenMlsProvider>(
    provider: &P,
    signer: &SignatureKeyPair,
    group: &mut MlsGroup,
    added: Option<KeyPackage>,
) -> Option<MlsMessageOut> {
    let builder = group.commit_builder().propose_adds(added).load_psks(provider.storage()).unwrap();
    let bundle = builder.build(provider.rand(), provider.crypto(), signer, |_| true).unwrap();
    bundle.stage_commit(provider).unwrap().into_messages().1
}

fn wire(message: MlsMessageOut) -> MlsMessageIn {
    use tls_codec::{Deserialize, Serialize};
    let bytes = message.tls_serialize_detached().unwrap();
    MlsMessageIn::tls_deserialize_exact(bytes).unwrap()
}

/// The group as it is stored, which is as it was in memory.
fn reloaded<P: OpenMlsProvider>(provider: &P, group: &MlsGroup) -> MlsGroup {
    let id = GroupId::from_slice(GROUP);
    let loaded = MlsGroup::load(provider.storage(), &id).unwrap().expect("stored");
    assert_eq!((loaded.epoch(), loaded.is_active()), (group.epoch(), group.is_active()));
    assert_eq!(loaded.epoch_authenticator().as_slice(), group.epoch_authenticator().as_slice());
    assert_eq!(loaded.configuration(), group.configuration());
    assert_eq!(loaded.resumption_psk_secret().as_slice(), group.resumption_psk_secret().as_slice());
    assert_eq!(loaded.export_ratchet_tree(), group.export_ratchet_tree());
    let proposals = |g: &MlsGroup| {
        let one = |p: &QueuedProposal| (p.proposal_reference_ref().clone(), p.sender().clone());
        g.pending_proposals().map(one).collect::<Vec<_>>()
    };
    assert_eq!(proposals(&loaded), proposals(group), "in the same order");
    let next = |g: &MlsGroup| {
        let staged = g.pending_commit()?;
        let proposals = staged.queued_proposals().map(|p| p.proposal_reference_ref().clone());
        Some((staged.group_context().clone(), proposals.collect::<Vec<_>>()))
    };
    assert_eq!(next(&loaded), next(group));
    loaded
}

/// What the engine does not use, or uses without a look at what is stored; all else its own tests hold, which load a group
/// anew for each call.
#[test]
fn proposals_and_commits_are_stored_in_order_and_removed_one_by_one() {
    let mut store = Store::in_memory().unwrap();
    store
        .write(|tx| {
            let provider = with(tx.mls());
            let alice = Party::new("alice", &provider);
            let (bob, signer) = (Party::new("bob", &provider).key_package(), &alice.signer);
            let mut group = alice.create();
            commit(&provider, signer, &mut group, Some(bob));
            group = reloaded(&provider, &group);
            group.merge_pending_commit(&provider).unwrap();
            group = reloaded(&provider, &group);

            group.propose_self_update(&provider, signer, LeafNodeParameters::default()).unwrap();
            let (_, removal) =
                group.propose_remove_member(&provider, signer, LeafNodeIndex::new(1)).unwrap();
            group = reloaded(&provider, &group);
            assert_eq!(group.pending_proposals().count(), 2);
            group.remove_pending_proposal(provider.storage(), &removal).unwrap();
            group = reloaded(&provider, &group);
            assert_eq!(group.pending_proposals().count(), 1);
            group.clear_pending_proposals(provider.storage()).unwrap();
            commit(&provider, signer, &mut group, None);
            group = reloaded(&provider, &group);
            assert!(group.pending_commit().is_some());
            group.clear_pending_commit(provider.storage()).unwrap();
            group = reloaded(&provider, &group);

            group.delete(provider.storage()).unwrap();
            assert!(MlsGroup::load(&tx.mls(), &GroupId::from_slice(GROUP))?.is_none());
            tx.mls_delete(&our_group())?;
            assert_eq!(tx.mls_dump(&our_group())?.expose(), [1], "no row is left");
            Ok::<_, StoreError>(())
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
            let alice = Party::new("alice", &provider);
            let mut group = alice.create();
            let welcome = commit(&provider, &alice.signer, &mut group, Some(key_package.clone()));
            group.merge_pending_commit(&provider).unwrap();
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
            commit(&provider, &signer, &mut mls, None);
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
                commit(&copy, &signer, &mut mls, None);
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
