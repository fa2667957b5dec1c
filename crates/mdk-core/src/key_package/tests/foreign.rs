//! A client that is not ours: KeyPackages with any one thing different.

use mdk_wire::v2::IdentityProof;
use mdk_wire::{Event, KeyPackageRef, KeyPackageTags, Keys, UnsignedEvent, key_package_event};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, BasicCredential, Capabilities, Ciphersuite,
    CredentialType, CredentialWithKey, Extension, ExtensionType, Extensions, KeyPackage, Lifetime,
    MlsMessageOut, ProposalType, ProtocolVersion, SignatureScheme,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;

use super::now;

/// What goes into the KeyPackage and its tags.
pub(super) struct Foreign {
    pub(super) keys: Keys,
    pub(super) identity: Vec<u8>,
    pub(super) slot: String,
    pub(super) created_at: u64,
    pub(super) lifetime: (u64, u64),
    pub(super) extensions: Vec<u16>,
    pub(super) proposals: Vec<u16>,
    pub(super) components: Vec<u16>,
    /// Data of 0x8009; `None` for a valid proof.
    pub(super) proof: Option<Vec<u8>>,
    /// Data of 0x0004.
    pub(super) last_resort: Option<Vec<u8>>,
    pub(super) ciphersuite: Ciphersuite,
}

impl Foreign {
    /// As White Noise's groups ask for, and nothing more.
    pub(super) fn new() -> Self {
        let keys = Keys::generate();
        Self {
            identity: keys.public_key().as_bytes().to_vec(),
            keys,
            slot: "ab".repeat(32),
            created_at: now(),
            lifetime: (now() - 60, now() + 86_400),
            extensions: vec![0x0006, 0xF2D1],
            proposals: vec![0x0008, 0x000A],
            components: vec![0x0001, 0x8001, 0x8003, 0x8004, 0x8006, 0x8009, 0x800b, 0x800c],
            proof: None,
            last_resort: Some(Vec::new()),
            ciphersuite: Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
        }
    }

    pub(super) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut foreign = Self::new();
        change(&mut foreign);
        foreign
    }

    pub(super) fn key_package(&self) -> KeyPackage {
        let provider = OpenMlsRustCrypto::default();
        let signer = SignatureKeyPair::new(SignatureScheme::ED25519).unwrap();
        let proof = self.proof.clone().unwrap_or_else(|| {
            IdentityProof::sign(&self.keys, signer.public(), 1).encode().unwrap()
        });
        let mut list = vec![u8::try_from(self.components.len() * 2).unwrap()];
        list.extend(self.components.iter().flat_map(|id| id.to_be_bytes()));
        let mut leaf = AppDataDictionary::new();
        leaf.insert(0x0001, list);
        if !proof.is_empty() {
            leaf.insert(0x8009, proof);
        }
        let mut whole = AppDataDictionary::new();
        if let Some(data) = &self.last_resort {
            whole.insert(0x0004, data.clone());
        }
        let mut builder = KeyPackage::builder()
            .leaf_node_capabilities(
                Capabilities::builder()
                    .versions(vec![ProtocolVersion::Mls10])
                    .ciphersuites(vec![self.ciphersuite])
                    .extensions(self.extensions.iter().map(|id| ExtensionType::from(*id)).collect())
                    .proposals(self.proposals.iter().map(|id| ProposalType::from(*id)).collect())
                    .credentials(vec![CredentialType::Basic])
                    .build(),
            )
            .leaf_node_extensions(Extensions::single(dictionary(leaf)).unwrap())
            .key_package_lifetime(Lifetime::init(self.lifetime.0, self.lifetime.1));
        if self.last_resort.is_some() {
            builder =
                builder.key_package_extensions(Extensions::single(dictionary(whole)).unwrap());
        }
        let credential = CredentialWithKey {
            credential: BasicCredential::new(self.identity.clone()).into(),
            signature_key: signer.public().into(),
        };
        let bundle = builder.build(self.ciphersuite, &provider, &signer, credential).unwrap();
        bundle.key_package().clone()
    }

    pub(super) fn event(&self) -> Event {
        self.event_around(|_| ())
    }

    /// The event after `change`, signed again.
    pub(super) fn event_with(&self, change: impl FnOnce(&mut UnsignedEvent)) -> Event {
        resigned(&self.event(), &self.keys, change)
    }

    /// The event around the MLSMessage after `change`.
    pub(super) fn event_around(&self, change: impl FnOnce(&mut Vec<u8>)) -> Event {
        let key_package = self.key_package();
        let reference = key_package.hash_ref(OpenMlsRustCrypto::default().crypto()).unwrap();
        let extensions = self.extensions.iter().copied();
        let components = self.components.iter().copied();
        let tags = KeyPackageTags {
            slot: self.slot.clone(),
            reference: KeyPackageRef::from_bytes(reference.as_slice().try_into().unwrap()),
            ciphersuite: self.ciphersuite.into(),
            extensions: extensions.filter(|id| !ExtensionType::from(*id).is_grease()).collect(),
            proposals: self.proposals.iter().copied().collect(),
            // The envelope must name 0x8009 whatever the leaf lists.
            app_components: components.filter(|id| *id >= 0x8000).chain([0x8009]).collect(),
        };
        let mut message = MlsMessageOut::from(key_package).tls_serialize_detached().unwrap();
        change(&mut message);
        key_package_event::build(&tags, &message, self.created_at, &self.keys).unwrap()
    }
}

/// `event` after `change`, signed by `keys`.
pub(super) fn resigned(
    event: &Event,
    keys: &Keys,
    change: impl FnOnce(&mut UnsignedEvent),
) -> Event {
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

fn dictionary(dictionary: AppDataDictionary) -> Extension {
    Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary))
}
