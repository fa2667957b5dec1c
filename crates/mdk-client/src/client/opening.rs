//! One relay's gate. While its history is fetched the gate is shut, and whatever its subscriptions bring is held: after
//! something younger, what is older may not be readable any more (protocol/waiting.md F1-3).
//!
//! Subscriptions are opened before the history is fetched, so that what is published meanwhile, of whatever time, is heard. The
//! gate is opened when a history is there that was asked for after the last of them was opened, or when it is given up.
//!
//! What a new subscription gives before it goes live are stored events, the newest first as relays do. The history has them:
//! without it they are not given on.

use std::collections::BTreeMap;

use mdk_wire::Event;
use tokio::time::Instant;

use crate::catch_up::PATIENCE;

/// Held for one relay at most, in events and in bytes.
const MOST: usize = 5_000;
const MOST_BYTES: usize = 8 << 20;

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// What is live passes.
    #[default]
    Open,
    /// Nothing passes.
    Shut,
    /// What is live passes, though something older is missing.
    GivenUp,
}

/// What one relay's subscriptions gave that is not given on yet.
#[derive(Default)]
pub(crate) struct Opening {
    gate: Gate,
    /// The stored parts that are not over.
    parts: BTreeMap<u64, Vec<Event>>,
    /// Stored parts that are.
    stored: Vec<Event>,
    live: Vec<Event>,
    held: usize,
    bytes: usize,
    /// Something live was thrown away, because it was too much.
    overflowed: bool,
    /// A subscription ended, or was opened late, so that the history that is being fetched is not all that nobody heard.
    pub(crate) unheard: bool,
    /// Since when a stored part is open.
    since: Option<Instant>,
    /// When its end is waited for no longer.
    pub(crate) until: Option<Instant>,
}

impl Opening {
    /// Gives nothing on from now.
    pub(crate) fn shut(&mut self) {
        self.gate = Gate::Shut;
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.gate == Gate::Shut
    }

    /// Whether something was thrown away since it was last asked for.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// What was held, oldest first, when all that is older is there. The gate is open then, unless there was too much: what was
    /// thrown away, which is younger, has to be asked for first.
    pub(crate) fn open(&mut self) -> Vec<Event> {
        if !std::mem::take(&mut self.overflowed) {
            self.gate = Gate::Open;
        }
        let held = [std::mem::take(&mut self.stored), std::mem::take(&mut self.live)].concat();
        self.out(held)
    }

    /// What is live passes from now on, whatever is missing.
    pub(crate) fn give_up(&mut self) -> Vec<Event> {
        if !self.is_shut() {
            return Vec::new();
        }
        (self.gate, self.overflowed) = (Gate::GivenUp, false);
        self.stored.clear();
        self.parts.values_mut().for_each(Vec::clear);
        (self.held, self.bytes) = (0, 0);
        oldest_first(std::mem::take(&mut self.live))
    }

    /// A subscription is asked for.
    pub(crate) fn begin(&mut self, subscription: u64, until: Instant) {
        if self.parts.is_empty() {
            self.since = Some(Instant::now());
        }
        self.parts.entry(subscription).or_default();
        self.until = Some(until);
    }

    /// A stored part is not over.
    pub(crate) fn is_open(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Until when the others wait for what is open.
    pub(crate) fn holds_until(&self) -> Option<Instant> {
        self.since.filter(|_| self.is_open()).map(|since| since + PATIENCE)
    }

    /// Keeps an event that is not to be given on now; gives it back otherwise.
    pub(crate) fn hold(&mut self, subscription: u64, event: Event) -> Option<Event> {
        let part = self.parts.get_mut(&subscription);
        let is_stored = part.is_some();
        if self.gate != Gate::Shut && !is_stored {
            return Some(event);
        }
        if self.gate == Gate::GivenUp {
            return None;
        }
        if self.held >= MOST || self.bytes + event.weight() > MOST_BYTES {
            self.overflowed |= !is_stored;
            // (all that is older is there)
            return Some(event).filter(|_| self.gate == Gate::Open);
        }
        self.held += 1;
        self.bytes += event.weight();
        part.unwrap_or(&mut self.live).push(event);
        None
    }

    /// The stored part is over: what of it is to be given on now, oldest first.
    pub(crate) fn end(&mut self, subscription: u64) -> Vec<Event> {
        let part = self.parts.remove(&subscription).unwrap_or_default();
        if self.parts.is_empty() {
            self.until = None;
        }
        if self.is_shut() {
            self.stored.extend(part);
            return Vec::new();
        }
        self.out(part)
    }

    /// No end of a stored part is waited for any more.
    pub(crate) fn end_all(&mut self) -> Vec<Event> {
        let parts: Vec<u64> = self.parts.keys().copied().collect();
        oldest_first(parts.into_iter().flat_map(|part| self.end(part)).collect())
    }

    /// Nobody listens any more as before, until subscriptions are opened anew.
    pub(crate) fn lose(&mut self) -> Vec<Event> {
        self.unheard = true;
        self.end_all()
    }

    fn out(&mut self, events: Vec<Event>) -> Vec<Event> {
        self.held -= events.len();
        self.bytes -= events.iter().map(Event::weight).sum::<usize>();
        oldest_first(events)
    }
}

/// Times are whole seconds; within one, relays that keep the order of arrival give the last first.
fn oldest_first(mut events: Vec<Event>) -> Vec<Event> {
    events.reverse();
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

    /// While the history is fetched nothing passes, live or stored, of no subscription, also of one from before.
    #[test]
    fn behind_a_gate_everything_waits() {
        let mut opening = Opening::default();
        opening.shut();
        opening.begin(1, Instant::now());
        opening.begin(2, Instant::now());
        assert_eq!(opening.hold(1, event(3, "d")), None);
        assert!(opening.end(1).is_empty());
        assert_eq!(opening.hold(1, event(2, "c")), None, "live by now");
        assert_eq!(opening.hold(2, event(1, "a")), None);
        assert_eq!(opening.hold(9, event(1, "b")), None, "from before");
        assert!(opening.lose().is_empty() && opening.unheard, "nor when the connection is lost");
        assert_eq!(opening.hold(9, event(4, "e")), None);
        let all = [(1, "b"), (1, "a"), (2, "c"), (3, "d"), (4, "e")];
        let mut held = opening.open();
        held[..2].sort_by_key(|event| std::cmp::Reverse(*event.id().as_bytes()));
        assert_eq!(held, all.map(|(at, name)| event(at, name)));
        assert_eq!(opening.hold(1, event(5, "f")), Some(event(5, "f")));
        assert_eq!((opening.held, opening.bytes), (0, 0));
    }

    /// The newest that is stored, read before the rest, is what makes the rest unreadable.
    #[test]
    fn what_is_given_up_is_not_begun_at_its_end() {
        let mut opening = Opening::default();
        opening.shut();
        for id in [1, 2] {
            opening.begin(id, Instant::now());
            assert_eq!(opening.hold(id, event(8, "stored")), None);
        }
        assert!(opening.end(1).is_empty());
        assert_eq!(opening.hold(1, event(9, "live")), None);
        assert_eq!(opening.give_up(), [event(9, "live")]);
        assert_eq!(opening.hold(2, event(8, "stored, too")), None);
        assert!(opening.end(2).is_empty());
        assert_eq!(opening.hold(2, event(9, "live")), Some(event(9, "live")));
        assert_eq!((opening.held, opening.bytes), (0, 0));
    }

    /// What was thrown away is younger than what was kept, and older than what comes then.
    #[test]
    fn after_too_much_the_gate_stays_shut_for_one_more_history() {
        let mut opening = Opening::default();
        opening.shut();
        for n in 0..=MOST as u64 {
            assert_eq!(opening.hold(1, event(n, "x")), None);
        }
        assert!(opening.has_overflowed());
        assert_eq!(opening.open().len(), MOST);
        assert!(opening.is_shut() && !opening.has_overflowed());
        assert_eq!(opening.hold(1, event(1, "y")), None);
        assert_eq!(opening.open(), [event(1, "y")]);
        assert!(!opening.is_shut());
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
        let large = crate::testing::event_with(0, 1, "[]", (1 << 20) - event(0, "x").weight());
        for _ in 0..8 {
            assert_eq!(opening.hold(1, large.clone()), None);
        }
        assert!(opening.hold(1, event(0, "y")).is_some());
    }
}
