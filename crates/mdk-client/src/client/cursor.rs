//! How far a relay has been read.

use std::collections::{BTreeMap, BTreeSet};

use mdk_core::Engine;
use mdk_wire::budget::relay::GROUP_RELAYS;
use serde_json::{Value, json};

use super::shared::now;
use crate::relay_pool::normal_url;

/// The account's own inbox, next to the routing ids of groups.
pub(crate) const INBOX: &str = "inbox";

/// Everything of `topics` that the relay had up to `at` was given to the engine. What is not in `topics` was never
/// fetched completely.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// `created_at` of the newest event that was seen, never later than our own clock.
    pub(crate) at: u64,
    pub(crate) topics: BTreeSet<String>,
}

/// The engine's key for a relay's cursor.
pub(crate) fn key(relay: &str) -> String {
    use std::fmt::Write as _;
    let name = format!("cursor/{relay}");
    if name.len() <= 200 {
        return name;
    }
    // Longer than a key may be: its beginning and a number for the rest.
    let rest = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut short: String = name.chars().take(160).filter(char::is_ascii).collect();
    let _ = write!(short, "~{rest:016x}");
    short
}

impl Cursor {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        json!({ "at": self.at, "topics": self.topics }).to_string().into_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let topics = value.get("topics")?.as_array()?;
        Some(Self {
            at: value.get("at")?.as_u64()?,
            topics: topics.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect(),
        })
    }

    /// Reads a relay's cursor. One that does not read is none: everything is fetched again. So is one of the future: our
    /// clock was ahead when it was written, and until then nothing would be asked for.
    pub(crate) fn load(engine: &mut Engine, relay: &str) -> mdk_core::Result<Self> {
        /// A clock that is set right by less costs nothing: what is asked for goes back further than that.
        const AHEAD: u64 = 3600;
        let stored = engine.state(&key(relay))?.as_deref().and_then(Self::from_bytes);
        let past = stored.filter(|cursor| cursor.at <= now().saturating_add(AHEAD));
        Ok(past.unwrap_or_default())
    }
}

/// Since when a group's events concern us: when the invite that we joined by was made, at the earliest. Kept by
/// MLS group id.
pub(crate) fn join_key(group: &mdk_wire::GroupId) -> String {
    format!("joined/{}", group.to_hex())
}

/// What is to be read, and where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Routing ids by relay, in the pool's form.
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
    /// The relays of each group in its order, with the routing ids.
    lists: Vec<(Vec<String>, BTreeSet<String>)>,
    /// Relays that the account left and that gift wraps may still come to.
    pub(crate) former: BTreeSet<String>,
    /// For routing ids of groups that we were invited to: what is earlier cannot be read.
    pub(crate) since: BTreeMap<String, u64>,
}

impl Wanted {
    /// What the engine wants to hear of.
    pub(crate) fn of(engine: &mut Engine) -> mdk_core::Result<Self> {
        let mut wanted = Self::default();
        let interests = engine.interests()?;
        let mut joined = BTreeMap::new();
        let states = engine.states("joined/")?;
        if !states.is_empty() {
            for group in engine.groups(None)? {
                let key = join_key(&group.id);
                if let Some((_, at)) = states.iter().find(|(name, _)| *name == key)
                    && let Ok(at) = <[u8; 8]>::try_from(at.as_slice())
                {
                    joined.insert(group.nostr_group_id.to_hex(), u64::from_be_bytes(at));
                }
            }
        }
        for interest in interests {
            let filter: Value = serde_json::from_str(&interest.filter)
                .map_err(|_| mdk_core::Error::Internal("a filter of the engine"))?;
            let Some(ids) = filter.get("#h").and_then(Value::as_array) else { continue };
            let ids: BTreeSet<String> =
                ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
            // Old and new routing ids of a group come together.
            if let Some(at) = ids.iter().find_map(|id| joined.get(id)) {
                wanted.since.extend(ids.iter().map(|id| (id.clone(), *at)));
            }
            let relays = interest.relays.iter().filter_map(|url| normal_url(url).ok()).collect();
            wanted.lists.push((relays, ids));
        }
        wanted.groups = wanted.choose(usize::MAX, |_| true, |_| false);
        Ok(wanted)
    }

    /// Leaves of each group what the owner named, and besides that as many relays as are read at one time: the first ones of
    /// the group's list, so that all members read the same, those that are not `failing` before the others.
    pub(crate) fn narrow(
        &mut self,
        owned: impl Fn(&String) -> bool,
        failing: impl Fn(&String) -> bool,
    ) {
        self.groups = self.choose(GROUP_RELAYS, owned, failing);
    }

    fn choose(
        &self,
        most: usize,
        owned: impl Fn(&String) -> bool,
        failing: impl Fn(&String) -> bool,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (relays, ids) in &self.lists {
            let (owned, others): (Vec<_>, Vec<_>) = relays.iter().partition(|url| owned(url));
            let (failing, well): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|url| failing(url));
            for relay in owned.into_iter().chain(well.into_iter().chain(failing).take(most)) {
                groups.entry(relay.clone()).or_default().extend(ids.iter().cloned());
            }
        }
        groups
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_and_damage_is_no_cursor() {
        let cursor = Cursor { at: 7, topics: BTreeSet::from([INBOX.to_owned(), "ab".to_owned()]) };
        assert_eq!(Cursor::from_bytes(&cursor.to_bytes()).unwrap(), cursor);
        assert_eq!(Cursor::from_bytes(b"{}"), None);
        assert_eq!(Cursor::from_bytes(b"\xff"), None);
    }

    #[test]
    fn a_cursor_from_a_clock_that_was_ahead_is_none() {
        use std::sync::Arc;

        use mdk_core::{Config, SystemClock};

        let keys = mdk_wire::Keys::generate();
        let mut engine = Engine::in_memory(keys, Config::default(), Arc::new(SystemClock)).unwrap();
        for (ahead, kept) in [(0, true), (60, true), (86_400, false), (u64::MAX / 2, false)] {
            let cursor = Cursor { at: now() + ahead, topics: BTreeSet::from([INBOX.to_owned()]) };
            engine.set_state(&key("wss://relay"), Some(&cursor.to_bytes())).unwrap();
            let loaded = Cursor::load(&mut engine, "wss://relay").unwrap();
            assert_eq!(loaded, if kept { cursor } else { Cursor::default() }, "{ahead}");
        }
    }

    #[test]
    fn long_addresses_have_keys_of_their_own() {
        let long = |end: char| format!("wss://relay.example/{}{end}", "p".repeat(480));
        assert!(key(&long('a')).len() <= 256);
        assert_ne!(key(&long('a')), key(&long('b')));
    }

    #[test]
    fn of_a_group_the_first_relays_are_read_and_others_when_they_fail() {
        let name = |n: usize| format!("wss://relay{n}.example");
        let list: Vec<String> = (0..16).map(name).collect();
        let read = |owned: &[usize], failing: &[usize]| {
            let lists = vec![(list.clone(), BTreeSet::from(["id".to_owned()]))];
            let mut wanted = Wanted { lists, ..Wanted::default() };
            let is = |of: &[usize], url: &String| of.iter().any(|n| name(*n) == *url);
            wanted.narrow(|url| is(owned, url), |url| is(failing, url));
            let numbers =
                list.iter().enumerate().filter(|(_, url)| wanted.groups.contains_key(*url));
            numbers.map(|(n, _)| n).collect::<Vec<_>>()
        };
        assert_eq!(read(&[], &[]), [0, 1, 2, 3, 4]);
        assert_eq!(read(&[1, 9], &[]), [0, 1, 2, 3, 4, 5, 9]);
        assert_eq!(read(&[], &[0, 3]), [1, 2, 4, 5, 6]);
        assert_eq!(read(&[0], &[0, 1]), [0, 2, 3, 4, 5, 6]);
        // When all fail, the first are tried again.
        assert_eq!(read(&[], &(0..16).collect::<Vec<_>>()), [0, 1, 2, 3, 4]);
        assert_eq!(read(&[], &(2..16).collect::<Vec<_>>()), [0, 1, 2, 3, 4]);
    }
}
