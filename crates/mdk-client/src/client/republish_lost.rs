//! What is done for a relay that has lost what it had accepted.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use mdk_core::KeyPackageInfo;
use mdk_wire::{Event, kind};
use serde_json::{Value, json};

use super::lock::lock;
use super::shared::Shared;
use super::times::{MOST_AHEAD, now};
use crate::error::Result;
use crate::relay_pool::{Published, normal_url};

/// Ids in one request.
const IDS_AT_ONCE: usize = 100;
/// Events of our own that are kept for this, by kind: lists, profile, KeyPackage.
const STATE: &str = "published/";

/// What a relay is to the account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Own,
    /// It was one of our own until lately, and has to know where we are now.
    Former,
    /// A group's.
    Group,
}

/// Where a published event of this kind stands in the engine's state.
pub(crate) fn state_key(kind: u16) -> String {
    format!("{STATE}{kind}")
}

/// Looks whether a relay still has what we published there, and publishes again what it has not. Done after every
/// connection; when the relay does not answer, by the next.
pub(crate) async fn make(shared: Arc<Shared>, relay: String, place: Place) {
    let made = tokio::select! {
        () = shared.until_stopped() => return,
        made = async {
            if place != Place::Group {
                addressable(&shared, &relay, place).await?;
            }
            group_events(&shared, &relay).await
        } => made,
    };
    if let Err(error) = made {
        tracing::debug!("a relay does not say what it has: {error}");
    }
}

async fn addressable(shared: &Shared, relay: &str, place: Place) -> Result<()> {
    let (kept, key_packages) = kept(shared).await?;
    let kept: Vec<Event> =
        kept.into_iter().filter(|event| belongs(event, relay, place, &key_packages)).collect();
    if kept.is_empty() {
        return Ok(());
    }
    let Some(there) = standing(shared, relay, &kept).await? else { return Ok(()) };
    offer(shared, relay, &kept, &there).await;
    Ok(())
}

/// Offers each of our own relays those of our lists and the profile that it lacks. Not what is over, whichever of them says
/// so: what another app of this person has published meanwhile stands. A relay that does not say what it has gets nothing.
pub(crate) async fn offer_lists(shared: &Shared) {
    let Ok((mut kept, key_packages)) = kept(shared).await else { return };
    kept.retain(|event| event.kind() != kind::KEY_PACKAGE);
    if kept.is_empty() {
        return;
    }
    let own = shared.own_relays();
    let asked = own.iter().map(|relay| standing(shared, relay, &kept));
    let answers = join_all(asked).await;
    let there = || answers.iter().filter_map(|answer| answer.as_ref().ok()?.as_ref()).flatten();
    kept.retain(|event| !there().any(|other| is_later(other, event)));
    let offers = own.iter().zip(&answers).filter_map(|(relay, answer)| {
        let there = answer.as_ref().ok()?.as_ref()?;
        let meant = |event: &&Event| belongs(event, relay, Place::Own, &key_packages);
        let kept: Vec<Event> = kept.iter().filter(meant).cloned().collect();
        Some(async move { offer(shared, relay, &kept, there).await })
    });
    join_all(offers).await;
}

/// What we said last, of each kind, and our KeyPackages.
async fn kept(shared: &Shared) -> Result<(Vec<Event>, Vec<KeyPackageInfo>)> {
    let (kept, key_packages) =
        shared.engine(|engine| Ok((engine.states(STATE)?, engine.key_packages()?))).await?;
    let kept = kept.iter().filter_map(|(_, json)| Event::from_stored_json(json).ok());
    // What a clock that was ahead has dated is made anew: a relay that took it now would keep it until its day.
    let latest = now().saturating_add(MOST_AHEAD);
    Ok((kept.filter(|event| event.created_at() <= latest).collect(), key_packages))
}

/// What a relay has of these kinds that is ours indeed; `None` when it does not say.
async fn standing(shared: &Shared, relay: &str, kept: &[Event]) -> Result<Option<Vec<Event>>> {
    let kinds: Vec<u16> = kept.iter().map(Event::kind).collect();
    let filter = json!({ "kinds": kinds, "authors": [shared.me.to_hex()], "limit": 50 });
    let there = ask(shared, relay, &filter).await?;
    let ours = |event: &Event| event.pubkey() == shared.me;
    Ok(there.map(|there| there.into_iter().filter(ours).collect()))
}

/// Whether something takes the place of an event of ours.
fn is_later(other: &Event, event: &Event) -> bool {
    other.kind() == event.kind() && other.created_at() > event.created_at()
}

/// Publishes what a relay has neither itself nor anything newer of its kind.
async fn offer(shared: &Shared, relay: &str, kept: &[Event], there: &[Event]) {
    for event in kept {
        let replaced = |other: &Event| {
            other.kind() == event.kind() && other.created_at() >= event.created_at()
        };
        if !there.iter().any(replaced) {
            let answer = publish(shared, relay, &event.to_json()).await;
            let accepted = answer == Published::Accepted;
            tracing::debug!(kind = event.kind(), accepted, "a list was published again");
        }
    }
}

/// Whether it is meant for this relay. One that is not is from before the account had it.
fn belongs(event: &Event, relay: &str, place: Place, key_packages: &[KeyPackageInfo]) -> bool {
    let names = |value: &String| normal_url(value).is_ok_and(|url| url == relay);
    match event.kind() {
        0 => true,
        kind::KEY_PACKAGE => {
            key_packages.iter().any(|kp| kp.event_id == event.id() && kp.relays.iter().any(names))
        }
        _ => place == Place::Former || event.tags().iter().flatten().any(names),
    }
}

async fn group_events(shared: &Shared, relay: &str) -> Result<()> {
    let ids = lock(&shared.sent).ids(relay);
    for ids in ids.chunks(IDS_AT_ONCE) {
        let filter = json!({ "ids": ids, "limit": ids.len() });
        let Some(there) = ask(shared, relay, &filter).await? else { return Ok(()) };
        let there: HashSet<_> = there.iter().map(Event::id).collect();
        let lost = ids
            .iter()
            .filter(|id| mdk_wire::EventId::from_hex(id).is_ok_and(|id| !there.contains(&id)));
        let events = lock(&shared.sent).events(&lost.collect());
        for (key, event) in events {
            // (its group may have been deleted meanwhile)
            if shared.engine(move |engine| engine.state(&key)).await?.is_none() {
                continue;
            }
            shared.pool.note_lost(relay, &shared.me, 1);
            // What it refuses now it is offered again by the next connection.
            let accepted = publish(shared, relay, &event).await == Published::Accepted;
            tracing::debug!(accepted, "an event was published again");
        }
    }
    Ok(())
}

async fn publish(shared: &Shared, relay: &str, event: &str) -> Published {
    shared.pool.publish(relay, &shared.me, event, shared.options.request_timeout).await
}

/// All that matches; `None` when the relay did not come to an end.
async fn ask(shared: &Shared, relay: &str, filter: &Value) -> Result<Option<Vec<Event>>> {
    let time = shared.options.request_timeout;
    let page = shared.pool.query(relay, &shared.me, &filter.to_string(), time).await?;
    Ok(page.complete.then_some(page.events))
}
