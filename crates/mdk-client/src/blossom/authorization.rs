//! The events by which a server is asked (BUD-01, kind 24242).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mdk_wire::{Keys, UnsignedEvent};

/// Kind of the event.
const KIND: u16 = 24_242;
/// Our clock may be ahead of the server's, which wants an event of the past.
const BACKDATED: u64 = 60;
/// How long it is good for, seconds: it is read before the blob is.
const LIFETIME: u64 = 600;

/// The `Authorization` header that allows `key` to upload the blob of this hash.
pub(super) fn upload(key: &Keys, sha256: &[u8; 32], now: u64) -> String {
    let tag = |name: &str, value: String| vec![name.to_owned(), value];
    let event = UnsignedEvent {
        pubkey: key.public_key(),
        created_at: now.saturating_sub(BACKDATED),
        kind: KIND,
        tags: vec![
            tag("t", "upload".to_owned()),
            tag("x", hex::encode(sha256)),
            tag("expiration", (now + LIFETIME).to_string()),
        ],
        content: "Upload a blob".to_owned(),
    };
    format!("Nostr {}", STANDARD.encode(event.sign(key).to_json()))
}
