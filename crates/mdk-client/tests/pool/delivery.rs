//! Subscriptions and pages: everything that was asked for arrives, in order, and holds the relay back when it must.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mdk_client::{Arrived, ClientError, Origin, Pool, Published};
use mdk_wire::Keys;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::kit::*;

/// Sends `events` to every request and leaves it open.
async fn with_events(events: Vec<String>) -> Relay {
    Relay::answering("", move |label, id, _| {
        let mut said = politely(label, id);
        if label == "REQ" {
            said.splice(0..0, events.iter().map(|json| event(id, json)));
        }
        said
    })
    .await
}

fn notes(count: usize, padding: usize) -> Vec<String> {
    let keys = Keys::generate();
    let padding = "x".repeat(padding);
    (0..count).map(|n| note(&keys, &format!("{n} {padding}"), n as u64).to_json()).collect()
}

#[tokio::test]
async fn a_page_and_a_subscription_bring_the_same_event_each() {
    let relay = with_events(notes(3, 0)).await;
    let pool = Pool::new(options());
    let (mut a, mut b) = (User::new(64), User::new(64));
    let (ka, kb) = (a.account.public_key, b.account.public_key);
    for user in [&mut a, &mut b] {
        user.opens(&pool, &relay.url).await;
    }
    assert_eq!(relay.connections(), 1, "two accounts share a connection");
    for _ in 0..2 {
        let page = pool.query(&relay.url, &ka, ALL, PATIENT).await.unwrap();
        assert!(page.complete);
        assert_eq!(page.events.len(), 3);
    }
    pool.subscribe(&relay.url, &ka, 7, vec![ALL.into()]).await.unwrap();
    pool.subscribe(&relay.url, &ka, 8, vec![ALL.into()]).await.unwrap();
    pool.subscribe(&relay.url, &kb, 7, vec![ALL.into()]).await.unwrap();
    for (user, ids) in [(&mut a, vec![7, 8]), (&mut b, vec![7])] {
        for id in ids {
            for n in 0..3 {
                let arrived = user.next().await;
                assert!(matches!(&arrived, Arrived::Event { subscription, relay: r, .. }
                    if *subscription == id && **r == *relay.url));
                assert!(content(&arrived).starts_with(&n.to_string()));
            }
            assert!(matches!(user.next().await,
                Arrived::EndOfStored { subscription, .. } if subscription == id));
        }
    }
    assert!(a.is_quiet() && b.is_quiet());
}

#[tokio::test]
async fn a_full_sink_holds_the_relay_back_and_nothing_is_lost() {
    const COUNT: usize = 5_000;
    let events = Arc::new(notes(COUNT, 4_000));
    let sent = Arc::new(AtomicUsize::new(0));
    let (count, all) = (sent.clone(), events.clone());
    let relay = Relay::start("", move |mut conn, _| {
        let (count, all) = (count.clone(), all.clone());
        async move {
            let id = conn.subscription().await;
            for event in all.iter() {
                conn.event(&id, event).await;
                count.fetch_add(1, Ordering::SeqCst);
            }
            conn.eose(&id).await;
            conn.idle().await;
        }
    })
    .await;
    let (pool, mut user, key) = connected_with(&relay, User::new(1), options()).await;
    pool.subscribe(&relay.url, &key, 1, vec![ALL.into()]).await.unwrap();
    // The relay comes to a standstill: what is on the way is bounded by our MiB and the buffers of the system.
    let mut before = usize::MAX;
    loop {
        let now = sent.load(Ordering::SeqCst);
        if now == before && now > 0 {
            break;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(before < COUNT * 3 / 4, "{before} events left the relay while nobody read");
    for n in 0..COUNT {
        let Arrived::Event { event, .. } = user.next().await else { panic!("event {n}") };
        assert_eq!(event.created_at(), n as u64, "in order");
    }
    assert!(matches!(user.next().await, Arrived::EndOfStored { .. }));
}

#[tokio::test]
async fn answers_are_seen_behind_a_full_sink() {
    let relay = with_events(notes(100, 0)).await;
    let (pool, mut user, key) = connected_with(&relay, User::new(1), options()).await;
    pool.subscribe(&relay.url, &key, 1, vec![ALL.into()]).await.unwrap();
    let event = user.event("mine").to_json();
    assert_eq!(pool.publish(&relay.url, &key, &event, PATIENT).await, Published::Accepted);
    for n in 0..100 {
        assert!(content(&user.next().await).starts_with(&format!("{n} ")));
    }
}

#[tokio::test]
async fn pings_are_answered_behind_a_full_sink() {
    let (sender, mut pongs) = tokio::sync::mpsc::unbounded_channel();
    let relay = Relay::start("", move |mut conn, _| {
        let sender = sender.clone();
        async move {
            let id = conn.subscription().await;
            for event in notes(50, 0) {
                conn.event(&id, &event).await;
            }
            conn.0.send(Message::Ping(vec![7].into())).await.unwrap();
            while let Some(Ok(message)) = conn.0.next().await {
                if message.is_pong() {
                    sender.send(()).unwrap();
                }
            }
        }
    })
    .await;
    let (pool, mut user, key) = connected_with(&relay, User::new(1), options()).await;
    pool.subscribe(&relay.url, &key, 1, vec![ALL.into()]).await.unwrap();
    timeout(LONG, pongs.recv()).await.expect("a pong while the sink is full").unwrap();
    for n in 0..50 {
        assert!(content(&user.next().await).starts_with(&format!("{n} ")));
    }
}

#[tokio::test]
async fn reconnects_after_the_relay_died_and_says_so() {
    let relay = with_events(notes(1, 0)).await;
    let (address, url) = (relay.address, relay.url.clone());
    let pool = Pool::new(options());
    let mut user = User::new(16);
    let key = user.account.public_key;
    user.opens(&pool, &url).await;
    pool.subscribe(&url, &key, 1, vec![ALL.into()]).await.unwrap();
    for _ in 0..2 {
        user.next().await;
    }
    drop(relay);
    assert!(user.disconnected().await.is_some());
    let refused = pool.subscribe(&url, &key, 1, vec![ALL.into()]).await;
    assert!(matches!(refused, Err(ClientError::NotConnected)));
    let relay = Relay::start_at(address, "", |conn, _| conn.polite()).await;
    user.connected().await;
    let page = pool.query(&url, &key, ALL, PATIENT).await.unwrap();
    assert!(page.complete && page.events.is_empty());
    assert!(user.is_quiet(), "the pool does not subscribe on its own");
    assert_eq!(relay.connections(), 1);
}

#[tokio::test]
async fn requests_wait_for_a_connection_that_is_being_made() {
    let relay = with_events(notes(2, 0)).await;
    let pool = Pool::new(options());
    let user = User::new(16);
    let key = user.account.public_key;
    pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
    let page = pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap();
    assert_eq!(page.events.len(), 2);
}

#[tokio::test]
async fn a_page_is_clamped_to_what_the_relay_announced_and_to_our_bounds() {
    let info = r#"{"limitation":{"max_limit":50,"max_subscriptions":2,"max_message_length":4000}}"#;
    let relay = Relay::answering(info, |label, id, message| {
        let limit = message[2]["limit"].as_u64().unwrap_or(0);
        let note = note(&Keys::generate(), &limit.to_string(), 5).to_json();
        if label == "REQ" { vec![event(id, &note), eose(id)] } else { vec![] }
    })
    .await;
    let (pool, _user, key) = connected(&relay, options()).await;
    let info = pool.info(&relay.url).await.unwrap();
    assert_eq!((info.max_limit, info.max_subscriptions), (Some(50), Some(2)));
    for (filter, limit) in [(r#"{"limit":10}"#, "10"), (r#"{"limit":500}"#, "50"), ("{}", "50")] {
        let page = pool.query(&relay.url, &key, filter, PATIENT).await.unwrap();
        assert_eq!(page.events[0].content(), limit);
    }
    let long = format!("{{\"#t\":[\"{}\"]}}", "x".repeat(5_000));
    let Err(ClientError::Refused { reason }) = pool.query(&relay.url, &key, &long, PATIENT).await
    else {
        panic!("longer than a message may be")
    };
    assert!(reason.contains("4000"), "{reason}");
    let refused = pool.subscribe(&relay.url, &key, 1, vec![long]).await;
    assert!(matches!(refused, Err(ClientError::Refused { .. })));
    pool.subscribe(&relay.url, &key, 1, vec![ALL.into()]).await.unwrap();
    pool.subscribe(&relay.url, &key, 1, vec![ALL.into()]).await.expect("replaces the first");
    let Err(ClientError::Refused { reason }) =
        pool.subscribe(&relay.url, &key, 2, vec![ALL.into()]).await
    else {
        panic!("one is kept free for pages")
    };
    assert!(reason.contains('2'), "{reason}");
    pool.query(&relay.url, &key, "{}", PATIENT).await.expect("the free one");
    pool.unsubscribe(&relay.url, &key, 1).await;
    pool.subscribe(&relay.url, &key, 2, vec![ALL.into()]).await.unwrap();
}

#[tokio::test]
async fn closed_and_released() {
    let relay = Relay::start("", |mut conn, _| async move {
        let id = conn.subscription().await;
        conn.send(format!("[\"CLOSED\",\"{id}\",\"error: shutting down\"]")).await;
        let id = conn.subscription().await;
        conn.send(format!("[\"CLOSED\",\"{id}\",\"blocked: you\"]")).await;
        conn.idle().await;
    })
    .await;
    let (pool, mut user, key) = connected(&relay, options()).await;
    pool.subscribe(&relay.url, &key, 3, vec![ALL.into()]).await.unwrap();
    assert!(matches!(user.next().await,
        Arrived::Closed { subscription: 3, reason, .. } if reason == "error: shutting down"));
    let page = pool.query(&relay.url, &key, ALL, PATIENT).await;
    assert!(matches!(page, Err(ClientError::Refused { reason }) if reason == "blocked: you"));
    pool.release(&relay.url, &key).await;
    assert!(pool.status().is_empty());
    let page = pool.query(&relay.url, &key, ALL, PATIENT).await;
    assert!(matches!(page, Err(ClientError::NotConnected)));
}

#[tokio::test]
async fn an_account_that_went_away_without_a_word_frees_the_relay() {
    let mut options = options();
    options.keepalive = Duration::from_millis(50);
    let relay = Relay::polite().await;
    let (pool, user, _) = connected(&relay, options).await;
    drop(user);
    timeout(LONG, async {
        while !pool.status().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the relay is given up");
    let mut user = User::new(16);
    user.opens(&pool, &relay.url).await;
    assert_eq!(relay.connections(), 2);
}

#[tokio::test]
async fn one_connection_per_relay_whatever_its_spelling() {
    let relay = Relay::polite().await;
    let pool = Pool::new(options());
    let mut user = User::new(16);
    for url in [relay.url.clone(), format!("{}/", relay.url), format!("{}#x", relay.url)] {
        pool.open(&url, Origin::User, &user.account).await.unwrap();
    }
    user.connected().await;
    assert_eq!(pool.status().len(), 1);
    assert_eq!(pool.status()[0].url, relay.url);
    until(&pool, |status| status.latency.is_some()).await;
    for bad in ["http://a.b", "a.b", "wss://", "wss://u:p@a.b", "ws://a.b:0", ""] {
        assert!(
            matches!(
                pool.open(bad, Origin::User, &user.account).await,
                Err(ClientError::InvalidRelayUrl(_))
            ),
            "{bad}"
        );
    }
}
