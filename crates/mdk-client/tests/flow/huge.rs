//! Relays of an accepted group that send what nobody could read in time.

use std::sync::Arc;
use std::time::Duration;

use mdk_client::{Client, EngineAccess, Pool, PoolOptions, SharedEngine};
use mdk_core::{Config, Engine, SystemClock};
use mdk_relay::Faults;
use mdk_wire::Keys;

use super::kit::*;

/// Resident memory of this process, MiB. What other tests take counts where they share the process.
fn resident() -> Option<u64> {
    std::env::var_os("NEXTEST")?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_with_events_of_too_many_tags_hold_up_nobody() {
    /// Less than what two of these relays took in a quarter of a minute.
    const MEMORY: u64 = 150;
    let (good, one, two) = (relay().await, relay().await, relay().await);
    let alice = Person::new(options(&[good.url()])).await;
    let bob = ready(Person::new(options(&[good.url()]))).await;
    let group = alice.founds(&[one.url(), good.url(), two.url()], &[&bob]).await;
    alice.says(&group, "before").await;
    bob.reads(&group, &["before"]).await;
    let before = resident();
    for bad in [&one, &two] {
        bad.faults(Faults { huge_tags: true, ..Faults::default() });
        // Whoever comes again is told from the beginning.
        bad.cut().await;
    }
    let texts: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let mut all = vec!["before"];
    for (n, text) in texts.iter().enumerate() {
        // All the while more of it comes.
        for bad in [&one, &two] {
            until(bad, "huge events", || bad.huge_events() > 2 * n).await;
        }
        alice.says(&group, text).await;
        all.push(text);
        bob.reads(&group, &all).await;
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after < before + MEMORY, "{before} MiB before, {after} MiB after");
    }
    // The outbox still owes them something, which they do not take.
    for person in [&alice, &bob] {
        soon("closing", person.client.close(Duration::ZERO)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_many_relays_takes_no_more_connections_than_there_are() {
    const MOST: usize = 6;
    let good = relay().await;
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(relay().await);
    }
    let alice = Person::new(options(&[good.url()])).await;
    let few = Pool::new(PoolOptions {
        max_connections: MOST,
        allow_loopback: true,
        ..PoolOptions::default()
    });
    let bob = ready(Person::over(few, options(&[good.url()]))).await;
    let mut relays = vec![good.url()];
    relays.extend(others.iter().map(|relay| relay.url()));
    let group = alice.founds(&relays, &[&bob]).await;
    let mut said = Vec::new();
    for text in ["one", "two", "three"] {
        alice.says(&group, text).await;
        said.push(text);
        bob.reads(&group, &said).await;
    }
    // Five are read beside the good one, and half of the connections are for what others named.
    assert_eq!(bob.client.stats().relays_without_room, 2);
    assert!(bob.pool.connections() <= 1 + MOST / 2);
}

/// An engine that somebody else is using, and goes on using.
struct Taken(Arc<SharedEngine>, std::sync::Mutex<()>);

impl EngineAccess for Taken {
    fn run(&self, f: Box<dyn FnOnce(&mut Engine) + Send + '_>) -> mdk_client::Result<()> {
        let _turn = self.1.lock().unwrap();
        self.0.run(f)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_closed_although_a_call_of_the_engine_does_not_end() {
    let relay = relay().await;
    let keys = Keys::generate();
    let engine = Engine::in_memory(keys.clone(), Config::default(), Arc::new(SystemClock));
    let taken = Arc::new(Taken(SharedEngine::new(engine.unwrap()), std::sync::Mutex::default()));
    let client = Client::new(taken.clone(), keys, options(&[relay.url()]), pool()).unwrap();
    client.start().await.unwrap();
    soon("readiness", client.ready()).await.unwrap();
    let turn = taken.1.lock().unwrap();
    client.nudge();
    let closing = tokio::time::timeout(LONG, client.close(Duration::ZERO));
    let closed =
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(closing));
    assert!(closed.is_ok(), "it waits for the engine");
    assert!(client.is_stopped());
    drop(turn);
}
