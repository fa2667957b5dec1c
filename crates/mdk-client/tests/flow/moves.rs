//! An account that moves to other relays, and people who know only the old ones.

use std::time::Duration;

use mdk_core::Engine;
use mdk_relay::LocalRelay;
use mdk_wire::{Event, EventId, PublicKey};

use super::kit::*;

const LISTS: [u16; 2] = [10_002, 10_050];
const KEY_PACKAGE: u16 = 30_443;
const FORMER: &str = "relays/former";

/// Whether the newest list of each kind that `relay` has of this account names `where_to`, and nothing else.
fn says(relay: &LocalRelay, who: PublicKey, where_to: &str) -> bool {
    let named = |kind: u16| {
        let events = relay.events(kind).into_iter();
        let lists = events.filter_map(|json| Event::from_json(json.as_bytes()).ok());
        let newest = lists.filter(|list| list.pubkey() == who).max_by_key(Event::created_at);
        newest.map(|list| list.tags().iter().map(|tag| tag[1].clone()).collect::<Vec<_>>())
    };
    LISTS.iter().all(|kind| named(*kind).is_some_and(|named| named == [where_to]))
}

/// The newest KeyPackage event that `relay` has of this account.
fn key_package(relay: &LocalRelay, who: PublicKey) -> Option<EventId> {
    let events = relay.events(KEY_PACKAGE).into_iter();
    let events = events.filter_map(|json| Event::from_json(json.as_bytes()).ok());
    let ours = events.filter(|event| event.pubkey() == who);
    ours.max_by_key(Event::created_at).map(|event| event.id())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_only_the_relay_that_an_account_left_can_invite_it() {
    let (old, new) = (relay().await, relay().await);
    let account = Account::new();
    let alice = ready(account.opens(options(&[old.url()]))).await;
    let bob = ready(Person::new(options(&[old.url()]))).await;
    let carol = ready(Person::new(options(&[old.url()]))).await;
    until(&old, "the lists", || says(&old, alice.key(), old.url())).await;
    // Both know her lists now, and take them for true for some minutes.
    let bobs = bob.key_package_of(&alice).await;
    assert_eq!(carol.key_package_of(&alice).await, bobs);
    let before = key_package(&old, alice.key());
    drop(alice.close().await);

    let alice = ready(account.opens(options(&[new.url()]))).await;
    until(&old, "the new lists", || says(&old, alice.key(), new.url())).await;
    // She is ready as soon as one of them has it.
    until(&new, "the lists there", || says(&new, alice.key(), new.url())).await;
    until(&old, "the new KeyPackage", || key_package(&old, alice.key()) != before).await;
    let fresh = key_package(&old, alice.key());
    until(&new, "the KeyPackage there", || key_package(&new, alice.key()) == fresh).await;
    let group = bob.creates(&[old.url()], [bobs]).await;
    until(&old, "the invite", || !old.events(1059).is_empty()).await;
    assert!(new.events(1059).is_empty());
    assert_eq!(alice.joins().await, group);

    // Also when it is opened again, and by a KeyPackage that was put there only now.
    let carols = carol.key_package_of(&alice).await;
    drop(alice.close().await);
    let group = carol.creates(&[old.url()], [carols]).await;
    until(&old, "the other invite", || old.events(1059).len() > 1).await;
    let alice = account.opens(options(&[])).await;
    assert_eq!(alice.joins().await, group);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_away_hears_of_the_move_when_it_is_back() {
    let (old, new) = (relay().await, relay().await);
    let account = Account::new();
    let alice = ready(account.opens(options(&[old.url()]))).await;
    until(&old, "the lists", || says(&old, alice.key(), old.url())).await;
    drop(alice.close().await);
    old.refuse(Some([10_002, 10_050, KEY_PACKAGE].into()), "blocked: away");
    let alice = ready(account.opens(options(&[new.url()]))).await;
    alice.sent().await;
    assert!(says(&old, alice.key(), old.url()), "it knows of nothing yet");
    drop(alice.close().await);
    old.refuse(Some([].into()), "");
    let alice = account.opens(options(&[new.url()])).await;
    until(&old, "the new lists", || says(&old, alice.key(), new.url())).await;
    let theirs = || key_package(&old, alice.key());
    until(&old, "the KeyPackage", || theirs() == key_package(&new, alice.key())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_gone_for_good_holds_nothing_up() {
    const SOON: Duration = Duration::from_secs(20);
    let (old, new) = (relay().await, relay().await);
    let account = Account::new();
    let alice = ready(account.opens(options(&[old.url()]))).await;
    drop(alice.close().await);
    old.pause().await;
    let alice = ready(account.opens(options(&[new.url()]))).await;
    until(&new, "the lists", || says(&new, alice.key(), new.url())).await;
    alice
        .until("nothing that only the old one lacks", |_| {
            (alice.client.stats().outbox_queued == 0).then_some(())
        })
        .await;
    // Closing waits this long for what no relay has: there is nothing like that.
    let closing = alice.client.close(SOON * 10);
    tokio::time::timeout(SOON, closing).await.expect("closing waits for the old relay");
}

/// A relay refuses what is older than what it has, and would be asked again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_one_took_the_place_of_does_not_wait_beside_it() {
    let (old, new) = (relay().await, relay().await);
    let account = Account::new();
    old.refuse(Some([10_002, 10_050, KEY_PACKAGE].into()), "error: not now");
    let kinds = |engine: &mut Engine| {
        let events = engine.outbox(100).unwrap().into_iter().map(|item| item.event);
        let kinds = events.map(|json| Event::from_json(json.as_bytes()).unwrap().kind());
        let mut kinds: Vec<u16> = kinds.collect();
        kinds.sort_unstable();
        kinds
    };
    let all = [10_002, 10_050, KEY_PACKAGE];
    let alice = account.opens(options(&[old.url()])).await;
    alice.until("all that waits", |engine| (kinds(engine) == all).then_some(())).await;
    drop(alice.breaks_off().await);
    let alice = ready(account.opens(options(&[new.url()]))).await;
    until(&new, "the lists", || says(&new, alice.key(), new.url())).await;
    alice.until("one of each", |engine| (kinds(engine) == all).then_some(())).await;
    old.refuse(Some([].into()), "");
    alice.sent().await;
    assert!(says(&old, alice.key(), new.url()));
    assert_eq!(key_package(&old, alice.key()), key_package(&new, alice.key()));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_two_weeks_it_is_over() {
    let (old, new) = (relay().await, relay().await);
    let account = Account::new();
    let alice = ready(account.opens(options(&[old.url()]))).await;
    drop(alice.close().await);
    let alice = ready(account.opens(options(&[new.url()]))).await;
    until(&old, "the new lists", || says(&old, alice.key(), new.url())).await;
    alice.sent().await;
    let reads = |alice: &Person| alice.client.status().iter().any(|relay| relay.url == old.url());
    assert!(reads(&alice));

    let mut engine = alice.close().await;
    let stored = engine.state(FORMER).unwrap().unwrap();
    let mut former: serde_json::Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(former["left"][0][0], old.url());
    former["left"][0][1] = (former["left"][0][1].as_u64().unwrap() - 15 * 86_400).into();
    engine.set_state(FORMER, Some(former.to_string().as_bytes())).unwrap();
    drop(engine);
    let alice = ready(account.opens(options(&[new.url()]))).await;
    assert!(!reads(&alice), "{:?}", alice.client.status());
}
