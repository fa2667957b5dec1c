//! The order of sending, where relays do not keep it.
//!
//! A relay sorts by whole seconds, and events of one second by their ids, which is chance. The order of one sender's
//! messages stands in the messages themselves: epoch, and generation of the sender's ratchet.

use std::collections::BTreeMap;

use mdk_wire::{Event, GroupId, kind};

use crate::engine::ctx::Ctx;
use crate::model::error::Result;
use crate::model::outcome::{Rejection, Verdict};
use crate::model::sending_position::Place;
use crate::operations::receive::peek;
use crate::operations::receive::peek::Peeked;

/// The number of times that the rest of a second is looked at anew because a commit has taken effect.
const ROUNDS: usize = 32;

/// Sorts one sender's messages into the places that they have in the list; everything else stays where it is.
pub(crate) fn sort<T>(said: Vec<(T, Option<Place>)>) -> Vec<T> {
    let mut slots: BTreeMap<(GroupId, u32), Vec<usize>> = BTreeMap::new();
    let mut turns = Vec::with_capacity(said.len());
    let mut list: Vec<Option<T>> = Vec::with_capacity(said.len());
    for (at, (one, place)) in said.into_iter().enumerate() {
        if let Some(Place { group, leaf, epoch, generation }) = place {
            slots.entry((group, leaf)).or_default().push(at);
            turns.push((epoch, generation));
        } else {
            turns.push((0, 0));
        }
        list.push(Some(one));
    }
    let mut from: Vec<usize> = (0..list.len()).collect();
    for slots in slots.into_values() {
        let mut sorted = slots.clone();
        sorted.sort_by_key(|at| turns[*at]);
        for (slot, at) in slots.into_iter().zip(sorted) {
            from[slot] = at;
        }
    }
    from.into_iter().filter_map(|at| list[at].take()).collect()
}

/// An event of a batch, or why it is none, and its place in the batch.
pub(crate) type Numbered = (usize, std::result::Result<Event, Rejection>);

/// The claimed time of a group's event.
fn sent_at((_, event): &Numbered) -> Option<u64> {
    let event = event.as_ref().ok()?;
    (event.kind() == kind::GROUP_MESSAGE).then(|| event.created_at())
}

// rule: F1-8 of what is given at once the oldest is taken up first, whatever way a relay's page is turned
// rule: F1-9 of what is given at once Welcomes are taken up first: what they open may stand before them
/// Numbers the events of a batch, and sorts them: first events of no group, as they were given, then events of groups
/// by time. A page of a relay begins with the newest event. A member who reads that first has no keys any more for
/// messages from long before it. A gift wrap's own time is made up, so it can be sorted by nothing. A Welcome that
/// comes too early waits (B4-15), but an event that comes before its Welcome is refused.
pub(crate) fn oldest_first(events: Vec<std::result::Result<Event, Rejection>>) -> Vec<Numbered> {
    let mut events: Vec<Numbered> = events.into_iter().enumerate().collect();
    // (the sort keeps the order of equal events, and `None` is less than any time)
    events.sort_by_key(sent_at);
    events
}

/// The number of `events`, from the first on, that are of one second and of groups.
pub(crate) fn same_second(events: &[Numbered]) -> usize {
    match events.first().and_then(sent_at) {
        Some(second) => events.iter().take_while(|event| sent_at(event) == Some(second)).count(),
        None => 1,
    }
}

impl Ctx<'_> {
    // rule: F1-4 of one sender everything is taken up in the order of sending, whatever order a relay gives it in
    /// Judges the events of one second: first readable messages, in the order in which each sender sent them, then
    /// commits that end the epoch, then messages that those made readable.
    pub(crate) fn judge_second(
        &mut self,
        mut left: Vec<(usize, Event)>,
        mut judge: impl FnMut(&mut Self, usize, Event) -> Result<Option<Verdict>>,
    ) -> Result<()> {
        for _ in 0..ROUNDS {
            if left.len() < 2 {
                break;
            }
            let (mut said, mut handshakes, mut closed) = (Vec::new(), Vec::new(), Vec::new());
            for (at, event) in left {
                match peek::peek(&mut self.work, &event)? {
                    Peeked::Ready(place) => said.push(((at, event), place)),
                    Peeked::Handshake => handshakes.push((at, event)),
                    Peeked::Closed => closed.push((at, event)),
                }
            }
            for (at, event) in sort(said) {
                judge(self, at, event)?;
            }
            let mut handshakes = handshakes.into_iter();
            let mut moved = false;
            while !moved && let Some((at, event)) = handshakes.next() {
                moved = judge(self, at, event)? == Some(Verdict::Applied);
            }
            left = handshakes.chain(closed).collect();
            left.sort_by_key(|(at, _)| *at);
            if !moved {
                break;
            }
        }
        for (at, event) in left {
            judge(self, at, event)?;
        }
        Ok(())
    }

    /// Returns events that waited and can be read now, by epoch, and messages of one sender in the order of sending.
    pub(crate) fn in_order(
        &mut self,
        mut events: Vec<(u64, Event)>,
    ) -> Result<Vec<(Event, Option<Place>)>> {
        events.sort_by_key(|(epoch, _)| *epoch);
        let mut said = Vec::with_capacity(events.len());
        for (_, event) in events {
            let place = match peek::peek(&mut self.work, &event)? {
                Peeked::Ready(place) => place,
                Peeked::Handshake | Peeked::Closed => None,
            };
            said.push(((event, place.clone()), place));
        }
        Ok(sort(said))
    }
}
