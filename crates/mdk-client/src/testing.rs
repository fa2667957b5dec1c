//! Events for unit tests: unsigned, so that thousands of them cost nothing.

use mdk_wire::Event;

/// A group event with this time, this number as its id, these tags as JSON, and a content of so many bytes.
pub(crate) fn event_with(time: u64, number: u64, tags: &str, content: usize) -> Event {
    // The x coordinate of the curve's generator: a key must be one.
    const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let (sig, content) = ("0".repeat(128), "x".repeat(content));
    let json = format!(
        r#"{{"id":"{number:064x}","pubkey":"{KEY}","created_at":{time},"kind":445,"tags":{tags},"content":"{content}","sig":"{sig}"}}"#
    );
    Event::from_stored_json(json.as_bytes()).expect("it has the form of an event")
}

/// The same without tags and content.
pub(crate) fn event(time: u64, number: u64) -> Event {
    event_with(time, number, "[]", 0)
}
