//! What the tests of the client share.

pub mod socks;

use mdk_wire::{Event, Keys, UnsignedEvent};

pub fn by(keys: &Keys, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
    let tags = tags.iter().map(|tag| tag.iter().map(ToString::to_string).collect()).collect();
    UnsignedEvent { pubkey: keys.public_key(), created_at, kind, tags, content: content.into() }
        .sign(keys)
}
