//! Relays that the account left: who has not seen its new lists still writes there.
//!
//! The new lists and KeyPackages go there as well, and gift wraps are listened for, for some weeks. What is left then
//! is what a list is for: whoever has not looked for that long looks again.

use mdk_core::Engine;
use serde::{Deserialize, Serialize};

/// Where they stand in the engine's state.
const STATE: &str = "relays/former";
/// How long, in seconds: longer than a KeyPackage that was replaced can be used.
const LISTENED_FOR: u64 = 14 * 86_400;
/// So many are listened to, those that were left last.
const MOST: usize = 8;

/// Addresses in the pool's form.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Former {
    /// The account's own relays when it went to work last.
    own: Vec<String>,
    /// Those that it left, and when; the latest last.
    left: Vec<(String, u64)>,
}

impl Former {
    /// What was written down, now that `own` are the account's relays; what changes is written down.
    pub(super) fn load(engine: &mut Engine, own: &[String], now: u64) -> mdk_core::Result<Self> {
        let stored = engine.state(STATE)?;
        let former = stored.as_deref().and_then(|bytes| serde_json::from_slice::<Self>(bytes).ok());
        let mut former = former.unwrap_or_default();
        former.move_to(own, now);
        let text = former.text();
        if stored.as_deref() != Some(text.as_bytes()) {
            engine.set_state(STATE, Some(text.as_bytes()))?;
        }
        Ok(former)
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("only texts and numbers")
    }

    fn move_to(&mut self, own: &[String], now: u64) {
        for relay in std::mem::replace(&mut self.own, own.to_vec()) {
            self.left.retain(|(known, _)| *known != relay);
            self.left.push((relay, now));
        }
        self.left.retain(|(relay, _)| !own.contains(relay));
        // A clock that was ahead then must not keep one for years.
        self.left.iter_mut().for_each(|(_, at)| *at = now.min(*at));
        self.expire(now);
        let old = self.left.len().saturating_sub(MOST);
        self.left.drain(..old);
    }

    /// Forgets those whose time is over; whether there were any.
    pub(crate) fn expire(&mut self, now: u64) -> bool {
        let before = self.left.len();
        self.left.retain(|(_, at)| now < at.saturating_add(LISTENED_FOR));
        self.left.len() < before
    }

    pub(crate) fn relays(&self) -> Vec<String> {
        self.left.iter().map(|(relay, _)| relay.clone()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn relay(n: usize) -> String {
        format!("wss://relay{n}.example")
    }

    #[test]
    fn what_was_left_is_known_for_a_while_and_not_when_it_is_used_again() {
        let mut former = Former::default();
        former.move_to(&[relay(1), relay(2)], 500);
        assert!(former.relays().is_empty());
        former.move_to(&[relay(2), relay(3)], 1_000);
        assert_eq!(former.relays(), [relay(1)]);
        former.move_to(&[relay(1)], 2_000);
        assert_eq!(former.relays(), [relay(2), relay(3)]);
        assert_eq!(serde_json::from_str::<Former>(&former.text()).unwrap(), former);
        former.move_to(&[relay(1)], 3_000);
        assert!(!former.expire(2_000 + LISTENED_FOR - 1));
        assert!(former.expire(2_000 + LISTENED_FOR));
        assert!(former.relays().is_empty());
    }

    #[test]
    fn there_is_a_bound_in_number_and_in_time() {
        let many: Vec<String> = (0..MOST + 2).map(relay).collect();
        let mut former = Former::default();
        former.move_to(&many, 1_000_000);
        former.move_to(&[], 1_000_000);
        assert_eq!(former.relays(), many[2..]);
        // The clock was ahead by a million seconds.
        former.move_to(&[], 1);
        assert!(former.expire(1 + LISTENED_FOR));
    }
}
