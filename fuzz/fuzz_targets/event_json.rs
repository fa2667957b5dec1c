#![no_main]
//! `Event::from_json` on raw bytes. What it accepts, it accepts again as it writes it.

use libfuzzer_sys::fuzz_target;
use mdk_wire::Event;

fuzz_target!(|data: &[u8]| {
    if let Ok(event) = Event::from_json(data) {
        let again = Event::from_json(event.to_json().as_bytes()).expect("own JSON is valid");
        assert!(again == event);
    }
});
