//! Events that the engine has had lately: a relay that repeats them costs no call of it.

use std::collections::{HashSet, VecDeque};

use sha2::{Digest as _, Sha256};

/// Most ids that are remembered.
const MOST: usize = 8_192;

/// Ids of verified events only: one that was forged must not shut the real one out.
#[derive(Default)]
pub(crate) struct Recent {
    ids: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Recent {
    pub(crate) fn contains(&self, id: &[u8; 32]) -> bool {
        self.ids.contains(id)
    }

    pub(crate) fn insert(&mut self, id: [u8; 32]) {
        if !self.ids.insert(id) {
            return;
        }
        if self.order.len() == MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.order.push_back(id);
    }
}

/// The engine's number for a relay. An event that nobody can read counts for the relay that gave it.
pub(crate) fn number(relay: &str) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(relay)[..8]);
    // (0 stands for none)
    i64::from_be_bytes(first) | 1
}

/// The id that is remembered of an event that no key has opened, for the relay that has given it, or for all (0).
/// Another relay's copy goes to the engine, too: it must not be lost with the noise of the first relay.
pub(crate) fn closed_of(id: &[u8; 32], relay: i64) -> [u8; 32] {
    Sha256::new().chain_update(id).chain_update(relay.to_be_bytes()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut recent = Recent::default();
        let id = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            id
        };
        (0..=MOST).for_each(|n| recent.insert(id(n)));
        assert!(!recent.contains(&id(0)) && recent.contains(&id(1)) && recent.contains(&id(MOST)));
    }
}
