//! NIP-44 version 2 between two accounts, bounded by the size of an event.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nostr::nips::nip44::v2::{self, ConversationKey};
use zeroize::Zeroizing;

use crate::error::WireError;
use crate::ids::PublicKey;
use crate::keys::Keys;
use crate::limits::MAX_EVENT_BYTES;
use crate::random::Random;

fn conversation(ours: &Keys, theirs: &PublicKey) -> Result<ConversationKey, WireError> {
    let theirs = nostr::key::PublicKey::from_byte_array(*theirs.as_bytes());
    ConversationKey::derive(&ours.to_nostr(), &theirs)
        .map_err(|_| WireError::InvalidKey("public key is not on the curve"))
}

/// Encrypts; the result is base64.
pub(crate) fn encrypt(
    ours: &Keys,
    theirs: &PublicKey,
    plaintext: &[u8],
    rng: &mut dyn Random,
) -> Result<String, WireError> {
    let mut nonce = [0u8; 32];
    rng.fill(&mut nonce);
    let key = conversation(ours, theirs)?;
    let payload = v2::encrypt_to_bytes_with_nonce(&key, plaintext, nonce)
        .map_err(|_| WireError::InvalidEncoding("nothing to encrypt"))?;
    Ok(STANDARD.encode(payload))
}

/// Decrypts base64 text.
pub(crate) fn decrypt(
    ours: &Keys,
    theirs: &PublicKey,
    content: &str,
) -> Result<Zeroizing<Vec<u8>>, WireError> {
    if content.len() > MAX_EVENT_BYTES {
        return Err(WireError::EventTooLarge { limit: MAX_EVENT_BYTES, actual: content.len() });
    }
    let payload = STANDARD
        .decode(content)
        .map_err(|_| WireError::InvalidEncoding("encrypted content is not standard base64"))?;
    if payload.first() != Some(&2) {
        return Err(WireError::InvalidEncoding("encrypted content is not NIP-44 version 2"));
    }
    let key = conversation(ours, theirs)?;
    v2::decrypt_to_bytes(&key, &payload)
        .map(Zeroizing::new)
        .map_err(|_| WireError::DecryptionFailed("NIP-44"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn round_trip_across_the_two_length_forms() {
        let (a, b) = (Keys::generate(), Keys::generate());
        for length in [1, 32, 33, 65_535, 65_536, 65_537, 200_000] {
            let text = vec![0x61; length];
            let content = encrypt(&a, &b.public_key(), &text, &mut OsRandom).unwrap();
            assert_eq!(*decrypt(&b, &a.public_key(), &content).unwrap(), text);
            assert!(decrypt(&a, &a.public_key(), &content).is_err());
        }
        assert!(encrypt(&a, &b.public_key(), b"", &mut OsRandom).is_err());
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let (a, b) = (Keys::generate(), Keys::generate());
        let content = encrypt(&a, &b.public_key(), b"hello", &mut OsRandom).unwrap();
        let payload = STANDARD.decode(content).unwrap();
        for i in 0..payload.len() {
            let mut altered = payload.clone();
            altered[i] ^= 1;
            let text = STANDARD.encode(&altered);
            assert!(decrypt(&b, &a.public_key(), &text).is_err(), "byte {i}");
            let cut = STANDARD.encode(&payload[..i]);
            assert!(decrypt(&b, &a.public_key(), &cut).is_err(), "cut {i}");
        }
    }
}
