//! Events that one relay's subscriptions brought while its history is not there: after something younger, what is older may not
//! be readable any more (protocol/waiting.md F1-3).

use mdk_wire::Event;
use mdk_wire::budget::relay::{HELD_BYTES, HELD_EVENTS};

/// The events of one relay that wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldEvents {
    /// Events that were stored when their subscription was opened, the newest first as relays do. The history has them as
    /// well: without it they are not given on.
    stored: Vec<Event>,
    live: Vec<Event>,
    bytes: usize,
    /// Something live was thrown away, because it was too much.
    overflowed: bool,
}

impl HeldEvents {
    /// Keeps an event while there is room.
    pub(crate) fn hold(&mut self, event: Event, is_stored: bool) {
        let count = self.stored.len() + self.live.len();
        if count >= HELD_EVENTS || self.bytes + event.weight() > HELD_BYTES {
            self.overflowed |= !is_stored;
            return;
        }
        self.bytes += event.weight();
        if is_stored { &mut self.stored } else { &mut self.live }.push(event);
    }

    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// All of it, oldest first, now that all that is older is there.
    pub(crate) fn all(self) -> Vec<Event> {
        // Times are whole seconds; within one, relays that keep the order of arrival give the last stored one first.
        oldest_first(self.stored.into_iter().rev().chain(self.live).collect())
    }

    /// The live events, oldest first, though something older is missing.
    pub(crate) fn live(self) -> Vec<Event> {
        oldest_first(self.live)
    }
}

fn oldest_first(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(Event::created_at);
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, name: &str) -> Event {
        let number = name.bytes().fold(0, |number, byte| number << 8 | u64::from(byte));
        crate::testing::event(at, number)
    }

    #[test]
    fn what_is_held_comes_oldest_first() {
        let mut held = HeldEvents::default();
        for (at, name) in [(3, "d"), (2, "c"), (2, "b"), (1, "a")] {
            held.hold(event(at, name), true);
        }
        for (at, name) in [(5, "g"), (3, "e"), (3, "f")] {
            held.hold(event(at, name), false);
        }
        let order = [(1, "a"), (2, "b"), (2, "c"), (3, "d"), (3, "e"), (3, "f"), (5, "g")];
        assert_eq!(held.all(), order.map(|(at, name)| event(at, name)));
    }

    /// The newest that is stored, read before the rest, is what makes the rest unreadable.
    #[test]
    fn without_the_history_what_is_stored_is_left_out() {
        let mut held = HeldEvents::default();
        held.hold(event(8, "stored"), true);
        held.hold(event(9, "b"), false);
        held.hold(event(7, "a"), false);
        assert_eq!(held.live(), [event(7, "a"), event(9, "b")]);
    }

    #[test]
    fn no_more_is_held_than_the_bound() {
        let mut held = HeldEvents::default();
        (0..HELD_EVENTS as u64).for_each(|n| held.hold(event(n, "x"), false));
        held.hold(event(0, "y"), true);
        assert!(!held.has_overflowed(), "the history has it");
        held.hold(event(0, "y"), false);
        assert!(held.has_overflowed());
        assert_eq!(held.all().len(), HELD_EVENTS);
        let mut held = HeldEvents::default();
        let large = crate::testing::event_with(0, 1, "[]", (1 << 20) - event(0, "x").weight());
        (0..9).for_each(|_| held.hold(large.clone(), false));
        assert!(held.has_overflowed());
        assert_eq!(held.live().len(), 8);
    }
}
