//! Encrypted attachments: the `imeta` tag of a chat message, the key of a file and its ciphertext
//! (protocol/files.md 2.10).

mod tag;

use std::fmt;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use crate::error::WireError;
use crate::secret::Secret;
use crate::v2::codec::{invalid, limit_bytes};
use crate::v2::components::MEDIA_FORMAT;
use crate::v2::{limits, media_type};

/// Rules enforced here and in the tag's codec, for the coverage table.
pub const RULES: &[(&str, &str)] = &[
    ("2.10-6", "an attachment names the one version, encrypted-media-v2, once"),
    (
        "2.10-7",
        "an attachment has 1 to 64 locators, each a kind and an address of at most 2048 bytes",
    ),
    ("2.10-8", "each of the two hashes stands once, as 64 lower-case hex digits"),
    ("2.10-9", "the nonce stands once, as 24 lower-case hex digits"),
    ("2.10-10", "the media type stands once, in canonical form"),
    ("2.10-11", "the file name stands once and has 1 to 255 bytes without NUL, taken as they are"),
    (
        "2.10-12",
        "dim and thumbhash stand at most once and have at most 256 bytes; blurhash is refused",
    ),
    (
        "2.10-13",
        "a file's key comes from the exporter secret of its epoch, its hash, type and name",
    ),
    ("2.10-14", "hash, type and name of a file are authenticated with it"),
];

/// Bytes of the AEAD tag that a ciphertext is longer than its file.
pub const AEAD_TAG_BYTES: usize = 16;

/// A file that a message carries: the places of its ciphertext, and the data to check and to open it.
///
/// The file name is the sender's word, not a path to be used.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Name, 1 to 255 bytes without NUL; nothing else is promised of it.
    pub filename: String,
    /// Media type in canonical form.
    pub mime_type: String,
    /// Bytes of the file. Not on the wire: known of files that were encrypted here.
    pub size: Option<u64>,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// SHA-256 of the ciphertext: its address on Blossom servers.
    pub ciphertext_sha256: [u8; 32],
    /// Nonce of the ciphertext.
    pub nonce: [u8; 12],
    /// The places of the ciphertext: kind of place and address, in the sender's order. A place of an unknown kind, or
    /// with an address that leads nowhere, only cannot be fetched.
    pub locators: Vec<(String, String)>,
    /// Width and height in pixels, as the sender says.
    pub dimensions: Option<(u32, u32)>,
    /// A tiny preview in base64, as the sender says.
    pub thumbhash: Option<String>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attachment({} locators)", self.locators.len())
    }
}

impl Attachment {
    /// The key of the file, from the exporter secret ("marmot", "encrypted-media") of its message's epoch:
    /// HKDF-Expand (RFC 5869) over the secret, with the authenticated data and `00 "key"` as info.
    #[must_use]
    pub fn key(&self, exporter_secret: &Secret<32>) -> Secret<32> {
        // rule: 2.10-13
        let mut info = self.associated_data();
        info.extend_from_slice(b"\0key");
        let hkdf = Hkdf::<Sha256>::from_prk(exporter_secret.expose())
            .expect("the secret is as long as the hash");
        Secret::init(|key| hkdf.expand(&info, key).expect("one block is never too long"))
    }

    /// A name for exactly this file as it was encrypted: equal for two attachments that the same key opens in the same
    /// epoch.
    #[must_use]
    pub fn reference(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.ciphertext_sha256)
            .chain_update(self.nonce)
            .chain_update(self.associated_data())
            .finalize()
            .into()
    }

    /// Encrypts a file of which `self` has hash, type, name and nonce, and notes the ciphertext's hash.
    ///
    /// # Errors
    /// Hash, type or name are not allowed.
    pub fn seal(&mut self, key: &Secret<32>, mut file: Vec<u8>) -> Result<Vec<u8>, WireError> {
        check_type(&self.mime_type)?;
        check_name(&self.filename)?;
        // rule: 2.10-14
        seal(key, &self.nonce, &self.associated_data(), &mut file);
        self.ciphertext_sha256 = Sha256::digest(&file).into();
        Ok(file)
    }

    /// Opens a ciphertext. `None`: the key is not its, or something about it was changed.
    #[must_use]
    pub fn open(&self, key: &Secret<32>, ciphertext: &[u8]) -> Option<Vec<u8>> {
        // rule: 2.10-14
        let file = open(key, &self.nonce, &self.associated_data(), ciphertext)?;
        (<[u8; 32]>::from(Sha256::digest(&file)) == self.sha256).then_some(file)
    }

    /// Whether these are the bytes that the sender uploaded.
    #[must_use]
    pub fn is_ciphertext(&self, data: &[u8]) -> bool {
        <[u8; 32]>::from(Sha256::digest(data)) == self.ciphertext_sha256
    }

    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(320);
        data.extend_from_slice(MEDIA_FORMAT.as_bytes());
        data.push(0);
        data.extend_from_slice(&self.sha256);
        data.push(0);
        data.extend_from_slice(self.mime_type.as_bytes());
        data.push(0);
        data.extend_from_slice(self.filename.as_bytes());
        data
    }
}

// rule: 2.10-10
fn check_type(media_type: &str) -> Result<(), WireError> {
    if media_type::is_canonical(media_type) {
        Ok(())
    } else {
        Err(invalid("media type of the attachment is not canonical"))
    }
}

// rule: 2.10-11
fn check_name(name: &str) -> Result<(), WireError> {
    limit_bytes("file name", name.len(), limits::ATTACHMENT_FILENAME_BYTES)?;
    if name.is_empty() {
        return Err(invalid("file name is empty"));
    }
    if name.contains('\0') {
        return Err(invalid("file name with NUL"));
    }
    Ok(())
}

/// Encrypts in place and appends the tag.
pub(super) fn seal(key: &Secret<32>, nonce: &[u8; 12], aad: &[u8], data: &mut Vec<u8>) {
    let tag = ChaCha20Poly1305::new(Key::from_slice(key.expose()))
        .encrypt_in_place_detached(Nonce::from_slice(nonce), aad, data)
        .expect("files are below the cipher's limit of 256 GiB");
    data.extend_from_slice(&tag);
}

/// Counterpart of [`seal`]; nothing is decrypted before the tag has been verified.
pub(super) fn open(key: &Secret<32>, nonce: &[u8; 12], aad: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let (body, tag) = data.split_last_chunk::<AEAD_TAG_BYTES>()?;
    let mut body = body.to_vec();
    ChaCha20Poly1305::new(Key::from_slice(key.expose()))
        .decrypt_in_place_detached(Nonce::from_slice(nonce), aad, &mut body, Tag::from_slice(tag))
        .ok()?;
    Some(body)
}
