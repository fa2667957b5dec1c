//! A member that is not ours: plain OpenMLS in memory, with whatever leaf, group, Welcome, commit or event a test wants.
//!
//! `Foreign::new()` makes what released peers make; change `leaf`, `package` or a [`Context`] before use to break
//! one rule at a time.

// (named, because the fuzz targets include this file, too)
#[path = "foreign/frames.rs"]
mod frames;
#[path = "foreign/handmade.rs"]
mod handmade;
#[path = "foreign/parts.rs"]
mod parts;

use std::collections::BTreeMap;

use mdk_wire::v2::components::{AdminPolicy, ComponentList, Lifecycle, Profile, Routing};
use mdk_wire::v2::{IdentityProof, component_id};
use mdk_wire::{
    Event, EventId, KeyPackageEvent, KeyPackageRef, KeyPackageTags, Keys, NostrGroupId, OsRandom,
    PublicKey, UnsignedEvent, gift_wrap, key_package_event, welcome,
};
use openmls::group::{
    GroupId as MlsGroupId, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, StagedWelcome,
};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    BasicCredential, CredentialType, CredentialWithKey, ExtensionType, Extensions, KeyPackage,
    KeyPackageIn, Lifetime, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, ProtocolVersion,
    SignatureScheme,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;

#[allow(unused_imports)]
pub use frames::*;
#[allow(unused_imports)]
pub use handmade::*;
#[allow(unused_imports)]
pub use parts::*;

use super::{RELAY, now};

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

    /// Has founded a group, and invites the owner of a KeyPackage: the MLSMessage(Welcome).
    pub fn inviting(package: &Event) -> (Self, Vec<u8>) {
        let mut founder = Self::new();
        founder.founds(&founder.context());
        let welcome = founder.invites(&[package]);
        (founder, welcome)
    }

    /// As [`Foreign::inviting`], with the Welcome wrapped.
    pub fn welcoming(package: &Event) -> (Self, Event) {
        let (founder, welcome) = Self::inviting(package);
        let wrapped = founder.wraps(&welcome, package);
        (founder, wrapped)
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
