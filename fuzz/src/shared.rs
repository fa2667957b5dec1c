//! What the targets share.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mdk_wire::{Keys, PublicKey, Random, Secret, UnsignedEvent};
use nostr::nips::nip44::v2::{ConversationKey, encrypt_to_bytes_with_nonce};

use crate::seeds::recipient;

/// Randomness that makes a run repeatable; for signatures only.
pub(crate) struct ZeroRandom;

impl Random for ZeroRandom {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.fill(0);
    }
}

/// Repeatable bytes that differ from call to call, so that keys can be drawn from them.
pub(crate) struct CountingRandom(u64);

impl CountingRandom {
    /// Starts from a mix of `seed`.
    #[must_use]
    pub(crate) fn new(seed: &[u8]) -> Self {
        Self(seed.iter().fold(1, |mix, byte| mix.rotate_left(5) ^ u64::from(*byte)))
    }
}

impl Random for CountingRandom {
    fn fill(&mut self, buf: &mut [u8]) {
        for byte in buf {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// One of three fixed accounts, 1 to 3.
#[must_use]
pub(crate) fn keys(account: u8) -> &'static Keys {
    static KEYS: LazyLock<[Keys; 3]> = LazyLock::new(|| {
        [1, 2, 3].map(|byte| Keys::from_secret(Secret::new([byte; 32])).expect("below the order"))
    });
    &KEYS[usize::from(account) - 1]
}

/// The account that the recorded gift wraps among the seeds are for. `run.py` passes its secret, so that a libFuzzer program
/// needs no files but its inputs.
#[must_use]
pub(crate) fn recorded_recipient() -> &'static Keys {
    static KEYS: LazyLock<Keys> = LazyLock::new(|| {
        let secret = std::env::var("MDK_FUZZ_RECIPIENT").unwrap_or_else(|_| recipient());
        Keys::parse(&secret).expect("a secret key in hex")
    });
    &KEYS
}

/// NIP-44 version 2 encryption of any bytes between fixed accounts, as a peer would make it.
#[must_use]
pub(crate) fn encrypt(from: u8, to: u8, plaintext: &[u8]) -> Option<String> {
    let secret =
        nostr::key::SecretKey::from_slice(keys(from).secret().expose()).expect("a valid key");
    let public = nostr::key::PublicKey::from_byte_array(*keys(to).public_key().as_bytes());
    let key = ConversationKey::derive(&secret, &public).expect("a valid key");
    encrypt_to_bytes_with_nonce(&key, plaintext, [9; 32]).ok().map(|bytes| STANDARD.encode(bytes))
}

/// Tags and content of an event in a form that mutates well: one line per tag with tab-separated strings, an empty
/// line, then the content.
pub(crate) struct Members {
    tags: Vec<Vec<String>>,
    content: String,
}

impl Members {
    /// `None` for input that is not UTF-8.
    #[must_use]
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(data).ok()?;
        let (tags, content) = match text.strip_prefix('\n') {
            Some(content) => ("", content),
            None => text.split_once("\n\n").unwrap_or(("", text)),
        };
        let tags = tags.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        Some(Self { tags, content: content.to_owned() })
    }

    /// Replaces every tag value `from` by `to`.
    pub(crate) fn replace(&mut self, from: &str, to: &str) {
        for value in self.tags.iter_mut().flatten().filter(|value| *value == from) {
            to.clone_into(value);
        }
    }

    /// The event, its time taken from the content's length.
    #[must_use]
    pub(crate) fn unsigned(self, kind: u16, pubkey: PublicKey) -> UnsignedEvent {
        let created_at = 1_700_000_000 + self.content.len() as u64;
        UnsignedEvent { pubkey, created_at, kind, tags: self.tags, content: self.content }
    }
}
