//! What a foreign member's leaves, KeyPackages and groups consist of.

use std::collections::BTreeMap;

use mdk_wire::PublicKey;
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::{AdminPolicy, AgentStream, Media};
use openmls::group::GroupContext;
use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, Capabilities, Ciphersuite, Credential,
    CredentialType, Extension, ExtensionType, Extensions, LeafNode, LeafNodeParameters,
    ProposalType, ProtocolVersion, RequiredCapabilitiesExtension, UnknownExtension,
};

pub const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// Components that released peers' groups ask for.
pub const LIST: [u16; 7] = [0x8001, 0x8003, 0x8004, 0x8006, 0x8009, 0x800b, 0x800c];

/// `LIST` with one more.
pub fn listed(id: u16) -> Vec<u16> {
    let mut ids: Vec<u16> = LIST.into_iter().chain([id]).collect();
    ids.sort_unstable();
    ids
}

/// A component list as bytes, canonical or not.
pub fn list(ids: &[u16]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(ids.len() * 2).unwrap()];
    bytes.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
    bytes
}

pub fn dictionary(entries: &BTreeMap<u16, Vec<u8>>) -> Extension {
    let mut dictionary = AppDataDictionary::new();
    for (id, data) in entries {
        dictionary.insert(*id, data.clone());
    }
    Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary))
}

/// What the member's leaves say. The proof is the entry 0x8009 in `entries`.
#[derive(Clone)]
pub struct Leaf {
    pub credential: Credential,
    pub versions: Vec<ProtocolVersion>,
    pub extensions: Vec<u16>,
    pub proposals: Vec<u16>,
    pub credentials: Vec<CredentialType>,
    /// The leaf dictionary; `None` for a leaf without the extension.
    pub entries: Option<BTreeMap<u16, Vec<u8>>>,
    /// Further leaf extensions (add the type to `extensions`, or OpenMLS refuses to make the leaf).
    pub others: Vec<(u16, Vec<u8>)>,
}

impl Leaf {
    pub fn entries(&mut self) -> &mut BTreeMap<u16, Vec<u8>> {
        self.entries.get_or_insert_default()
    }

    pub fn set_list(&mut self, ids: &[u16]) {
        self.entries().insert(component_id::APP_COMPONENTS, list(ids));
    }

    pub fn capabilities(&self, suite: Ciphersuite) -> Capabilities {
        Capabilities::builder()
            .versions(self.versions.clone())
            .ciphersuites(vec![suite])
            .extensions(self.extensions.iter().map(|id| ExtensionType::from(*id)).collect())
            .proposals(self.proposals.iter().map(|id| ProposalType::from(*id)).collect())
            .credentials(self.credentials.clone())
            .build()
    }

    pub fn leaf_extensions(&self) -> Extensions<LeafNode> {
        let mut all: Vec<Extension> = self.entries.iter().map(dictionary).collect();
        all.extend(
            self.others
                .iter()
                .map(|(id, data)| Extension::Unknown(*id, UnknownExtension(data.clone()))),
        );
        Extensions::from_vec(all).unwrap()
    }

    pub fn parameters(&self) -> LeafNodeParameters {
        LeafNodeParameters::builder()
            .with_capabilities(self.capabilities(SUITE))
            .with_extensions(self.leaf_extensions())
            .build()
    }
}

/// What surrounds the leaf in a KeyPackage and its event.
#[derive(Clone)]
pub struct Package {
    pub slot: String,
    pub created_at: u64,
    pub lifetime: (u64, u64),
    /// The KeyPackage's own dictionary; 0x0004 without data makes it last-resort.
    pub entries: Option<BTreeMap<u16, Vec<u8>>>,
    pub suite: Ciphersuite,
}

/// The GroupContext of a group to found. Entries 0x8003 and 0x8004 are made by `Foreign::context`.
#[derive(Clone)]
pub struct Context {
    pub id: Vec<u8>,
    /// RequiredCapabilities: extensions, proposals.
    pub required: Option<(Vec<u16>, Vec<u16>)>,
    /// The dictionary.
    pub entries: Option<BTreeMap<u16, Vec<u8>>>,
    pub others: Vec<(u16, Vec<u8>)>,
    /// Whether GroupInfo carries the ratchet tree.
    pub ratchet_tree: bool,
}

impl Context {
    pub fn entries(&mut self) -> &mut BTreeMap<u16, Vec<u8>> {
        self.entries.get_or_insert_default()
    }

    pub fn set(&mut self, id: u16, data: impl Into<Vec<u8>>) {
        self.entries().insert(id, data.into());
    }

    pub fn set_list(&mut self, ids: &[u16]) {
        self.set(component_id::APP_COMPONENTS, list(ids));
    }

    pub fn set_admins(&mut self, admins: &[PublicKey]) {
        let data = AdminPolicy::new(admins.iter().copied()).encode().unwrap();
        self.set(component_id::ADMIN_POLICY, data);
    }

    /// Drops a component from the list and from the dictionary.
    pub fn omit(&mut self, id: u16) {
        self.entries().remove(&id);
        let kept: Vec<u16> = LIST.iter().copied().filter(|listed| *listed != id).collect();
        self.set_list(&kept);
    }

    pub fn extensions(&self) -> Extensions<GroupContext> {
        let mut all = Vec::new();
        if let Some((extensions, proposals)) = &self.required {
            let extensions: Vec<_> = extensions.iter().map(|id| ExtensionType::from(*id)).collect();
            let proposals: Vec<_> = proposals.iter().map(|id| ProposalType::from(*id)).collect();
            let required = RequiredCapabilitiesExtension::new(&extensions, &proposals, &[]);
            all.push(Extension::RequiredCapabilities(required));
        }
        all.extend(
            self.others
                .iter()
                .map(|(id, data)| Extension::Unknown(*id, UnknownExtension(data.clone()))),
        );
        all.extend(self.entries.iter().map(dictionary));
        Extensions::from_vec(all).unwrap()
    }
}

/// 0x8006 with the given required roles.
pub fn agent_stream(required_roles: u8) -> Vec<u8> {
    let mut data = vec![required_roles, 3];
    data.extend([0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    AgentStream::decode(&data).expect("a policy");
    data
}

/// 0x800b as released peers write it.
pub fn media() -> Vec<u8> {
    let mut data = vec![18];
    data.extend(b"encrypted-media-v2");
    data.extend([11, 10]);
    data.extend(b"blossom-v1");
    let url = b"https://blossom.primal.net/";
    data.push(u8::try_from(11 + 1 + url.len()).unwrap());
    data.push(10);
    data.extend(b"blossom-v1");
    data.push(u8::try_from(url.len()).unwrap());
    data.extend(url);
    Media::decode(&data).expect("a policy");
    data
}
