//! Account identity proof v2 (component 0x8009, protocol/wire.md 2.3): the account key authorizes an MLS leaf key.

use std::fmt;

use super::component_id;
use super::limits::PROOF_CREATED_AT;
use crate::error::WireError;
use crate::event::{Event, UnsignedEvent};
use crate::ids::PublicKey;
use crate::keys::Keys;
use crate::kind;
use crate::varint::{Reader, Writer};

/// Rules enforced here, for the coverage table.
pub const RULES: &[(&str, &str)] = &[
    ("2.3-1", "a proof has exactly 104 bytes"),
    ("2.3-2", "created_at is in 1..=2^53-1; its age is never judged"),
    ("2.3-3", "the signer lifts to a curve point"),
    ("2.3-4", "the signer is the account of the credential"),
    ("2.3-5", "the signature covers the event template with this leaf key"),
    ("2.3-6", "the leaf key is an Ed25519 key of 32 bytes"),
    ("2.3-7", "an external signer's event equals the template in every field"),
];

/// Content of the event that is signed and never published.
const CONTENT: &str = "Authorize this MLS leaf key for my Marmot account";
/// Ciphersuite and signature scheme of the v2 profile, as the tags write them.
const CIPHERSUITE: &str = "0x0001";
const SIGNATURE_SCHEME: &str = "0x0807";
const LEAF_KEY_BYTES: usize = 32;

/// A proof that an account authorized an MLS leaf key: `signer[32] created_at u64 signature[64]`.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityProof {
    /// The account.
    pub signer: PublicKey,
    /// Unix seconds, 1 to 2^53 - 1. Part of the signed text, without meaning for validity.
    pub created_at: u64,
    /// BIP-340 signature of the template's event id.
    pub signature: [u8; 64],
}

impl fmt::Debug for IdentityProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityProof(..)")
    }
}

impl IdentityProof {
    /// Component id.
    pub const ID: u16 = component_id::IDENTITY_PROOF;
    /// Size of the component data.
    pub const BYTES: usize = 104;

    /// Reads the component data. The signature is not checked: see [`IdentityProof::verify`].
    ///
    /// # Errors
    /// Not 104 bytes, a signer that is no curve point, or `created_at` out of range.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        // rule: 2.3-1
        let mut reader = Reader::new(data);
        let signer = reader.array()?;
        let created_at = reader.u64()?;
        let signature = reader.array()?;
        reader.finish()?;
        check_created_at(created_at)?;
        // rule: 2.3-3
        Ok(Self { signer: PublicKey::from_bytes(signer)?, created_at, signature })
    }

    /// Writes the component data.
    ///
    /// # Errors
    /// `created_at` out of range.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        check_created_at(self.created_at)?;
        let mut writer = Writer::with_capacity(Self::BYTES);
        writer.bytes(self.signer.as_bytes()).u64(self.created_at).bytes(&self.signature);
        Ok(writer.into_vec())
    }

    /// The event to sign: kind 450, never published. It is for signers that hold the key elsewhere; give their result
    /// to [`IdentityProof::from_signed`].
    #[must_use]
    pub fn template(signer: PublicKey, created_at: u64, mls_signature_key: &[u8]) -> UnsignedEvent {
        let tag = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
        UnsignedEvent {
            pubkey: signer,
            created_at,
            kind: kind::IDENTITY_PROOF,
            tags: vec![
                tag("d", "marmot.account-identity-proof.v2"),
                tag("component", "0x8009"),
                tag("ciphersuite", CIPHERSUITE),
                tag("signature_scheme", SIGNATURE_SCHEME),
                tag("mls_signature_key", &hex::encode(mls_signature_key)),
            ],
            content: CONTENT.to_owned(),
        }
    }

    /// Signs a proof for `mls_signature_key` with the account's key. A `created_at` out of range shows in
    /// [`IdentityProof::encode`] and [`IdentityProof::verify`].
    #[must_use]
    pub fn sign(keys: &Keys, mls_signature_key: &[u8], created_at: u64) -> Self {
        let signer = keys.public_key();
        let id = Self::template(signer, created_at, mls_signature_key).id();
        Self { signer, created_at, signature: keys.sign_digest(id.as_bytes()) }
    }

    /// Takes the signature out of an event that an external signer returned for [`IdentityProof::template`].
    ///
    /// # Errors
    /// A field differs from the template, or `created_at` is out of range.
    pub fn from_signed(event: &Event, template: &UnsignedEvent) -> Result<Self, WireError> {
        // rule: 2.3-7 (an `Event` has a verified id and signature, so equal fields mean that this template was signed)
        let same = event.pubkey() == template.pubkey
            && event.created_at() == template.created_at
            && event.kind() == template.kind
            && event.tags() == template.tags
            && event.content() == template.content
            && event.id() == template.id();
        if !same {
            return Err(WireError::InvalidSignature("signer returned another event"));
        }
        check_created_at(template.created_at)?;
        Ok(Self {
            signer: template.pubkey,
            created_at: template.created_at,
            signature: *event.sig(),
        })
    }

    /// Checks that `account` authorized `mls_signature_key`. The age of the proof is not judged.
    ///
    /// # Errors
    /// Another signer, a leaf key that is not 32 bytes, `created_at` out of range, or a wrong signature.
    pub fn verify(&self, account: &PublicKey, mls_signature_key: &[u8]) -> Result<(), WireError> {
        // rule: 2.3-4
        if self.signer != *account {
            return Err(WireError::InvalidSignature("identity proof of another account"));
        }
        // rule: 2.3-6
        if mls_signature_key.len() != LEAF_KEY_BYTES {
            return Err(WireError::InvalidSignature("leaf key is not an Ed25519 key"));
        }
        check_created_at(self.created_at)?;
        // rule: 2.3-5
        let id = Self::template(self.signer, self.created_at, mls_signature_key).id();
        self.signer
            .verify(id.as_bytes(), &self.signature)
            .map_err(|_| WireError::InvalidSignature("identity proof does not verify"))
    }
}

fn check_created_at(created_at: u64) -> Result<(), WireError> {
    // rule: 2.3-2
    if (1..=PROOF_CREATED_AT).contains(&created_at) {
        Ok(())
    } else {
        Err(WireError::InvalidEncoding("created_at of the identity proof is out of range"))
    }
}
