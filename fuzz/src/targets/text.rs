//! What people and tags give as text: keys, ids, relay URLs, media types, mentions.

use mdk_wire::v2::media_type;
use mdk_wire::{EventId, GroupId, Keys, PublicKey, mentions, relay_url};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = PublicKey::parse(text) {
        assert!(PublicKey::parse(&key.to_npub()) == Ok(key));
        assert!(PublicKey::from_hex(&key.to_hex()) == Ok(key));
    }
    if let Ok(keys) = Keys::parse(text) {
        let again = Keys::parse(&keys.reveal_nsec()).expect("own nsec is valid");
        assert!(again.public_key() == keys.public_key());
    }
    if let Ok(id) = EventId::from_hex(text) {
        assert_eq!(id.to_hex(), text);
    }
    if let Ok(id) = GroupId::from_hex(text) {
        assert_eq!(id.to_hex(), text);
    }
    let _ = relay_url::check(text);
    assert!(mentions::in_text(text).len() <= 256);
    if let Some(form) = media_type::canonical(text) {
        assert!(media_type::is_canonical(&form));
    }
}
