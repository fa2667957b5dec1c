//! The secret key of a Nostr account.

use std::fmt;
use std::sync::Arc;

use nostr::nips::nip19::{FromBech32, ToBech32};
use nostr::nips::nip49::EncryptedSecretKey;
use zeroize::Zeroizing;

use crate::curve::Pair;
use crate::error::WireError;
use crate::ids::{PublicKey, hex_array};
use crate::random::{OsRandom, Random};
use crate::secret::Secret;

/// A Nostr secret key with its public key. Wiped on drop; `Debug` shows neither.
///
/// The secret is there once for all clones, in locked memory; the curve library's copy is made for each signature.
#[derive(Clone)]
pub struct Keys {
    secret: Arc<Secret<32>>,
    public: PublicKey,
}

impl Keys {
    /// New keys from the operating system's random source.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_random(&mut OsRandom).expect("the operating system's randomness is usable")
    }

    /// New keys from `rng`.
    ///
    /// # Errors
    ///
    /// [`WireError::BrokenRandom`] if it never yields a usable key.
    pub fn from_random(rng: &mut dyn Random) -> Result<Self, WireError> {
        // A random scalar is out of range with probability 2^-128.
        for _ in 0..4 {
            if let Ok(keys) = Self::from_secret(Secret::init(|bytes| rng.fill(bytes))) {
                return Ok(keys);
            }
        }
        Err(WireError::BrokenRandom)
    }

    /// Keys of this secret.
    ///
    /// # Errors
    ///
    /// [`WireError::InvalidKey`] if it is zero or not below the curve order.
    pub fn from_secret(secret: Secret<32>) -> Result<Self, WireError> {
        let pair = Pair::new(&secret)?;
        Ok(Self { public: PublicKey::from_lifted(pair.public()), secret: Arc::new(secret) })
    }

    /// Reads `nsec1…` (NIP-19) or 64 hex digits.
    ///
    /// # Errors
    ///
    /// [`WireError::InvalidKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        // Bech32 may be written in capitals, as QR codes do; not in both (BIP 173).
        if text.starts_with("nsec1") || text.starts_with("NSEC1") {
            let key = nostr::key::SecretKey::from_bech32(text)
                .map_err(|_| WireError::InvalidKey("nsec does not decode"))?;
            return Self::from_nostr(&key);
        }
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        let bytes = hex_array::<32>(&lower).map(Zeroizing::new);
        let bytes =
            bytes.ok_or(WireError::InvalidKey("secret key is neither nsec nor 64 hex digits"))?;
        Self::from_secret(Secret::init(|own| own.copy_from_slice(bytes.as_slice())))
    }

    /// Decrypts `ncryptsec1…` (NIP-49). Slow on purpose; refuses more than 256 MiB of work memory.
    ///
    /// # Errors
    ///
    /// [`WireError::InvalidKey`] if the text is not an encrypted key, [`WireError::WrongPassword`] otherwise.
    pub fn decrypt(ncryptsec: &str, password: &str) -> Result<Self, WireError> {
        let encrypted = EncryptedSecretKey::from_bech32(ncryptsec)
            .map_err(|_| WireError::InvalidKey("ncryptsec does not decode"))?;
        if encrypted.log_n() > EncryptedSecretKey::MAX_LOG_N {
            return Err(WireError::InvalidKey("ncryptsec asks for too much work memory"));
        }
        let key = encrypted.decrypt(password).map_err(|_| WireError::WrongPassword)?;
        Self::from_nostr(&key)
    }

    fn from_nostr(key: &nostr::key::SecretKey) -> Result<Self, WireError> {
        Self::from_secret(Secret::init(|own| own.copy_from_slice(key.as_secret_bytes())))
    }

    pub(crate) fn to_nostr(&self) -> nostr::key::SecretKey {
        nostr::key::SecretKey::from_slice(self.secret.expose()).expect("checked in from_secret")
    }

    /// The account.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// The NIP-19 form `nsec1…`: a reader of it owns the account.
    #[must_use]
    pub fn reveal_nsec(&self) -> Zeroizing<String> {
        match self.to_nostr().to_bech32() {
            Ok(nsec) => Zeroizing::new(nsec),
            Err(never) => match never {},
        }
    }

    /// The raw secret.
    #[must_use]
    pub fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    /// BIP-340 signature over a 32-byte digest, with auxiliary randomness from the operating system.
    #[must_use]
    pub fn sign_digest(&self, digest: &[u8; 32]) -> [u8; 64] {
        self.sign_digest_with(digest, &mut OsRandom)
    }

    /// BIP-340 signature over a 32-byte digest, with auxiliary randomness from `rng`.
    #[must_use]
    pub fn sign_digest_with(&self, digest: &[u8; 32], rng: &mut dyn Random) -> [u8; 64] {
        Pair::new(&self.secret).expect("checked in from_secret").sign(digest, rng)
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for Keys {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_key() {
        let keys = Keys::generate();
        assert_ne!(keys, Keys::generate());
        assert_eq!(format!("{keys:?}"), "Keys(..)");
        assert_eq!(Keys::parse(&keys.reveal_nsec()).unwrap(), keys);
        assert_eq!(Keys::parse(&keys.reveal_nsec().to_uppercase()).unwrap(), keys);
        let hex = hex::encode(keys.secret().expose());
        assert_eq!(Keys::parse(&hex).unwrap(), keys);
        assert_eq!(Keys::parse(&hex.to_uppercase()).unwrap(), keys);
        assert_eq!(
            Keys::parse(&hex).unwrap().public_key(),
            PublicKey::from_bytes(*keys.public_key().as_bytes()).unwrap()
        );
        for bad in ["", "nsec1", "00", &hex[..62], &format!("{hex}00")] {
            assert!(Keys::parse(bad).is_err());
        }
        assert!(Keys::from_secret(Secret::new([0; 32])).is_err());
        assert!(Keys::from_secret(Secret::new([0xff; 32])).is_err());
    }

    #[test]
    fn ncryptsec() {
        // The test vector of NIP-49.
        let text = "ncryptsec1qgg9947rlpvqu76pj5ecreduf9jxhselq2nae2kghhvd5g7dgjtcxfqtd67p9m0w57lspw8gsq6yphnm8623nsl8xn9j4jdzz84zm3frztj3z7s35vpzmqf6ksu8r89qk5z2zxfmu5gv8th8wclt0h4p";
        let keys = Keys::decrypt(text, "nostr").unwrap();
        assert_eq!(
            hex::encode(keys.secret().expose()),
            "3501454135014541350145413501453fefb02227e449e57cf4d3a3ce05378683"
        );
        assert_eq!(Keys::decrypt(text, "wrong"), Err(WireError::WrongPassword));
        assert!(matches!(Keys::decrypt("ncryptsec1x", "nostr"), Err(WireError::InvalidKey(_))));
    }

    #[test]
    fn signatures_verify_and_break() {
        let keys = Keys::generate();
        let digest = [7u8; 32];
        let mut signature = keys.sign_digest(&digest);
        keys.public_key().verify(&digest, &signature).unwrap();
        assert!(keys.public_key().verify(&[8; 32], &signature).is_err());
        signature[63] ^= 1;
        assert!(keys.public_key().verify(&digest, &signature).is_err());
    }

    #[test]
    fn a_broken_random_source_is_an_error() {
        struct Zero;
        impl Random for Zero {
            fn fill(&mut self, buf: &mut [u8]) {
                buf.fill(0);
            }
        }
        assert_eq!(Keys::from_random(&mut Zero), Err(WireError::BrokenRandom));
    }
}
