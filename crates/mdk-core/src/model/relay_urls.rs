//! Relay URLs that a caller gave.

use std::collections::HashSet;

use mdk_wire::relay_url;

use crate::model::error::{Error, Result};

/// The relays, each a URL of its own and named once, in the order given; at most `limit`.
pub(crate) fn checked(relays: &[String], limit: usize) -> Result<Vec<String>> {
    let mut known = HashSet::new();
    let mut distinct = Vec::new();
    for relay in relays {
        relay_url::check(relay).map_err(|_| {
            Error::InvalidRelayUrl(
                "ws:// or wss:// with a host, no user, no fragment, at most 512 bytes",
            )
        })?;
        if known.insert(relay) {
            distinct.push(relay.clone());
        }
    }
    if distinct.len() > limit {
        return Err(Error::too_large("relays", limit, distinct.len()));
    }
    Ok(distinct)
}
