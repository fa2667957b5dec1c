//! The keys that were tried on an event within a call. An event is looked at, sorted, processed, and tried again. If no
//! key has opened it, only a new one can.

use std::cell::Cell;
use std::collections::HashMap;

use mdk_store::{GroupRow, Tx};
use mdk_wire::{EventId, GroupId, GroupMessage, Secret, group_message};
use zeroize::Zeroizing;

use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::state_id::Auth;

/// Counts the keys that are tried on events: they are the extra cost of an event after a long absence.
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

/// The result of the last look at an event.
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

/// Contents, and the state whose key opened them.
pub(crate) type Unsealed = (Zeroizing<Vec<u8>>, Auth);

/// The keys that an event may be opened with.
pub(crate) struct EventKeys<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) looked: &'a mut Looked,
    pub(crate) trials: &'a Trials,
}

impl EventKeys<'_> {
    // rule: D1-5 the live epoch's key, then those of the retained states, newest first, and no others
    /// The contents, and the state whose key opened them.
    pub(crate) fn open(
        &mut self,
        row: &GroupRow,
        message: &GroupMessage,
    ) -> Result<Option<Unsealed>, Halt> {
        let id = message.event.id();
        let states = self.tx.states(&row.id)?;
        let live = (!membership::is_out(row.status)).then_some(row.authenticator);
        // rule: F1-2 within a call an event is looked at, sorted, processed and tried again, with each key once
        let looked = self.looked.of(&row.id, &id);
        if let Some(opener) = looked.opener(live, states.newest()) {
            let key = match states.get(&opener) {
                Some(node) => Some(&node.event_key),
                None => (live == Some(opener)).then_some(&row.event_key),
            };
            if let Some(bytes) = key.and_then(|key| self.trials.open(message, key)) {
                return Ok(Some((bytes, opener)));
            }
        }
        let opened = match live.and_then(|_| self.trials.open(message, &row.event_key)) {
            Some(bytes) => Some((bytes, row.authenticator)),
            None => states
                .numbered()
                .filter(|(number, node)| {
                    !node.removed && !looked.was_tried(*number) && live != Some(node.authenticator)
                })
                .find_map(|(_, node)| {
                    let bytes = self.trials.open(message, &node.event_key)?;
                    Some((bytes, node.authenticator))
                }),
        };
        let opener = opened.as_ref().map(|(_, opener)| *opener);
        self.looked.note(&row.id, id, Look::new(live, states.newest(), opener));
        Ok(opened)
    }
}
