//! The profiles of others (kind 0).

use std::sync::Arc;

use mdk_wire::profile::Profile;
use mdk_wire::{Event, PublicKey};
use serde_json::json;

use super::{MOST_RELAYS, PROFILE, around, ask, find, moment, newest};
use crate::client::shared::Shared;
use crate::client::times::now;
use crate::error::{ClientError, Result};
use crate::relay_pool::normal_url;

/// How far ahead of the clock, in seconds, a profile may be dated. One that lies further ahead would hide every later one.
const MOST_AHEAD: u64 = 300;

/// What an account says of itself, and when it said so, in seconds since 1970: from our relays, from `hints` and from those it
/// writes to; if none of these has a profile, from those around us.
pub(crate) async fn profile(
    shared: &Arc<Shared>,
    who: &PublicKey,
    hints: &[String],
) -> Result<Option<(Profile, u64)>> {
    let filter = json!({ "kinds": [PROFILE], "authors": [who.to_hex()], "limit": 20 });
    let mut asked = shared.own_relays();
    let hints: Vec<String> =
        hints.iter().filter_map(|url| normal_url(url).ok()).take(MOST_RELAYS).collect();
    asked.extend(hints.iter().filter(|hint| !asked.contains(hint)).cloned().collect::<Vec<_>>());
    let mut patience = shared.options.request_timeout;
    let asking = ask(shared, &asked, &filter, patience);
    let (lists, first) = tokio::join!(find(shared, who, &hints), asking);
    let (mut events, mut answers) = (first.events, first.answers);
    let mut further = lists.unwrap_or_default().write;
    for looks_around in [false, true] {
        if looks_around {
            if believed(&events, who).is_some() {
                break;
            }
            further = around(shared).await;
            patience = moment(shared);
        }
        further.retain(|relay| !asked.contains(relay));
        if !further.is_empty() {
            let more = ask(shared, &further, &filter, patience).await;
            events.extend(more.events);
            answers += more.answers;
            asked.append(&mut further);
        }
    }
    if answers == 0 {
        return Err(ClientError::NotConnected);
    }
    let found = believed(&events, who);
    Ok(found.and_then(|event| Some((Profile::parse(event.content())?, event.created_at()))))
}

// rule: 2.12-5 a profile that is dated far ahead is not believed
pub(super) fn believed(events: &[Event], who: &PublicKey) -> Option<Event> {
    let latest = now().saturating_add(MOST_AHEAD);
    let past: Vec<Event> =
        events.iter().filter(|event| event.created_at() <= latest).cloned().collect();
    newest(&past, who, PROFILE)
}
