//! The local relay as a relay: it stores, answers and delivers; it goes down and comes up again; it ends with its handle.

use std::collections::BTreeSet;

use mdk_relay::{LocalRelay, LocalRelayOptions, RelayError};
use mdk_wire::Keys;
use serde_json::json;
use tokio::net::TcpStream;

use super::kit::{Raw, by, content, event, http, within};

async fn relay() -> LocalRelay {
    LocalRelay::start(LocalRelayOptions::default()).await.unwrap()
}

#[tokio::test]
async fn it_stores_answers_and_delivers() {
    let relay = relay().await;
    let mut reader = Raw::to(&relay).await;
    reader.subscribe("live", json!({"kinds": [445], "#h": ["aa"]})).await;

    let mut writer = Raw::to(&relay).await;
    let keys = Keys::generate();
    let mine = by(&keys, 445, 1_000, &[&["h", "aa"]], "hello");
    writer.store(&mine).await;
    writer.store(&by(&keys, 445, 1_001, &[&["h", "bb"]], "elsewhere")).await;
    assert_eq!(writer.publish(&mine).await, (true, "duplicate: already have this event".into()));

    let live = reader.expect("EVENT").await;
    assert_eq!((&live[1], content(&live)), (&json!("live"), "hello".into()));
    assert_eq!(live[2].to_string().len(), mine.to_json().len());
    assert_eq!(writer.fetch(json!({"kinds": [445]})).await, ["elsewhere", "hello"], "newest first");
    assert_eq!(relay.count(445), 2);
    assert_eq!(relay.count(9), 0);
    assert_eq!(relay.events(445)[0], mine.to_json());
    assert_eq!(relay.events(445).len(), 2);
    assert_eq!(relay.connections(), 2);
}

#[tokio::test]
async fn many_subscriptions_and_many_events_a_minute_are_no_trouble() {
    let relay = relay().await;
    let mut raw = Raw::to(&relay).await;
    for n in 0..600 {
        raw.subscribe(&format!("s{n}"), json!({"kinds": [9], "#t": [format!("{n}")]})).await;
    }
    for n in 0..300 {
        raw.store(&event(1, n, "x")).await;
    }
    raw.store(&by(&Keys::generate(), 9, 1, &[&["t", "599"]], "the last one")).await;
    assert_eq!(raw.expect("EVENT").await[1], "s599");
}

#[tokio::test]
async fn what_a_client_leaves_behind_is_still_stored() {
    let relay = relay().await;
    let mut changes = relay.changes();
    let mut raw = Raw::to(&relay).await;
    for n in 0..50 {
        raw.offer("EVENT", &event(1, n, "and away")).await;
    }
    raw.0.close(None).await.unwrap();
    drop(raw);
    within("events", changes.wait_for(|_| relay.events(1).len() == 50)).await.unwrap();
}

#[tokio::test]
async fn a_pause_cuts_and_refuses_and_keeps_port_and_events() {
    let relay = relay().await;
    let url = relay.url().to_owned();
    let mut raw = Raw::to(&relay).await;
    raw.store(&event(9, 1, "before")).await;
    for _ in 0..3 {
        relay.pause().await;
        relay.pause().await;
        assert!(!relay.is_up());
        assert_eq!(relay.connections(), 0);
        assert_eq!(raw.next().await, None, "the connection is cut");
        for _ in 0..20 {
            let refused = TcpStream::connect(("127.0.0.1", relay.port())).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        relay.resume().await.unwrap();
        relay.resume().await.unwrap();
        assert!(relay.is_up());
        assert_eq!(relay.url(), url);
        raw = Raw::to(&relay).await;
        assert_eq!(raw.fetch(json!({})).await, ["before"]);
    }
}

#[tokio::test]
async fn nobody_gets_the_port_during_a_pause() {
    let relay = relay().await;
    relay.pause().await;
    let options = LocalRelayOptions { port: relay.port(), ..LocalRelayOptions::default() };
    let other = std::net::TcpListener::bind(("127.0.0.1", relay.port()));
    assert!(other.is_err(), "the listener of another program");
    relay.resume().await.unwrap();
    assert!(matches!(LocalRelay::start(options.clone()).await, Err(RelayError::PortTaken)));

    let (port, mut raw) = (relay.port(), Raw::to(&relay).await);
    drop(relay);
    assert_eq!(raw.next().await, None, "a dropped relay has no connections");
    let again = within("the port", async {
        loop {
            match LocalRelay::start(options.clone()).await {
                Ok(relay) => return relay,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(again.await.port(), port, "a dropped relay gives its port back");
}

#[tokio::test]
async fn wiped_it_is_empty_and_clients_must_come_again() {
    let relay = relay().await;
    let mut raw = Raw::to(&relay).await;
    let event = event(9, 1, "first");
    raw.store(&event).await;
    relay.wipe().await;
    assert_eq!(raw.next().await, None);
    assert_eq!(relay.count(9), 0);
    assert_eq!(relay.events(9).len(), 1, "the log of what was published is no memory of the relay");
    let mut raw = Raw::to(&relay).await;
    assert!(raw.fetch(json!({})).await.is_empty());
    raw.store(&event).await;
    assert_eq!(relay.count(9), 1);

    relay.pause().await;
    relay.wipe().await;
    assert!(!relay.is_up(), "a paused one stays paused");
    assert_eq!(relay.count(9), 0);

    relay.resume().await.unwrap();
    let mut raw = Raw::to(&relay).await;
    relay.cut().await;
    assert_eq!(raw.next().await, None);
    Raw::to(&relay).await.store(&event).await;
}

#[tokio::test]
async fn kinds_are_refused_with_a_reason_until_they_are_not() {
    let relay = relay().await;
    let mut raw = Raw::to(&relay).await;
    relay.refuse(Some(BTreeSet::from([445, 1059])), "blocked: not here");
    assert_eq!(raw.publish(&event(445, 1, "a")).await, (false, "blocked: not here".into()));
    raw.store(&event(9, 1, "b")).await;
    relay.refuse(None, "error: out of order");
    assert_eq!(raw.publish(&event(9, 2, "c")).await, (false, "error: out of order".into()));
    relay.refuse(None, "");
    assert_eq!(raw.publish(&event(9, 2, "c")).await, (false, String::new()));
    relay.refuse(Some(BTreeSet::new()), "");
    raw.store(&event(445, 1, "d")).await;
    assert_eq!((relay.count(9), relay.count(445)), (1, 1));
}

#[tokio::test]
async fn large_events_pass_up_to_the_limit() {
    let options = LocalRelayOptions { max_event_bytes: 200_000, ..LocalRelayOptions::default() };
    let relay = LocalRelay::start(options).await.unwrap();
    let mut raw = Raw::to(&relay).await;
    raw.store(&event(445, 1, &"x".repeat(199_000))).await;
    let (taken, reason) = raw.publish(&event(445, 2, &"x".repeat(201_000))).await;
    assert!(!taken && reason.starts_with("invalid: event too large: 201"), "{reason}");
    assert_eq!(raw.fetch(json!({})).await[0].len(), 199_000);
    // It may be cut before all is written.
    let much = format!("[\"EVENT\",\"{}\"]", "x".repeat(3_000_000));
    let _ = futures_util::SinkExt::send(&mut raw.0, much.into()).await;
    assert_eq!(raw.next().await, None);
}

#[tokio::test]
async fn it_says_what_it_is() {
    let options = LocalRelayOptions {
        page_limit: Some(100),
        require_auth: true,
        ..LocalRelayOptions::default()
    };
    let relay = LocalRelay::start(options.clone()).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/nostr+json\r\n\r\n";
    let limits = |answer: &str| -> serde_json::Value {
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str::<serde_json::Value>(body).unwrap()["limitation"].take()
    };
    let announced = json!({"max_message_length": 1_048_576, "auth_required": true, "max_limit": 100, "default_limit": 100});
    assert_eq!(limits(&http(&relay, ask).await), announced);
    let silent = LocalRelay::start(LocalRelayOptions { announce: false, ..options }).await.unwrap();
    assert_eq!(limits(&http(&silent, ask).await), json!({}));
    assert!(http(&relay, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.starts_with("HTTP/1.1 426 "));
}

#[tokio::test]
async fn a_client_that_reads_slowly_loses_no_live_event() {
    let relay = relay().await;
    let mut reader = Raw::to(&relay).await;
    reader.subscribe("live", json!({"kinds": [445]})).await;
    let mut writer = Raw::to(&relay).await;
    let keys = Keys::generate();
    let padding = "x".repeat(4_000);
    for n in 0..3_000 {
        writer.store(&by(&keys, 445, n, &[], &format!("{n} {padding}"))).await;
    }
    for n in 0..3_000 {
        let event = reader.expect("EVENT").await;
        assert!(content(&event).starts_with(&format!("{n} ")));
    }
}

#[tokio::test]
async fn what_is_no_message_ends_its_connection_only() {
    let relay = relay().await;
    let mut good = Raw::to(&relay).await;
    for text in ["", "{}", "[\"EVENT\"]", "[\"EVENT\",{}]", "not JSON"] {
        let mut bad = Raw::to(&relay).await;
        bad.text(text.into()).await;
        assert_eq!(bad.next().await, None, "{text}");
    }
    good.store(&event(9, 1, "still here")).await;
}

#[tokio::test]
async fn the_port_can_be_chosen_and_many_relays_run_side_by_side() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = LocalRelayOptions { port: free, ..LocalRelayOptions::default() };
    let chosen = LocalRelay::start(options).await.unwrap();
    assert_eq!(chosen.url(), format!("ws://127.0.0.1:{free}"));
    assert_eq!(format!("{chosen:?}"), format!("LocalRelay {{ port: {free}, up: true, .. }}"));
    let (one, two) = (relay().await, relay().await);
    Raw::to(&one).await.store(&event(9, 1, "a")).await;
    assert_eq!((one.count(9), two.count(9), chosen.count(9)), (1, 0, 0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_is_left_of_many_relays() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..200 {
        let relay = relay().await;
        Raw::to(&relay).await.store(&event(9, 1, "x")).await;
        relay.pause().await;
        relay.resume().await.unwrap();
        Raw::to(&relay).await.store(&event(9, 2, "y")).await;
    }
    // Other tests run beside this one, and tasks end a moment after their handle; a leak would be hundreds.
    let few = async {
        while open() > before + 100 {
            tokio::task::yield_now().await;
        }
    };
    within("closed sockets", few).await;
}

#[test]
fn a_cancelled_pause_can_be_resumed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let relay = relay().await;
        let mut raw = Raw::to(&relay).await;
        raw.store(&event(9, 1, "a")).await;
        let polled_once = futures_util::FutureExt::now_or_never(relay.pause());
        assert!(polled_once.is_none(), "a pause waits for the tasks it ends");
        relay.resume().await.unwrap();
        assert!(relay.is_up());
        assert_eq!(Raw::to(&relay).await.fetch(json!({})).await, ["a"]);
    });
}
