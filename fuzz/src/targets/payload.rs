//! `Payload::parse` on raw bytes, and on the JSON of members of the fuzzer's choice.

use crate::shared::{Members, keys};
use mdk_wire::{Payload, UnsignedEvent, WireError};

fn unsigned(payload: Payload) -> UnsignedEvent {
    let Payload { pubkey, created_at, kind, tags, content, .. } = payload;
    UnsignedEvent { pubkey, created_at, kind, tags, content }
}

/// Runs it on one input.
pub fn run(data: &[u8]) {
    if let Ok(payload) = Payload::parse(data) {
        let id = payload.id;
        let written = unsigned(payload.clone()).to_json();
        let again = Payload::parse(written.as_bytes()).expect("own JSON is valid");
        assert!(again.id == id && unsigned(again) == unsigned(payload));
    }
    let Some(members) = Members::parse(data) else {
        return;
    };
    let event = members.unsigned(9, keys(1).public_key());
    match Payload::parse(event.to_json().as_bytes()).map_err(WireError::from) {
        Ok(payload) => assert!(unsigned(payload) == event),
        Err(
            WireError::PayloadTooLarge { .. }
            | WireError::TooManyTags { .. }
            | WireError::TooManyTagValues { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}
