//! The ordinary life of clients over a relay.

use std::sync::Arc;
use std::time::Duration;

use mdk_client::{ClientError, ClientOptions, Pool, PoolOptions};
use mdk_core::{Engine, Error, GroupState};
use mdk_relay::{LocalRelay, LocalRelayOptions};

use super::kit::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_converse() {
    let relay = relay().await;
    let [alice, bob] = people(&[relay.url()]).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    alice.says(&group, "Soup or sandwich?").await;
    bob.reads(&group, &["Soup or sandwich?"]).await;
    bob.says(&group, "Soup.").await;
    alice.reads(&group, &["Soup or sandwich?", "Soup."]).await;
    bob.renewed(&group).await;
    alice.says(&group, "Fine.").await;
    bob.reads(&group, &["Soup or sandwich?", "Soup.", "Fine."]).await;
    alice.sent().await;
    bob.sent().await;
    assert_eq!(alice.told(), ["Soup."]);
    assert_eq!(bob.told(), ["Soup or sandwich?", "Fine."]);
    // Counted a moment after the engine has it.
    let client = alice.client.clone();
    let counted = |_: &mut Engine| (client.stats().messages_sent >= 2).then_some(());
    alice.until("the count", counted).await;
    let stats = alice.client.stats();
    assert_eq!((stats.messages_sent, stats.outbox_queued), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_profile_are_published_once() {
    let relay = relay().await;
    let account = Account::new();
    let named = ClientOptions { name: Some("Alice".to_owned()), ..options(&[relay.url()]) };
    let alice = ready(account.opens(named.clone())).await;
    let lists = |alice: &Person| {
        let author = alice.key().to_hex();
        [10_002, 10_050, 0, 30_443]
            .map(|kind| relay.events(kind).iter().filter(|event| event.contains(&author)).count())
    };
    until(&relay, "lists", || lists(&alice) == [1, 1, 1, 1]).await;
    alice.sent().await;
    let profile: serde_json::Value = serde_json::from_str(&relay.events(0)[0]).unwrap();
    assert_eq!(profile["content"], r#"{"name":"Alice"}"#);
    drop(alice.close().await);

    // The relays are remembered, and nothing is said twice.
    let again = ClientOptions { relays: Vec::new(), ..named };
    let alice = ready(account.opens(again)).await;
    alice.sent().await;
    assert_eq!(lists(&alice), [1, 1, 1, 1]);
    drop(alice.close().await);

    // Another relay: new lists, and a KeyPackage that names it.
    let other = super::kit::relay().await;
    let alice = ready(account.opens(options(&[other.url()]))).await;
    let there = || [10_002, 10_050, 30_443].map(|kind| other.events(kind).len());
    until(&other, "lists on the other relay", || there() == [1, 1, 1]).await;
    assert!(other.events(10_050)[0].contains(other.url()));
    drop(alice.close().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_wants_to_know_who_asks() {
    let asking = LocalRelayOptions { require_auth: true, ..LocalRelayOptions::default() };
    let relay = LocalRelay::start(asking).await.unwrap();
    let [alice, bob] = people(&[relay.url()]).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    alice.says(&group, "one").await;
    bob.says(&group, "two").await;
    alice.reads(&group, &["one", "two"]).await;
    bob.reads(&group, &["one", "two"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_goes_where_its_recipient_wants_it() {
    let (meeting, home) = (relay().await, relay().await);
    let alice = ready(Person::new(options(&[meeting.url(), home.url()]))).await;
    let bob = ready(Person::new(options(&[home.url()]))).await;
    until(&home, "bob's inbox list", || {
        home.events(10_050).iter().any(|event| event.contains(&bob.key().to_hex()))
    })
    .await;
    let group = alice.founds(&[meeting.url()], &[&bob]).await;
    assert_eq!(meeting.count(1059), 0);
    assert_eq!(home.count(1059), 1);
    // The group is on a relay that only the invite named.
    alice.says(&group, "Welcome.").await;
    bob.reads(&group, &["Welcome."]).await;
    assert!(bob.client.status().iter().any(|relay| relay.url == meeting.url()));
    assert_eq!(home.count(445), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_inbox_list_is_invited_on_the_groups_relays() {
    let relay = relay().await;
    relay.refuse(Some([10_050, 10_002].into()), "blocked: no lists");
    let [alice, bob] = people(&[relay.url()]).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    alice.says(&group, "found you").await;
    bob.reads(&group, &["found you"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_things_is_told() {
    let relay = relay().await;
    let [alice, bob] = people(&[relay.url()]).await;
    let nobody = mdk_wire::Keys::generate().public_key();
    let missing = soon("a search", alice.client.find_key_packages(&nobody, &[])).await;
    assert!(matches!(missing, Err(ClientError::KeyPackageNotFound)));
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    bob.client.sync().await.unwrap();
    assert_eq!(soon("sync", bob.client.sync()).await.unwrap(), 0, "nothing is new");
    let stats = bob.client.stats();
    assert!(stats.events_received > 0 && stats.last_event_at.is_some(), "{stats:?}");
    assert_eq!(bob.client.status().len(), 1);
    relay.pause().await;
    // The client may not have seen it yet.
    while soon("sync", bob.client.sync()).await.is_ok() {}
    let away = soon("sync", bob.client.sync()).await;
    assert!(matches!(away, Err(ClientError::NotConnected)), "{away:?}");
    bob.client.close(Duration::ZERO).await;
    assert!(matches!(bob.client.sync().await, Err(ClientError::Closed)));
    assert!(matches!(bob.client.ready().await, Err(ClientError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_client_leaves_nothing_running() {
    let relay = relay().await;
    let Person { client, engine, pool, .. } = Person::new(options(&[relay.url()])).await;
    soon("ready", client.ready()).await.unwrap();
    assert!(relay.connections() > 0);
    let second = client.clone();
    drop(client);
    assert!(soon("sync", second.sync()).await.is_ok(), "a clone is the same client");
    drop(second);
    until(&relay, "the end of the connection", || relay.connections() == 0).await;
    soon("tasks that end", async {
        // Each of them holds the engine.
        while Arc::strong_count(&engine) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(pool);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_name_is_not_dialled_on_this_machine() {
    let (named, inside) = (relay().await, relay().await);
    // The pool of a program, not of a test: only what its user names may be here.
    let strict = Pool::new(PoolOptions::default());
    let alice = ready(Person::over(strict, options(&[named.url()]))).await;
    let bob = ready(Person::new(options(&[named.url()]))).await;
    let group = bob.founds(&[named.url(), inside.url()], &[&alice]).await;
    alice.says(&group, "hello").await;
    bob.reads(&group, &["hello"]).await;
    alice.sent().await;
    assert!(alice.client.status().iter().all(|relay| relay.url != inside.url()));
    bob.sent().await;
    assert!(!inside.events(445).iter().any(|event| named.events(445).last() == Some(event)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_listens_no_more() {
    let (home, meeting) = (relay().await, relay().await);
    let [alice, bob] = people(&[home.url()]).await;
    let group = alice.founds(&[meeting.url()], &[&bob]).await;
    bob.renewed(&group).await;
    bob.says(&group, "here").await;
    alice.reads(&group, &["here"]).await;
    alice.removes(&group, bob.key()).await;
    bob.sees("the removal", &group, |group| group.state == GroupState::Removed).await;
    alice.says(&group, "alone").await;
    alice.sent().await;
    bob.client.sync().await.unwrap();
    assert_eq!(bob.texts(&group), ["here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_is_answered_by_itself() {
    let relay = relay().await;
    let [alice, bob] = people(&[relay.url()]).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    bob.until("leaving", |engine| engine.leave(&group).ok()).await;
    bob.client.nudge();
    bob.sees("the answer", &group, |group| group.state == GroupState::Left).await;
    alice.sees("its echo", &group, |group| group.member_count == 1).await;
    alice.sent().await;
    bob.sent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_uses_up_a_key_package_and_another_takes_its_place() {
    let relay = relay().await;
    let [alice, bob] = people(&[relay.url()]).await;
    let first = alice.key_package_of(&bob).await;
    alice.founds(&[relay.url()], &[&bob]).await;
    until(&relay, "a new KeyPackage", || {
        let of_bob = |event: &&String| event.contains(&bob.key().to_hex());
        relay.events(30_443).iter().filter(of_bob).count() == 2
    })
    .await;
    bob.sent().await;
    let second = alice.key_package_of(&bob).await;
    assert_ne!(first.id(), second.id());
    alice.founds(&[relay.url()], &[&bob]).await;
}

/// The commit would be true, and its Welcome at no relay of the one who is invited.
#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_no_relay_would_take_is_not_made() {
    let big = relay().await;
    let options_of_small =
        LocalRelayOptions { max_event_bytes: 5_000, ..LocalRelayOptions::default() };
    let small = LocalRelay::start(options_of_small).await.unwrap();
    let alice = Person::new(options(&[big.url(), small.url()])).await;
    let (bob, carol) =
        (Person::new(options(&[small.url()])).await, Person::new(options(&[big.url()])).await);
    for person in [&alice, &bob, &carol] {
        person.ready().await;
    }
    let group = alice.founds(&[big.url()], &[&carol]).await;
    carol.renewed(&group).await;
    alice.follows(&carol, &group).await;
    let package = alice.key_package_of(&bob).await;
    until(&small, "bob's lists", || !small.events(10_050).is_empty()).await;
    soon("the limits", alice.client.find_key_packages(&bob.key(), &[])).await.unwrap();
    let commits = big.events(445).len();
    let refused = alice.adds(&group, &package).await;
    let Err(ClientError::Engine(Error::GroupTooLarge { size, limit })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(limit, 4_990);
    assert!(size > limit);
    assert_eq!(big.events(445).len(), commits, "nothing was published");
    assert!(alice.with(|engine| engine.pending()).unwrap().is_empty());
    // Where one of the relays takes more, it is made.
    let dave = ready(Person::new(options(&[small.url(), big.url()]))).await;
    let package = alice.key_package_of(&dave).await;
    alice.adds(&group, &package).await.unwrap();
    dave.joins().await;
}
