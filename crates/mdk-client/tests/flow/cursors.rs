//! How far a relay was read: never further than what the engine has.

use std::sync::Arc;
use std::time::Duration;

use mdk_client::{Pool, PoolOptions, Published};
use mdk_core::SystemClock;

use super::kit::*;

/// A cursor that does not read is none: everything is fetched again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_read_costs_a_longer_catch_up_and_nothing_else() {
    let relay = relay().await;
    let account = Account::new();
    let bob = ready(account.opens(options(&[relay.url()]))).await;
    let alice = ready(Person::new(options(&[relay.url()]))).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    alice.says(&group, "before").await;
    bob.reads(&group, &["before"]).await;
    let mut engine = bob.close().await;
    let cursors = engine.states("cursor/").unwrap();
    assert!(!cursors.is_empty());
    for (key, _) in cursors {
        engine.set_state(&key, Some(b"\xff no cursor")).unwrap();
    }
    drop(engine);
    alice.says(&group, "meanwhile").await;
    let bob = ready(account.opens(options(&[relay.url()]))).await;
    bob.reads(&group, &["before", "meanwhile"]).await;
    assert_eq!(bob.told(), ["before", "meanwhile"], "each once");
    let fetched = bob.client.stats().backlog_fetched;
    assert!(fetched >= 2, "{fetched}");
}

/// What the engine had no room for is fetched again: the cursor stays before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_does_not_pass_what_the_engine_could_not_take() {
    let (near, far) = (relay().await, relay().await);
    let alice = Person::new(options(&[near.url(), far.url()])).await;
    // Bob knows one of the group's relays only: the other one is on this machine, and not named by him.
    let narrow = Pool::new(PoolOptions {
        reconnect_min: Duration::from_millis(20),
        reconnect_max: Duration::from_millis(200),
        ..PoolOptions::default()
    });
    let mut few = config();
    few.max_held_events = 4;
    let bob = ready(Person::made(Arc::new(SystemClock), few, options(&[near.url()]), narrow)).await;
    alice.ready().await;
    let group = alice.founds(&[near.url(), far.url()], &[&bob]).await;
    bob.renewed(&group).await;
    alice.follows(&bob, &group).await;
    alice.sent().await;
    // A commit that only the far relay has.
    near.refuse(Some([445].into()), "blocked: not this one");
    let before = far.events(445).len();
    alice.self_updates(&group).await;
    alice.sent().await;
    let commit = far.events(445).split_off(before).remove(0);
    near.refuse(Some([].into()), "");
    let said: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    for text in &said {
        alice.says(&group, text).await;
    }
    alice.sent().await;
    until(&near, "the messages", || near.events(445).len() >= 10).await;
    soon("no room", async {
        while bob.client.stats().events_deferred <= 4 {
            // It may not end: that is what this is about.
            let _ = bob.client.sync().await;
        }
    })
    .await;
    assert!(bob.texts(&group).is_empty());
    let (url, me) = (near.url(), alice.key());
    assert_eq!(alice.pool.publish(url, &me, &commit, LONG).await, Published::Accepted);
    bob.reads(&group, &said).await;
}
