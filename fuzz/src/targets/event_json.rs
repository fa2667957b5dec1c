//! `Event::from_json` on raw bytes. What it accepts, it accepts again as it writes it.

use mdk_wire::Event;

/// Runs it on one input.
pub fn run(data: &[u8]) {
    if let Ok(event) = Event::from_json(data) {
        let again = Event::from_json(event.to_json().as_bytes()).expect("own JSON is valid");
        assert!(again == event);
    }
}
