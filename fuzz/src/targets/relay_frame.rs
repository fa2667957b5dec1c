//! Messages of a relay, one a line, to a session: what reaches the account is an event, was asked for, and comes once.

use std::collections::HashSet;

use mdk_client::fuzzing::{KINDS, PAGE, take};
use mdk_wire::budget::relay::EVENT_FRAME_BYTES;
use mdk_wire::frame::look;
use mdk_wire::limits::MAX_TAGS;
use mdk_wire::{Event, EventId};

fn check<'e>(events: impl IntoIterator<Item = &'e Event>) {
    let mut once: HashSet<EventId> = HashSet::new();
    for event in events {
        let again = Event::from_json(event.to_json().as_bytes());
        assert_eq!(again.as_ref().ok(), Some(event), "what arrives is verified");
        assert!(KINDS.contains(&event.kind()) && event.tags().len() <= MAX_TAGS);
        assert!(once.insert(event.id()), "it came twice");
    }
}

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for line in text.lines() {
        let seen = look(line);
        assert!(!seen.fits || line.len() <= EVENT_FRAME_BYTES);
        assert!(line.contains(seen.label) && line.contains(seen.second));
    }
    let taken = take(text.lines());
    check(&taken.live);
    if let Some(Ok(page)) = &taken.page {
        assert!(page.events.len() <= PAGE);
        check(&page.events);
    }
}
