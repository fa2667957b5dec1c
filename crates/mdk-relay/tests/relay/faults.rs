//! Every fault of the local relay does what it says, and is gone when it is switched off.

use std::time::{Duration, Instant};

use mdk_relay::{Faults, LocalRelay, LocalRelayOptions};
use mdk_wire::{Event, Keys};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::kit::{Raw, UPGRADE, by, content, event, within};

async fn with(faults: Faults) -> LocalRelay {
    let relay = LocalRelay::start(LocalRelayOptions::default()).await.unwrap();
    relay.faults(faults);
    relay
}

/// A relay with events of kind 445, `0` to `count - 1`, one per second.
async fn filled(count: u64) -> LocalRelay {
    let relay = with(Faults::default()).await;
    let (mut raw, keys) = (Raw::to(&relay).await, Keys::generate());
    for n in 0..count {
        raw.store(&by(&keys, 445, n, &[&["h", "aa"]], &n.to_string())).await;
    }
    relay
}

fn verified(message: &Value) -> bool {
    Event::from_json(message[2].to_string().as_bytes()).is_ok()
}

#[tokio::test]
async fn large_events_vanish() {
    let relay = with(Faults { drop_silently_over: Some(2_000), ..Faults::default() }).await;
    let mut raw = Raw::to(&relay).await;
    let large = event(445, 1, &"x".repeat(2_000));
    raw.offer("EVENT", &large).await;
    raw.store(&event(445, 2, "small")).await; // its OK is the first
    assert_eq!(relay.count(445), 1);
    relay.faults(Faults::default());
    raw.store(&large).await;
}

#[tokio::test]
async fn answers_are_late_but_not_one_after_the_other() {
    let delay = Duration::from_millis(300);
    let relay = with(Faults { delay: Some(delay), ..Faults::default() }).await;
    let mut raw = Raw::to(&relay).await;
    let events: Vec<_> = (0..200).map(|n| event(9, n, "x")).collect();
    let begin = Instant::now();
    for event in &events {
        raw.offer("EVENT", event).await;
    }
    let mut waits = Vec::new();
    for event in &events {
        let waits_since = Instant::now();
        assert_eq!(raw.expect("OK").await[1], event.id().to_hex(), "their order stays");
        waits.push(waits_since.elapsed());
    }
    assert!(begin.elapsed() >= delay);
    // One after the other each would come a delay after the one before it. Most come together, whatever the machine does.
    let late = waits.iter().filter(|wait| **wait >= delay).count();
    assert!(late < events.len() / 2, "{waits:?}");
}

#[tokio::test]
async fn every_event_comes_twice() {
    let relay = filled(2).await;
    relay.faults(Faults { duplicate: true, ..Faults::default() });
    let mut raw = Raw::to(&relay).await;
    raw.send(json!(["REQ", "a", {}])).await;
    let stored: Vec<_> = raw.until("EOSE").await.iter().take(4).map(content).collect();
    assert_eq!(stored, ["1", "1", "0", "0"]);
    Raw::to(&relay).await.store(&event(9, 5, "live")).await;
    assert_eq!(content(&raw.expect("EVENT").await), "live");
    assert_eq!(content(&raw.expect("EVENT").await), "live");
    relay.faults(Faults::default());
    assert_eq!(Raw::to(&relay).await.fetch(json!({"kinds": [445]})).await, ["1", "0"]);
}

#[tokio::test]
async fn events_change_their_order_and_none_is_lost() {
    let relay = filled(150).await;
    let calm = Raw::to(&relay).await.fetch(json!({})).await;
    let with_seed = async |seed| {
        relay.faults(Faults { reorder: Some(seed), ..Faults::default() });
        let order = Raw::to(&relay).await.fetch(json!({})).await;
        let (mut sorted, mut expected) = (order.clone(), calm.clone());
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected, "all before EOSE");
        assert_ne!(order, calm);
        order
    };
    let order = with_seed(1).await;
    assert_ne!(order, with_seed(2).await);
    // A busy machine shuffles smaller parts, and then in another order.
    let mut tries = 0;
    while with_seed(1).await[..64] != with_seed(1).await[..64] {
        tries += 1;
        assert!(tries < 20, "the seed decides");
    }

    // A live event that comes alone is not held for good.
    let mut raw = Raw::to(&relay).await;
    raw.subscribe("live", json!({"kinds": [9]})).await;
    Raw::to(&relay).await.store(&event(9, 1, "alone")).await;
    assert_eq!(content(&raw.expect("EVENT").await), "alone");
}

#[tokio::test]
async fn pages_are_short_and_newest_first() {
    let relay = filled(25).await;
    relay.faults(Faults { page_limit: Some(10), ..Faults::default() });
    let mut raw = Raw::to(&relay).await;
    let page = |numbers: std::ops::Range<u64>| -> Vec<_> {
        numbers.rev().map(|n| n.to_string()).collect()
    };
    assert_eq!(raw.fetch(json!({})).await, page(15..25));
    assert_eq!(raw.fetch(json!({"until": 14, "limit": 500})).await, page(5..15));
    assert_eq!(raw.fetch(json!({"until": 14, "limit": 3})).await, page(12..15));
    relay.faults(Faults::default());
    assert_eq!(raw.fetch(json!({})).await.len(), 25);

    let options = LocalRelayOptions { page_limit: Some(10), ..LocalRelayOptions::default() };
    let honest = LocalRelay::start(options).await.unwrap();
    let mut raw = Raw::to(&honest).await;
    for n in 0..25 {
        raw.store(&event(9, n, &n.to_string())).await;
    }
    assert_eq!(raw.fetch(json!({"limit": 500})).await, page(15..25));
    assert_eq!(raw.fetch(json!({})).await, page(15..25));
}

#[tokio::test]
async fn too_many_events_in_a_minute_are_refused_whatever_the_connection() {
    let relay = with(Faults { rate_limit: Some(5), ..Faults::default() }).await;
    let mut taken = 0;
    for n in 0..10 {
        let mut raw = Raw::to(&relay).await;
        match raw.publish(&event(9, n, "x")).await {
            (true, _) => taken += 1,
            (false, reason) => assert_eq!(reason, "rate-limited: slow down"),
        }
    }
    assert_eq!(taken, 5);
    relay.faults(Faults::default());
    Raw::to(&relay).await.store(&event(9, 20, "x")).await;
    assert_eq!(relay.count(9), 6);
}

#[tokio::test]
async fn it_says_yes_and_stores_nothing() {
    let relay = with(Faults { lie_ok: true, ..Faults::default() }).await;
    let mut raw = Raw::to(&relay).await;
    let event = event(9, 1, "x");
    raw.store(&event).await;
    assert_eq!((relay.count(9), relay.events(9).len()), (0, 0));
    relay.faults(Faults::default());
    raw.store(&event).await;
    assert_eq!(relay.count(9), 1);
}

#[tokio::test]
async fn false_events_come_before_every_true_one() {
    let relay = filled(1).await;
    relay.faults(Faults { false_events: true, ..Faults::default() });
    let mut raw = Raw::to(&relay).await;
    let messages = raw.stored(json!(["REQ", "a", {"kinds": [445]}])).await;
    let [unmatched, unknown, content_changed, signature, id, truth] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert!(verified(unmatched) && unmatched[1] == "a" && unmatched[2]["kind"] != 445);
    assert!(verified(unknown) && unknown[1] != "a");
    assert!(verified(truth) && truth[1] == "a" && truth[2]["content"] == "0");
    for forged in [content_changed, signature, id] {
        assert!(!verified(forged) && forged[1] == "a" && forged[2]["kind"] == 445);
    }
    assert_eq!(content_changed[2]["id"], truth[2]["id"]);
    assert_eq!(signature[2]["id"], truth[2]["id"]);
    assert_ne!(content_changed[2]["content"], truth[2]["content"]);
    assert_eq!(signature[2]["content"], truth[2]["content"]);
    assert_ne!(id[2]["id"], truth[2]["id"]);
    // Live ones are accompanied, too.
    Raw::to(&relay).await.publish(&event(445, 5, "live")).await;
    for genuine in [false, false, false, true] {
        assert_eq!(verified(&raw.expect("EVENT").await), genuine);
    }
}

#[tokio::test]
async fn stored_events_never_end_until_the_subscription_is_closed() {
    let relay = filled(3).await;
    relay.faults(Faults { endless: true, ..Faults::default() });
    let mut raw = Raw::to(&relay).await;
    raw.send(json!(["REQ", "a", {"kinds": [445], "#h": ["aa"], "since": 1, "until": 2}])).await;
    let mut ids = std::collections::BTreeSet::new();
    while ids.len() < 2_000 {
        let message = raw.expect("EVENT").await;
        assert!(verified(&message) && message[1] == "a");
        assert!((1..=2).contains(&message[2]["created_at"].as_u64().unwrap()));
        assert_eq!(
            (&message[2]["kind"], &message[2]["tags"][0]),
            (&json!(445), &json!(["h", "aa"]))
        );
        ids.insert(message[2]["id"].to_string());
    }
    raw.send(json!(["CLOSE", "a"])).await;
    raw.offer("EVENT", &event(9, 1, "x")).await;
    raw.until("OK").await;
    relay.faults(Faults::default());
    // The events that waited come, and then it is quiet.
    raw.send(json!(["REQ", "b", {"kinds": [9]}])).await;
    let rest = raw.until("EOSE").await;
    assert_eq!(rest.iter().filter(|m| m[0] == "EVENT" && m[1] == "b").count(), 1);
    assert_eq!(relay.count(445), 3, "they are stored nowhere");
}

#[tokio::test]
async fn notices_without_end_hide_no_answer() {
    let relay = with(Faults { notice_flood: true, ..Faults::default() }).await;
    let mut raw = Raw::to(&relay).await;
    for _ in 0..2_000 {
        raw.expect("NOTICE").await;
    }
    raw.offer("EVENT", &event(9, 1, "x")).await;
    assert_eq!(raw.until("OK").await.last().unwrap()[2], true);
    relay.faults(Faults::default());
    raw.send(json!(["REQ", "a", {}])).await;
    raw.until("EOSE").await;
    raw.store(&event(9, 2, "y")).await;
}

#[tokio::test]
async fn authentication_leads_to_authentication() {
    let relay = with(Faults { auth_loop: true, ..Faults::default() }).await;
    let mut raw = Raw::to(&relay).await;
    let event = event(9, 1, "x");
    let mut challenges = std::collections::BTreeSet::new();
    for _ in 0..3 {
        raw.offer("EVENT", &event).await;
        challenges.insert(raw.expect("AUTH").await[1].to_string());
        let refused = raw.expect("OK").await;
        assert_eq!(
            (&refused[2], &refused[3]),
            (&json!(false), &json!("auth-required: you must auth"))
        );
        raw.send(json!(["REQ", "a", {}])).await;
        challenges.insert(raw.expect("AUTH").await[1].to_string());
        assert_eq!(raw.expect("CLOSED").await[2], "auth-required: you must auth");
        raw.send(json!(["AUTH", {"id": "cc"}])).await;
        assert_eq!(raw.expect("OK").await[2], true);
        challenges.insert(raw.expect("AUTH").await[1].to_string());
    }
    assert_eq!(challenges.len(), 9);
    relay.faults(Faults::default());
    raw.store(&event).await;
}

#[tokio::test]
async fn frames_are_huge() {
    let relay = with(Faults { huge_frames: true, ..Faults::default() }).await;
    let mut raw = Raw::to(&relay).await;
    raw.offer("EVENT", &event(9, 1, "x")).await;
    assert_eq!(raw.expect("NOTICE").await[1].as_str().unwrap().len(), 8 * 1024 * 1024);
    assert_eq!(raw.expect("OK").await[2], true);
    raw.send(json!(["REQ", "a", {}])).await;
    raw.expect("NOTICE").await;
    raw.until("EOSE").await;
    relay.faults(Faults::default());
    raw.store(&event(9, 2, "y")).await;
}

#[tokio::test]
async fn bytes_dribble_in_the_handshake_and_after() {
    let relay = with(Faults { slow_bytes: true, ..Faults::default() }).await;
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).await.unwrap();
    stream.write_all(UPGRADE).await.unwrap();
    let (begin, mut bytes) = (Instant::now(), [0; 12]);
    within("bytes", stream.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 101");
    assert!(begin.elapsed() >= Duration::from_millis(50 * 11), "{:?}", begin.elapsed());

    // Switched off it is quick at once, the handshake under way included; switched on it is slow again.
    relay.faults(Faults::default());
    let mut raw = Raw::to(&relay).await;
    raw.store(&event(9, 1, "x")).await;
    relay.faults(Faults { slow_bytes: true, ..Faults::default() });
    let begin = Instant::now();
    raw.subscribe("a", json!({"kinds": [1]})).await;
    assert!(begin.elapsed() >= Duration::from_millis(50 * 10));
}

#[tokio::test]
async fn faults_can_be_combined() {
    let relay = filled(30).await;
    relay.faults(Faults {
        duplicate: true,
        reorder: Some(3),
        page_limit: Some(20),
        false_events: true,
        notice_flood: true,
        delay: Some(Duration::from_millis(20)),
        ..Faults::default()
    });
    let mut raw = Raw::to(&relay).await;
    raw.send(json!(["REQ", "a", {"kinds": [445]}])).await;
    let messages = raw.until("EOSE").await;
    let genuine = messages
        .iter()
        .filter(|m| m[0] == "EVENT" && m[1] == "a" && m[2]["kind"] == 445 && verified(m));
    let mut contents: Vec<u64> = genuine.map(|m| content(m).parse().unwrap()).collect();
    contents.sort_unstable();
    assert_eq!(contents, (10..30).flat_map(|n| [n, n]).collect::<Vec<_>>());
}
