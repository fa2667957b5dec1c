//! Invites that no relay takes, and relays that are dialled only once the user has named them.

use mdk_client::{Pool, PoolOptions};
use mdk_core::{Config, Delivery, Engine, EventBody, GroupState, NewGroup, SystemClock};
use mdk_wire::{Keys, PublicKey};

use crate::kit::{Person, options, relay, until};

/// What the log says of invites: who, how far, and the words of relays.
fn told(engine: &mut Engine) -> Vec<(PublicKey, Delivery, Vec<String>)> {
    let events = engine.events(0, 10_000).unwrap().into_iter();
    let invites = events.filter_map(|event| match event.body {
        EventBody::InviteDeliveryChanged { account, delivery, errors } => {
            Some((account, delivery, errors.into_iter().map(|(_, words)| words).collect()))
        }
        _ => None,
    });
    invites.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_every_relay_refuses_is_told_and_goes_out_later() {
    const WORDS: &str = "blocked: no gift wraps";
    let relay = relay().await;
    let dir = tempfile::tempdir().unwrap();
    let (path, keys) = (dir.path().join("alice.db"), Keys::generate());
    let alice = Person::open(&path, keys.clone(), options(&[relay.url()])).await;
    let bob = Person::new(options(&[relay.url()])).await;
    alice.ready().await;
    bob.ready().await;
    relay.refuse(Some([1059].into()), WORDS);
    let new = NewGroup {
        name: "group".to_owned(),
        relays: vec![relay.url().to_owned()],
        members: vec![alice.key_package_of(&bob).await],
        ..NewGroup::default()
    };
    let group = alice.commit(move |engine| engine.create_group(new.clone())).await.unwrap().id;
    let refused = (bob.key(), Delivery::Queued, vec![WORDS.to_owned()]);
    alice.until("the words", |engine| (!told(engine).is_empty()).then_some(())).await;
    assert_eq!(alice.with(told), std::slice::from_ref(&refused));
    alice.until("the count", |_| (alice.client.stats().outbox_queued == 1).then_some(())).await;
    // It is not waited for at the end, and is there at the next beginning.
    drop(alice.close().await);
    let alice = Person::open(&path, keys, options(&[relay.url()])).await;
    let tried = |engine: &mut Engine| {
        let [item] = engine.outbox(10).unwrap().try_into().ok()?;
        (item.attempts > 3).then_some(())
    };
    alice.until("more attempts", tried).await;
    relay.refuse(Some([].into()), "");
    assert_eq!(bob.joins().await, group);
    assert_eq!(bob.with(|engine| engine.group(&group)).unwrap().state, GroupState::Active);
    alice.sent().await;
    assert_eq!(alice.with(told), [refused, (bob.key(), Delivery::Accepted, vec![])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_named_late_is_dialled_then() {
    let (home, late) = (relay().await, relay().await);
    let keys = Keys::generate();
    let engine =
        Engine::in_memory(keys.clone(), Config::default(), std::sync::Arc::new(SystemClock));
    // Addresses on loopback are for those that the user names.
    let pool = Pool::new(PoolOptions::default());
    let alice = Person::start(engine.unwrap(), keys, options(&[home.url()]), pool).await;
    alice.ready().await;
    let new = NewGroup {
        name: "group".to_owned(),
        relays: vec![late.url().to_owned()],
        ..NewGroup::default()
    };
    alice.commit(move |engine| engine.create_group(new.clone())).await.unwrap();
    alice.client.sync().await.unwrap();
    assert_eq!(late.connections(), 0);
    alice.client.name_relays(vec![late.url().to_owned()]).await.unwrap();
    until(&late, "a connection", || late.connections() == 1).await;
}
