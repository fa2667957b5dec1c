//! Relays that go and come back, refuse, or repeat themselves; clients that die.

use std::time::Duration;

use mdk_client::{ClientError, ClientOptions};
use mdk_core::{Delivery, EventBody};
use mdk_relay::{Faults, LocalRelay};

use super::kit::*;

/// The same account once more, which waits for an answer no longer than so many milliseconds.
async fn hasty(person: Person, relay: &LocalRelay, millis: u64) -> Person {
    let short =
        ClientOptions { request_timeout: Duration::from_millis(millis), ..options(&[relay.url()]) };
    let (keys, pool) = (person.keys.clone(), person.pool.clone());
    ready(Person::start(person.breaks_off().await, keys, short, pool)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_an_outage_arrives_after_it() {
    let relay = relay().await;
    let (alice, bob, group) = pair(&[relay.url()]).await;
    relay.pause().await;
    let mut said = Vec::new();
    for n in 0..10 {
        for (who, name) in [(&alice, "alice"), (&bob, "bob")] {
            said.push(format!("{name} {n}"));
            who.says(&group, &said[said.len() - 1]).await;
        }
    }
    assert_eq!(alice.with(|engine| engine.outbox_messages()).unwrap().len(), 10);
    relay.resume().await.unwrap();
    alice.reads(&group, &said).await;
    bob.reads(&group, &said).await;
    alice.sent().await;
    assert_eq!(bob.told().len(), 10, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_forgot_everything_is_filled_again() {
    let relay = relay().await;
    let (alice, bob, group) = pair(&[relay.url()]).await;
    alice.says(&group, "before").await;
    bob.reads(&group, &["before"]).await;
    alice.sent().await;
    relay.pause().await;
    relay.wipe().await;
    alice.says(&group, "meanwhile").await;
    relay.resume().await.unwrap();
    bob.reads(&group, &["before", "meanwhile"]).await;
    bob.says(&group, "after").await;
    alice.reads(&group, &["before", "meanwhile", "after"]).await;
    // Whoever looks for them finds them again.
    let carol = ready(Person::new(options(&[relay.url()]))).await;
    let mut changes = relay.changes();
    soon("KeyPackages that are back", async {
        while carol.client.find_key_packages(&bob.key(), &[]).await.is_err() {
            changes.changed().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_when_a_relay_lost_its_memory_misses_nothing() {
    let relay = relay().await;
    let account = Account::new();
    let bob = ready(account.opens(options(&[relay.url()]))).await;
    let alice = ready(Person::new(options(&[relay.url()]))).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    alice.settles_with(&group, &[&bob]).await;
    drop(bob.close().await);
    alice.says(&group, "one").await;
    alice.renames(&group, "new").await.unwrap();
    alice.says(&group, "two").await;
    alice.sent().await;
    relay.pause().await;
    relay.wipe().await;
    assert_eq!(relay.count(445), 0);
    relay.resume().await.unwrap();
    let bob = account.opens(options(&[relay.url()])).await;
    bob.reads(&group, &["one", "two"]).await;
    assert_eq!(bob.group(&group).profile.name, "new");
    // Alice has given it again what it had acknowledged, and counts that.
    let lost: u64 = alice.client.status().iter().map(|status| status.lost).sum();
    assert!(lost >= 3, "two messages and a commit: {lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_relay_of_two_is_enough_and_the_other_is_owed_everything() {
    let (good, dead) = (relay().await, relay().await);
    dead.pause().await;
    let (alice, bob, group) = pair(&[good.url(), dead.url()]).await;
    for n in 0..20 {
        alice.says(&group, &format!("{n}")).await;
    }
    let said: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    bob.reads(&group, &said).await;
    alice
        .until("a relay that has each", |engine| {
            engine.outbox_messages().unwrap().is_empty().then_some(())
        })
        .await;
    dead.resume().await.unwrap();
    until(&dead, "what it is owed", || dead.events(445).len() >= good.events(445).len()).await;
    alice.sent().await;
    assert_eq!(bob.told().len(), 20, "each once, from two relays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_every_relay_refuses_never_was() {
    let relay = relay().await;
    let (alice, bob, group) = pair(&[relay.url()]).await;
    let words = ["blocked: not here", "restricted: pay first", "auth-required: not you"];
    for (n, words) in words.into_iter().enumerate() {
        relay.refuse(Some([445].into()), words);
        let refused = alice.renames(&group, "never").await;
        let Err(ClientError::NoRelayAccepted { reasons }) = refused else { panic!("{refused:?}") };
        assert_eq!(reasons.len(), 1);
        assert!(reasons[0].1.contains(words), "{reasons:?}");
        assert_ne!(alice.group(&group).profile.name, "never");
        // So is a message.
        let lost = alice.says(&group, "lost").await;
        alice
            .until("a failed message", |engine| {
                let message = engine.message(&group, &lost).unwrap();
                (message.fate.delivery == Delivery::Failed).then_some(())
            })
            .await;
        let errors = alice.with(|engine| engine.delivery_errors(&lost)).unwrap();
        assert!(errors[0].1.contains(words), "{errors:?}");
        relay.refuse(Some([].into()), "");
        let name = format!("new {n}");
        let info = alice.renames(&group, &name).await.unwrap();
        assert_eq!(info.profile.name, name);
        bob.sees("the new name", &group, |group| group.profile.name == name).await;
    }
    let changes = alice.with(|engine| engine.events(0, 10_000)).unwrap();
    let failed = changes.iter().filter(|event| {
        matches!(event.body, EventBody::DeliveryChanged { delivery: Delivery::Failed, .. })
    });
    assert_eq!(failed.count(), words.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_welcome_leaves_before_its_commit_is_true() {
    let relay = relay().await;
    let (alice, _bob, group) = pair(&[relay.url()]).await;
    let carol = ready(Person::new(options(&[relay.url()]))).await;
    let package = alice.key_package_of(&carol).await;
    let (commits, welcomes) = (relay.events(445).len(), relay.events(1059).len());
    relay.refuse(Some([445].into()), "blocked: not now");
    let refused = alice.adds(&group, &package).await;
    assert!(matches!(refused, Err(ClientError::NoRelayAccepted { .. })), "{refused:?}");
    assert_eq!(relay.events(1059).len(), welcomes, "nobody was invited");

    // The Welcome is refused for a while: it is tried again by itself, long after its commit.
    relay.refuse(Some([1059].into()), "rate-limited: slow down");
    alice.adds(&group, &package).await.unwrap();
    assert_eq!(relay.events(445).len(), commits + 1);
    assert_eq!(relay.events(1059).len(), welcomes);
    relay.refuse(Some([].into()), "");
    assert_eq!(carol.joins().await, group);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_dies_while_it_publishes_loses_nothing() {
    let relay = relay().await;
    let account = Account::new();
    let mut alice = ready(account.opens(options(&[relay.url()]))).await;
    let bob = ready(Person::new(options(&[relay.url()]))).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    // The answers come late enough that every death falls between an event and its answer.
    relay.faults(Faults { delay: Some(Duration::from_millis(30)), ..Faults::default() });
    let mut said = Vec::new();
    for round in 0..5 {
        let before = relay.events(445).len();
        for n in 0..3 {
            said.push(format!("{round}.{n}"));
            alice.says(&group, &said[said.len() - 1]).await;
        }
        if round % 2 == 0 {
            until(&relay, "the first of them", || relay.events(445).len() > before).await;
        }
        let Person { client, engine, .. } = alice;
        drop(engine.take());
        drop(client);
        alice = account.opens(options(&[relay.url()])).await;
    }
    bob.reads(&group, &said).await;
    alice.sent().await;
    assert_eq!(bob.told().len(), said.len(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn repetition_and_disorder_change_nothing() {
    let relay = relay().await;
    relay.faults(Faults { duplicate: true, reorder: Some(5), ..Faults::default() });
    let (alice, bob, group) = pair(&[relay.url()]).await;
    let mut said = Vec::new();
    for n in 0..30 {
        said.push(format!("{n}"));
        let who = if n % 3 == 0 { &bob } else { &alice };
        who.says(&group, &said[n]).await;
        if n == 15 {
            relay.cut().await;
        }
    }
    alice.reads(&group, &said).await;
    bob.reads(&group, &said).await;
    assert_eq!(bob.told().len(), 20);
    assert_eq!(alice.told().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asked_for_does_not_come_to_the_engine() {
    let (good, bad) = (relay().await, relay().await);
    bad.faults(Faults { false_events: true, ..Faults::default() });
    let relays = [good.url(), bad.url()];
    let (alice, bob, group) = pair(&relays).await;
    alice.says(&group, "one").await;
    bob.reads(&group, &["one"]).await;
    let counted = bob.client.stats();
    assert_eq!(counted.events_rejected, 0, "{counted:?}");
    assert!(counted.events_false > 0, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_swallows_holds_up_nothing_for_ever() {
    let relay = relay().await;
    let (alice, bob, group) = pair(&[relay.url()]).await;
    let alice = hasty(alice, &relay, 200).await;
    relay.faults(Faults { drop_silently_over: Some(4_000), ..Faults::default() });
    let big = "x".repeat(8_000);
    alice.says(&group, &big).await;
    alice.says(&group, "small").await;
    bob.reads(&group, &["small"]).await;
    // Bob may read it before its sender has written down the relay's answer.
    alice
        .until("one that still waits", |engine| {
            (engine.outbox_messages().unwrap().len() == 1).then_some(())
        })
        .await;
    relay.faults(Faults::default());
    bob.reads(&group, &["small", &big]).await;
}

/// Its answer was lost, and the second attempt is refused: others have it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_from_a_relay_has_not_failed() {
    let relay = relay().await;
    let (alice, bob, group) = pair(&[relay.url()]).await;
    let alice = hasty(alice, &relay, 300).await;
    relay.faults(Faults { lose_ok: true, ..Faults::default() });
    let id = alice.says(&group, "there").await;
    bob.reads(&group, &["there"]).await;
    relay.refuse(Some([445].into()), "blocked: not twice");
    alice
        .until("an answer, of whatever kind", |engine| {
            let message = engine.message(&group, &id).unwrap();
            (message.fate.delivery == Delivery::Accepted).then_some(())
        })
        .await;
    alice.sent().await;
    let told = |engine: &mut mdk_core::Engine| {
        let events = engine.events(0, 10_000).unwrap().into_iter();
        let changes = events.filter_map(|event| match event.body {
            EventBody::DeliveryChanged { message_id, delivery, .. } if message_id == id => {
                Some(delivery)
            }
            _ => None,
        });
        changes.collect::<Vec<_>>()
    };
    assert_eq!(alice.with(told).last(), Some(&Delivery::Accepted));
    // Counted a moment after the engine has it.
    let client = alice.client.clone();
    alice.until("the count", |_| (client.stats().messages_sent > 0).then_some(())).await;
    assert_eq!(alice.client.stats().messages_sent, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_network_at_the_start_is_no_fault() {
    let relay = relay().await;
    relay.pause().await;
    let alice = Person::new(options(&[relay.url()])).await;
    let waiting = tokio::time::timeout(Duration::from_millis(200), alice.client.ready()).await;
    assert!(waiting.is_err(), "nothing is ready");
    soon("what waits", async {
        while alice.client.stats().outbox_queued == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    relay.resume().await.unwrap();
    alice.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_the_outbox_and_not_for_ever() {
    let relay = relay().await;
    let (alice, bob, group) = pair(&[relay.url()]).await;
    relay.faults(Faults { delay: Some(Duration::from_millis(20)), ..Faults::default() });
    for n in 0..10 {
        alice.says(&group, &n.to_string()).await;
    }
    let mut engine = alice.close().await;
    assert!(engine.outbox(1).unwrap().is_empty(), "all were published");
    relay.pause().await;
    bob.says(&group, "never").await;
    let (client, engine) = (bob.client.clone(), bob.engine.clone());
    soon("an end", client.close(Duration::from_millis(100))).await;
    let mut engine = engine.take().unwrap();
    assert_eq!(engine.outbox_messages().unwrap().len(), 1, "it waits for the next start");
}
