//! A relay that has noise under the routing id of a group.

use std::sync::Arc;
use std::time::Duration;

use mdk_client::{Pool, PoolOptions, Published};
use mdk_core::{Clock as _, Engine, SystemClock, testing};
use mdk_wire::{Event, Keys, NostrGroupId, OsRandom, Secret, group_message};

use super::kit::{LONG, Person, config, options, relay, soon, until};

/// One relay has as much noise as a group keeps, and more. What the other one gives, and no key opens yet, has room all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_noise_of_one_relay_takes_no_room_from_another() {
    let (near, far, noisy) = (relay().await, relay().await, relay().await);
    let all = [near.url(), far.url(), noisy.url()];
    let alice = Person::new(options(&all)).await;
    // Bob does not read the far relay: it is on this machine, and not named by him.
    let narrow = Pool::new(PoolOptions {
        reconnect_min: Duration::from_millis(20),
        reconnect_max: Duration::from_millis(200),
        ..PoolOptions::default()
    });
    let mut few = config();
    few.max_held_events = 4;
    let keys = Keys::generate();
    let engine = Engine::in_memory(keys.clone(), few, Arc::new(SystemClock)).unwrap();
    let bob = Person::start(engine, keys, options(&[near.url(), noisy.url()]), narrow).await;
    alice.ready().await;
    bob.ready().await;
    let group = alice.founds(&all, &[&bob]).await;
    bob.renewed(&group).await;
    let epoch = bob.with(|engine| engine.group(&group)).unwrap().epoch;
    alice
        .until("the self-update", |engine| {
            (engine.group(&group).unwrap().epoch == epoch).then_some(())
        })
        .await;
    alice.sent().await;
    // A commit that only the far relay has, so that bob opens nothing of what follows.
    let silent = || [&near, &noisy].map(|relay| relay.refuse(Some([445].into()), "blocked: no"));
    silent();
    let before = far.events(445).len();
    let commit = {
        let group = group.clone();
        move |engine: &mut Engine| engine.self_update(&group)
    };
    soon("a commit", alice.commit(commit)).await.unwrap();
    alice.sent().await;
    let commit = far.events(445).split_off(before).remove(0);
    let me = alice.key();
    noisy.refuse(Some([].into()), "");
    for _ in 0..6 {
        let noise = noise(&alice.with(|engine| engine.group(&group)).unwrap().nostr_group_id);
        let sent = alice.pool.publish(noisy.url(), &me, &noise.to_json(), LONG).await;
        assert_eq!(sent, Published::Accepted);
    }
    let held = || bob.with(|engine| testing::watch(engine, &group)).unwrap();
    let look = async |what: &str, there: &dyn Fn(&testing::Watch) -> bool| {
        soon(what, async {
            while !there(&held()) {
                // It may not end: the noisy relay has more than there is room for.
                let _ = tokio::time::timeout(Duration::from_millis(50), bob.client.sync()).await;
            }
        })
        .await;
    };
    look("the noise", &|watch| watch.raw == 4).await;
    silent();
    near.refuse(Some([].into()), "");
    let before = near.events(445).len();
    alice.says(&group, "one").await;
    alice.says(&group, "two").await;
    until(&near, "the messages", || near.events(445).len() == before + 2).await;
    look("room for both relays", &|watch| watch.given.values().eq([&2, &2])).await;
    assert!(bob.texts(&group).is_empty());
    assert_eq!(alice.pool.publish(near.url(), &me, &commit, LONG).await, Published::Accepted);
    bob.reads(&group, &["one", "two"]).await;
}

fn noise(route: &NostrGroupId) -> Event {
    let (nobodys, now) = (Secret::new([9; 32]), SystemClock.now());
    group_message::seal(&[7; 100], &nobodys, route, now, None, &mut OsRandom).unwrap()
}
