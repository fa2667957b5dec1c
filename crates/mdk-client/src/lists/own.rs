//! Our own lists and profile: saying where we are found.

use std::sync::Arc;

use mdk_wire::{Event, UnsignedEvent};
use serde_json::{Value, json};

use super::{INBOX_LIST, PROFILE, RELAY_LIST, ask, newest};
use crate::client::outdated;
use crate::client::republish_lost::state_key;
use crate::client::shared::Shared;
use crate::client::times::{MOST_AHEAD, now};
use crate::error::Result;
use crate::relay_pool::normal_url;

/// Something to say anew.
struct Due {
    kind: u16,
    content: String,
    /// This account has not said it before.
    first: bool,
    /// It is not what was said last.
    changed: bool,
    /// What was said last.
    last: Option<Event>,
}

impl Due {
    /// Whether what was said last was dated by a clock that was wrong.
    fn is_ahead(&self) -> bool {
        self.last.as_ref().is_some_and(is_ahead)
    }

    /// Whether relays are asked for what they have, before something takes its place.
    fn is_asked_for(&self) -> bool {
        self.is_ahead() || self.first && self.kind != INBOX_LIST
    }
}

fn is_ahead(event: &Event) -> bool {
    event.created_at() > now().saturating_add(MOST_AHEAD)
}

/// What of ours was not said yet, or is not so any more, or bears a wrong date.
async fn due(shared: &Arc<Shared>, own: &[String]) -> Result<Vec<Due>> {
    let mut due = Vec::new();
    for (kind, content) in [
        (RELAY_LIST, Some(own.join(" "))),
        (INBOX_LIST, Some(own.join(" "))),
        (PROFILE, shared.options.name.clone()),
    ] {
        let Some(content) = content else { continue };
        let key = format!("list/{kind}");
        let (before, last) = shared
            .engine(move |engine| Ok((engine.state(&key)?, engine.state(&state_key(kind))?)))
            .await?;
        let last = last.and_then(|json| Event::from_stored_json(&json).ok());
        let changed = before.as_deref() != Some(content.as_bytes());
        let one = Due { kind, content, first: before.is_none(), changed, last };
        if one.changed || one.is_ahead() {
            due.push(one);
        }
    }
    Ok(due)
}

/// Puts into the outbox what no relay has to be asked about: where our invites go, before all. What comes after it in the
/// outbox is found by nobody who does not find that.
pub(crate) async fn publish_first(shared: &Arc<Shared>) -> Result<()> {
    let own = shared.own_relays();
    if own.is_empty() {
        return Ok(());
    }
    for one in due(shared, &own).await?.into_iter().filter(|one| !one.is_asked_for()) {
        say(shared, &own, one, None).await?;
    }
    Ok(())
}

/// Puts our lists and the profile into the outbox, once for each change. False when that must be tried again: what an
/// account has published elsewhere is not written over unseen.
///
/// What a clock that was ahead has dated is made anew, unless a relay has it: that would keep it until then.
pub(crate) async fn publish(shared: &Arc<Shared>) -> Result<bool> {
    let own = shared.own_relays();
    if own.is_empty() {
        return Ok(true);
    }
    let due = due(shared, &own).await?;
    let asked: Vec<u16> = due.iter().filter(|one| one.is_asked_for()).map(|one| one.kind).collect();
    let mut there = Vec::new();
    if !asked.is_empty() {
        let filter = json!({ "kinds": asked, "authors": [shared.me.to_hex()], "limit": 20 });
        let relays =
            if due.iter().any(Due::is_ahead) { shared.own_and_former() } else { own.clone() };
        let asked = ask(shared, &relays, &filter, shared.options.request_timeout).await;
        if asked.answers == 0 {
            return Ok(false);
        }
        there = asked.events;
    }
    for one in due {
        let found = newest(&there, &shared.me, one.kind).filter(|_| one.is_asked_for());
        if !one.changed && found.as_ref().is_some_and(is_ahead) {
            continue;
        }
        say(shared, &own, one, found).await?;
    }
    Ok(true)
}

async fn say(shared: &Arc<Shared>, own: &[String], one: Due, found: Option<Event>) -> Result<()> {
    let kind = one.kind;
    // Of two of one second relays keep either.
    let last = one.last.as_ref().filter(|last| !is_ahead(last));
    let after = found.iter().chain(last).map(|event| event.created_at().saturating_add(1)).max();
    let created_at = now().max(after.unwrap_or(0));
    let old = found.filter(|_| one.first);
    let (tags, content) = match (&one.last, kind) {
        (Some(last), _) if !one.changed => (last.tags().to_vec(), last.content().to_owned()),
        (_, RELAY_LIST) => (merged(own, old.as_ref()), String::new()),
        (_, INBOX_LIST) => {
            (own.iter().map(|r| vec!["relay".to_owned(), r.clone()]).collect(), String::new())
        }
        _ => (Vec::new(), profile(&one.content, old.as_ref())),
    };
    let event = UnsignedEvent { pubkey: shared.me, created_at, kind, tags, content };
    let event = shared.sign(event)?;
    let (key, relays) = (format!("list/{kind}"), shared.own_and_former());
    shared
        .engine(move |engine| {
            engine.enqueue(&event, &relays)?;
            engine.set_state(&state_key(kind), Some(event.to_json().as_bytes()))?;
            engine.set_state(&key, Some(one.content.as_bytes()))?;
            outdated::give_up(engine, kind, &event.id())
        })
        .await?;
    shared.wake.outbox.notify_one();
    Ok(())
}

/// Our relays, and what else an earlier list of this account named.
pub(super) fn merged(own: &[String], old: Option<&Event>) -> Vec<Vec<String>> {
    let mut tags: Vec<Vec<String>> =
        own.iter().map(|relay| vec!["r".to_owned(), relay.clone()]).collect();
    for tag in old.map_or(&[][..], Event::tags) {
        let url = tag.get(1).and_then(|url| normal_url(url).ok());
        if tag.first().is_some_and(|t| t == "r") && url.is_some_and(|url| !own.contains(&url)) {
            tags.push(tag.clone());
        }
    }
    tags
}

/// The profile with our name in it, whatever else it says left as it is.
pub(super) fn profile(name: &str, old: Option<&Event>) -> String {
    let old = old.and_then(|old| serde_json::from_str::<Value>(old.content()).ok());
    let mut profile = match old {
        Some(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    profile.insert("name".to_owned(), json!(name));
    Value::Object(profile).to_string()
}
