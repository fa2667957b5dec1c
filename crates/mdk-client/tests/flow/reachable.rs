//! Accounts whose KeyPackage no relay takes.

use std::collections::BTreeSet;

use mdk_client::{ClientError, ClientOptions, Published};
use mdk_core::{Clock as _, SystemClock};
use mdk_wire::Event;

use super::kit::*;

const KEY_PACKAGE: u16 = 30_443;
const LISTS: [u16; 2] = [10_002, 10_050];
const PROFILE: u16 = 0;

#[tokio::test(flavor = "multi_thread")]
async fn what_relays_have_is_there_although_they_take_no_key_package() {
    for (words, lasting) in [
        ("blocked: kind not allowed", true),
        ("restricted: pay first", true),
        ("auth-required: not you", true),
        ("rate-limited: slow down", false),
    ] {
        let relay = relay().await;
        relay.refuse(Some([KEY_PACKAGE].into()), words);
        let alice = Person::new(options(&[relay.url()])).await;
        soon("the history", alice.client.caught_up()).await.unwrap();
        if lasting {
            assert!(!soon("the words", alice.client.reachable()).await.unwrap(), "{words}");
            assert_eq!(alice.client.refusals(), [(relay.url().to_owned(), words.to_owned())]);
            // Nor is its end waited for.
            alice.sent().await;
        }
        // It is tried again, and then the account can be invited.
        relay.refuse(Some([].into()), "");
        alice.ready().await;
        assert!(soon("being reachable", alice.client.reachable()).await.unwrap());
        assert!(alice.client.refusals().is_empty());
    }
}

/// It has the lists then, too, and few KeyPackages are made meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_later_can_be_found() {
    let relay = relay().await;
    relay.refuse(None, "restricted: pay first");
    let alice = Person::new(options(&[relay.url()])).await;
    assert!(!soon("the words", alice.client.reachable()).await.unwrap());
    alice.sent().await;
    relay.refuse(Some([].into()), "");
    alice.ready().await;
    until(&relay, "the lists", || LISTS.iter().all(|kind| !relay.events(*kind).is_empty())).await;
    let made = alice.with(|engine| engine.key_packages()).unwrap().len();
    assert!(made <= 4, "{made}");
}

/// It may be let in after its lists were offered, and before its KeyPackage was.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_with_its_key_package_alone_can_be_found() {
    let relay = relay().await;
    relay.refuse(None, "restricted: pay first");
    let alice = Person::new(options(&[relay.url()])).await;
    assert!(!soon("the words", alice.client.reachable()).await.unwrap());
    alice.sent().await;
    relay.refuse(Some(LISTS.into()), "restricted: pay first");
    alice.ready().await;
    relay.refuse(Some([].into()), "");
    until(&relay, "the lists", || LISTS.iter().all(|kind| !relay.events(*kind).is_empty())).await;
}

/// What another app of the same person has published meanwhile stays.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_again_and_again_writes_nothing_over() {
    let relay = relay().await;
    relay.refuse(Some([KEY_PACKAGE].into()), "blocked: kind not allowed");
    let named = ClientOptions { name: Some("Old".to_owned()), ..options(&[relay.url()]) };
    let alice = Person::new(named).await;
    let kinds = [PROFILE, LISTS[0], LISTS[1]];
    until(&relay, "what is hers", || kinds.iter().all(|kind| relay.events(*kind).len() == 1)).await;
    assert!(!soon("the words", alice.client.reachable()).await.unwrap());
    for kind in kinds {
        let theirs = elsewhere(&alice, kind);
        let said = alice.pool.publish(relay.url(), &alice.key(), &theirs.to_json(), LONG).await;
        assert_eq!(said, Published::Accepted);
    }
    attempts(&alice, 2).await;
    for kind in kinds {
        assert_eq!(relay.events(kind).len(), 2, "{kind}: {:?}", relay.events(kind));
    }
}

/// Nor where that is on one relay only.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_later_says_nothing_that_is_over() {
    let (first, second) = (relay().await, relay().await);
    for relay in [&first, &second] {
        relay.refuse(None, "restricted: pay first");
    }
    let alice = Person::new(options(&[first.url(), second.url()])).await;
    assert!(!soon("the words", alice.client.reachable()).await.unwrap());
    alice.sent().await;
    let others: BTreeSet<u16> = [KEY_PACKAGE, LISTS[0]].into();
    first.refuse(Some(others.clone()), "restricted: pay first");
    let theirs = elsewhere(&alice, LISTS[1]);
    let said = alice.pool.publish(first.url(), &alice.key(), &theirs.to_json(), LONG).await;
    assert_eq!(said, Published::Accepted);
    // What had asked before that is over.
    attempts(&alice, 1).await;
    second.refuse(Some([KEY_PACKAGE].into()), "restricted: pay first");
    until(&second, "the list that only she has", || !second.events(LISTS[0]).is_empty()).await;
    attempts(&alice, 2).await;
    assert_eq!(second.events(LISTS[0]).len(), 1);
    assert!(second.events(LISTS[1]).is_empty());
}

/// What another app of this person publishes a little later.
fn elsewhere(person: &Person, kind: u16) -> Event {
    let created_at = SystemClock.now() + 2;
    let content = if kind == PROFILE { r#"{"name":"New"}"# } else { "" };
    by(&person.keys, kind, created_at, &[&["relay", "wss://elsewhere.example"]], content)
}

/// Until so many further KeyPackages were made.
async fn attempts(person: &Person, further: usize) {
    let made = person.with(|engine| engine.key_packages()).unwrap().len();
    person
        .until("another attempt", |engine| {
            (engine.key_packages().unwrap().len() >= made + further).then_some(())
        })
        .await;
    person.sent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_relay_that_takes_it_is_enough() {
    let (first, second) = (relay().await, relay().await);
    first.refuse(Some([KEY_PACKAGE].into()), "blocked: kind not allowed");
    let alice = Person::new(options(&[first.url(), second.url()])).await;
    assert!(soon("being reachable", alice.client.reachable()).await.unwrap());
    alice.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_of_the_end() {
    let relay = relay().await;
    relay.refuse(Some([KEY_PACKAGE].into()), "error: not now");
    let alice = Person::new(options(&[relay.url()])).await;
    soon("the history", alice.client.caught_up()).await.unwrap();
    let waiting = tokio::spawn({
        let client = alice.client.clone();
        async move { client.reachable().await }
    });
    drop(alice.close().await);
    assert!(matches!(soon("the end", waiting).await.unwrap(), Err(ClientError::Closed)));
}
