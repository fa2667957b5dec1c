//! Relay lists: where others are found (NIP-65, NIP-17), and where we say that we are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mdk_wire::{Event, GroupId, PublicKey, UnsignedEvent};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::amends::state_key;
use crate::client::outdated;
use crate::client::shared::{Shared, lock, now};
use crate::error::{ClientError, Result};
use crate::relay_pool::{RelayState, normal_url};

/// Profile.
const PROFILE: u16 = 0;
/// Where an account writes and reads (NIP-65).
const RELAY_LIST: u16 = 10_002;
/// Where its gift wraps go (NIP-17).
const INBOX_LIST: u16 = 10_050;
/// Relays that are taken from somebody's list.
const MOST_RELAYS: usize = 8;
/// Accounts whose lists are remembered, and for how long.
const MOST_KNOWN: usize = 10_000;
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// KeyPackage events that are taken of one account.
const MOST_KEY_PACKAGES: usize = 200;

/// What an account says about its relays; newest events only, addresses in the pool's form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    /// Entries of its kind 10002 without marker, or marked `write`.
    pub(crate) write: Vec<String>,
    /// Entries of its kind 10002 without marker, or marked `read`.
    pub(crate) read: Vec<String>,
    /// Its kind 10050.
    pub(crate) inbox: Vec<String>,
}

/// Lists that were found lately.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<PublicKey, (Instant, Lists)>>);

impl Cache {
    fn get(&self, who: &PublicKey) -> Option<Lists> {
        let cache = lock(&self.0);
        cache.get(who).filter(|(at, _)| at.elapsed() < KNOWN_FOR).map(|(_, lists)| lists.clone())
    }

    fn put(&self, who: PublicKey, lists: Lists) {
        let mut cache = lock(&self.0);
        if cache.len() >= MOST_KNOWN {
            cache.retain(|_, (at, _)| at.elapsed() < KNOWN_FOR);
        }
        if cache.len() < MOST_KNOWN {
            cache.insert(who, (Instant::now(), lists));
        }
    }
}

/// Events of `relays` that match, each once, verified; and how many relays gave an answer. Once one has, the
/// others get a fifth of the time at most.
async fn ask(shared: &Arc<Shared>, relays: &[String], filter: &Value) -> (Vec<Event>, usize) {
    let mut jobs = JoinSet::new();
    for relay in relays {
        if shared.touch(relay).await.is_err() {
            continue;
        }
        let (shared, relay, filter) = (shared.clone(), relay.clone(), filter.to_string());
        jobs.spawn(async move {
            let time = shared.options.request_timeout;
            if !connected(&shared, &relay, time).await {
                return Err(ClientError::NotConnected);
            }
            shared.pool.query(&relay, &shared.me, &filter, time).await
        });
    }
    let (mut found, mut answers) = (BTreeMap::new(), 0);
    let mut deadline = Instant::now() + shared.options.request_timeout.saturating_mul(2);
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, jobs.join_next()).await {
        let Ok(Ok(page)) = answer else { continue };
        for json in page.events {
            if let Ok(event) = Event::from_json(json.as_bytes()) {
                found.insert(*event.id().as_bytes(), event);
            }
        }
        answers += 1;
        deadline = deadline.min(Instant::now() + shared.options.request_timeout / 5);
    }
    (found.into_values().collect(), answers)
}

/// Waits for a connection, but not for a relay that is known to be away.
async fn connected(shared: &Shared, relay: &str, time: Duration) -> bool {
    /// How often the state is looked at while a connection is being made.
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let deadline = Instant::now() + time;
    let mut connected = shared.connected.subscribe();
    while Instant::now() < deadline {
        if connected.borrow_and_update().contains(relay) {
            return true;
        }
        let state = shared.pool.status().into_iter().find(|s| s.url == relay).map(|s| s.state);
        match state {
            Some(RelayState::Connected) => return true,
            Some(RelayState::Connecting) => {}
            _ => return false,
        }
        let _ = tokio::time::timeout(LOOK_EVERY, connected.changed()).await;
    }
    false
}

/// The newest event of a kind; of two of one time the lower id (NIP-01).
fn newest(events: &[Event], who: &PublicKey, kind: u16) -> Option<Event> {
    events
        .iter()
        .filter(|event| event.pubkey() == *who && event.kind() == kind)
        .max_by_key(|event| (event.created_at(), std::cmp::Reverse(*event.id().as_bytes())))
        .cloned()
}

/// Addresses of a list, those that are none left out.
fn addresses(event: &Event, tag: &str, wanted: impl Fn(Option<&str>) -> bool) -> Vec<String> {
    let mut relays = Vec::new();
    for entry in event.tags().iter().filter(|entry| entry.first().is_some_and(|t| t == tag)) {
        let Some(Ok(url)) = entry.get(1).map(|url| normal_url(url)) else { continue };
        if wanted(entry.get(2).map(String::as_str)) && !relays.contains(&url) {
            relays.push(url);
        }
        if relays.len() == MOST_RELAYS {
            break;
        }
    }
    relays
}

fn read(events: &[Event], who: &PublicKey) -> Lists {
    let marked = |mark: &str| {
        newest(events, who, RELAY_LIST).map_or_else(Vec::new, |event| {
            addresses(&event, "r", |marker| marker.is_none_or(|m| m.is_empty() || m == mark))
        })
    };
    Lists {
        write: marked("write"),
        read: marked("read"),
        inbox: newest(events, who, INBOX_LIST)
            .map_or_else(Vec::new, |event| addresses(&event, "relay", |_| true)),
    }
}

/// The lists of an account: from our relays and `near`, then from its own. `None` when no relay answered.
async fn find(shared: &Arc<Shared>, who: &PublicKey, near: &[String]) -> Option<Lists> {
    if let Some(lists) = shared.lists.get(who) {
        return Some(lists);
    }
    let filter =
        json!({ "kinds": [RELAY_LIST, INBOX_LIST], "authors": [who.to_hex()], "limit": 20 });
    let mut asked = shared.own_relays();
    asked.extend(near.iter().cloned());
    let mut once = HashSet::new();
    asked.retain(|relay| once.insert(relay.clone()));
    let (mut events, mut answers) = ask(shared, &asked, &filter).await;
    let mut lists = read(&events, who);
    if lists.inbox.is_empty() {
        let further: Vec<String> =
            lists.write.iter().filter(|r| !once.contains(*r)).cloned().collect();
        if !further.is_empty() {
            let (more, further_answers) = ask(shared, &further, &filter).await;
            events.extend(more);
            answers += further_answers;
            lists = read(&events, who);
        }
    }
    if answers == 0 {
        return None;
    }
    // That somebody has no list is not remembered: it may be under way.
    if !lists.inbox.is_empty() {
        shared.lists.put(*who, lists.clone());
    }
    Some(lists)
}

/// Where a Welcome goes: the recipient's inbox relays, or the group's when there are none. `None` when no relay
/// could be asked.
pub(crate) async fn welcome_targets(
    shared: &Arc<Shared>,
    recipient: &PublicKey,
    group: Option<&GroupId>,
) -> Option<Vec<String>> {
    let near = relays_of(shared, group).await;
    let lists = find(shared, recipient, &near).await?;
    let mut targets = Vec::new();
    for relay in lists.inbox {
        // One that must not be dialled is no target.
        if shared.touch(&relay).await.is_ok() {
            targets.push(relay);
        }
    }
    if targets.is_empty() {
        targets = if near.is_empty() { shared.own_relays() } else { near };
    }
    Some(targets).filter(|targets| !targets.is_empty())
}

/// The first relays of a group.
async fn relays_of(shared: &Arc<Shared>, group: Option<&GroupId>) -> Vec<String> {
    let Some(group) = group.cloned() else { return Vec::new() };
    let relays = shared
        .engine(move |engine| Ok(engine.group(&group).map(|info| info.relays).unwrap_or_default()))
        .await;
    let relays = relays.unwrap_or_default();
    relays.iter().filter_map(|url| normal_url(url).ok()).take(MOST_RELAYS).collect()
}

/// Where a Welcome goes as well when its recipient's inbox relays do not take it: to where that account reads, and to where
/// its KeyPackages are found, and to the group's. `None` when no relay could be asked.
pub(crate) async fn further_targets(
    shared: &Arc<Shared>,
    recipient: &PublicKey,
    group: Option<&GroupId>,
) -> Option<Vec<String>> {
    let near = relays_of(shared, group).await;
    let lists = find(shared, recipient, &near).await?;
    let mut targets = Vec::new();
    let all = lists.inbox.into_iter().chain(lists.read).chain(lists.write).chain(near);
    for relay in all {
        if !targets.contains(&relay) && shared.touch(&relay).await.is_ok() {
            targets.push(relay);
        }
    }
    Some(targets)
}

/// Tells the engine how large an invite the account's inbox relays take, so that one that no relay will take is noticed
/// before its commit is made. One relay that does not say, in a moment, may take anything.
async fn note_limit(shared: &Arc<Shared>, who: &PublicKey, inbox: &[String]) -> Result<()> {
    /// Around the event: `["EVENT",` and `]`.
    const FRAME: u64 = 10;
    let moment = shared.options.request_timeout / 5;
    let asked = inbox.iter().map(|relay| async move {
        shared.touch(relay).await.ok()?;
        let info = tokio::time::timeout(moment, shared.pool.info(relay)).await.ok()??;
        info.max_message_length
    });
    let limits: Option<Vec<u64>> =
        futures_util::future::join_all(asked).await.into_iter().collect();
    let limit = limits.and_then(|limits| limits.into_iter().max());
    let (who, limit) = (*who, limit.map(|limit| limit.saturating_sub(FRAME)));
    shared
        .engine(move |engine| {
            engine.set_invite_limit(who, limit);
            Ok(())
        })
        .await
}

/// KeyPackage events of an account, newest first.
pub(crate) async fn key_packages(shared: &Arc<Shared>, who: &PublicKey) -> Result<Vec<Event>> {
    let filter = json!({
        "kinds": [mdk_wire::kind::KEY_PACKAGE], "authors": [who.to_hex()], "limit": MOST_KEY_PACKAGES,
    });
    let own = shared.own_relays();
    let lists = async {
        let lists = find(shared, who, &[]).await.unwrap_or_default();
        note_limit(shared, who, &lists.inbox).await?;
        Ok::<_, ClientError>(lists)
    };
    let (lists, (mut events, mut answers)) = tokio::join!(lists, ask(shared, &own, &filter));
    let further: Vec<String> = lists?.write.into_iter().filter(|r| !own.contains(r)).collect();
    if !further.is_empty() {
        let (more, further_answers) = ask(shared, &further, &filter).await;
        events.extend(more);
        answers += further_answers;
    }
    if answers == 0 {
        return Err(ClientError::NotConnected);
    }
    let mut seen = HashSet::new();
    events.retain(|event| {
        let ours = event.pubkey() == *who && event.kind() == mdk_wire::kind::KEY_PACKAGE;
        ours && seen.insert(*event.id().as_bytes())
    });
    events.sort_by_key(|event| std::cmp::Reverse(event.created_at()));
    events.truncate(MOST_KEY_PACKAGES);
    if events.is_empty() { Err(ClientError::KeyPackageNotFound) } else { Ok(events) }
}

/// Puts our lists and the profile into the outbox, once for each change. False when that must be tried again: what an
/// account has published elsewhere is not written over unseen.
pub(crate) async fn publish(shared: &Arc<Shared>) -> Result<bool> {
    let own = shared.own_relays();
    if own.is_empty() {
        return Ok(true);
    }
    let name = shared.options.name.clone();
    let mut due = Vec::new();
    let mut first = Vec::new();
    for (kind, content) in [
        (RELAY_LIST, Some(own.join(" "))),
        (INBOX_LIST, Some(own.join(" "))),
        (PROFILE, name.clone()),
    ] {
        let Some(content) = content else { continue };
        let key = format!("list/{kind}");
        let before = shared.engine(move |engine| engine.state(&key)).await?;
        if before.as_deref() != Some(content.as_bytes()) {
            if before.is_none() && kind != INBOX_LIST {
                first.push(kind);
            }
            due.push((kind, content));
        }
    }
    if due.is_empty() {
        return Ok(true);
    }
    let mut there = Vec::new();
    if !first.is_empty() {
        let filter = json!({ "kinds": first, "authors": [shared.me.to_hex()], "limit": 20 });
        let (events, answers) = ask(shared, &own, &filter).await;
        if answers == 0 {
            return Ok(false);
        }
        there = events;
    }
    for (kind, content) in due {
        let old = newest(&there, &shared.me, kind).filter(|_| first.contains(&kind));
        // Of two of one second relays keep either.
        let last = shared.engine(move |engine| engine.state(&state_key(kind))).await?;
        let last = last.and_then(|json| Event::from_stored_json(&json).ok());
        let after = old.iter().chain(&last).map(|event| event.created_at() + 1).max();
        let created_at = now().max(after.unwrap_or(0));
        let (tags, text) = match kind {
            RELAY_LIST => (merged(&own, old.as_ref()), String::new()),
            INBOX_LIST => {
                (own.iter().map(|r| vec!["relay".to_owned(), r.clone()]).collect(), String::new())
            }
            _ => (Vec::new(), profile(&content, old.as_ref())),
        };
        let event = UnsignedEvent { pubkey: shared.me, created_at, kind, tags, content: text };
        let event = event.sign(&shared.keys);
        let (key, relays) = (format!("list/{kind}"), shared.own_and_former());
        shared
            .engine(move |engine| {
                engine.enqueue(&event, &relays)?;
                engine.set_state(&state_key(kind), Some(event.to_json().as_bytes()))?;
                engine.set_state(&key, Some(content.as_bytes()))?;
                outdated::give_up(engine, kind, &event.id())
            })
            .await?;
        shared.outbox_wake.notify_one();
    }
    Ok(true)
}

/// Our relays, and what else an earlier list of this account named.
fn merged(own: &[String], old: Option<&Event>) -> Vec<Vec<String>> {
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
fn profile(name: &str, old: Option<&Event>) -> String {
    let old = old.and_then(|old| serde_json::from_str::<Value>(old.content()).ok());
    let mut profile = match old {
        Some(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    profile.insert("name".to_owned(), json!(name));
    Value::Object(profile).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
