//! How far a relay has been read. (turn/settling.rs writes it down.)

use std::collections::BTreeSet;

use mdk_core::Engine;
use serde::{Deserialize, Serialize};

use crate::client::times::now;

/// The account's own inbox, next to the routing ids of groups.
pub(crate) const INBOX: &str = "inbox";

/// Everything of `topics` that the relay had up to `at` was given to the engine. What is not in `topics` was never
/// fetched completely.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        serde_json::to_vec(self).expect("only texts and numbers")
    }

    /// Reads a relay's cursor. One that does not read is none: everything is fetched again. So is one of the future: our
    /// clock was ahead when it was written, and until then nothing would be asked for.
    pub(crate) fn load(engine: &mut Engine, relay: &str) -> mdk_core::Result<Self> {
        /// A clock that is set right by less costs nothing: what is asked for goes back further than that.
        const AHEAD: u64 = 3600;
        let stored = engine.state(&key(relay))?;
        let stored = stored.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        let past = stored.filter(|cursor| cursor.at <= now().saturating_add(AHEAD));
        Ok(past.unwrap_or_default())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        let keys = mdk_wire::Keys::generate();
        let clock = std::sync::Arc::new(mdk_core::SystemClock);
        Engine::in_memory(keys, mdk_core::Config::default(), clock).unwrap()
    }

    #[test]
    fn a_cursor_survives_and_damage_is_no_cursor() {
        let cursor = Cursor { at: 7, topics: BTreeSet::from([INBOX.to_owned(), "ab".to_owned()]) };
        let mut engine = engine();
        for (bytes, read) in [
            (&cursor.to_bytes()[..], cursor.clone()),
            (b"{}", Cursor::default()),
            (b"\xff", Cursor::default()),
        ] {
            engine.set_state(&key("wss://relay"), Some(bytes)).unwrap();
            assert_eq!(Cursor::load(&mut engine, "wss://relay").unwrap(), read);
        }
    }

    #[test]
    fn a_cursor_from_a_clock_that_was_ahead_is_none() {
        let mut engine = engine();
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
}
