//! Settings, leaves and views over real OpenMLS groups.
#![allow(clippy::unwrap_used)]

use mdk_wire::v2::components::AdminPolicy;
use mdk_wire::v2::{IdentityProof, component_id};
use mdk_wire::{Keys, NostrGroupId};
use openmls::group::{MlsGroup, StagedWelcome};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    AppDataUpdateProposal, BasicCredential, CredentialWithKey, Extensions, KeyPackage,
    KeyPackageIn, LeafNode, LeafNodeIndex, MlsMessageBodyIn, MlsMessageIn, Proposal,
    ProtocolVersion, SignatureScheme,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;

use crate::mls::capabilities::*;
use crate::mls::settings::*;
use crate::mls::views::*;
use crate::mls::{capabilities, settings, views};
use crate::model::config::Config;
use crate::model::settings::Settings;
use crate::policy::{GroupView, ProofState, judge_commit, judge_welcome};

struct Member {
    provider: OpenMlsRustCrypto,
    keys: Keys,
    signer: SignatureKeyPair,
}

impl Member {
    fn new() -> Self {
        let provider = OpenMlsRustCrypto::default();
        let signer = SignatureKeyPair::new(SignatureScheme::ED25519).unwrap();
        signer.store(provider.storage()).unwrap();
        Self { provider, keys: Keys::generate(), signer }
    }

    fn proof(&self) -> IdentityProof {
        IdentityProof::sign(&self.keys, self.signer.public(), 1)
    }

    fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.keys.public_key().as_bytes().to_vec()).into(),
            signature_key: self.signer.public().into(),
        }
    }

    fn founds(&self, settings: &Settings) -> MlsGroup {
        let leaf = leaf_extensions(&self.proof()).unwrap();
        let context = group_context_extensions(settings).unwrap();
        let config = create_config(&Config::default(), leaf, context).unwrap();
        MlsGroup::new(&self.provider, &self.signer, &config, self.credential()).unwrap()
    }

    fn key_package(&self, leaf: Extensions<LeafNode>) -> KeyPackage {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(leaf_capabilities())
            .leaf_node_extensions(leaf)
            .key_package_extensions(key_package_extensions(true))
            .build(capabilities::CIPHERSUITE, &self.provider, &self.signer, self.credential())
            .unwrap();
        let bytes = bundle.key_package().tls_serialize_detached().unwrap();
        KeyPackageIn::tls_deserialize_exact(bytes)
            .unwrap()
            .validate(self.provider.crypto(), ProtocolVersion::Mls10)
            .unwrap()
    }

    fn joins(&self, welcome: &[u8]) -> (MlsGroup, u32) {
        let message = MlsMessageIn::tls_deserialize_exact(welcome).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = message.extract() else { panic!("no Welcome") };
        let staged = StagedWelcome::new_from_welcome(
            &self.provider,
            &join_config(&Config::default()),
            welcome,
            None,
        )
        .unwrap();
        let signer = staged.welcome_sender_index().u32();
        (staged.into_group(&self.provider).unwrap(), signer)
    }
}

fn founding(admin: &Member) -> Settings {
    let relays = ["wss://b.example".to_owned(), "wss://a.example".to_owned()];
    let id = NostrGroupId::from_bytes([9; 32]);
    Settings::founding("n".into(), "d".into(), [admin.keys.public_key()], id, relays, 0)
}

/// A group of two: the admin at leaf 0 and a member at leaf 1, who has joined.
fn pair() -> (Member, MlsGroup, Member, MlsGroup) {
    let (alice, bob) = (Member::new(), Member::new());
    let mut alices = alice.founds(&founding(&alice));
    let key_package = bob.key_package(leaf_extensions(&bob.proof()).unwrap());
    let (_, welcome, _) =
        alices.add_members(&alice.provider, &alice.signer, &[key_package]).unwrap();
    alices.merge_pending_commit(&alice.provider).unwrap();
    let (bobs, signer) = bob.joins(&welcome.tls_serialize_detached().unwrap());
    assert_eq!(judge_welcome(&view_of_joined(&bobs), signer), Ok(()));
    (alice, alices, bob, bobs)
}

/// Stages a commit with these updates and hands out its bytes.
fn commits(member: &Member, group: &mut MlsGroup, ops: Vec<AppDataUpdateProposal>) -> Vec<u8> {
    let proposals = ops.into_iter().map(|op| Proposal::AppDataUpdate(Box::new(op)));
    let mut builder = group
        .commit_builder()
        .force_self_update(true)
        .add_proposals(proposals)
        .load_psks(member.provider.storage())
        .unwrap();
    let updates = component_updates(builder.app_data_update_proposals()).unwrap();
    builder.with_app_data_dictionary_updates(updates);
    let bundle = builder
        .build(member.provider.rand(), member.provider.crypto(), &member.signer, |_| true)
        .unwrap()
        .stage_commit(&member.provider)
        .unwrap();
    bundle.into_commit().tls_serialize_detached().unwrap()
}

#[test]
fn rule_lists_are_unique() {
    let rules = [capabilities::RULES, settings::RULES, views::RULES];
    let mut ids: Vec<&str> = rules.iter().copied().flatten().map(|rule| rule.0).collect();
    ids.sort_unstable();
    assert!(ids.is_sorted_by(|a, b| a < b));
}

/// rule: 2.3-v1: a proof for another key, and a leaf without one.
#[test]
fn broken_proofs_are_seen() {
    let (member, other) = (Member::new(), Member::new());
    let ours = member.key_package(leaf_extensions(&member.proof()).unwrap());
    let leaf = leaf_view(ours.leaf_node(), Proofs::Verify);
    assert!(leaf.proof == ProofState::Valid);
    assert!(leaf.account == Some(member.keys.public_key()));
    assert!(key_package_extensions(false).iter().next().is_none());
    let foreign = leaf_extensions(&IdentityProof::sign(&member.keys, other.signer.public(), 1));
    let leaf = member.key_package(foreign.unwrap());
    assert!(leaf_view(leaf.leaf_node(), Proofs::Verify).proof == ProofState::Invalid);
    assert!(leaf_view(leaf.leaf_node(), Proofs::Trust).proof == ProofState::Valid);
    let leaf = member.key_package(Extensions::empty());
    for proofs in [Proofs::Verify, Proofs::Trust] {
        assert!(leaf_view(leaf.leaf_node(), proofs).proof == ProofState::Missing);
    }
}

/// rule: D4-8. Another account at a leaf, one more or less, or an admin without a leaf, as if OpenMLS had made them.
#[test]
fn what_a_merge_has_made_is_looked_at_again() {
    let (alice, mut alices, ..) = pair();
    let judged = view_of_group(&alices);
    let merged = view_of_merged(&alices, &judged).unwrap();
    assert!(merged.components == judged.components);
    let refused = |judged: &GroupView, rule: &str| {
        assert_eq!(view_of_merged(&alices, judged).err().map(|refusal| refusal.rule), Some(rule));
    };
    let mut swapped = judged.clone();
    let (first, second) = (judged.leaves[&0].clone(), judged.leaves[&1].clone());
    swapped.leaves = [(0, second), (1, first.clone())].into();
    refused(&swapped, "D4-8");
    let mut fewer = judged.clone();
    fewer.leaves.remove(&1);
    refused(&fewer, "D4-8");
    let mut more = judged.clone();
    more.leaves.insert(2, first);
    refused(&more, "D4-8");

    let stranger = AdminPolicy::new([Keys::generate().public_key()]).encode().unwrap();
    let op = AppDataUpdateProposal::update(component_id::ADMIN_POLICY, stranger);
    commits(&alice, &mut alices, vec![op]);
    alices.merge_pending_commit(&alice.provider).unwrap();
    assert_eq!(view_of_merged(&alices, &judged).err().map(|refusal| refusal.rule), Some("B5-4b"));
}

/// D4-5a where only this function can see it: OpenMLS merges equal proposals.
#[test]
fn equal_operations_are_counted() {
    let op = AppDataUpdateProposal::update(component_id::RETENTION, vec![0; 8]);
    assert_eq!(component_updates([&op, &op].into_iter()).unwrap_err().rule, "D4-5a");
    assert_eq!(component_updates([&op].into_iter()).unwrap().unwrap().len(), 1);
    assert!(component_updates(std::iter::empty()).unwrap().is_none());
}

/// shows: B5-v1. Result leaves carry the indexes that MLS gives them, also where a blank is filled.
#[test]
fn result_leaves_follow_mls() {
    let (alice, mut alices, _, _) = pair();
    let carol = Member::new();
    let key_package = carol.key_package(leaf_extensions(&carol.proof()).unwrap());
    let parent = view_of_group(&alices);
    alices
        .commit_builder()
        .propose_removals([LeafNodeIndex::new(1)])
        .propose_adds([key_package])
        .load_psks(alice.provider.storage())
        .unwrap()
        .build(alice.provider.rand(), alice.provider.crypto(), &alice.signer, |_| true)
        .unwrap()
        .stage_commit(&alice.provider)
        .unwrap();
    let (commit, result) = view_of_pending(&parent, &alices).unwrap();
    assert!(judge_commit(&parent, &commit, &result).is_ok());
    alices.merge_pending_commit(&alice.provider).unwrap();
    let merged = view_of_group(&alices);
    let accounts = |view: &GroupView| -> Vec<_> {
        view.leaves.iter().map(|(index, leaf)| (*index, leaf.account)).collect()
    };
    assert!(accounts(&merged) == accounts(&result));
    assert_eq!(merged.leaves.len(), 2);
    assert!(merged.leaves[&1].account == Some(carol.keys.public_key()));
}
