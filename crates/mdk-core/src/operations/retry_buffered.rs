//! Events that waited: tried again when the state they need may have come (protocol/waiting.md D5).

use std::collections::{HashMap, HashSet};

use mdk_store::{ClosedRow, GroupRow, Tx};
use mdk_wire::budget::group::MAX_TRIED_AT_ONCE;
use mdk_wire::{Event, EventId, GroupId, GroupMessage, Secret, kind};

use crate::mls::decode::claims;
use crate::model::error::Result;
use crate::model::membership;
use crate::model::state_id::Auth;
use crate::state_store::buffered_events::AT_ONCE;
use crate::state_store::buffered_memory::Waits;
use crate::state_store::records::Records;

/// Held events of a group, parsed once per call.
#[derive(Default)]
pub(crate) struct Drain {
    /// Keys in the order in which they became known.
    keys: Vec<Key>,
    /// The place of each among them.
    places: HashMap<Auth, usize>,
    events: HashMap<EventId, Waiting>,
    /// Whether a state has come in this call.
    fresh: HashMap<Auth, bool>,
    /// The number of events without a known key that each key was tried on, for states that have come in this call;
    /// under `None`, the number for all other keys together.
    spent: HashMap<Option<Auth>, u32>,
}

struct Key {
    state: Auth,
    key: Secret<32>,
    /// The number of the state among those that are retained now.
    number: Option<u64>,
    /// Whether it is the key of a state that is there now.
    current: bool,
}

struct Waiting {
    message: GroupMessage,
    /// The number of keys that were tried.
    tried: usize,
    /// Once one of them opened it: whether it is a commit, and the epoch that it claims.
    epoch: Option<(bool, u64)>,
}

impl Drain {
    fn learn(&mut self, state: Auth, key: &Secret<32>, number: Option<u64>) {
        let place = *self.places.entry(state).or_insert(self.keys.len());
        match self.keys.get_mut(place) {
            Some(known) => (known.number, known.current) = (number, true),
            None => self.keys.push(Key { state, key: key.clone(), number, current: true }),
        }
    }
}

/// The waiting events that open now.
#[derive(Default)]
pub(crate) struct Openable {
    /// With their epochs.
    pub(crate) others: Vec<(u64, Event)>,
    pub(crate) commits: Vec<Event>,
    pub(crate) welcomes: Vec<Event>,
}

/// The keys of the group's states, and the highest epoch among them.
fn learn_keys(tx: &Tx<'_>, id: &GroupId, row: &GroupRow, drain: &mut Drain) -> Result<u64> {
    // (a key from an earlier look keeps its tries; it is current only if its state is still there)
    for key in &mut drain.keys {
        (key.number, key.current) = (None, false);
    }
    if !membership::is_out(row.status) {
        drain.learn(row.authenticator, &row.event_key, None);
    }
    let mut highest = row.epoch;
    for (number, node) in tx.states(id)?.numbered().filter(|(_, node)| !node.removed) {
        drain.learn(node.authenticator, &node.event_key, Some(number));
        highest = highest.max(node.epoch);
    }
    Ok(highest)
}

// rule: F1-2 each key once per event, also over calls
/// Tries keys on events that no key has opened, each once, the newest first. One call tries only so many; later calls
/// do the rest. Anybody who knows a routing id can make any number of events that no key opens, and each commit has a
/// new key.
fn try_closed(
    records: &mut Records<'_>,
    id: &GroupId,
    drain: &mut Drain,
    waits: &mut Waits,
    holders: &[GroupId],
) -> Result<()> {
    let Drain { keys, events, fresh, spent, .. } = drain;
    let states: HashSet<Auth> =
        keys.iter().filter(|key| key.current).map(|key| key.state).collect();
    waits.keep_keys(&states);
    for Key { state, key, number, .. } in keys.iter().filter(|key| key.current) {
        let is_fresh = *fresh.entry(*state).or_insert_with(|| !waits.has_tried(state));
        let spent = spent.entry(is_fresh.then_some(*state)).or_default();
        for holder in holders {
            loop {
                let most = if records.input.thorough { u32::MAX } else { MAX_TRIED_AT_ONCE };
                let place = waits.tried_to(*state, holder);
                let room = most.saturating_sub(*spent).min(AT_ONCE);
                if *place == i64::MIN || room == 0 {
                    break;
                }
                let closed = records.tx.closed_before(holder, *place, room)?;
                *place = match closed.last() {
                    Some(last) if closed.len() == room as usize => last.seq,
                    _ => i64::MIN,
                };
                for ClosedRow { event_id, event_json, .. } in closed {
                    let looked = records.looked.of(id, &event_id);
                    if events.contains_key(&event_id)
                        || number.is_some_and(|number| looked.was_tried(number))
                    {
                        continue;
                    }
                    *spent = spent.saturating_add(1);
                    let sealed = GroupMessage::sealed_in(&event_json);
                    let trials = &records.memory.trials;
                    let opened = sealed.and_then(|sealed| trials.open_sealed(&sealed, key));
                    let Some(bytes) = opened else { continue };
                    let event = Event::from_stored_json(event_json.as_bytes()).ok();
                    let parsed = event.and_then(|event| GroupMessage::parse(event).ok());
                    let Some(message) = parsed else { continue };
                    let epoch = Some(claims(&bytes));
                    events.insert(event_id, Waiting { message, tried: 0, epoch });
                    records.tx.set_closed(&event_id, false)?;
                    records.memory.buffered.opened.push(id.clone());
                }
            }
        }
    }
    Ok(())
}

/// Sorts the waiting events that open now. All but commits stand in the order of arrival, each with its epoch. Commits
/// stand by their epochs, and Welcomes are among them if we are out.
pub(crate) fn sort_waiting(
    records: &mut Records<'_>,
    id: &GroupId,
    drain: &mut Drain,
    waits: &mut Waits,
    holders: &[GroupId],
) -> Result<Openable> {
    let mut welcomes = Vec::new();
    let Some(row) = records.tx.group(id)? else { return Ok(Openable::default()) };
    let highest = learn_keys(records.tx, id, &row, drain)?;
    try_closed(records, id, drain, waits, holders)?;
    let mut waiting = Vec::new();
    for holder in holders {
        waiting.extend(records.tx.held_ids(holder)?);
    }
    let (mut others, mut commits) = (Vec::new(), Vec::new());
    waits.keep(&waiting, highest);
    for event_id in &waiting {
        if waits.knows(event_id) {
            continue;
        }
        if !drain.events.contains_key(event_id) {
            let Some(json) = records.tx.held_json(event_id)? else { continue };
            let event = Event::from_stored_json(json.as_bytes()).ok();
            if let Some(wrap) = event.as_ref().filter(|event| event.kind() == kind::GIFT_WRAP) {
                // (a group that cannot be followed any more is replaced like one that has ended, B4-5)
                let ended = membership::is_over(row.status) || row.status.is_stuck();
                welcomes.extend(ended.then(|| wrap.clone()));
                continue;
            }
            let parsed = event.and_then(|event| GroupMessage::parse(event).ok());
            let Some(message) = parsed else {
                records.tx.unhold(event_id)?;
                continue;
            };
            drain.events.insert(*event_id, Waiting { message, tried: 0, epoch: None });
        }
        let Drain { keys, events, .. } = &mut *drain;
        let Some(entry) = events.get_mut(event_id) else { continue };
        let looked = records.looked.of(id, event_id);
        while entry.epoch.is_none() && entry.tried < keys.len() {
            let Key { key, number, .. } = &keys[entry.tried];
            let again = number.is_some_and(|number| looked.was_tried(number));
            let trials = &records.memory.trials;
            if let Some(bytes) = if again { None } else { trials.open(&entry.message, key) } {
                entry.epoch = Some(claims(&bytes));
            }
            entry.tried += 1;
        }
        if entry.epoch.is_some() {
            waits.is_open(event_id);
        }
        match entry.epoch {
            // An event of a later epoch would only be put back.
            Some((_, epoch)) if epoch > highest => waits.is_ahead(*event_id, epoch),
            Some((true, epoch)) => commits.push((epoch, entry.message.event.clone())),
            Some((false, epoch)) => others.push((epoch, entry.message.event.clone())),
            // The state whose key has opened it is gone.
            None => records.tx.set_closed(event_id, true)?,
        }
    }
    commits.sort_by_key(|(epoch, _)| *epoch);
    let commits = commits.into_iter().map(|(_, event)| event).collect();
    Ok(Openable { others, commits, welcomes })
}
