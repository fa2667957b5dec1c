//! Faults of our own: nobody waits for ever, and nobody is told that it was the user's wish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mdk_client::{Client, ClientError, EngineAccess, SharedEngine};
use mdk_core::{Config, Engine, SystemClock};
use mdk_wire::Keys;

use super::kit::*;

/// An engine whose next call panics once it is told so.
struct Broken {
    engine: Arc<SharedEngine>,
    now: AtomicBool,
}

impl EngineAccess for Broken {
    fn run(&self, f: Box<dyn FnOnce(&mut Engine) + Send + '_>) -> mdk_client::Result<()> {
        let breaks = self.now.load(Ordering::SeqCst);
        self.engine.run(Box::new(move |engine| {
            assert!(!breaks, "for the test");
            f(engine);
        }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_engine_is_an_internal_error_for_all_who_wait() {
    let relay = relay().await;
    // Nothing is ever ready.
    relay.pause().await;
    let keys = Keys::generate();
    let engine = Engine::in_memory(keys.clone(), Config::default(), Arc::new(SystemClock));
    let engine = SharedEngine::new(engine.unwrap());
    let broken = Arc::new(Broken { engine: engine.clone(), now: AtomicBool::new(false) });
    let client = Client::new(broken.clone(), keys, options(&[relay.url()]), pool()).unwrap();
    client.start().await.unwrap();
    let ready = tokio::spawn({
        let client = client.clone();
        async move { client.ready().await }
    });
    broken.now.store(true, Ordering::SeqCst);
    client.nudge();
    let ready = soon("the end of the wait", ready).await.unwrap();
    assert!(matches!(ready, Err(ClientError::Internal(_))), "{ready:?}");
    assert!(matches!(client.why_stopped(), Some(ClientError::Internal(_))));
    // The engine that panicked stays unusable, and says so.
    broken.now.store(false, Ordering::SeqCst);
    let after = soon("a call", client.commit_done(1)).await;
    assert!(matches!(after, Err(ClientError::Internal(_))), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_was_closed_is_no_fault() {
    let relay = relay().await;
    relay.pause().await;
    let alice = Person::new(options(&[relay.url()])).await;
    drop(alice.engine.take());
    alice.client.nudge();
    let ready = soon("the end of the wait", alice.client.ready()).await;
    assert!(matches!(ready, Err(ClientError::Closed)), "{ready:?}");
}

/// Whoever looks at the log again with each change sees that there will be none.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_wakes_all_who_wait_for_changes() {
    let relay = relay().await;
    let alice = ready(Person::new(options(&[relay.url()]))).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (mut changes, client) = (alice.client.changes(), alice.client.clone());
            tokio::spawn(async move {
                while client.why_stopped().is_none() {
                    changes.changed().await.unwrap();
                }
            })
        })
        .collect();
    let commit = tokio::spawn({
        // One that nobody has made waits for nothing.
        let client = alice.client.clone();
        async move { client.commit_done(77).await }
    });
    alice.client.close(std::time::Duration::ZERO).await;
    for waiting in waiting {
        soon("a waiter", waiting).await.unwrap();
    }
    let commit = soon("a commit", commit).await.unwrap();
    assert!(matches!(commit, Err(ClientError::CommitLost | ClientError::Closed)), "{commit:?}");
}

/// A KeyPackage names 16 relays at most; an account may have more.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_many_relays_can_be_invited() {
    let relay = relay().await;
    let others: Vec<String> = (0..16).map(|n| format!("ws://127.0.0.1:9/{n}")).collect();
    let all: Vec<&str> =
        [relay.url()].into_iter().chain(others.iter().map(String::as_str)).collect();
    let alice = ready(Person::new(options(&all))).await;
    assert_eq!(relay.count(30443), 1);
    assert_eq!(alice.with(|engine| engine.key_packages().unwrap()[0].relays.len()), 16);
}
