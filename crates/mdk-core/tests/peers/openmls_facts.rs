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
    ExtensionType, KeyPackage, KeyPackageBundle, KeyPackageIn, MlsMessageBodyIn, MlsMessageIn,
    ProcessedMessage, ProcessedMessageContent, ProtocolMessage, ProtocolVersion, Welcome,
};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::storage::StorageProvider as _;

use crate::kit::foreign::{Change, Foreign, read_key_package, update};
use crate::kit::foreign_commits::{
    Handmade, by_value, commits_context, context_with, profile, rename,
};
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

// protocol/welcomes.md B1
#[test]
fn an_app_data_update_moves_the_dictionary_to_the_end() {
    let (mut ann, mut max) = two();
    let order = |peer: &Foreign| -> Vec<ExtensionType> {
        peer.mls().extensions().iter().map(openmls::prelude::Extension::extension_type).collect()
    };
    let (required, dictionary) =
        (ExtensionType::RequiredCapabilities, ExtensionType::AppDataDictionary);
    assert_eq!(order(&ann), [required, dictionary], "as all peers found");
    let turned = context_with(&ann, |all| all.reverse());
    let commit = commits_context(&mut ann, turned).unwrap();
    ann.merges();
    max.follows(&max.seals(&commit));
    assert_eq!(order(&max), [dictionary, required]);
    let commit = ann.commits(by_value(vec![rename("x")])).commit;
    max.follows(&max.seals(&commit));
    ann.merges();
    assert_eq!(order(&ann), [required, dictionary]);
    assert_eq!(order(&max), [required, dictionary]);
}

// protocol/welcomes.md B4-6
#[test]
fn by_default_a_leaf_past_its_lifetime_keeps_joiners_out() {
    let max = Foreign::new();
    let event = max.key_package_event();
    let mut ann = Foreign::new();
    ann.package.lifetime = (1, 1000);
    ann.founds(&ann.context());
    // Without a path the founder's leaf keeps its lifetime.
    let made = ann.commits(Change { adds: vec![read_key_package(&event)], ..Change::default() });
    ann.merges();
    let wrapped = ann.wraps(&made.welcome.unwrap(), &event);
    let rumor = welcome::parse(gift_wrap::unwrap(&wrapped, &max.keys).unwrap()).unwrap();
    let package = read_key_package(&event);
    let reference = package.hash_ref(max.provider.crypto()).unwrap();
    let bundle: KeyPackageBundle = max.provider.storage().key_package(&reference).unwrap().unwrap();
    let builder = || {
        max.provider.storage().write_key_package(&reference, &bundle).unwrap();
        let welcome = read_welcome(&rumor.mls_message);
        StagedWelcome::build_from_welcome(&max.provider, &config(), welcome).unwrap()
    };
    assert!(builder().build().is_err());
    builder().skip_lifetime_validation().build().unwrap();
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

// protocol/commits.md C1
#[test]
fn context_extensions_come_before_app_data_updates_or_not_at_all() {
    for first in [true, false] {
        let (mut ann, _) = two();
        let context = context_with(&ann, |_| ());
        let Foreign { group, provider, signer, .. } = &mut ann;
        let builder = group.as_mut().unwrap().commit_builder();
        let builder = if first {
            builder.propose_group_context_extensions(context).unwrap().add_proposal(rename("x"))
        } else {
            builder.add_proposal(rename("x")).propose_group_context_extensions(context).unwrap()
        };
        let mut builder = builder.load_psks(provider.storage()).unwrap();
        let mut updater = builder.app_data_dictionary_updater();
        updater
            .set(openmls::component::ComponentData::from_parts(id::PROFILE, profile("x").into()));
        let changes = updater.changes();
        builder.with_app_data_dictionary_updates(changes);
        let built = builder.build(provider.rand(), provider.crypto(), signer, |_| true);
        assert_eq!(built.is_ok(), first);
    }
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

// protocol/leaving.md 2.7
#[test]
fn asking_to_leave_queues_the_proposal() {
    let (_, mut max) = two();
    max.proposes_self_remove();
    assert!(max.mls().has_pending_proposals());
    let Foreign { group, provider, signer, .. } = &mut max;
    let group = group.as_mut().unwrap();
    assert!(group.create_message(provider, signer, b"hi").is_err());
    group.clear_pending_proposals(provider.storage()).unwrap();
    assert!(group.create_message(provider, signer, b"hi").is_ok());
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

// protocol/leaving.md D6
#[test]
fn a_commit_that_removes_us_has_no_secrets() {
    let (mut ann, mut max) = two();
    let removes = vec![ann.leaf_of(&max.key())];
    let commit = ann.commits(Change { removes, ..Change::default() }).commit;
    let content = processes(&mut max, &commit).unwrap().into_content();
    let ProcessedMessageContent::StagedCommitMessage(staged) = content else { panic!() };
    assert!(staged.self_removed());
    assert!(staged.epoch_authenticator().is_none());
    let Foreign { group, provider, .. } = &mut max;
    let group = group.as_mut().unwrap();
    group.merge_staged_commit(provider, *staged).unwrap();
    assert!(!group.is_active());
    ann.merges();
    let next = ann.commits(Change { path: true, ..Change::default() }).commit;
    assert!(processes(&mut max, &next).is_err(), "it cannot be extended");
}

// protocol/branches.md E2; protocol/commits.md D4
#[test]
fn an_added_key_package_is_compared_with_the_clock_of_now() {
    let (ann, mut max) = two();
    let adds = |lifetime| Handmade::adding(&ann, lifetime);
    for lifetime in [(now() - 7200, now() - 3600), (now() + 3600, now() + 7200)] {
        assert!(matches!(
            processes(&mut max, &adds(lifetime)),
            Err(ProcessMessageError::ValidationError(ValidationError::KeyPackageVerifyError(
                KeyPackageVerifyError::LifetimeError(_)
            )))
        ));
    }
    assert!(matches!(
        processes(&mut max, &adds((now() - 7200, now() + 3600))),
        Err(ProcessMessageError::InvalidCommit(StageCommitError::ConfirmationTagMismatch))
    ));
}
