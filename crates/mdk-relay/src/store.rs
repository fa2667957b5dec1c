//! The stored events, in memory: NIP-01 with its kinds that replace, NIP-09 deletions, NIP-40 expiration, and the log of all
//! that ever entered.

mod marks;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use mdk_wire::{Event, EventId, PublicKey, Timestamp};

use self::marks::Marks;
use crate::filters::Filter;

const DELETION: u16 = 5;

/// An event with its JSON, which is written once.
pub(crate) struct Stored {
    pub(crate) event: Event,
    pub(crate) json: String,
}

impl Stored {
    pub(crate) fn new(event: Event) -> Self {
        Self { json: event.to_json(), event }
    }
}

/// The fate of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    New,
    /// Passed on and not stored.
    Ephemeral,
    Duplicate,
    /// There is one that replaces it.
    Outdated,
    Deleted,
    Expired,
}

/// Newest first, ties by id.
type Key = (Reverse<Timestamp>, EventId);
/// The address of which one event is kept: a kind of an author, with the `d` tag where the kind has one.
type Slot = (u16, PublicKey, String);

pub(crate) struct Store {
    max_events: usize,
    events: BTreeMap<Key, Arc<Stored>>,
    kinds: BTreeMap<(u16, Key), Arc<Stored>>,
    times: HashMap<EventId, Timestamp>,
    slots: HashMap<Slot, Key>,
    expiring: BTreeSet<(Timestamp, Key)>,
    deleted_ids: Marks<(EventId, PublicKey), ()>,
    deleted_slots: Marks<Slot, Timestamp>,
    log: VecDeque<Arc<Stored>>,
}

impl Store {
    pub(crate) fn new(max_events: usize) -> Self {
        let max_events = max_events.max(1);
        Self {
            max_events,
            events: BTreeMap::new(),
            kinds: BTreeMap::new(),
            times: HashMap::new(),
            slots: HashMap::new(),
            expiring: BTreeSet::new(),
            deleted_ids: Marks::new(max_events),
            deleted_slots: Marks::new(max_events),
            log: VecDeque::new(),
        }
    }

    /// Forgets everything but the log.
    pub(crate) fn wipe(&mut self) {
        let log = std::mem::take(&mut self.log);
        *self = Self { log, ..Self::new(self.max_events) };
    }

    /// Keeps the event, unless something is in its way.
    pub(crate) fn save(&mut self, stored: &Arc<Stored>, now: Timestamp) -> Saved {
        self.forget_expired(now);
        let event = &stored.event;
        let (id, time) = (event.id(), event.created_at());
        if self.times.contains_key(&id) {
            return Saved::Duplicate;
        }
        if self.deleted_ids.get(&(id, event.pubkey())).is_some() {
            return Saved::Deleted;
        }
        let expires = expiration(event);
        if expires.is_some_and(|at| at <= now) {
            return Saved::Expired;
        }
        if (20_000..30_000).contains(&event.kind()) {
            return Saved::Ephemeral;
        }
        let key = (Reverse(time), id);
        let slot = slot(event);
        if let Some(slot) = &slot {
            if self.deleted_slots.get(slot).is_some_and(|at| time <= *at) {
                return Saved::Deleted;
            }
            if let Some(current) = self.slots.get(slot).copied() {
                // The newer one, or of two of one second the lower id.
                if current < key {
                    return Saved::Outdated;
                }
                self.remove(&current);
            }
        }
        if event.kind() == DELETION {
            self.delete(event);
        }
        self.events.insert(key, stored.clone());
        self.kinds.insert((event.kind(), key), stored.clone());
        self.times.insert(id, time);
        if let Some(slot) = slot {
            self.slots.insert(slot, key);
        }
        if let Some(at) = expires {
            self.expiring.insert((at, key));
        }
        if self.log.len() >= self.max_events {
            self.log.pop_front();
        }
        self.log.push_back(stored.clone());
        while self.events.len() > self.max_events {
            let Some(oldest) = self.events.keys().next_back().copied() else { break };
            self.remove(&oldest);
        }
        Saved::New
    }

    /// NIP-09: what the author of this event wants to be gone, now and when it comes again. Of others nothing goes.
    fn delete(&mut self, deletion: &Event) {
        let (author, until) = (deletion.pubkey(), deletion.created_at());
        for tag in deletion.tags() {
            let [name, value, ..] = &tag[..] else { continue };
            if name == "e" {
                let Ok(id) = EventId::from_hex(value) else { continue };
                let stored = self.times.get(&id).map(|time| (Reverse(*time), id));
                let found = stored.and_then(|key| Some((key, self.events.get(&key)?)));
                match found {
                    Some((_, found)) if found.event.pubkey() != author => continue,
                    // A deletion is not deleted.
                    Some((_, found)) if found.event.kind() == DELETION => continue,
                    Some((key, _)) => self.remove(&key),
                    None => {}
                }
                self.deleted_ids.put((id, author), ());
            } else if name == "a" {
                let Some(slot) = address(value).filter(|(_, key, _)| *key == author) else {
                    continue;
                };
                if let Some(key) = self.slots.get(&slot).copied().filter(|key| key.0.0 <= until) {
                    self.remove(&key);
                }
                let at = self.deleted_slots.get(&slot).map_or(until, |at| until.max(*at));
                self.deleted_slots.put(slot, at);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(stored) = self.events.remove(key) else { return };
        let event = &stored.event;
        self.kinds.remove(&(event.kind(), *key));
        self.times.remove(&event.id());
        if let Some(slot) = slot(event) {
            self.slots.remove(&slot);
        }
        if let Some(at) = expiration(event) {
            self.expiring.remove(&(at, *key));
        }
    }

    pub(crate) fn forget_expired(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.expiring.first().copied().filter(|(at, _)| *at <= now) {
            self.expiring.remove(&(at, key));
            self.remove(&key);
        }
    }

    /// Returns the events that match one filter, newest first, ties by id; at most `limit`.
    fn find(&self, filter: &Filter, limit: usize) -> Vec<&Arc<Stored>> {
        let (newest, oldest) = (filter.until.unwrap_or(u64::MAX), filter.since.unwrap_or(0));
        if newest < oldest || limit == 0 {
            return Vec::new();
        }
        let first = (Reverse(newest), EventId::from_bytes([0; 32]));
        let last = (Reverse(oldest), EventId::from_bytes([0xff; 32]));
        let matches = |stored: &&Arc<Stored>| filter.matches(&stored.event);
        let mut found: Vec<&Arc<Stored>> = if let Some(ids) = &filter.ids {
            let keys = ids.iter().filter_map(|id| Some((Reverse(*self.times.get(id)?), *id)));
            keys.filter_map(|key| self.events.get(&key)).filter(matches).collect()
        } else if let Some(kinds) = &filter.kinds {
            let of = |kind: &u16| self.kinds.range((*kind, first)..=(*kind, last));
            let of = |kind| of(kind).map(|(_, stored)| stored).filter(matches).take(limit);
            kinds.iter().flat_map(of).collect()
        } else {
            let all = self.events.range(first..=last).map(|(_, stored)| stored);
            return all.filter(matches).take(limit).collect();
        };
        found.sort_unstable_by_key(|stored| key(&stored.event));
        found.truncate(limit);
        found
    }

    /// Returns the events that match any of the filters, newest first, ties by id. Each filter gives as many as its `limit`
    /// at most.
    pub(crate) fn query(
        &self,
        filters: &[Filter],
        limit: impl Fn(&Filter) -> usize,
    ) -> Vec<Arc<Stored>> {
        if let [filter] = filters {
            return self.find(filter, limit(filter)).into_iter().cloned().collect();
        }
        let found = filters.iter().flat_map(|filter| self.find(filter, limit(filter)));
        let once: BTreeMap<Key, _> = found.map(|stored| (key(&stored.event), stored)).collect();
        once.into_values().cloned().collect()
    }

    /// Number of stored events of a kind.
    pub(crate) fn count(&self, kind: u16) -> usize {
        let first = (Reverse(u64::MAX), EventId::from_bytes([0; 32]));
        let last = (Reverse(0), EventId::from_bytes([0xff; 32]));
        self.kinds.range((kind, first)..=(kind, last)).count()
    }

    /// All that entered of a kind, as JSON, in the order of arrival.
    pub(crate) fn log(&self, kind: u16) -> Vec<String> {
        let of_kind = self.log.iter().filter(|stored| stored.event.kind() == kind);
        of_kind.map(|stored| stored.json.clone()).collect()
    }
}

fn key(event: &Event) -> Key {
    (Reverse(event.created_at()), event.id())
}

fn slot(event: &Event) -> Option<Slot> {
    let name = match event.kind() {
        0 | 3 | 10_000..20_000 => String::new(),
        30_000..40_000 => value(event, "d").unwrap_or_default().to_owned(),
        _ => return None,
    };
    Some((event.kind(), event.pubkey(), name))
}

/// Reads `kind:author:d` (NIP-01).
fn address(text: &str) -> Option<Slot> {
    let mut parts = text.splitn(3, ':');
    let kind = parts.next()?.parse().ok()?;
    let author = PublicKey::from_hex(parts.next()?).ok()?;
    Some((kind, author, parts.next().unwrap_or_default().to_owned()))
}

/// When the event is no longer to be kept (NIP-40).
fn expiration(event: &Event) -> Option<Timestamp> {
    value(event, "expiration")?.parse().ok()
}

/// The value of the first tag of that name.
fn value<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    let tag = event.tags().iter().find(|tag| tag.first().is_some_and(|first| first == name))?;
    tag.get(1).map(String::as_str)
}

#[cfg(test)]
mod tests;
