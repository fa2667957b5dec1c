//! Relays that the user named at any time: those are dialled wherever they are.
//!
//! A group keeps the relays that it was founded with when the account moves to others, and what waits for a relay waits
//! for it then, too. What other people name is dialled on public addresses only.

use mdk_core::Engine;

const STATE: &str = "relays/named";
/// So many are remembered, the newest ones.
const MOST: usize = 256;

/// Their addresses in the pool's form, the newest last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Named(Vec<String>);

impl Named {
    /// Those that were written down, and `more`; what is new is written down.
    pub(super) fn load(engine: &mut Engine, more: &[String]) -> mdk_core::Result<Self> {
        let before = engine.state(STATE)?.and_then(|list| serde_json::from_slice(&list).ok());
        let before = Self(before.unwrap_or_default());
        let now = before.clone().with(more);
        if now != before {
            engine.set_state(STATE, Some(serde_json::json!(now.0).to_string().as_bytes()))?;
        }
        Ok(now)
    }

    fn with(mut self, more: &[String]) -> Self {
        for relay in more {
            self.0.retain(|known| known != relay);
            self.0.push(relay.clone());
        }
        let old = self.0.len().saturating_sub(MOST);
        self.0.drain(..old);
        self
    }

    pub(crate) fn has(&self, relay: &str) -> bool {
        self.0.iter().any(|known| known == relay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_once() {
        let relay = |n: usize| format!("wss://relay{n}.example");
        let many: Vec<String> = (0..MOST + 2).map(relay).collect();
        let named = Named::default().with(&many).with(&[relay(5)]);
        assert_eq!(named.0.len(), MOST);
        assert_eq!(named.0.last(), Some(&relay(5)));
        assert!(named.has(&relay(2)) && !named.has(&relay(1)));
    }
}
