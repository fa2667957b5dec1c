//! What the engine relies on in OpenMLS, or works around: each fact on the release in use. A test that fails here after
//! an update of OpenMLS says which code can go, or must change.

use mdk_wire::v2::component_id as id;
use mdk_wire::{gift_wrap, welcome};
use openmls::framing::errors::MessageDecryptionError;
use openmls::group::{
    CreateMessageError, GroupId, MlsGroup, MlsGroupJoinConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
    ProcessMessageError, StageCommitError, StagedWelcome, ValidationError,
};
use openmls::key_packages::errors::KeyPackageVerifyError;
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    KeyPackage, KeyPackageBundle, KeyPackageIn, MlsMessageBodyIn, MlsMessageIn, ProcessedMessage,
    ProcessedMessageContent, ProtocolMessage, ProtocolVersion, Welcome,
};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::storage::StorageProvider as _;

use crate::kit::foreign::{Change, Foreign, read_key_package, update};
use crate::kit::foreign_commits::{Handmade, by_value, profile};
use crate::kit::now;

/// Two on plain OpenMLS in one group.
fn two() -> (Foreign, Foreign) {
    let (mut ann, mut max) = (Foreign::new(), Foreign::new());
    let wrapped = ann.founds_with(&ann.context(), &max.key_package_event());
    max.joins(&wrapped);
    (ann, max)
}

fn read(bytes: &[u8]) -> ProtocolMessage {
    MlsMessageIn::tls_deserialize_exact_bytes(bytes).unwrap().try_into_protocol_message().unwrap()
}

type Processed =
    Result<ProcessedMessage, ProcessMessageError<openmls_memory_storage::MemoryStorageError>>;

fn processes(peer: &mut Foreign, bytes: &[u8]) -> Processed {
    let Foreign { group, provider, .. } = peer;
    group.as_mut().unwrap().process_message(provider, read(bytes))
}

fn config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .max_past_epochs(5)
        .build()
}

fn has_bundle(peer: &Foreign, package: &KeyPackage) -> bool {
    let reference = package.hash_ref(peer.provider.crypto()).unwrap();
    let bundle: Option<KeyPackageBundle> = peer.provider.storage().key_package(&reference).unwrap();
    bundle.is_some()
}

fn read_welcome(bytes: &[u8]) -> Welcome {
    let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes).unwrap();
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else { panic!("not a Welcome") };
    welcome
}

// protocol/key-packages.md A1; protocol/welcomes.md B4
#[test]
fn a_welcome_drops_a_bundle_whose_last_resort_is_a_component_before_it_checks_anything() {
    for broken in [false, true] {
        let (mut ann, max) = (Foreign::new(), Foreign::new());
        let event = max.key_package_event();
        let package = read_key_package(&event);
        // The mark is the component 0x0004, and OpenMLS looks for the extension 0x000A only
        assert!(max.package.entries.as_ref().unwrap().contains_key(&id::LAST_RESORT));
        assert!(!package.last_resort());
        let wrapped = ann.founds_with(&ann.context(), &event);
        let rumor = welcome::parse(gift_wrap::unwrap(&wrapped, &max.keys).unwrap()).unwrap();
        let mut bytes = rumor.mls_message.clone();
        if broken {
            // The encrypted GroupInfo comes last.
            *bytes.last_mut().unwrap() ^= 1;
        }
        assert!(has_bundle(&max, &package));
        let builder =
            StagedWelcome::build_from_welcome(&max.provider, &config(), read_welcome(&bytes));
        assert_eq!(builder.is_err(), broken);
        assert!(!has_bundle(&max, &package), "gone, although nothing was joined");
    }
}

// protocol/key-packages.md A1, A2-5, A2-6, A2-7, A2-11
#[test]
fn validating_a_key_package_checks_no_span_no_mark_no_identity_and_no_proof() {
    let validate = |peer: &Foreign| {
        let bytes = peer.key_package().tls_serialize_detached().unwrap();
        let read = KeyPackageIn::tls_deserialize_exact_bytes(&bytes).unwrap();
        read.validate(peer.provider.crypto(), ProtocolVersion::Mls10)
    };
    let mut long = Foreign::new();
    long.package.lifetime = (now() - 3600, now() + 400 * 86_400);
    let package = validate(&long).unwrap();
    assert!(!package.life_time().has_acceptable_range());
    let mut marked = Foreign::new();
    marked.package.entries.as_mut().unwrap().insert(id::LAST_RESORT, vec![7]);
    validate(&marked).unwrap();
    let nobody = Foreign::with_leaf(|leaf| {
        leaf.credential = openmls::prelude::BasicCredential::new(b"me".to_vec()).into();
    });
    validate(&nobody).unwrap();
    let unproven = Foreign::with_leaf(|leaf| drop(leaf.entries().remove(&id::IDENTITY_PROOF)));
    validate(&unproven).unwrap();
    // What it does check: the lifetime of now.
    for lifetime in [(1, now() - 10), (now() + 1000, now() + 2000)] {
        let mut other = Foreign::new();
        other.package.lifetime = lifetime;
        assert!(matches!(validate(&other), Err(KeyPackageVerifyError::LifetimeError(_))));
    }
}

// protocol/commits.md C1
#[test]
fn a_proposal_in_the_store_stops_messages_and_slips_into_commits() {
    let (mut ann, mut max) = two();
    let proposal = max.proposes_self_remove();
    max.forgets();
    let processed = processes(&mut ann, &proposal).unwrap();
    let ProcessedMessageContent::ProposalMessage(queued) = processed.into_content() else {
        panic!()
    };
    let Foreign { group, provider, signer, .. } = &mut ann;
    let group = group.as_mut().unwrap();
    group.store_pending_proposal(provider.storage(), *queued).unwrap();
    let refused = group.create_message(provider, signer, b"hi");
    assert!(matches!(refused, Err(CreateMessageError::GroupStateError(_))));
    let staged = group
        .commit_builder()
        .load_psks(provider.storage())
        .unwrap()
        .build(provider.rand(), provider.crypto(), signer, |_| true)
        .unwrap()
        .stage_commit(provider)
        .unwrap();
    drop(staged);
    assert_eq!(group.pending_commit().unwrap().queued_proposals().count(), 1);
    group.merge_pending_commit(provider).unwrap();
    assert_eq!(group.members().count(), 1, "nobody asked for it");
}

// protocol/commits.md C2-7; protocol/branches.md E2
#[test]
fn an_own_commit_that_was_cleared_is_not_processed_but_its_stored_form_merges_again() {
    let (mut ann, mut max) = two();
    let made = ann.commits(Change { path: true, ..Change::default() });
    let next = ann.mls().pending_commit().unwrap().epoch_authenticator().unwrap();
    let next = next.as_slice().to_vec();
    let id = GroupId::from_slice(ann.mls().group_id().as_slice());
    // As its rows are stored now, it leads to the same state any number of times.
    for _ in 0..2 {
        let copy = openmls_rust_crypto::OpenMlsRustCrypto::default();
        *copy.storage().values.write().unwrap() =
            ann.provider.storage().values.read().unwrap().clone();
        let mut again = MlsGroup::load(copy.storage(), &id).unwrap().unwrap();
        again.merge_pending_commit(&copy).unwrap();
        assert_eq!(again.epoch_authenticator().as_slice(), next);
    }
    ann.forgets();
    let refused = processes(&mut ann, &made.commit);
    assert!(matches!(
        refused,
        Err(ProcessMessageError::InvalidCommit(StageCommitError::OwnCommitMismatch))
    ));
    assert!(processes(&mut max, &made.commit).is_ok(), "others take it");
}

// protocol/events.md D2
#[test]
fn a_wrong_epoch_is_refused_before_the_membership_tag_is_looked_at() {
    let (mut ann, mut max) = two();
    let mut proposal = Handmade::proposal(&max, vec![0, 10]);
    proposal.break_tag = true;
    let here = proposal.bytes(&max);
    let tag = |refused: Processed| {
        matches!(
            refused,
            Err(ProcessMessageError::ValidationError(ValidationError::InvalidMembershipTag))
        )
    };
    let epoch = |refused: Processed| {
        matches!(refused, Err(ProcessMessageError::ValidationError(ValidationError::WrongEpoch)))
    };
    assert!(tag(processes(&mut ann, &here)));
    for elsewhere in [0, 2, u64::MAX] {
        proposal.epoch = elsewhere;
        assert!(epoch(processes(&mut ann, &proposal.bytes(&max))), "{elsewhere}");
    }
    // A message of an epoch to come: whoever made it.
    max.commits(Change { path: true, ..Change::default() });
    max.merges();
    let early = max.encrypts(b"early");
    assert!(processes(&mut ann, &early).is_err());
}

// protocol/events.md D2
#[test]
fn a_private_message_of_our_own_is_a_claim_and_a_broken_one_leaves_the_ratchet_where_it_was() {
    let (mut ann, mut max) = two();
    let own = ann.encrypts(b"mine");
    let content = processes(&mut ann, &own).unwrap().into_content();
    assert!(matches!(content, ProcessedMessageContent::OwnPrivateMessage));
    let said = max.encrypts(b"once");
    let mut broken = said.clone();
    *broken.last_mut().unwrap() ^= 1;
    let refused = processes(&mut ann, &broken);
    assert!(matches!(
        refused,
        Err(ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(
            MessageDecryptionError::AeadError
        )))
    ));
    // In the release in use it does not move; the engine loads the group again all the same.
    assert!(processes(&mut ann, &said).is_ok());
    assert!(processes(&mut ann, &said).is_err(), "once");
}

// protocol/commits.md D4
#[test]
fn two_updates_of_one_component_in_a_commit_are_not_reliably_refused() {
    let (mut ann, mut max) = two();
    let twice = vec![update(id::PROFILE, &profile("a")), update(id::PROFILE, &profile("b"))];
    let made = ann.try_commits(by_value(twice));
    let taken = made.is_ok_and(|made| processes(&mut max, &made.commit).is_ok());
    println!("taken: {taken}");
    assert!(taken, "refused now: the check by hand (D4-5) has become a second one");
}
