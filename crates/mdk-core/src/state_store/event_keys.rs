//! Which keys were tried on an event within a call: it is looked at, sorted, processed, and tried again, and what no key
//! has opened none will open but a new one.

use std::cell::Cell;
use std::collections::HashMap;

use mdk_wire::{EventId, GroupId, GroupMessage, Secret, group_message};
use zeroize::Zeroizing;

use crate::model::state_id::Auth;

/// Counts the keys that are tried on events: in a long absence they are what an event costs more than in a short one.
#[derive(Default)]
pub(crate) struct Trials(Cell<u64>);

impl Trials {
    pub(crate) fn open(
        &self,
        message: &GroupMessage,
        key: &Secret<32>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.open_sealed(&message.sealed, key)
    }

    pub(crate) fn open_sealed(
        &self,
        sealed: &[u8],
        key: &Secret<32>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.0.set(self.0.get().saturating_add(1));
        group_message::open(sealed, key)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.get()
    }
}

/// What came of the last look at an event.
#[derive(Clone, Copy, Default)]
pub(crate) struct Look {
    /// The live state, if there was one.
    live: Option<Auth>,
    /// The highest number of a state that was there ([`mdk_store::States::newest`]).
    newest: u64,
    /// The state whose key opened it.
    opener: Option<Auth>,
}

impl Look {
    pub(crate) const fn new(live: Option<Auth>, newest: u64, opener: Option<Auth>) -> Self {
        Self { live, newest, opener }
    }

    /// Whether the key of the state with this number was tried in vain.
    pub(crate) const fn was_tried(&self, number: u64) -> bool {
        self.opener.is_none() && number <= self.newest
    }

    /// The state whose key opens it, if it is the first one still: no state has come since, and the live one is the same.
    pub(crate) fn opener(&self, live: Option<Auth>, newest: u64) -> Option<Auth> {
        self.opener.filter(|_| self.live == live && self.newest == newest)
    }
}

/// The looks of a call: one for each event that was given or is held, and group that claims its routing id.
#[derive(Default)]
pub(crate) struct Looked(HashMap<GroupId, HashMap<EventId, Look>>);

impl Looked {
    pub(crate) fn of(&self, group: &GroupId, event: &EventId) -> Look {
        self.0.get(group).and_then(|looks| looks.get(event)).copied().unwrap_or_default()
    }

    pub(crate) fn note(&mut self, group: &GroupId, event: EventId, look: Look) {
        match self.0.get_mut(group) {
            Some(looks) => looks.insert(event, look),
            None => self.0.entry(group.clone()).or_default().insert(event, look),
        };
    }
}
