//! The entries of gossip: a token, or its removal, each signed by its owner.

use sha2::{Digest, Sha256};

use super::token::{EncryptedToken, Fingerprint, Platform};
use crate::error::WireError;
use crate::event::{UnsignedEvent, tag};
use crate::ids::{GroupId, PublicKey};
use crate::keys::Keys;
use crate::kind;

const RECORD: &str = "marmot-push-token-record-v1";
const REMOVAL: &str = "marmot-push-token-removal-v1";

/// What an entry is about. A later entry with the same key takes the place of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenKey {
    /// The account.
    pub member: PublicKey,
    /// The leaf of its device.
    pub leaf: u32,
    /// Whose service wakes it.
    pub platform: Platform,
    /// The server of its app.
    pub server: PublicKey,
}

/// A device can be woken by this token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The device, and who wakes it.
    pub key: TokenKey,
    /// Which token it is.
    pub fingerprint: Fingerprint,
    /// A relay on which the server listens, as the owner wrote it; blank for none.
    pub relay_hint: String,
    /// The token.
    pub token: EncryptedToken,
    /// When the owner signed, in milliseconds since 1970.
    pub owner_ts: u64,
    /// The owner's proof.
    pub signature: [u8; 64],
}

/// A device is not to be woken any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRemoval {
    /// The device, and who would wake it.
    pub key: TokenKey,
    /// Which token it was.
    pub fingerprint: Fingerprint,
    /// When the owner signed, in milliseconds since 1970.
    pub owner_ts: u64,
    /// The owner's proof.
    pub signature: [u8; 64],
}

impl TokenRecord {
    /// The event whose id the owner signs; nobody publishes it.
    #[must_use]
    pub fn template(&self, group: &GroupId) -> UnsignedEvent {
        let mut template = template(RECORD, group, &self.key, &self.fingerprint, self.owner_ts);
        template.tags.push(tag(&["relay_hint", &self.relay_hint]));
        template.tags.push(tag(&["encrypted_token_encoding", "base64"]));
        template.content = self.token.to_base64();
        template
    }

    /// Whether the owner signed it for this group.
    ///
    /// # Errors
    /// [`WireError::InvalidSignature`].
    pub fn verify(&self, group: &GroupId) -> Result<(), WireError> {
        // rule: 2.11-4
        self.key.member.verify(self.template(group).id().as_bytes(), &self.signature)
    }

    /// Signs it as its owner.
    pub fn sign(&mut self, group: &GroupId, owner: &Keys) {
        self.signature = owner.sign_digest(self.template(group).id().as_bytes());
    }

    /// Decides between two entries of one time.
    #[must_use]
    pub fn digest(&self, group: &GroupId) -> [u8; 32] {
        let hint = self.relay_hint.as_bytes();
        digest(RECORD, group, &self.key, &self.fingerprint, self.owner_ts, hint)
            .chain_update(self.token.as_bytes())
            .finalize()
            .into()
    }
}

impl TokenRemoval {
    /// The event whose id the owner signs; nobody publishes it.
    #[must_use]
    pub fn template(&self, group: &GroupId) -> UnsignedEvent {
        let mut template = template(REMOVAL, group, &self.key, &self.fingerprint, self.owner_ts);
        template.tags.push(tag(&["relay_hint", ""]));
        template
    }

    /// Whether the owner signed it for this group.
    ///
    /// # Errors
    /// [`WireError::InvalidSignature`].
    pub fn verify(&self, group: &GroupId) -> Result<(), WireError> {
        // rule: 2.11-4
        self.key.member.verify(self.template(group).id().as_bytes(), &self.signature)
    }

    /// Signs it as its owner.
    pub fn sign(&mut self, group: &GroupId, owner: &Keys) {
        self.signature = owner.sign_digest(self.template(group).id().as_bytes());
    }

    /// Decides between two entries of one time.
    #[must_use]
    pub fn digest(&self, group: &GroupId) -> [u8; 32] {
        digest(REMOVAL, group, &self.key, &self.fingerprint, self.owner_ts, b"").finalize().into()
    }
}

fn template(
    about: &str,
    group: &GroupId,
    key: &TokenKey,
    fingerprint: &Fingerprint,
    owner_ts: u64,
) -> UnsignedEvent {
    UnsignedEvent {
        pubkey: key.member,
        created_at: 0,
        kind: kind::PUSH_PROOF,
        tags: vec![
            tag(&["d", about]),
            tag(&["group_id", &group.to_hex()]),
            tag(&["member_id", &key.member.to_hex()]),
            tag(&["leaf_index", &key.leaf.to_string()]),
            tag(&["platform", key.platform.name()]),
            tag(&["server_pubkey", &key.server.to_hex()]),
            tag(&["token_fingerprint", &fingerprint.to_text()]),
            tag(&["owner_ts", &owner_ts.to_string()]),
        ],
        content: String::new(),
    }
}

// rule: 2.11-5 integers are big-endian and of fixed width.
fn digest(
    about: &str,
    group: &GroupId,
    key: &TokenKey,
    fingerprint: &Fingerprint,
    owner_ts: u64,
    hint: &[u8],
) -> Sha256 {
    let length = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
    Sha256::new()
        .chain_update(about)
        .chain_update(length(group.as_bytes()))
        .chain_update(group.as_bytes())
        .chain_update(key.member.as_bytes())
        .chain_update(key.leaf.to_be_bytes())
        .chain_update([key.platform as u8])
        .chain_update(key.server.as_bytes())
        .chain_update(fingerprint.0)
        .chain_update(owner_ts.to_be_bytes())
        .chain_update(length(hint))
        .chain_update(hint)
}
