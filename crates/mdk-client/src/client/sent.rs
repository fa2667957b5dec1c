//! Group events that relays accepted lately: a relay that comes back without them gets them again, because a member who
//! was away has only the relay to learn of them from.

use std::collections::{HashSet, VecDeque};

use mdk_core::{Engine, OutboxItem};
use mdk_wire::{Event, GroupId};
use serde::{Deserialize, Serialize};

use super::times::now;

/// What is kept, at most.
const MOST_EVENTS: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;
/// In seconds.
const KEPT_FOR: u64 = 86_400;
const STATE: &str = "sent/";

#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(skip)]
    seq: i64,
    /// Where it stands in the engine's state: with the id of its group, so that it goes where the group goes.
    #[serde(skip)]
    key: String,
    at: u64,
    relays: Vec<String>,
    id: String,
    event: String,
}

impl Kept {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("only texts and numbers")
    }

    fn read(key: &str, bytes: &[u8]) -> Option<Self> {
        let seq = i64::from_str_radix(key.strip_prefix(STATE)?.get(..16)?, 16).ok()?;
        let kept: Self = serde_json::from_slice(bytes).ok()?;
        Some(Self { seq, key: key.to_owned(), ..kept })
    }
}

fn key(seq: i64, group: Option<&GroupId>) -> String {
    let group = group.map(GroupId::to_hex).unwrap_or_default();
    format!("{STATE}{seq:016x}/{group}")
}

/// Whether an event of the outbox has the tag that lets relays forget it (NIP-40).
fn expires(event: &str) -> bool {
    let parsed = Event::from_stored_json(event.as_bytes());
    parsed.is_ok_and(|event| {
        event.tags().iter().any(|tag| tag.first().is_some_and(|t| t == "expiration"))
    })
}

/// What is to be written to the engine's state, and taken out of it.
pub(crate) type Changes = Vec<(String, Option<Vec<u8>>)>;

/// The newest, in the order in which they were put into the outbox.
#[derive(Default)]
pub(crate) struct Sent {
    kept: VecDeque<Kept>,
    bytes: usize,
}

impl Sent {
    /// What an earlier process kept; what is old is taken out.
    pub(crate) fn load(engine: &mut Engine) -> mdk_core::Result<Self> {
        let mut sent = Self::default();
        let oldest = now().saturating_sub(KEPT_FOR);
        for (key, bytes) in engine.states(STATE)? {
            match Kept::read(&key, &bytes).filter(|kept| kept.at >= oldest) {
                Some(kept) => {
                    sent.bytes += kept.event.len();
                    sent.kept.push_back(kept);
                }
                None => engine.set_state(&key, None)?,
            }
        }
        Ok(sent)
    }

    /// Notes that a relay has accepted an event. What is to disappear is not kept.
    pub(crate) fn keep(&mut self, item: &OutboxItem, relay: String) -> Changes {
        let key = key(item.seq, item.group.as_ref());
        self.note(item.seq, key, &item.event_id.to_hex(), &item.event, relay)
    }

    fn note(&mut self, seq: i64, key: String, id: &str, event: &str, relay: String) -> Changes {
        if event.len() > MOST_BYTES / 4 || expires(event) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        if let Some(kept) = self.kept.iter_mut().rev().find(|kept| kept.seq == seq) {
            if !kept.relays.contains(&relay) {
                kept.relays.push(relay);
                changes.push((kept.key.clone(), Some(kept.to_bytes())));
            }
            return changes;
        }
        let (id, event) = (id.to_owned(), event.to_owned());
        let kept = Kept { seq, key, at: now(), relays: vec![relay], id, event };
        changes.push((kept.key.clone(), Some(kept.to_bytes())));
        self.bytes += kept.event.len();
        self.kept.push_back(kept);
        let oldest = now().saturating_sub(KEPT_FOR);
        while self.kept.len() > MOST_EVENTS
            || self.bytes > MOST_BYTES
            || self.kept.front().is_some_and(|kept| kept.at < oldest)
        {
            let Some(first) = self.kept.pop_front() else { break };
            self.bytes -= first.event.len();
            changes.push((first.key, None));
        }
        changes
    }

    /// Ids of what this relay accepted.
    pub(crate) fn ids(&self, relay: &str) -> Vec<String> {
        let accepted = |kept: &&Kept| kept.relays.iter().any(|known| known == relay);
        self.kept.iter().filter(accepted).map(|kept| kept.id.clone()).collect()
    }

    /// The events of these ids, in the order of the outbox, each with its key in the engine's state: what is not there any
    /// more went with its group.
    pub(crate) fn events(&self, ids: &HashSet<&String>) -> Vec<(String, String)> {
        let wanted = self.kept.iter().filter(|kept| ids.contains(&kept.id));
        wanted.map(|kept| (kept.key.clone(), kept.event.clone())).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::{Keys, UnsignedEvent};

    use super::*;

    fn group() -> GroupId {
        GroupId::from_bytes(&[7; 16]).unwrap()
    }

    fn note(sent: &mut Sent, seq: i64, event: &str, relay: &str) -> Changes {
        sent.note(seq, key(seq, Some(&group())), &seq.to_string(), event, relay.to_owned())
    }

    #[test]
    fn what_is_kept_is_bounded_and_survives() {
        let mut sent = Sent::default();
        let mut stored = std::collections::BTreeMap::new();
        let mut store = |changes: Changes| {
            for (key, value) in changes {
                match value {
                    Some(value) => stored.insert(key, value),
                    None => stored.remove(&key),
                };
            }
            stored.len()
        };
        let count = i64::try_from(MOST_EVENTS).unwrap();
        for seq in 0..count + 10 {
            store(note(&mut sent, seq, "event", "a"));
        }
        assert_eq!(sent.ids("a").len(), MOST_EVENTS);
        store(note(&mut sent, count, "event", "b"));
        assert_eq!(sent.ids("b"), [count.to_string()]);
        let [(of, event)] = sent.events(&HashSet::from([&count.to_string()])).try_into().unwrap();
        assert_eq!(event, "event");
        assert!(of.ends_with(&group().to_hex()));
        let (keys, tags) = (Keys::generate(), vec![vec!["expiration".to_owned(), "1".to_owned()]]);
        let (pubkey, content) = (keys.public_key(), String::new());
        let gone = UnsignedEvent { pubkey, created_at: 1, kind: 445, tags, content }.sign(&keys);
        assert_eq!(note(&mut sent, count + 20, &gone.to_json(), "a"), []);
        for seq in 2_000..2_010 {
            let big = "x".repeat(MOST_BYTES / 5);
            store(note(&mut sent, seq, &big, "a"));
        }
        assert!(sent.bytes <= MOST_BYTES && sent.ids("a").len() <= 5);
        assert_eq!(stored.len(), sent.kept.len());
        for (key, bytes) in &stored {
            let kept = Kept::read(key, bytes).unwrap();
            assert!(sent.kept.iter().any(|k| k.seq == kept.seq && k.to_bytes() == *bytes));
        }
    }
}
