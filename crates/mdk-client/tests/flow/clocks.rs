//! What a clock that was wrong has dated.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mdk_client::ClientOptions;
use mdk_core::{Engine, ManualClock, SystemClock};
use mdk_relay::LocalRelay;
use mdk_wire::{Event, Keys, PublicKey};

use super::kit::*;

const LISTS: [u16; 2] = [10_002, 10_050];
const KEY_PACKAGE: u16 = 30_443;
const AHEAD: u64 = 3 * 86_400;
/// More than a test takes, and less than relays care about.
const CLOSE: u64 = 600;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// When the events of a kind that the relay has of this account say that they were made.
fn dates(relay: &LocalRelay, kind: u16, who: PublicKey) -> Vec<u64> {
    let events = relay.events(kind).into_iter();
    let events = events.filter_map(|json| Event::from_json(json.as_bytes()).ok());
    events.filter(|event| event.pubkey() == who).map(|event| event.created_at()).collect()
}

/// The latest of these.
fn dated(relay: &LocalRelay, kind: u16, who: PublicKey) -> Option<u64> {
    dates(relay, kind, who).into_iter().max()
}

/// What a start with a clock that is ahead leaves in a database. Its lists are dated by the system's clock, which a test cannot
/// set.
fn leave_lists(engine: &mut Engine, keys: &Keys, url: &str) -> Vec<Event> {
    let mut lists = Vec::new();
    for (kind, tag) in LISTS.into_iter().zip(["r", "relay"]) {
        let list = by(keys, kind, now() + AHEAD, &[&[tag, url]], "");
        engine.set_state(&format!("list/{kind}"), Some(url.as_bytes())).unwrap();
        engine.set_state(&format!("published/{kind}"), Some(list.to_json().as_bytes())).unwrap();
        lists.push(list);
    }
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_reachable_at_once_when_no_relay_took_what_was_dated_ahead() {
    let relay = relay().await;
    let account = Account::new();
    relay.refuse(Some([10_002, 10_050, KEY_PACKAGE].into()), "invalid: created_at too late");
    let ahead = Arc::new(ManualClock::at(now() + AHEAD));
    let alice = account.opens_at(ahead, options(&[relay.url()])).await;
    alice
        .until("a KeyPackage", |engine| (!engine.key_packages().unwrap().is_empty()).then_some(()))
        .await;
    let mut engine = alice.breaks_off().await;
    leave_lists(&mut engine, &account.keys, relay.url());
    drop(engine);

    relay.refuse(Some([].into()), "");
    let alice = ready(account.opens(options(&[relay.url()]))).await;
    for kind in [10_002, 10_050, KEY_PACKAGE] {
        // (The KeyPackage of then may come out of the outbox as well: this relay would take it.)
        let there = || dates(&relay, kind, alice.key());
        until(&relay, "something new", || there().iter().any(|at| *at < now() + CLOSE)).await;
    }
    let bob = ready(Person::new(options(&[relay.url()]))).await;
    bob.founds(&[relay.url()], &[&alice]).await;
    // What was dated ahead does not wait for its day.
    alice.sent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_has_of_such_a_clock_stays_until_there_is_something_else_to_say() {
    let (relay, other) = (relay().await, relay().await);
    let account = Account::new();
    let mut engine = account.engine(Arc::new(SystemClock));
    let lists = leave_lists(&mut engine, &account.keys, relay.url());
    drop(engine);
    let dates: Vec<u64> = lists.iter().map(Event::created_at).collect();
    // Its own lists would take the place of these.
    let messenger = ClientOptions { reachable: false, ..options(&[relay.url()]) };
    let messenger = Person::new(messenger).await;
    for list in lists {
        let relays = [relay.url().to_owned()];
        messenger.with(move |engine| engine.enqueue(&list, &relays)).unwrap();
    }
    messenger.client.nudge();
    messenger.sent().await;
    let alice = ready(account.opens(options(&[relay.url()]))).await;
    alice.sent().await;
    for (kind, date) in LISTS.into_iter().zip(&dates) {
        assert_eq!(dated(&relay, kind, alice.key()), Some(*date));
    }
    drop(alice.close().await);
    let both = options(&[relay.url(), other.url()]);
    let alice = account.opens(both).await;
    for (kind, date) in LISTS.into_iter().zip(&dates) {
        until(&other, "the new lists", || dated(&other, kind, alice.key()) > Some(*date)).await;
        until(&relay, "the new lists", || dated(&relay, kind, alice.key()) > Some(*date)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_package_that_nobody_can_use_yet_is_none() {
    let relay = relay().await;
    let account = Account::new();
    let ahead = Arc::new(ManualClock::at(now() + AHEAD));
    let alice = account.opens_at(ahead, options(&[relay.url()])).await;
    // This relay takes everything.
    alice.ready().await;
    drop(alice.close().await);
    let alice = account.opens(options(&[relay.url()])).await;
    alice
        .until("one that can be used", |engine| {
            let found = engine.key_packages().unwrap();
            found.iter().any(|kp| kp.created_at < now() + CLOSE).then_some(())
        })
        .await;
    alice.sent().await;
    let bob = ready(Person::new(options(&[relay.url()]))).await;
    bob.founds(&[relay.url()], &[&alice]).await;
}

/// The account's clock alone says how old things are, also when it is set meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_another_time_than_the_machine_is_heard() {
    let relay = relay().await;
    let clock = Arc::new(ManualClock::at(now() + AHEAD));
    let patient =
        ClientOptions { speak_after: Duration::from_millis(200), ..options(&[relay.url()]) };
    let alice = Person::at(clock.clone(), patient).await;
    alice.ready().await;
    let group = alice.founds(&[relay.url()], &[]).await;
    alice.says(&group, "ahead").await;
    alice.sent().await;
    clock.set(now());
    alice.renames(&group, "new").await.unwrap();
    clock.set(now() - AHEAD);
    alice.says(&group, "behind").await;
    alice.sent().await;
    assert_eq!(relay.count(445), 3);
}
