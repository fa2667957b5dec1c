//! The member on plain OpenMLS of mdk-core's tests: it proposes, commits and invites what our own engine never would.

#![allow(dead_code, clippy::unwrap_used)]

use std::time::{SystemTime, UNIX_EPOCH};

#[allow(unreachable_pub)]
#[path = "../../crates/mdk-core/tests/kit/foreign.rs"]
pub(crate) mod foreign;

pub(crate) const RELAY: &str = "wss://relay.example";

/// Seconds now: OpenMLS judges lifetimes by the system's clock.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
