//! Our leaves and KeyPackages (protocol/key-packages.md A1), and the configuration of groups (B2).

use mdk_wire::v2::components::ComponentList;
use mdk_wire::v2::{IdentityProof, component_id};
use mdk_wire::{PublicKey, WireError};
use openmls::group::{
    GroupContext, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
};
use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, Capabilities, Ciphersuite, Credential,
    CredentialType, Extension, ExtensionType, Extensions, KeyPackage, LeafNode, Lifetime,
    ProposalType, ProtocolVersion, SenderRatchetConfiguration,
};
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider};

use crate::model::config::Config;
use crate::model::error::{Error, Result};

#[cfg(test)]
pub(crate) const RULES: &[(&str, &str)] = &[
    (
        "A1-2",
        "our leaf names Mls10, ciphersuite 1, extensions 6 and 0xF2D1, proposals 8 and 10, Basic",
    ),
    (
        "A1-3",
        "our leaf dictionary has 0x0001 (itself and all supported), 0x0002 empty, 0x8009 the proof",
    ),
    ("A1-4", "last resort is component 0x0004 without data, never extension 0x000A"),
    (
        "B2-3",
        "handshakes are PublicMessage, the tree is in the GroupInfo, past epochs as configured",
    ),
    ("2.1-11", "an account is a Basic credential of 32 bytes that lift to a point"),
];

/// Stored with each group: which generation of the protocol it is of.
pub(crate) const GENERATION: u8 = 2;

/// The one ciphersuite.
// rule: 2.1-10
pub(crate) const CIPHERSUITE: Ciphersuite =
    Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// Announces that the final message of an agent's stream is understood (2.2).
const AGENT_RECEIVE: u16 = 0xF2D1;

/// Components that this engine understands, ascending.
pub(crate) const fn supported_components() -> &'static [u16] {
    &[
        component_id::APP_COMPONENTS,
        component_id::PROFILE,
        component_id::IMAGE,
        component_id::ADMIN_POLICY,
        component_id::ROUTING,
        component_id::RETENTION,
        component_id::AGENT_STREAM,
        component_id::AVATAR,
        component_id::IDENTITY_PROOF,
        component_id::MEDIA,
        component_id::LIFECYCLE,
    ]
}

/// Capabilities of our leaves (rule: A1-2). Types of the base protocol are not listed.
pub(crate) fn leaf_capabilities() -> Capabilities {
    Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(vec![CIPHERSUITE])
        .extensions(vec![ExtensionType::AppDataDictionary, ExtensionType::Unknown(AGENT_RECEIVE)])
        .proposals(vec![ProposalType::AppDataUpdate, ProposalType::SelfRemove])
        .credentials(vec![CredentialType::Basic])
        .build()
}

/// Extensions of our leaves; `proof` is for the leaf's signature key (rule: A1-3).
///
/// # Errors
/// The proof does not encode.
pub(crate) fn leaf_extensions(proof: &IdentityProof) -> Result<Extensions<LeafNode>, WireError> {
    let list = ComponentList(supported_components().to_vec()).encode()?;
    let safe_aad = ComponentList::default().encode()?;
    let mut dictionary = AppDataDictionary::new();
    dictionary.insert(component_id::APP_COMPONENTS, list);
    dictionary.insert(component_id::SAFE_AAD, safe_aad);
    dictionary.insert(component_id::IDENTITY_PROOF, proof.encode()?);
    let extension = Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary));
    Ok(Extensions::single(extension).expect("a dictionary may stand in a leaf"))
}

/// Extensions of our KeyPackages, not of their leaves (rule: A1-4).
pub(crate) fn key_package_extensions(last_resort: bool) -> Extensions<KeyPackage> {
    if !last_resort {
        return Extensions::empty();
    }
    let mut dictionary = AppDataDictionary::new();
    dictionary.insert(component_id::LAST_RESORT, Vec::new());
    let extension = Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary));
    Extensions::single(extension).expect("a dictionary may stand in a KeyPackage")
}

fn ratchets(config: &Config) -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(
        config.ratchet.out_of_order_tolerance,
        config.ratchet.maximum_forward_distance,
    )
}

/// The live state has the message keys of its own epoch alone. Those of the epochs before it are in the retained
/// states, where a late message is opened. Each message writes the live state, so it has to be small.
const PAST_EPOCHS: usize = 0;

/// For joining (rule: B2-3).
pub(crate) fn join_config(config: &Config) -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(PAST_EPOCHS)
        .use_ratchet_tree_extension(true)
        .sender_ratchet_configuration(ratchets(config))
        .build()
}

/// For founding (rule: B2-3).
///
/// # Errors
/// `Internal`: the leaf extensions are not covered by our capabilities.
pub(crate) fn create_config(
    config: &Config,
    leaf: Extensions<LeafNode>,
    context: Extensions<GroupContext>,
) -> Result<MlsGroupCreateConfig> {
    Ok(MlsGroupCreateConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(PAST_EPOCHS)
        .use_ratchet_tree_extension(true)
        .sender_ratchet_configuration(ratchets(config))
        .ciphersuite(CIPHERSUITE)
        .lifetime(Lifetime::new(config.key_package_lifetime))
        // Capabilities first: OpenMLS compares the leaf extensions with those set so far.
        .capabilities(leaf_capabilities())
        .with_leaf_node_extensions(leaf)
        .map_err(Error::bug("leaf extensions of a new group"))?
        .with_group_context_extensions(context)
        .build())
}

/// The account a credential stands for (rule: 2.1-11).
pub(crate) fn account_of(credential: &Credential) -> Option<PublicKey> {
    if credential.credential_type() != CredentialType::Basic {
        return None;
    }
    let key = credential.serialized_content().try_into().ok()?;
    PublicKey::from_bytes(key).ok()
}

/// Gives a group the limits of today's [`Config`]: it keeps those that it was last used with.
pub(crate) fn configure<S: StorageProvider<CURRENT_VERSION>>(
    config: &Config,
    mls: &mut MlsGroup,
    storage: &S,
) -> std::result::Result<(), S::Error> {
    let wanted = join_config(config);
    if *mls.configuration() == wanted { Ok(()) } else { mls.set_configuration(storage, &wanted) }
}
