//! Relay lists: where others are found (NIP-65, NIP-17), and where we say that we are.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mdk_wire::{Event, GroupId, PublicKey};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::error::{ClientError, Result};
use crate::relay_pool::{RelayState, normal_url};
use crate::sync::wanted::Wanted;

pub(crate) mod cache;
mod invites;
mod own;
mod profiles;

use self::cache::Lists;
pub(crate) use self::invites::{further_targets, welcome_targets};
pub(crate) use self::own::{publish, publish_first};
pub(crate) use self::profiles::profile;

/// Profile.
const PROFILE: u16 = 0;
/// Where an account writes and reads (NIP-65).
const RELAY_LIST: u16 = 10_002;
/// Where its gift wraps go (NIP-17).
const INBOX_LIST: u16 = 10_050;
/// Relays that are taken from somebody's list.
const MOST_RELAYS: usize = 8;
/// KeyPackage events that are taken of one account.
const MOST_KEY_PACKAGES: usize = 200;

/// What is waited for a further chance.
fn moment(shared: &Shared) -> Duration {
    shared.options.request_timeout / 5
}

/// What relays gave when they were asked.
struct Asked {
    /// What matches, each once, verified.
    events: Vec<Event>,
    /// How many relays gave an answer.
    answers: usize,
    /// Those that could not be reached, or did not answer in time. One that refuses has answered, and so has one that is not
    /// dialled: asking again changes nothing.
    silent: HashSet<String>,
}

/// Asks relays. Connections that are being made get `patience`; once one relay has answered, the others get a moment at most.
async fn ask(shared: &Arc<Shared>, relays: &[String], filter: &Value, patience: Duration) -> Asked {
    let (mut jobs, mut silent) = (JoinSet::new(), HashSet::new());
    for relay in relays {
        if shared.touch(relay).await.is_err() {
            continue;
        }
        let (shared, relay, filter) = (shared.clone(), relay.clone(), filter.to_string());
        silent.insert(relay.clone());
        jobs.spawn(async move {
            let answer = match connected(&shared, &relay, patience).await {
                true => {
                    let time = shared.options.request_timeout;
                    shared.pool.query(&relay, &shared.me, &filter, time).await
                }
                false => Err(ClientError::NotConnected),
            };
            (relay, answer)
        });
    }
    let (mut found, mut answers) = (BTreeMap::new(), 0);
    let mut deadline = Instant::now() + shared.options.request_timeout.saturating_mul(2);
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, jobs.join_next()).await {
        let Ok((relay, answer)) = answer else { continue };
        if matches!(answer, Ok(_) | Err(ClientError::Refused { .. })) {
            silent.remove(&relay);
        }
        let Ok(page) = answer else { continue };
        found.extend(page.events.into_iter().map(|event| (*event.id().as_bytes(), event)));
        answers += 1;
        deadline = deadline.min(Instant::now() + moment(shared));
    }
    Asked { events: found.into_values().collect(), answers, silent }
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

/// Where else somebody may be known: at relays that were ours until lately, and at those of our groups. Those that can
/// answer at once come first.
async fn around(shared: &Shared) -> Vec<String> {
    let mut relays = lock(&shared.former).relays();
    // Without them there are less; the next search may have them.
    let groups = shared.engine(Wanted::of).await.map(|wanted| wanted.groups).unwrap_or_default();
    relays.extend(groups.into_keys());
    let own = shared.own_relays();
    let mut once: HashSet<String> = own.into_iter().collect();
    relays.retain(|relay| once.insert(relay.clone()));
    relays.sort_by_key(|relay| !shared.is_connected(relay));
    relays.truncate(MOST_RELAYS);
    relays
}

/// The lists of an account: from our relays, from `near` and from those that were named for it, then from its own, then from
/// those around us. `None` when no relay answered.
async fn find(shared: &Arc<Shared>, who: &PublicKey, near: &[String]) -> Option<Lists> {
    /// Each list may name further relays, and the newest one counts.
    const MOST_STEPS: usize = 4;
    if let Some(lists) = shared.lists.lists.get(who) {
        return Some(lists);
    }
    let filter =
        json!({ "kinds": [RELAY_LIST, INBOX_LIST], "authors": [who.to_hex()], "limit": 20 });
    let (mut once, mut events, mut answers) = (HashSet::new(), Vec::new(), 0);
    let (mut lists, mut looked_around) = (Lists::default(), false);
    let mut relays = shared.own_relays();
    relays.extend(near.iter().cloned());
    relays.extend(shared.lists.hints.get(who).unwrap_or_default());
    for _ in 0..MOST_STEPS {
        let mut patience = shared.options.request_timeout;
        relays.retain(|relay| once.insert(relay.clone()));
        if relays.is_empty() && !std::mem::replace(&mut looked_around, true) {
            relays = around(shared).await;
            patience = moment(shared);
            relays.retain(|relay| once.insert(relay.clone()));
        }
        if relays.is_empty() {
            break;
        }
        let asked = ask(shared, &relays, &filter, patience).await;
        events.extend(asked.events);
        answers += asked.answers;
        lists = read(&events, who);
        if !lists.inbox.is_empty() {
            break;
        }
        relays.clone_from(&lists.write);
    }
    if answers == 0 {
        return None;
    }
    // That somebody has no list is not remembered: it may be under way.
    if !lists.inbox.is_empty() {
        shared.lists.lists.put(*who, lists.clone());
    }
    Some(lists)
}

/// The relays where gift wraps for an account go, as its list (kind 10050) says.
pub(crate) async fn inbox_of(shared: &Arc<Shared>, who: &PublicKey) -> Vec<String> {
    find(shared, who, &[]).await.unwrap_or_default().inbox
}

/// KeyPackage events of an account, newest first: from our relays, from `hints` and from its own; if none of these has one,
/// from those around us. `group`: into which it is to be invited, if there is one already.
pub(crate) async fn key_packages(
    shared: &Arc<Shared>,
    who: &PublicKey,
    hints: &[String],
    group: Option<&GroupId>,
) -> Result<Vec<Event>> {
    let filter = json!({
        "kinds": [mdk_wire::kind::KEY_PACKAGE], "authors": [who.to_hex()], "limit": MOST_KEY_PACKAGES,
    });
    let mut hints: Vec<String> =
        hints.iter().filter_map(|url| normal_url(url).ok()).take(MOST_RELAYS).collect();
    if hints.is_empty() {
        hints = shared.lists.hints.get(who).unwrap_or_default();
    } else {
        // Where the invite goes is asked for later, and there as well.
        shared.lists.hints.put(*who, hints.clone());
    }
    let own = shared.own_relays();
    let mut asked = own.clone();
    for hint in &hints {
        if !asked.contains(hint) {
            asked.push(hint.clone());
        }
    }
    let lists = async {
        let near = invites::relays_of(shared, group).await;
        let lists = find(shared, who, &near).await.unwrap_or_default();
        invites::note_limit(shared, who, &lists.inbox, near).await?;
        Ok::<_, ClientError>(lists)
    };
    let mut patience = shared.options.request_timeout;
    let asking = ask(shared, &asked, &filter, patience);
    let (lists, first) = tokio::join!(lists, asking);
    let Asked { mut events, mut answers, silent } = first;
    let ours =
        |event: &Event| event.pubkey() == *who && event.kind() == mdk_wire::kind::KEY_PACKAGE;
    let mut further = lists?.write;
    for looks_around in [false, true] {
        if looks_around {
            if events.iter().any(ours) {
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
    let mut seen = HashSet::new();
    events.retain(|event| ours(event) && seen.insert(*event.id().as_bytes()));
    events.sort_by_key(|event| std::cmp::Reverse(event.created_at()));
    events.truncate(MOST_KEY_PACKAGES);
    match events.is_empty() {
        false => Ok(events),
        // The one that says nothing may have it. (Others name theirs: whoever names one that never answers must not make us
        // wait for it.)
        true if own.iter().any(|relay| silent.contains(relay)) => Err(ClientError::NotConnected),
        true => Err(ClientError::KeyPackageNotFound),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
