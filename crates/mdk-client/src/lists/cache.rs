//! Lists and hints of accounts that were found lately.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use mdk_wire::PublicKey;
use tokio::time::Instant;

use crate::client::lock::lock;

/// Accounts whose lists are remembered, and for how long.
const MOST_KNOWN: usize = 10_000;
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// The lists in which an account names its relays; newest events only, addresses in the pool's form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    /// Entries of its kind 10002 without marker, or marked `write`.
    pub(crate) write: Vec<String>,
    /// Entries of its kind 10002 without marker, or marked `read`.
    pub(crate) read: Vec<String>,
    /// Its kind 10050.
    pub(crate) inbox: Vec<String>,
}

/// Lists that were found lately, and relays that somebody named for an account.
#[derive(Default)]
pub(crate) struct Cache {
    pub(super) lists: Lately<Lists>,
    pub(super) hints: Lately<Vec<String>>,
}

/// Facts about accounts, each for [`KNOWN_FOR`].
pub(super) struct Lately<T>(Mutex<HashMap<PublicKey, (Instant, T)>>);

impl<T> Default for Lately<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Lately<T> {
    pub(super) fn get(&self, who: &PublicKey) -> Option<T> {
        let known = lock(&self.0);
        known.get(who).filter(|(at, _)| at.elapsed() < KNOWN_FOR).map(|(_, what)| what.clone())
    }

    pub(super) fn put(&self, who: PublicKey, what: T) {
        let mut known = lock(&self.0);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, (at, _)| at.elapsed() < KNOWN_FOR);
        }
        if known.len() < MOST_KNOWN {
            known.insert(who, (Instant::now(), what));
        }
    }
}
