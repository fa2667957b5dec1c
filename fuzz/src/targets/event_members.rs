//! Events with members of the fuzzer's choice and a valid signature: whatever can be written within the limits of
//! the reader reads back equal.

use crate::shared::{Members, ZeroRandom, keys};
use mdk_wire::{Event, WireError};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Some(members) = Members::parse(data) else {
        return;
    };
    let event = members.unsigned(1, keys(1).public_key()).sign_with(keys(1), &mut ZeroRandom);
    match Event::from_json(event.to_json().as_bytes()).map_err(WireError::from) {
        Ok(again) => assert!(again == event),
        Err(
            WireError::EventTooLarge { .. }
            | WireError::TooManyTags { .. }
            | WireError::TooManyTagValues { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}
