//! Who is not on the account's own relays.

use std::collections::BTreeSet;
use std::time::Instant;

use mdk_client::{ClientError, ClientOptions, Pool, PoolOptions};
use mdk_core::OutboxPurpose;
use mdk_wire::Keys;

use super::kit::*;

#[tokio::test(flavor = "multi_thread")]
async fn somebody_on_a_relay_that_the_account_left_is_found_there() {
    let (old, new) = (relay().await, relay().await);
    let account = Account::new();
    let alice = ready(account.opens(options(&[old.url()]))).await;
    let bob = ready(Person::new(options(&[old.url()]))).await;
    drop(alice.close().await);
    let alice = ready(account.opens(options(&[new.url()]))).await;
    // The invite goes to where Bob reads, and not to the group's relay.
    alice.founds(&[new.url()], &[&bob]).await;
    assert!(new.events(1059).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_on_a_relay_of_a_shared_group_is_found_there() {
    let (first, second) = (relay().await, relay().await);
    let alice = ready(Person::new(options(&[first.url()]))).await;
    let bob = ready(Person::new(options(&[second.url()]))).await;
    let carol = ready(Person::new(options(&[first.url(), second.url()]))).await;
    let missing = soon("a search", alice.client.find_key_packages(&bob.key(), &[])).await;
    assert!(matches!(missing, Err(ClientError::KeyPackageNotFound)));
    let group = carol.founds(&[first.url(), second.url()], &[&alice]).await;
    alice.renewed(&group).await;
    // All three are there, each with a connection of its own.
    until(&second, "alice's connection", || second.connections() >= 3).await;
    alice.founds(&[first.url()], &[&bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_is_followed_and_no_address_that_may_not_be_dialled() {
    let (first, second) = (relay().await, relay().await);
    let alice = ready(Person::new(options(&[first.url()]))).await;
    let bob = ready(Person::new(options(&[second.url()]))).await;
    let hints = ["no address".to_owned(), second.url().to_owned()];
    let found = soon("a search", alice.client.find_key_packages(&bob.key(), &hints)).await.unwrap();
    assert_eq!(found.len(), 1);
    // Where an invite of his goes is known by now.
    alice.founds(&[first.url()], &[&bob]).await;
    assert!(first.events(1059).is_empty());

    // Somebody else's word is not the user's: without permission nothing on this machine is dialled for it.
    let strict = Pool::new(PoolOptions::default());
    let carol = ready(Person::over(strict, options(&[first.url()]))).await;
    let connections = second.connections();
    let missing = soon("a search", carol.client.find_key_packages(&bob.key(), &hints)).await;
    assert!(matches!(missing, Err(ClientError::KeyPackageNotFound)));
    assert_eq!(second.connections(), connections);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_invites_go_is_said_before_a_key_package_and_a_hint_holds_for_both() {
    let (first, second) = (relay().await, relay().await);
    second.refuse(Some(BTreeSet::from([10_050])), "rate-limited: later");
    let alice = Person::new(options(&[first.url()])).await;
    let bob = Person::new(options(&[second.url()])).await;
    until(&second, "a KeyPackage", || !second.events(30_443).is_empty()).await;
    // The relay was asked to take the list as often as anything is waited for.
    let attempts = bob.with(|engine| {
        let rows = engine.outbox(100).unwrap();
        let lists = rows.iter().filter(|row| row.purpose == OutboxPurpose::List);
        lists.flat_map(|row| row.results.iter().map(|result| result.attempts)).max()
    });
    assert!(attempts >= Some(3), "{attempts:?}");

    alice.ready().await;
    let hints = [second.url().to_owned()];
    soon("a search", alice.client.find_key_packages(&bob.key(), &hints)).await.unwrap();
    second.refuse(Some(BTreeSet::new()), "");
    until(&second, "a list", || !second.events(10_050).is_empty()).await;
    alice.founds(&[first.url()], &[&bob]).await;
    assert!(first.events(1059).is_empty());
}

/// What others hold is a further chance only.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_of_a_group_that_says_nothing_is_not_waited_for_long() {
    let relay = relay().await;
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (format!("ws://{}", silent.local_addr().unwrap()), silent);
    let pool = Pool::new(PoolOptions {
        allow_loopback: true,
        connect_timeout: 10 * LONG,
        ..PoolOptions::default()
    });
    // A fifth of it is what the search waits for; the rest is for a slow machine.
    let request_timeout = LONG / 2;
    let options = ClientOptions { request_timeout, ..options(&[relay.url()]) };
    let alice = ready(Person::over(pool, options)).await;
    alice.founds(&[relay.url(), &silent.0], &[]).await;
    let stranger = Keys::generate().public_key();
    let searching = alice.client.find_key_packages(&stranger, &[]);
    let missing = tokio::time::timeout(request_timeout, searching).await.unwrap();
    assert!(matches!(missing, Err(ClientError::KeyPackageNotFound)), "{missing:?}");
}

/// Where nothing was found, the one that says nothing may have it. Where something was, nobody is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_missing_while_a_relay_of_ours_is_away() {
    let (first, second) = (relay().await, relay().await);
    let alice = ready(Person::new(options(&[first.url(), second.url()]))).await;
    let carol = ready(Person::new(options(&[first.url()]))).await;
    let bob = ready(Person::new(options(&[second.url()]))).await;
    let of_alice = |event: &String| event.contains(&alice.key().to_hex());
    until(&first, "alice's KeyPackage", || first.events(30_443).iter().any(of_alice)).await;
    second.pause().await;
    let hints = [second.url().to_owned()];
    let away = soon("a search", alice.client.find_key_packages(&bob.key(), &[])).await;
    assert!(matches!(away, Err(ClientError::NotConnected)), "{away:?}");
    // Whoever names a relay that never answers makes nobody wait for it.
    let missing = soon("a search", carol.client.find_key_packages(&bob.key(), &hints)).await;
    assert!(matches!(missing, Err(ClientError::KeyPackageNotFound)), "{missing:?}");
    soon("a search", alice.client.find_key_packages(&carol.key(), &[])).await.unwrap();
    soon("a search", carol.client.find_key_packages(&alice.key(), &hints)).await.unwrap();
    second.resume().await.unwrap();
    alice.ready().await;
    let nobody = Keys::generate().public_key();
    let deadline = Instant::now() + LONG;
    loop {
        let missing = soon("a search", alice.client.find_key_packages(&nobody, &[])).await;
        match missing {
            Err(ClientError::KeyPackageNotFound) => break,
            // It is still being connected.
            Err(ClientError::NotConnected) if Instant::now() < deadline => {}
            other => panic!("{other:?}"),
        }
    }
    soon("a search", alice.client.find_key_packages(&bob.key(), &[])).await.unwrap();
}
