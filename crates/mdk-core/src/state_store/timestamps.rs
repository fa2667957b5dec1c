//! The public times of our messages, outside of the encryption.
//!
//! Relays sort by that time, in whole seconds, and within one by the event's id, which is chance. A later reader of a
//! burst gets each second of it shuffled. He can read a message only if at most `out_of_order_tolerance` (100 with
//! everybody) later ones were read before. Of a second with more than a page of the relay (50 with some), nobody gets
//! the rest. So no second has more than that, and a burst runs a little ahead of the clock.
//!
//! A later message is never dated earlier. This holds after the group was loaded anew, since each second is kept apart
//! from it, and after a restart. For that, seconds with many messages are noted on disk, and count as full from then
//! on. That is one small row for each 32 messages of a burst, and none for an account that says less than 16 in a
//! second.

use std::collections::HashMap;

use mdk_store::Tx;
use mdk_wire::{GroupId, Timestamp};

use crate::model::error::Result;

/// The second that a group is in.
struct Pace {
    second: u64,
    messages: u32,
    /// The disk has it.
    noted: bool,
}

impl Pace {
    /// Messages of one second. With those that a restart does not know of, still fewer than a page of 50.
    const MOST: u32 = 32;
    /// From so many in a second on it is noted.
    const MANY: u32 = 16;
    /// The most seconds ahead of the clock: relays and readers refuse an event that lies farther in the future. An
    /// account that gets there, after 9,600 messages at once, has as many in a second as are sent in one.
    const AHEAD: u64 = 300;

    fn after_restart(noted: Option<Timestamp>) -> Self {
        Self { second: noted.unwrap_or(0), messages: Self::MOST, noted: true }
    }

    fn begin(&mut self, second: u64) {
        *self = Self { second, messages: 0, noted: false };
    }

    fn next(&mut self, now: u64) -> u64 {
        let farthest = now.saturating_add(Self::AHEAD);
        // A clock that was set back by more starts anew.
        if self.second < now || self.second > farthest {
            self.begin(now);
        }
        if self.messages >= Self::MOST && self.second < farthest {
            self.begin(self.second + 1);
        }
        self.messages = self.messages.saturating_add(1);
        self.second
    }
}

/// The paces of all groups. Not undone with a transaction that fails: a second too far ahead does no harm.
#[derive(Default)]
pub(crate) struct Paces {
    groups: HashMap<GroupId, Pace>,
    /// Noted during the current transaction: not on disk when it does not commit.
    noted: Vec<GroupId>,
}

impl Paces {
    fn next(&mut self, tx: &Tx<'_>, id: &GroupId, now: u64) -> Result<u64> {
        if !self.groups.contains_key(id) {
            self.groups.insert(id.clone(), Pace::after_restart(tx.pace(id)?));
        }
        let Some(pace) = self.groups.get_mut(id) else { return Ok(now) };
        let second = pace.next(now);
        if pace.messages >= Pace::MANY && !pace.noted {
            tx.set_pace(id, second)?;
            pace.noted = true;
            self.noted.push(id.clone());
        }
        Ok(second)
    }

    /// The transaction committed.
    pub(crate) fn keep(&mut self) {
        self.noted.clear();
    }

    /// The transaction, or a part of it, was rolled back.
    pub(crate) fn undo(&mut self) {
        for id in self.noted.drain(..) {
            if let Some(pace) = self.groups.get_mut(&id) {
                pace.noted = false;
            }
        }
    }
}

/// The times of our envelopes.
pub(crate) struct Timestamps<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) now: u64,
    pub(crate) paces: &'a mut Paces,
}

impl Timestamps<'_> {
    /// The time for the envelope of the next message of ours.
    pub(crate) fn envelope_time(&mut self, id: &GroupId) -> Result<u64> {
        self.paces.next(self.tx, id, self.now)
    }
}

#[cfg(test)]
mod tests {
    use mdk_store::Store;

    use super::*;
    use crate::model::error::Error;

    /// A note that was not kept is not taken for noted: otherwise a restart would begin in the middle of the sent
    /// messages.
    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_note_that_was_rolled_back_is_written_again() {
        let (mut store, mut paces) = (Store::in_memory().unwrap(), Paces::default());
        let id = GroupId::from_bytes(&[1; 32]).unwrap();
        let failed = store.write(|tx| {
            for _ in 0..20 {
                assert_eq!(paces.next(tx, &id, 100)?, 100);
            }
            assert_eq!(tx.pace(&id)?, Some(100));
            Err::<(), _>(Error::Internal("rolled back"))
        });
        assert!(failed.is_err());
        paces.undo();
        let next = store.write(|tx| {
            assert_eq!(tx.pace(&id)?, None);
            paces.next(tx, &id, 100)?;
            tx.pace(&id)?.ok_or(Error::Internal("nothing was noted"))
        });
        assert_eq!(next.unwrap(), 100);
    }
}
