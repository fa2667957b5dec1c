//! Relays that the user named at any time: those are dialled wherever they are.
//!
//! A group keeps the relays that it was founded with when the account moves to others, and what waits for a relay waits
//! for it then, too. What other people name is dialled on public addresses only.

use std::collections::BTreeSet;

use mdk_core::Engine;

use crate::normal_url;

const STATE: &str = "relays/named";
/// So many are remembered, the newest ones.
const MOST: usize = 256;

/// Their addresses in the pool's form, the newest last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Named(Vec<String>);

impl Named {
    /// Those that were written down, and `more`; what is new is written down.
    pub(super) fn load(engine: &mut Engine, more: &[String]) -> mdk_core::Result<Self> {
        let before = Self::read(engine)?;
        before.clone().with(more).over(&before, engine)
    }

    /// Without those of `relays`, which a group had that is deleted, that neither another group has nor `kept` names; what
    /// is left is written down.
    pub(super) fn forget(
        engine: &mut Engine,
        relays: &[String],
        kept: &[String],
    ) -> mdk_core::Result<Self> {
        let mut used: BTreeSet<String> = kept.iter().cloned().collect();
        for group in engine.groups(None)? {
            used.extend(group.relays.iter().filter_map(|relay| normal_url(relay).ok()));
        }
        let (before, mut now) = (Self::read(engine)?, Self::read(engine)?);
        now.0.retain(|known| used.contains(known) || !relays.contains(known));
        now.over(&before, engine)
    }

    fn read(engine: &mut Engine) -> mdk_core::Result<Self> {
        let list = engine.state(STATE)?.and_then(|list| serde_json::from_slice(&list).ok());
        Ok(Self(list.unwrap_or_default()))
    }

    /// Written down, if it is not what is.
    fn over(self, before: &Self, engine: &mut Engine) -> mdk_core::Result<Self> {
        if self != *before {
            engine.set_state(STATE, Some(serde_json::json!(self.0).to_string().as_bytes()))?;
        }
        Ok(self)
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
