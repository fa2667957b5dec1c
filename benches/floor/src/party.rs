//! One MLS client: OpenMLS with its in-memory storage and nothing around it.

use openmls::prelude::tls_codec::{DeserializeBytes, Serialize};
use openmls::prelude::*;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

use crate::Failure;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// The payload of every message: as long as a short chat message with its event around it.
pub(crate) const TEXT: &[u8] = &[b'x'; 280];

/// A client with a key, a credential and a store.
pub(crate) struct Party {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
}

/// `count` key packages, the first of them `first`'s, the others of clients that nobody plays.
pub(crate) fn invitees(first: &Party, count: usize) -> Result<Vec<KeyPackage>, Failure> {
    let mut all = vec![first.key_package()?];
    for index in 1..count {
        all.push(Party::new(&format!("member-{index}"))?.key_package()?);
    }
    Ok(all)
}

impl Party {
    pub(crate) fn new(name: &str) -> Result<Self, Failure> {
        let signer = SignatureKeyPair::new(SUITE.signature_algorithm())?;
        let credential = CredentialWithKey {
            credential: BasicCredential::new(name.as_bytes().to_vec()).into(),
            signature_key: signer.to_public_vec().into(),
        };
        Ok(Self { provider: OpenMlsRustCrypto::default(), signer, credential })
    }

    pub(crate) fn key_package(&self) -> Result<KeyPackage, Failure> {
        let bundle = KeyPackage::builder().build(
            SUITE,
            &self.provider,
            &self.signer,
            self.credential.clone(),
        )?;
        Ok(bundle.key_package().clone())
    }

    /// A group with everyone in `invited`, merged, and the Welcome's bytes.
    pub(crate) fn create(&self, invited: &[KeyPackage]) -> Result<(MlsGroup, Vec<u8>), Failure> {
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(SUITE)
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .build();
        let mut group =
            MlsGroup::new(&self.provider, &self.signer, &config, self.credential.clone())?;
        let (_, welcome, _) = group.add_members(&self.provider, &self.signer, invited)?;
        group.merge_pending_commit(&self.provider)?;
        Ok((group, welcome.tls_serialize_detached()?))
    }

    pub(crate) fn join(&self, welcome: &[u8]) -> Result<MlsGroup, Failure> {
        let MlsMessageBodyIn::Welcome(welcome) =
            MlsMessageIn::tls_deserialize_exact_bytes(welcome)?.extract()
        else {
            return Err("not a Welcome".into());
        };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .build();
        let staged = StagedWelcome::new_from_welcome(&self.provider, &config, welcome, None)?;
        Ok(staged.into_group(&self.provider)?)
    }

    pub(crate) fn send(&self, group: &mut MlsGroup, text: &[u8]) -> Result<Vec<u8>, Failure> {
        let message = group.create_message(&self.provider, &self.signer, text)?;
        Ok(message.tls_serialize_detached()?)
    }

    /// An own update, merged at once, and the commit's bytes.
    pub(crate) fn self_update(&self, group: &mut MlsGroup) -> Result<Vec<u8>, Failure> {
        let bundle =
            group.self_update(&self.provider, &self.signer, LeafNodeParameters::default())?;
        let bytes = bundle.into_commit().tls_serialize_detached()?;
        group.merge_pending_commit(&self.provider)?;
        Ok(bytes)
    }

    /// A message or a commit of someone else, applied.
    pub(crate) fn receive(&self, group: &mut MlsGroup, bytes: &[u8]) -> Result<(), Failure> {
        let message =
            MlsMessageIn::tls_deserialize_exact_bytes(bytes)?.try_into_protocol_message()?;
        match group.process_message(&self.provider, message)?.into_content() {
            ProcessedMessageContent::ApplicationMessage(_) => Ok(()),
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                Ok(group.merge_staged_commit(&self.provider, *commit)?)
            }
            _ => Err("neither a message nor a commit".into()),
        }
    }
}
