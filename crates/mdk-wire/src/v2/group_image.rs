//! The blob of a group image: the picture under a key of its own, which the component 0x8002 holds
//! (protocol/components.md 2.2).

use sha2::{Digest, Sha256};

use super::attachment;
use super::components::ImageRef;
use crate::error::WireError;
use crate::keys::Keys;
use crate::random::Random;
use crate::secret::Secret;
use crate::v2::codec::invalid;
use crate::v2::media_type;

/// Rules enforced here, for the coverage table.
pub const RULES: &[(&str, &str)] = &[
    (
        "2.2-28",
        "a group image is encrypted under key and nonce of its component, its type authenticated",
    ),
    ("2.2-29", "the hash of a group image is that of its ciphertext"),
];

const LABEL: &[u8] = b"marmot-group-image-v1";

/// Encrypts a picture under a fresh key. Returns the blob to be stored and the reference for the group; its upload key
/// is a fresh Nostr key.
///
/// # Errors
/// The media type is not canonical or longer than 128 bytes; [`WireError::BrokenRandom`].
pub fn seal(
    mut picture: Vec<u8>,
    media_type: &str,
    rng: &mut dyn Random,
) -> Result<(Vec<u8>, ImageRef), WireError> {
    if !media_type::is_canonical(media_type) {
        return Err(invalid("media type of the image is not canonical"));
    }
    let key = Secret::init(|key| rng.fill(key));
    let mut nonce = [0; 12];
    rng.fill(&mut nonce);
    // A random scalar is out of range with probability 2^-128.
    let upload_key = (0..4)
        .map(|_| Secret::init(|key| rng.fill(key)))
        .find(|key| Keys::from_secret(key.clone()).is_ok())
        .ok_or(WireError::BrokenRandom)?;
    // rule: 2.2-28
    attachment::seal(&key, &nonce, &associated_data(media_type), &mut picture);
    let hash = Sha256::digest(&picture).into();
    let media_type = media_type.to_owned();
    Ok((picture, ImageRef { hash, key, nonce, upload_key, media_type }))
}

/// Opens a blob. `None`: it is another one, or was changed.
#[must_use]
pub fn open(image: &ImageRef, blob: &[u8]) -> Option<Vec<u8>> {
    // rule: 2.2-29
    if <[u8; 32]>::from(Sha256::digest(blob)) != image.hash {
        return None;
    }
    // rule: 2.2-28
    attachment::open(&image.key, &image.nonce, &associated_data(&image.media_type), blob)
}

fn associated_data(media_type: &str) -> Vec<u8> {
    [LABEL, b"\0", media_type.as_bytes()].concat()
}
