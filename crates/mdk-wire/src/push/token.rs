//! The token of a phone, encrypted to the server of its app.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use secp256k1::ecdh::shared_secret_point;
use secp256k1::{Parity, SecretKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::curve::lift;
use crate::error::WireError;
use crate::ids::PublicKey;
use crate::keys::Keys;
use crate::random::Random;
use crate::secret::SecretVec;

const PREFIX: &str = "sha256:";
const SALT: &[u8] = b"marmot-push-token-v1";
const INFO: &[u8] = b"marmot-push-token-encryption";
const PLAIN: usize = 1024;
const HEAD: usize = 3;
const NONCE_AT: usize = 32;
const TEXT_AT: usize = 44;
const TAG_AT: usize = TEXT_AT + PLAIN;

/// Whose service wakes the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// Apple.
    Apns = 1,
    /// Google.
    Fcm = 2,
}

impl Platform {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
        }
    }

    /// The platform of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Apns, Self::Fcm].into_iter().find(|platform| platform.name() == name)
    }

    /// The platform of this number, in a token and in a digest.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        [Self::Apns, Self::Fcm].into_iter().find(|platform| *platform as u8 == number)
    }
}

/// Names a token without revealing it: the first 12 bytes of a hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 12]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

impl Fingerprint {
    /// `sha256:` and 24 lower-case hex digits.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", hex::encode(self.0))
    }

    /// Reads that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix(PREFIX).and_then(crate::ids::hex_array).map(Self)
    }
}

/// A token as the service gave it to the phone. Only the phone and the server of its app ever see it.
pub struct Token {
    /// Whose token it is.
    pub platform: Platform,
    /// 1 to 1,021 bytes.
    pub bytes: SecretVec,
}

impl Token {
    /// Names the token without revealing it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let hash =
            Sha256::new().chain_update([self.platform as u8]).chain_update(self.bytes.expose());
        let hash: [u8; 32] = hash.finalize().into();
        Fingerprint(std::array::from_fn(|n| hash[n]))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// `ephemeral key[32] nonce[12] ciphertext[1024] tag[16]`. Members copy it; they cannot read it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EncryptedToken(Box<[u8]>);

impl fmt::Debug for EncryptedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedToken(..)")
    }
}

impl EncryptedToken {
    /// Its size.
    pub const BYTES: usize = 1084;

    /// Takes 1,084 bytes. Whether they open is for the server to see.
    ///
    /// # Errors
    /// Another number of bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() != Self::BYTES {
            return Err(WireError::InvalidEncoding("an encrypted token has 1084 bytes"));
        }
        Ok(Self(bytes.into()))
    }

    /// Reads standard base64 with padding.
    ///
    /// # Errors
    /// Other text, or another number of bytes.
    pub fn from_base64(text: &str) -> Result<Self, WireError> {
        let refused = |_| WireError::InvalidEncoding("an encrypted token is not base64");
        Self::from_bytes(&STANDARD.decode(text).map_err(refused)?)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Standard base64 with padding: 1,448 characters.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// Random bytes in place of a token: a server cannot open them, and skips them.
    #[must_use]
    pub fn padding(rng: &mut dyn Random) -> Self {
        let mut bytes = vec![0; Self::BYTES];
        rng.fill(&mut bytes);
        Self(bytes.into())
    }

    /// Encrypts a token to a server, as a phone does. `rng` gives the key, the nonce and the padding, in this order.
    ///
    /// # Errors
    /// A token that is empty or too long; [`WireError::BrokenRandom`].
    pub fn seal(
        token: &Token,
        server: &PublicKey,
        rng: &mut dyn Random,
    ) -> Result<Self, WireError> {
        let long = token.bytes.expose();
        if long.is_empty() || long.len() > PLAIN - HEAD {
            return Err(WireError::InvalidEncoding("a token has 1 to 1021 bytes"));
        }
        let ephemeral = Keys::from_random(rng)?;
        let mut all = vec![0; Self::BYTES];
        let (head, rest) = all.split_at_mut(TEXT_AT);
        head[..NONCE_AT].copy_from_slice(ephemeral.public_key().as_bytes());
        rng.fill(&mut head[NONCE_AT..]);
        let (text, tag) = rest.split_at_mut(PLAIN);
        rng.fill(&mut text[HEAD + long.len()..]);
        text[0] = token.platform as u8;
        text[1..HEAD].copy_from_slice(&(long.len() as u16).to_be_bytes());
        text[HEAD..HEAD + long.len()].copy_from_slice(long);
        let made = cipher(&ephemeral, server.as_bytes())?
            .encrypt_in_place_detached(Nonce::from_slice(&head[NONCE_AT..]), b"", text)
            .map_err(|_| WireError::InvalidEncoding("a token that cannot be encrypted"))?;
        tag.copy_from_slice(&made);
        Ok(Self(all.into()))
    }

    /// Opens it, as the server does.
    ///
    /// # Errors
    /// It is padding, of another server, or its key is no point of the curve.
    pub fn open(&self, server: &Keys) -> Result<Token, WireError> {
        let (ephemeral, rest) = self.0.split_at(NONCE_AT);
        let ephemeral = ephemeral.try_into().expect("32 bytes");
        let (nonce, tag) = (&rest[..TEXT_AT - NONCE_AT], &self.0[TAG_AT..]);
        let mut text = Zeroizing::new(self.0[TEXT_AT..TAG_AT].to_vec());
        cipher(server, ephemeral)?
            .decrypt_in_place_detached(
                Nonce::from_slice(nonce),
                b"",
                &mut text,
                Tag::from_slice(tag),
            )
            .map_err(|_| WireError::DecryptionFailed("a piece that is no token of this server"))?;
        let platform = Platform::numbered(text[0]);
        let length = usize::from(u16::from_be_bytes([text[1], text[2]]));
        match (platform, text.get(HEAD..HEAD + length)) {
            (Some(platform), Some(bytes)) if length > 0 => {
                Ok(Token { platform, bytes: SecretVec::new(bytes.to_vec()) })
            }
            _ => Err(WireError::InvalidEncoding("a token of another form")),
        }
    }
}

/// The cipher between a key and the even point of an x-coordinate.
fn cipher(own: &Keys, other: &[u8; 32]) -> Result<ChaCha20Poly1305, WireError> {
    let point = secp256k1::PublicKey::from_x_only_public_key(lift(other)?, Parity::Even);
    let mut secret = SecretKey::from_secret_bytes(*own.secret().expose())
        .map_err(|_| WireError::InvalidKey("secret key is out of range"))?;
    let shared = Zeroizing::new(shared_secret_point(&point, &secret));
    secret.non_secure_erase();
    let mut key = Zeroizing::new([0u8; 32]);
    Hkdf::<Sha256>::new(Some(SALT), &shared[..32])
        .expand(INFO, key.as_mut())
        .expect("32 bytes are fewer than 255 hashes");
    Ok(ChaCha20Poly1305::new(Key::from_slice(key.as_ref())))
}
