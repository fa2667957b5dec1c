//! `welcome::parse` on rumors of kind 444. What it accepts, it can write.

use crate::shared::{Members, keys};
use mdk_wire::{gift_wrap::Unwrapped, kind, welcome};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Some(members) = Members::parse(data) else {
        return;
    };
    let sender = keys(1).public_key();
    let rumor = members.unsigned(kind::WELCOME, sender);
    if let Ok(read) = welcome::parse(Unwrapped { sender, rumor }) {
        let rumor = welcome::rumor(
            sender,
            &read.mls_message,
            &read.key_package_event,
            &read.relays,
            read.created_at,
        )
        .expect("what was read can be written");
        let again = welcome::parse(Unwrapped { sender, rumor }).expect("own rumor is valid");
        assert!(again.mls_message == read.mls_message && again.relays == read.relays);
        assert!(again.key_package_event == read.key_package_event && again.sender == read.sender);
    }
}
