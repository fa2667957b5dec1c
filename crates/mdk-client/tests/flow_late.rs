//! What could not be published for a long time.
#![allow(clippy::unwrap_used, missing_docs)]

mod flow_kit;

use std::time::{Duration, Instant};

use flow_kit::{Person, options, relay, soon, until};
use mdk_client::ClientOptions;
use mdk_core::{Clock as _, NewMessage, SystemClock};
use mdk_wire::{Keys, UnsignedEvent};

/// Written without a network, published when the group is six epochs further. Those who write see where the group is
/// before they publish, and nobody can read what belongs to an epoch that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_epochs_ago_can_be_read() {
    let relay = relay().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alice.db");
    let keys = Keys::generate();
    let alice = Person::open(&path, keys.clone(), options(&[relay.url()])).await;
    let bob = Person::new(options(&[relay.url()])).await;
    alice.ready().await;
    bob.ready().await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    let epoch = bob.with(|engine| engine.group(&group)).unwrap().epoch;
    alice
        .until("the self-update", |engine| {
            (engine.group(&group).unwrap().epoch == epoch).then_some(())
        })
        .await;
    alice.sent().await;
    relay.pause().await;
    let said = ["late 0", "late 1", "late 2"];
    for text in said {
        alice.says(&group, text).await;
    }
    soon("closing", alice.client.close(Duration::ZERO)).await;
    drop(alice.engine.take());
    relay.resume().await.unwrap();
    for _ in 0..6 {
        let group = group.clone();
        soon("a commit", bob.commit(move |engine| engine.self_update(&group))).await.unwrap();
    }
    let alice = Person::open(&path, keys, options(&[relay.url()])).await;
    bob.reads(&group, &said).await;
    assert_eq!(bob.told(), said);
    alice.sent().await;
    assert_eq!(alice.texts(&group), said);
}

/// Seconds that it takes to close with so many messages to publish.
async fn drains(count: usize) -> f64 {
    let relay = relay().await;
    let alice = Person::new(options(&[relay.url()])).await;
    let bob = Person::new(options(&[relay.url()])).await;
    alice.ready().await;
    bob.ready().await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    alice.sent().await;
    drop(bob.close().await);
    relay.pause().await;
    alice
        .until("the group", |engine| {
            for n in 0..count {
                let text = n.to_string();
                let new = NewMessage { text, kind: 9, ..NewMessage::default() };
                if engine.create_message(&group, new).is_err() {
                    assert_eq!(n, 0);
                    return None;
                }
            }
            Some(())
        })
        .await;
    alice.client.nudge();
    relay.resume().await.unwrap();
    let started = Instant::now();
    soon("closing", alice.client.close(flow_kit::LONG)).await;
    let took = started.elapsed();
    let mut engine = alice.engine.take().unwrap();
    assert!(engine.outbox(1).unwrap().is_empty());
    assert!(relay.events(445).len() >= count);
    took.as_secs_f64()
}

/// Eight times as many messages take less than sixteen times as long, in the same run.
#[tokio::test(flavor = "multi_thread")]
async fn closing_with_many_messages_takes_time_linear_in_their_number() {
    let few = drains(100).await;
    let many = drains(800).await;
    println!("{few:.3} s for 100 messages, {many:.3} s for 800");
    assert!(many < few * 16.0, "{few:.3} s, then {many:.3} s");
}

/// What bob's list of inbox relays says is out of date: those are dead for good, or do not want him any more.
async fn invites_past(refuses: bool) {
    let (home, old) = (relay().await, relay().await);
    let hasty = ClientOptions {
        welcome_patience: if refuses { flow_kit::LONG } else { Duration::ZERO },
        ..options(&[home.url()])
    };
    let alice = Person::new(hasty).await;
    let bob = Person::new(options(&[home.url()])).await;
    alice.ready().await;
    bob.ready().await;
    let lists = |kind| {
        let (home, bob) = (&home, bob.key().to_hex());
        move || home.events(kind).iter().any(|event| event.contains(&bob))
    };
    until(&home, "bob's inbox list", lists(10_050)).await;
    until(&home, "bob's relay list", lists(10_002)).await;
    let created_at = SystemClock.now_millis() / 1000 + 5;
    let tags = vec![vec!["relay".to_owned(), old.url().to_owned()]];
    let list =
        UnsignedEvent { pubkey: bob.key(), created_at, kind: 10_050, tags, content: String::new() };
    let (list, relays) = (list.sign(&bob.keys), [home.url().to_owned()]);
    bob.with(|engine| engine.enqueue(&list, &relays)).unwrap();
    bob.client.nudge();
    bob.sent().await;
    if refuses {
        old.refuse(None, "blocked: you are unknown here");
    } else {
        old.pause().await;
    }
    let group = alice.founds(&[home.url()], &[&bob]).await;
    alice.says(&group, "found you").await;
    bob.reads(&group, &["found you"]).await;
    assert_eq!(home.count(1059).await, 1);
    assert_eq!(old.count(1059).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_outlives_the_death_of_its_recipients_inbox() {
    invites_past(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_an_inbox_refuses_for_good_goes_elsewhere() {
    invites_past(true).await;
}
