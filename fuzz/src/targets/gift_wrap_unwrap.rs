//! `gift_wrap::unwrap` and `welcome::parse` on whole events: as JSON (the recorded ones open under the recipient's
//! recorded key), or signed around content of the fuzzer's choice.

use crate::shared::{Members, ZeroRandom, keys, recorded_recipient};
use mdk_wire::{Event, gift_wrap, kind, welcome};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let event = match Event::from_json(data) {
        Ok(event) => event,
        Err(_) => {
            let Some(mut members) = Members::parse(data) else {
                return;
            };
            members.replace("RECIPIENT", &recorded_recipient().public_key().to_hex());
            members
                .unsigned(kind::GIFT_WRAP, keys(1).public_key())
                .sign_with(keys(1), &mut ZeroRandom)
        }
    };
    if let Ok(unwrapped) = gift_wrap::unwrap(&event, recorded_recipient()) {
        assert!(unwrapped.sender == unwrapped.rumor.pubkey);
        let _ = welcome::parse(unwrapped);
    }
}
