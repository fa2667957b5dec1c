//! What a new live subscription gives before it goes live: stored events, the newest first as relays do.
//!
//! Between the end of a catch-up and the subscription others go on writing. What they wrote then comes as the stored
//! part of the subscription, and is held until that part is over, so that the engine has it in the order of its making.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::recent::named_time;
use crate::catch_up::PATIENCE;

/// Held for one relay at most, in events and in bytes; beyond, they are given on as they are.
const MOST: usize = 5_000;
const MOST_BYTES: usize = 8 << 20;

/// The stored parts of one relay's subscriptions that are not over.
#[derive(Default)]
pub(crate) struct Opening {
    parts: BTreeMap<u64, Vec<String>>,
    held: usize,
    bytes: usize,
    /// Since when there is something open.
    since: Option<Instant>,
    /// When it is no longer waited for the end.
    pub(crate) until: Option<Instant>,
}

impl Opening {
    /// A subscription was asked for, anew or again.
    pub(crate) fn begin(&mut self, subscription: u64, until: Instant) {
        if self.parts.is_empty() {
            self.since = Some(Instant::now());
        }
        self.parts.entry(subscription).or_default();
        self.until = Some(until);
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Until when the others wait for what is open.
    pub(crate) fn holds_until(&self) -> Option<Instant> {
        self.since.filter(|_| self.is_open()).map(|since| since + PATIENCE)
    }

    /// Keeps an event of a part that is not over; gives it back otherwise.
    pub(crate) fn hold(&mut self, subscription: u64, json: String) -> Option<String> {
        match self.parts.get_mut(&subscription) {
            Some(part) if self.held < MOST && self.bytes + json.len() <= MOST_BYTES => {
                self.held += 1;
                self.bytes += json.len();
                part.push(json);
                None
            }
            _ => Some(json),
        }
    }

    /// The part is over: what it was, oldest first.
    pub(crate) fn end(&mut self, subscription: u64) -> Vec<String> {
        let part = self.parts.remove(&subscription).unwrap_or_default();
        self.held -= part.len();
        self.bytes -= part.iter().map(String::len).sum::<usize>();
        if self.parts.is_empty() {
            self.until = None;
        }
        oldest_first(part)
    }

    /// All parts are over.
    pub(crate) fn end_all(&mut self) -> Vec<String> {
        let parts = std::mem::take(self).parts;
        oldest_first(parts.into_values().flatten().collect())
    }
}

/// Times are whole seconds; within one, relays that keep the order of arrival give the last first.
fn oldest_first(mut events: Vec<String>) -> Vec<String> {
    events.reverse();
    events.sort_by_cached_key(|json| named_time(json).unwrap_or(0));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, name: &str) -> String {
        format!(r#"{{"id":"{name}","created_at":{at},"kind":445}}"#)
    }

    #[test]
    fn stored_events_come_oldest_first_and_live_ones_at_once() {
        let mut opening = Opening::default();
        assert_eq!(opening.hold(1, event(1, "a")), Some(event(1, "a")));
        opening.begin(1, Instant::now());
        for (at, name) in [(3, "d"), (2, "c"), (2, "b"), (1, "a")] {
            assert_eq!(opening.hold(1, event(at, name)), None);
        }
        assert_eq!(opening.hold(2, event(9, "e")), Some(event(9, "e")));
        assert!(opening.is_open());
        let order = [event(1, "a"), event(2, "b"), event(2, "c"), event(3, "d")];
        assert_eq!(opening.end(1), order);
        assert!(!opening.is_open() && opening.until.is_none());
        assert_eq!(opening.hold(1, event(4, "f")), Some(event(4, "f")));
    }

    #[test]
    fn no_more_is_held_than_the_bound() {
        let mut opening = Opening::default();
        opening.begin(1, Instant::now());
        for n in 0..MOST as u64 {
            assert_eq!(opening.hold(1, event(n, "x")), None);
        }
        assert!(opening.hold(1, event(0, "y")).is_some());
        assert_eq!(opening.end_all().len(), MOST);
        assert_eq!((opening.held, opening.bytes), (0, 0));
        opening.begin(1, Instant::now());
        for _ in 0..8 {
            assert_eq!(opening.hold(1, "x".repeat(1 << 20)), None);
        }
        assert!(opening.hold(1, "y".into()).is_some());
    }
}
