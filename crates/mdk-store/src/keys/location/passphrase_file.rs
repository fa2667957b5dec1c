//! The key file of a passphrase: a random key, encrypted with XChaCha20-Poly1305 under a key that Argon2id makes from
//! the passphrase. One line: `mdk-wrapped-key-1:` and base64 of memory (KiB), passes and lanes (u32, little endian
//! each), salt (16), nonce (24), ciphertext (32) and tag (16). Everything before the nonce is authenticated with the
//! key.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{AeadInPlace, KeyInit, XChaCha20Poly1305};
use mdk_wire::{Secret, SecretVec, secret::apart};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::generate::no_random;
use crate::{OpenError, keys::text_format};

const PREFIX: &str = "mdk-wrapped-key-1:";
const SOURCE: &str = "passphrase";
/// The longest passphrase in bytes.
const MAX_PASSPHRASE: usize = 1024;
/// The fewest characters of a passphrase for a new key. Fewer are found by trying, at any cost of a try.
const MIN_NEW: usize = 8;

const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// The most memory that a file may ask for: 1 GiB, so that a changed file cannot take all memory.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 32;
const MAX_LANES: u32 = 8;

const HEAD: usize = 12 + 16;
const NONCE: usize = 24;
const LEN: usize = HEAD + NONCE + 32 + 16;

/// Checks the length of a passphrase.
pub(super) fn check_passphrase(passphrase: &SecretVec) -> Result<(), OpenError> {
    let length = passphrase.expose().len();
    if length == 0 || length > MAX_PASSPHRASE {
        return Err(OpenError::BadPassphrase { length, limit: MAX_PASSPHRASE });
    }
    Ok(())
}

/// Refuses a short passphrase that is to guard a new key, or a new backup. What exists opens with any passphrase.
pub(crate) fn check_new_passphrase(passphrase: &SecretVec) -> Result<(), OpenError> {
    let given = passphrase.expose();
    let length = std::str::from_utf8(given).map_or(given.len(), |text| text.chars().count());
    match length < MIN_NEW {
        true => Err(OpenError::ShortPassphrase { length, least: MIN_NEW }),
        false => Ok(()),
    }
}

/// The content of the file for this key.
pub(super) fn wrap(
    key: &Secret<32>,
    passphrase: &SecretVec,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    apart(|| seal(key, passphrase))
}

fn seal(key: &Secret<32>, passphrase: &SecretVec) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut file = [0u8; LEN];
    for (to, value) in file.chunks_exact_mut(4).zip([MEMORY_KIB, PASSES, LANES]) {
        to.copy_from_slice(&value.to_le_bytes());
    }
    getrandom::fill(&mut file[12..HEAD + NONCE]).map_err(no_random)?;
    let (head, rest) = file.split_at_mut(HEAD);
    let (nonce, sealed) = rest.split_at_mut(NONCE);
    let cipher = cipher(head, passphrase)?;
    let (body, tag) = sealed.split_at_mut(32);
    body.copy_from_slice(key.expose());
    let made = cipher
        .encrypt_in_place_detached((&*nonce).into(), &associated(head), body)
        .expect("32 bytes are not too long");
    tag.copy_from_slice(&made);
    Ok(Zeroizing::new(format!("{PREFIX}{}\n", STANDARD.encode(file)).into_bytes()))
}

/// The key in such a file.
pub(super) fn unwrap(text: &[u8], passphrase: &SecretVec) -> Result<Secret<32>, OpenError> {
    apart(|| open(text, passphrase))
}

fn open(text: &[u8], passphrase: &SecretVec) -> Result<Secret<32>, OpenError> {
    let malformed = || OpenError::KeyMalformed { source: SOURCE };
    let body = text.trim_ascii_end().strip_prefix(PREFIX.as_bytes()).ok_or_else(malformed)?;
    let mut file: [u8; LEN] =
        STANDARD.decode(body).ok().and_then(|file| file.try_into().ok()).ok_or_else(malformed)?;
    let (head, rest) = file.split_at_mut(HEAD);
    let (nonce, sealed) = rest.split_at_mut(NONCE);
    let (body, tag) = sealed.split_at_mut(32);
    let cipher = cipher(head, passphrase)?;
    let mut opened = false;
    let key = Secret::init(|out| {
        out.copy_from_slice(body);
        opened = cipher
            .decrypt_in_place_detached((&*nonce).into(), &associated(head), out, (&*tag).into())
            .is_ok();
    });
    if opened { Ok(key) } else { Err(OpenError::WrongPassphrase) }
}

/// Whether this is the content of such a file, of any database.
pub(super) fn is_whole(text: &[u8]) -> bool {
    text.starts_with(PREFIX.as_bytes()) && !is_part(text)
}

/// Whether this is the beginning of such a file, too short to hold a key.
pub(super) fn is_part(text: &[u8]) -> bool {
    text_format::is_begun(text, PREFIX, (LEN * 4).div_ceil(3))
}

/// The mark that tells such a file from others, without the passphrase.
pub(super) fn mark(text: &[u8]) -> String {
    hex::encode(&Sha256::digest(text.trim_ascii_end())[..8])
}

fn associated(head: &[u8]) -> Vec<u8> {
    [PREFIX.as_bytes(), head].concat()
}

/// The cipher under the key that the parameters and the salt in `head` make from the passphrase.
fn cipher(head: &[u8], passphrase: &SecretVec) -> Result<XChaCha20Poly1305, OpenError> {
    let malformed = || OpenError::KeyMalformed { source: SOURCE };
    let number =
        |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("the range has 4 bytes"));
    let (memory, passes, lanes) = (number(0), number(4), number(8));
    if !(MEMORY_KIB..=MAX_MEMORY_KIB).contains(&memory)
        || !(PASSES..=MAX_PASSES).contains(&passes)
        || !(LANES..=MAX_LANES).contains(&lanes)
    {
        return Err(malformed());
    }
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(|_| malformed())?;
    let mut key = Zeroizing::new([0u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose(), &head[12..HEAD], key.as_mut())
        .map_err(|_| malformed())?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A short passphrase of an earlier version opens its file, and guards nothing new.
    #[test]
    fn a_short_passphrase_opens_and_makes_nothing() {
        let key = Secret::new([0x5a; 32]);
        let short = SecretVec::new(b"seven77".to_vec());
        assert!(unwrap(&wrap(&key, &short).unwrap(), &short).unwrap() == key);
        assert_eq!(check_passphrase(&short), Ok(()));
        let refused = OpenError::ShortPassphrase { length: 7, least: 8 };
        assert_eq!(check_new_passphrase(&short), Err(refused));
        let eight = SecretVec::new("éight888".into());
        assert_eq!(check_new_passphrase(&eight), Ok(()));
    }

    #[test]
    fn a_wrapped_key_opens_with_its_passphrase_only() {
        let key = Secret::new([0x5a; 32]);
        let right = SecretVec::new(b"correct horse".to_vec());
        let text = wrap(&key, &right).unwrap();
        assert_ne!(*text, *wrap(&key, &right).unwrap(), "salt and nonce are fresh");
        assert!(unwrap(&text, &right).unwrap() == key);
        let wrong = SecretVec::new(b"correct horsf".to_vec());
        assert_eq!(unwrap(&text, &wrong), Err(OpenError::WrongPassphrase));
        let body = STANDARD.decode(&text[PREFIX.len()..text.len() - 1]).unwrap();
        for (at, expected) in [
            (0, OpenError::WrongPassphrase),                 // 64 MiB and 1 KiB
            (3, OpenError::KeyMalformed { source: SOURCE }), // more than 1 GiB
            (7, OpenError::KeyMalformed { source: SOURCE }),
            (8, OpenError::KeyMalformed { source: SOURCE }), // no lane
            (HEAD - 1, OpenError::WrongPassphrase),
            (HEAD, OpenError::WrongPassphrase),
            (LEN - 1, OpenError::WrongPassphrase),
        ] {
            let mut changed = body.clone();
            changed[at] ^= 1;
            let changed = format!("{PREFIX}{}", STANDARD.encode(changed));
            assert_eq!(unwrap(changed.as_bytes(), &right), Err(expected), "byte {at}");
        }
        for bad in [&b""[..], b"mdk-key-1:AAAA", &text[..text.len() - 3]] {
            assert_eq!(unwrap(bad, &right), Err(OpenError::KeyMalformed { source: SOURCE }));
        }
        assert!(check_passphrase(&SecretVec::new(vec![])).is_err());
        assert!(check_passphrase(&SecretVec::new(vec![1; 1025])).is_err());
        assert!(check_passphrase(&SecretVec::new(vec![1; 1024])).is_ok());
    }
}
