//! A member that is not ours: plain OpenMLS in memory, with whatever leaf, group, Welcome, commit or event a test wants.
//!
//! `Foreign::new()` makes what released peers make; change `leaf`, `package` or a [`Context`] before use to break
//! one rule at a time.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)]

#[path = "foreign_parts.rs"]
mod parts;

use std::collections::BTreeMap;

use mdk_wire::v2::components::{AdminPolicy, ComponentList, Lifecycle, Profile, Routing};
use mdk_wire::v2::{IdentityProof, component_id};
use mdk_wire::{
    Event, EventId, GroupMessage, KeyPackageEvent, KeyPackageRef, KeyPackageTags, Keys,
    NostrGroupId, OsRandom, PublicKey, Secret, UnsignedEvent, gift_wrap, group_message,
    key_package_event, kind, welcome,
};
use openmls::component::ComponentData;
use openmls::group::{
    AppDataDictionaryUpdater, GroupId as MlsGroupId, MlsGroup, MlsGroupCreateConfig,
    MlsGroupJoinConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
    StagedWelcome,
};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    AppDataUpdateOperation, AppDataUpdateProposal, BasicCredential, CredentialType,
    CredentialWithKey, ExtensionType, Extensions, KeyPackage, KeyPackageIn, LeafNodeIndex,
    LeafNodeParameters, Lifetime, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut,
    ProcessedMessageContent, Proposal, ProposalOrRefType, Propose, ProtocolMessage,
    ProtocolVersion, SignatureScheme,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;

#[allow(unused_imports)]
pub use parts::*;

use super::kit::{RELAY, now};

/// A commit to make. `proposals` go by value; AppDataUpdates among them (and among stored ones) are applied.
#[derive(Default)]
pub struct Change {
    pub adds: Vec<KeyPackage>,
    pub removes: Vec<u32>,
    pub proposals: Vec<Proposal>,
    /// Forces a path; MLS demands one for removals and empty commits anyway.
    pub path: bool,
    /// Takes up the proposals in the OpenMLS store (own and processed ones).
    pub by_reference: bool,
    /// Another leaf in the path.
    pub leaf: Option<LeafNodeParameters>,
    /// The dictionary changes that the commit really makes, instead of those of its proposals.
    pub updates: Option<Vec<(u16, Option<Vec<u8>>)>>,
}

pub fn update(id: u16, data: &[u8]) -> Proposal {
    Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::update(id, data.to_vec())))
}

pub fn remove(id: u16) -> Proposal {
    Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::remove(id)))
}

pub struct Committed {
    pub commit: Vec<u8>,
    /// MLSMessage(Welcome) for all that were added.
    pub welcome: Option<Vec<u8>>,
}

pub struct Foreign {
    pub keys: Keys,
    pub signer: SignatureKeyPair,
    pub provider: OpenMlsRustCrypto,
    pub leaf: Leaf,
    pub package: Package,
    pub group: Option<MlsGroup>,
    pub route: NostrGroupId,
}

impl Foreign {
    /// As released peers are, in no group yet.
    pub fn new() -> Self {
        Self::of(Keys::generate())
    }

    /// Another device of an account.
    pub fn of(keys: Keys) -> Self {
        let provider = OpenMlsRustCrypto::default();
        let signer = SignatureKeyPair::new(SignatureScheme::ED25519).unwrap();
        signer.store(provider.storage()).unwrap();
        let proof = IdentityProof::sign(&keys, signer.public(), 1).encode().unwrap();
        let mut listed: Vec<u16> =
            [1].into_iter().chain(LIST).chain([0x8002, 0x8005, 0x8007]).collect();
        listed.sort_unstable();
        let mut route = [0; 32];
        mdk_wire::Random::fill(&mut OsRandom, &mut route);
        Self {
            leaf: Leaf {
                credential: BasicCredential::new(keys.public_key().as_bytes().to_vec()).into(),
                versions: vec![ProtocolVersion::Mls10],
                extensions: vec![0x0006, 0xF2D1],
                proposals: vec![0x0008, 0x000A],
                credentials: vec![CredentialType::Basic],
                entries: Some(BTreeMap::from([(1, list(&listed)), (2, vec![0]), (0x8009, proof)])),
                others: Vec::new(),
            },
            package: Package {
                slot: "ab".repeat(32),
                created_at: now(),
                lifetime: (now() - 3600, now() + 84 * 86_400),
                entries: Some(BTreeMap::from([(component_id::LAST_RESORT, Vec::new())])),
                suite: SUITE,
            },
            keys,
            signer,
            provider,
            group: None,
            route: NostrGroupId::from_bytes(route),
        }
    }

    /// A member with a leaf that differs.
    pub fn with_leaf(change: impl FnOnce(&mut Leaf)) -> Self {
        let mut foreign = Self::new();
        change(&mut foreign.leaf);
        foreign
    }

    pub fn key(&self) -> PublicKey {
        self.keys.public_key()
    }

    pub fn mls(&self) -> &MlsGroup {
        self.group.as_ref().expect("in a group")
    }

    pub fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: self.leaf.credential.clone(),
            signature_key: self.signer.public().into(),
        }
    }

    // ---- KeyPackages

    /// Makes a KeyPackage; the private part stays in `provider`.
    pub fn key_package(&self) -> KeyPackage {
        let Package { lifetime, entries, suite, .. } = &self.package;
        let mut builder = KeyPackage::builder()
            .leaf_node_capabilities(self.leaf.capabilities(*suite))
            .leaf_node_extensions(self.leaf.leaf_extensions())
            .key_package_lifetime(Lifetime::init(lifetime.0, lifetime.1));
        if let Some(entries) = entries {
            builder =
                builder.key_package_extensions(Extensions::single(dictionary(entries)).unwrap());
        }
        let bundle =
            builder.build(*suite, &self.provider, &self.signer, self.credential()).unwrap();
        bundle.key_package().clone()
    }

    pub fn key_package_event(&self) -> Event {
        self.package_event(&self.key_package(), |_| (), |_| ())
    }

    /// The event around a KeyPackage, after changes to the MLSMessage and to the event.
    pub fn package_event(
        &self,
        key_package: &KeyPackage,
        message: impl FnOnce(&mut Vec<u8>),
        event: impl FnOnce(&mut UnsignedEvent),
    ) -> Event {
        let reference = key_package.hash_ref(self.provider.crypto()).unwrap();
        let components =
            self.leaf.entries.as_ref().and_then(|e| e.get(&1)).cloned().unwrap_or_default();
        let components = ComponentList::decode(&components).map(|list| list.0).unwrap_or_default();
        let not_grease = |id: &u16| !ExtensionType::from(*id).is_grease();
        let tags = KeyPackageTags {
            slot: self.package.slot.clone(),
            reference: KeyPackageRef::from_bytes(reference.as_slice().try_into().unwrap()),
            ciphersuite: self.package.suite.into(),
            extensions: self.leaf.extensions.iter().copied().filter(not_grease).collect(),
            proposals: self.leaf.proposals.iter().copied().collect(),
            // The envelope must name 0x8009 whatever the leaf lists.
            app_components: components
                .into_iter()
                .filter(|id| *id >= 0x8000)
                .chain([0x8009])
                .collect(),
        };
        let mut bytes = MlsMessageOut::from(key_package.clone()).tls_serialize_detached().unwrap();
        message(&mut bytes);
        let made =
            key_package_event::build(&tags, &bytes, self.package.created_at, &self.keys).unwrap();
        resigned(&made, &self.keys, event)
    }

    // ---- Groups

    /// What released peers found: components of `LIST`, this member the only admin.
    pub fn context(&self) -> Context {
        let mut id = vec![0; 16];
        mdk_wire::Random::fill(&mut OsRandom, &mut id);
        let admins = AdminPolicy::new([self.key()]).encode().unwrap();
        let routing = Routing::new(self.route, [RELAY.to_owned()]).encode().unwrap();
        let profile = Profile { name: "Foreign".to_owned(), description: String::new() };
        let entries = BTreeMap::from([
            (component_id::APP_COMPONENTS, list(&LIST)),
            (component_id::PROFILE, profile.encode().unwrap()),
            (component_id::ADMIN_POLICY, admins),
            (component_id::ROUTING, routing),
            (component_id::AGENT_STREAM, agent_stream(1)),
            (component_id::MEDIA, media()),
            (component_id::LIFECYCLE, Lifecycle::Active.encode().unwrap()),
        ]);
        Context {
            id,
            required: Some((vec![0x0006], vec![0x0008, 0x000A])),
            entries: Some(entries),
            others: Vec::new(),
            ratchet_tree: true,
        }
    }

    /// Founds a group alone, at epoch 0.
    pub fn founds(&mut self, context: &Context) {
        let config = MlsGroupCreateConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(context.ratchet_tree)
            .max_past_epochs(5)
            .ciphersuite(self.package.suite)
            .lifetime(Lifetime::init(self.package.lifetime.0, self.package.lifetime.1))
            .capabilities(self.leaf.capabilities(self.package.suite))
            .with_leaf_node_extensions(self.leaf.leaf_extensions())
            .unwrap()
            .with_group_context_extensions(context.extensions())
            .build();
        let id = MlsGroupId::from_slice(&context.id);
        let group = MlsGroup::new_with_group_id(
            &self.provider,
            &self.signer,
            &config,
            id,
            self.credential(),
        );
        self.group = Some(group.expect("OpenMLS founds it"));
    }

    /// Adds those whose KeyPackage events are given and merges: the MLSMessage(Welcome) for all of them.
    pub fn invites(&mut self, events: &[&Event]) -> Vec<u8> {
        let adds = events.iter().map(|event| read_key_package(event)).collect();
        let made = self.commits(Change { adds, path: true, ..Change::default() });
        self.merges();
        made.welcome.expect("an Add makes a Welcome")
    }

    /// Founds a group with the owner of a KeyPackage and wraps the Welcome.
    pub fn founds_with(&mut self, context: &Context, package: &Event) -> Event {
        self.founds(context);
        let welcome = self.invites(&[package]);
        self.wraps(&welcome, package)
    }

    /// The rumor of a Welcome as released peers send it.
    pub fn rumor(&self, welcome: &[u8], package: &EventId) -> UnsignedEvent {
        welcome::rumor(self.key(), welcome, package, &[RELAY.to_owned()], now()).unwrap()
    }

    /// The gift wrap of a Welcome for the author of a KeyPackage event.
    pub fn wraps(&self, welcome: &[u8], package: &Event) -> Event {
        wrap(&self.keys, self.rumor(welcome, &package.id()), &package.pubkey())
    }

    /// Joins from a gift wrap for this account.
    pub fn joins(&mut self, wrapped: &Event) {
        let rumor = welcome::parse(gift_wrap::unwrap(wrapped, &self.keys).unwrap()).unwrap();
        let message = MlsMessageIn::tls_deserialize_exact_bytes(&rumor.mls_message).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = message.extract() else { panic!("not a Welcome") };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .max_past_epochs(5)
            .build();
        let staged =
            StagedWelcome::new_from_welcome(&self.provider, &config, welcome, None).unwrap();
        self.set_group(staged.into_group(&self.provider).unwrap());
    }

    /// Takes over a group and its routing id.
    fn set_group(&mut self, group: MlsGroup) {
        let dictionary = group.extensions().app_data_dictionary().map(|e| e.dictionary().clone());
        let routing = dictionary.as_ref().and_then(|d| d.get(&component_id::ROUTING));
        if let Some(Ok(routing)) = routing.map(Routing::decode) {
            self.route = routing.nostr_group_id;
        }
        self.group = Some(group);
    }

    // ---- Commits and proposals

    pub fn try_commits(&mut self, change: Change) -> Result<Committed, String> {
        let Self { group, provider, signer, .. } = self;
        let group = group.as_mut().expect("in a group");
        let mut builder = group
            .commit_builder()
            .consume_proposal_store(change.by_reference)
            .force_self_update(change.path)
            .propose_adds(change.adds)
            .propose_removals(change.removes.into_iter().map(LeafNodeIndex::new))
            .add_proposals(change.proposals);
        if let Some(parameters) = change.leaf {
            builder = builder.leaf_node_parameters(parameters);
        }
        let mut builder = builder
            .load_psks(provider.storage())
            .map_err(|e| e.to_string())?
            .create_group_info(false);
        let mut updater = AppDataDictionaryUpdater::new(None);
        if let Some(updates) = change.updates {
            for (id, data) in updates {
                match data {
                    Some(data) => updater.set(ComponentData::from_parts(id, data.into())),
                    None => updater.remove(&id),
                }
            }
        } else {
            for proposal in builder.app_data_update_proposals() {
                set(&mut updater, proposal);
            }
        }
        builder.with_app_data_dictionary_updates(updater.changes());
        let bundle = builder
            .build(provider.rand(), provider.crypto(), signer, |_| true)
            .map_err(|e| e.to_string())?
            .stage_commit(provider)
            .map_err(|e| e.to_string())?;
        Ok(Committed {
            commit: bundle.commit().tls_serialize_detached().unwrap(),
            welcome: bundle
                .to_welcome_msg()
                .map(|welcome| welcome.tls_serialize_detached().unwrap()),
        })
    }

    /// Stages a commit. `merges` or `forgets` it afterwards.
    pub fn commits(&mut self, change: Change) -> Committed {
        self.try_commits(change).expect("OpenMLS makes it")
    }

    pub fn merges(&mut self) {
        let group = self.group.as_mut().expect("in a group");
        group.merge_pending_commit(&self.provider).unwrap();
        let group = self.group.take().expect("in a group");
        self.set_group(group);
    }

    /// Drops the pending commit and all stored proposals.
    pub fn forgets(&mut self) {
        let group = self.group.as_mut().expect("in a group");
        group.clear_pending_commit(self.provider.storage()).unwrap();
        group.clear_pending_proposals(self.provider.storage()).unwrap();
    }

    /// A standalone proposal, which also stays in the OpenMLS store.
    pub fn proposes(&mut self, proposal: Propose) -> Vec<u8> {
        let group = self.group.as_mut().expect("in a group");
        let (message, _) = group
            .propose(&self.provider, &self.signer, proposal, ProposalOrRefType::Reference)
            .expect("OpenMLS makes it");
        message.tls_serialize_detached().unwrap()
    }

    /// A standalone AppDataUpdate (`None` removes the component).
    pub fn proposes_update(&mut self, id: u16, data: Option<&[u8]>) -> Vec<u8> {
        let operation = match data {
            Some(data) => AppDataUpdateOperation::Update(data.to_vec().into()),
            None => AppDataUpdateOperation::Remove,
        };
        let group = self.group.as_mut().expect("in a group");
        let (message, _) = group
            .propose_app_data_update(&self.provider, &self.signer, id, operation)
            .expect("OpenMLS makes it");
        message.tls_serialize_detached().unwrap()
    }

    pub fn proposes_self_remove(&mut self) -> Vec<u8> {
        let group = self.group.as_mut().expect("in a group");
        let message = group
            .leave_group_via_self_remove(&self.provider, &self.signer)
            .expect("OpenMLS makes it");
        message.tls_serialize_detached().unwrap()
    }

    /// How handshakes are framed from now on, and how many bytes messages are padded to.
    pub fn frames(&mut self, private_handshakes: bool, padding: usize) {
        let policy = if private_handshakes {
            PURE_CIPHERTEXT_WIRE_FORMAT_POLICY
        } else {
            PURE_PLAINTEXT_WIRE_FORMAT_POLICY
        };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(policy)
            .use_ratchet_tree_extension(true)
            .max_past_epochs(5)
            .padding_size(padding)
            .build();
        self.group
            .as_mut()
            .expect("in a group")
            .set_configuration(self.provider.storage(), &config)
            .unwrap();
    }

    // ---- Messages and 445

    /// An application message with any plaintext.
    pub fn encrypts(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.encrypts_with(plaintext, &[])
    }

    /// As `encrypts`, with authenticated data.
    pub fn encrypts_with(&mut self, plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
        let group = self.group.as_mut().expect("in a group");
        if !aad.is_empty() {
            group.set_aad(aad.to_vec());
        }
        let message = group
            .create_message(&self.provider, &self.signer, plaintext)
            .expect("OpenMLS makes it");
        message.tls_serialize_detached().unwrap()
    }

    /// The payload of a chat message by this account.
    pub fn payload(&self, text: &str) -> UnsignedEvent {
        UnsignedEvent {
            pubkey: self.key(),
            created_at: now(),
            kind: kind::CHAT,
            tags: Vec::new(),
            content: text.to_owned(),
        }
    }

    /// A chat message as a 445 event.
    pub fn says(&mut self, text: &str) -> Event {
        let payload = self.payload(text).to_json();
        let bytes = self.encrypts(payload.as_bytes());
        self.seals(&bytes)
    }

    /// The key of this epoch's 445 events. Ask before merging a commit: commits go under the old epoch's key.
    pub fn epoch_key(&self) -> Secret<32> {
        let secret =
            self.mls().export_secret(self.provider.crypto(), "marmot", b"group-event", 32).unwrap();
        Secret::new(secret.try_into().unwrap())
    }

    /// Seals an MLSMessage under this epoch's key.
    pub fn seals(&self, mls_message: &[u8]) -> Event {
        self.seals_under(mls_message, &self.epoch_key())
    }

    pub fn seals_under(&self, mls_message: &[u8], key: &Secret<32>) -> Event {
        group_message::seal(mls_message, key, &self.route, now(), None, &mut OsRandom).unwrap()
    }

    /// A 445 event after `change`, signed by `author`.
    pub fn seals_with(
        &self,
        mls_message: &[u8],
        author: &Keys,
        change: impl FnOnce(&mut UnsignedEvent),
    ) -> Event {
        resigned(&self.seals(mls_message), author, change)
    }

    /// Follows a 445 event of the group: merges commits, stores proposals, returns an application plaintext.
    pub fn follows(&mut self, event: &Event) -> Option<Vec<u8>> {
        let sealed = GroupMessage::parse(event.clone()).unwrap();
        let bytes = sealed.open(&self.epoch_key()).expect("sealed under this epoch's key");
        let message = MlsMessageIn::tls_deserialize_exact_bytes(&bytes).unwrap();
        let message: ProtocolMessage = message.try_into_protocol_message().unwrap();
        let Self { group, provider, .. } = self;
        let group = group.as_mut().expect("in a group");
        let processed = group.process_message(provider, message).unwrap();
        let staged = match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => {
                return Some(message.into_bytes());
            }
            ProcessedMessageContent::ProposalMessage(proposal) => {
                group.store_pending_proposal(provider.storage(), *proposal).unwrap();
                return None;
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(commit) => {
                let mut updater = AppDataDictionaryUpdater::new(None);
                for proposal in commit.app_data_update_proposals() {
                    set(&mut updater, proposal);
                }
                group.stage_app_data_commit(provider, *commit, updater.changes()).unwrap()
            }
            _ => panic!("an external proposal"),
        };
        group.merge_staged_commit(provider, staged).unwrap();
        let group = self.group.take().expect("in a group");
        self.set_group(group);
        None
    }

    pub fn leaf_of(&self, account: &PublicKey) -> u32 {
        let mut members = self.mls().members();
        let found = members.find(|m| m.credential.serialized_content() == account.as_bytes());
        found.expect("a member").index.u32()
    }
}

impl Default for Foreign {
    fn default() -> Self {
        Self::new()
    }
}

/// Every update replaces the whole component.
fn set(updater: &mut AppDataDictionaryUpdater<'_>, proposal: &AppDataUpdateProposal) {
    let id = proposal.component_id();
    match proposal.operation() {
        AppDataUpdateOperation::Update(data) => {
            updater.set(ComponentData::from_parts(id, data.clone()))
        }
        AppDataUpdateOperation::Remove => updater.remove(&id),
    }
}

/// The KeyPackage in an event of kind 30443, not judged.
pub fn read_key_package(event: &Event) -> KeyPackage {
    let parsed = KeyPackageEvent::parse(event).unwrap();
    let message = MlsMessageIn::tls_deserialize_exact_bytes(&parsed.mls_message).unwrap();
    let MlsMessageBodyIn::KeyPackage(key_package) = message.extract() else {
        panic!("not a KeyPackage")
    };
    let key_package: KeyPackageIn = key_package;
    key_package.validate(OpenMlsRustCrypto::default().crypto(), ProtocolVersion::Mls10).unwrap()
}

/// Wraps any rumor by `sender` for `recipient`.
pub fn wrap(sender: &Keys, rumor: UnsignedEvent, recipient: &PublicKey) -> Event {
    gift_wrap::wrap(rumor, sender, recipient, now(), &mut OsRandom).unwrap()
}

/// `event` after `change`, signed by `keys`.
pub fn resigned(event: &Event, keys: &Keys, change: impl FnOnce(&mut UnsignedEvent)) -> Event {
    let mut unsigned = UnsignedEvent {
        pubkey: keys.public_key(),
        created_at: event.created_at(),
        kind: event.kind(),
        tags: event.tags().to_vec(),
        content: event.content().to_owned(),
    };
    change(&mut unsigned);
    unsigned.sign(keys)
}
