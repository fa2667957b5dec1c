//! Hostile clients: they cost themselves something, and nobody else.

use futures_util::{SinkExt as _, StreamExt as _};
use mdk_relay::{LocalRelay, LocalRelayOptions};
use mdk_wire::Keys;
use mdk_wire::budget::client::{RECONCILIATIONS, REQUEST_BYTES, SUBSCRIPTIONS, UNREAD_BYTES};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::kit::{Raw, UPGRADE, by, event, http, within};
use crate::sampling;

async fn relay(faults: bool) -> LocalRelay {
    LocalRelay::start(LocalRelayOptions { faults, ..LocalRelayOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn a_connection_has_so_many_subscriptions_and_no_more() {
    let relay = relay(false).await;
    let mut raw = Raw::to(&relay).await;
    for n in 0..SUBSCRIPTIONS {
        raw.subscribe(&format!("{n}"), json!({"kinds": [1]})).await;
    }
    raw.send(json!(["REQ", "another", {}])).await;
    assert!(raw.expect("CLOSED").await[2].as_str().unwrap().starts_with("rate-limited: "));
    // One that takes the place of another is not one more, and one that ended makes room.
    raw.subscribe("7", json!({"kinds": [9]})).await;
    raw.send(json!(["CLOSE", "8"])).await;
    raw.subscribe("another", json!({})).await;
}

#[tokio::test]
async fn a_connection_has_so_many_reconciliations_and_no_more() {
    let relay = relay(false).await;
    let mut raw = Raw::to(&relay).await;
    for n in 0..RECONCILIATIONS {
        raw.send(json!(["NEG-OPEN", format!("{n}"), {}, "61"])).await;
        raw.expect("NEG-MSG").await;
    }
    raw.send(json!(["NEG-OPEN", "another", {}, "61"])).await;
    assert!(raw.expect("NEG-ERR").await[2].as_str().unwrap().starts_with("blocked: "));
    raw.send(json!(["NEG-OPEN", "0", {}, "61"])).await;
    raw.expect("NEG-MSG").await;
    raw.send(json!(["NEG-CLOSE", "0"])).await;
    raw.send(json!(["NEG-OPEN", "another", {}, "61"])).await;
    raw.expect("NEG-MSG").await;
}

#[tokio::test]
async fn who_does_not_read_loses_the_connection_and_nobody_else_waits() {
    let relay = relay(false).await;
    let (mut deaf, mut writer) = (Raw::to(&relay).await, Raw::to(&relay).await);
    deaf.subscribe("a", json!({"limit": 0})).await;
    let (keys, content) = (Keys::generate(), "x".repeat(1_000_000));
    // The bytes that the sockets hold come on top.
    let most = UNREAD_BYTES / content.len() + 40;
    for n in 0..most {
        writer.store(&by(&keys, 1, n as u64, &[], &content)).await;
    }
    let mut heard = 0;
    while let Some(Ok(message)) = within("the end", deaf.0.next()).await {
        heard += usize::from(message.is_text());
    }
    assert!(heard < most, "{heard}");
    Raw::to(&relay).await.store(&event(1, 1, "x")).await;
}

#[tokio::test]
async fn questions_wait_until_their_answers_are_read() {
    let relay = relay(false).await;
    let (mut raw, mut other) = (Raw::to(&relay).await, Raw::to(&relay).await);
    let (keys, content) = (Keys::generate(), "x".repeat(1_000_000));
    for n in 0..10 {
        raw.store(&by(&keys, 1, n, &[], &content)).await;
    }
    // Each is answered with a seventh of what may wait; what the sockets hold comes on top.
    let questions = 3 * UNREAD_BYTES / (10 * content.len());
    for n in 0..questions {
        raw.send(json!(["REQ", format!("{n}"), {"kinds": [1]}])).await;
    }
    let last = event(9, 1, "the last question");
    raw.offer("EVENT", &last).await;
    for n in 0..300 {
        other.store(&event(7, n, "meanwhile")).await;
    }
    assert_eq!(relay.count(9), 0);
    for n in 0..questions {
        let answers = raw.until("EOSE").await;
        assert_eq!((answers.len(), &answers[10][1]), (11, &json!(format!("{n}"))));
    }
    assert_eq!(raw.expect("OK").await[1], last.id().to_hex());
}

#[tokio::test]
async fn a_request_before_the_websocket_is_short_and_comes_soon() {
    let relay = relay(false).await;
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(REQUEST_BYTES));
    for request in [&long, "POST / HTTP/1.1\r\n\r\n"] {
        assert_eq!(http(&relay, request).await, "");
    }
    let mut slow = TcpStream::connect(("127.0.0.1", relay.port())).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    // It ends by itself.
    assert_eq!(within("the end", slow.read(&mut [0; 16])).await.unwrap_or(0), 0);
}

/// Messages that are well formed, to be broken.
fn seeds() -> Vec<String> {
    let event = event(1, 1, "hello \u{1f600} \\ \" ").to_json();
    let id = "00".repeat(32);
    vec![
        format!("[\"EVENT\",{event}]"),
        format!("[\"AUTH\",{event}]"),
        json!(["REQ", "a", {"ids": [id], "authors": [id], "#e": ["x"], "limit": 5}, {}])
            .to_string(),
        json!(["COUNT", "a", {"kinds": [1, 2], "since": 5, "until": 3}]).to_string(),
        json!(["CLOSE", "a"]).to_string(),
        json!(["NEG-OPEN", "a", {"kinds": [1]}, "6100000200"]).to_string(),
        json!(["NEG-MSG", "a", "610000010102030405060708090a0b0c0d0e0f10"]).to_string(),
        json!(["NEG-CLOSE", "a"]).to_string(),
        format!("[\"EVENT\",{}{}", "[".repeat(2_000), "]".repeat(2_001)),
        format!("[\"REQ\",\"a\",{}", "{\"a\":[".repeat(300)),
    ]
}

/// A seed with some of its characters changed, cut out or said twice, or no sense at all.
fn broken() -> impl Strategy<Value = Message> {
    let change = (any::<prop::sample::Index>(), 0..4_u8, any::<char>());
    let mutated = (prop::sample::select(seeds()), prop::collection::vec(change, 0..6)).prop_map(
        |(seed, changes)| {
            let mut text: Vec<char> = seed.chars().collect();
            for (at, how, with) in changes {
                if text.is_empty() {
                    break;
                }
                let at = at.index(text.len());
                match how {
                    0 => text[at] = with,
                    1 => text.truncate(at),
                    2 => {
                        let twice = text[at..].to_vec();
                        text.extend(twice);
                    }
                    _ => {
                        text.remove(at);
                    }
                }
            }
            Message::text(text.into_iter().collect::<String>())
        },
    );
    let hex = prop::collection::vec(any::<u8>(), 0..200)
        .prop_map(|bytes| json!(["NEG-OPEN", "a", {}, format!("61{}", hex::encode(bytes))]))
        .prop_map(|message| Message::text(message.to_string()));
    let bytes = prop::collection::vec(any::<u8>(), 0..200).prop_map(Message::binary);
    let text = any::<String>().prop_map(Message::text);
    prop_oneof![6 => mutated, 2 => hex, 1 => bytes, 1 => text]
}

/// Frames as they come on the wire, without a mask, with one, cut or made up.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

fn sampled(test: impl AsyncFn(&mut TestRunner)) {
    let seed = sampling::first_seed();
    println!("MDK_SEED={seed} repeats it");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(&mut runner));
}

#[test]
fn hostile_messages_neither_panic_nor_hang() {
    sampled(async |runner| {
        for faults in [false, true] {
            let relay = relay(faults).await;
            let mut good = Raw::to(&relay).await;
            let mut bad = Raw::to(&relay).await;
            for n in 0..sampling::count("fuzz_inputs") / 4 {
                let message = broken().new_tree(runner).unwrap().current();
                let shown = message.clone();
                // A bad client says something, and asks for a sign of life.
                let said = bad.0.send(message).await.is_ok()
                    && bad.0.send(Message::text("[\"CLOSE\",\"a\"]")).await.is_ok()
                    && bad
                        .0
                        .send(Message::text("[\"COUNT\",\"alive\",{\"kinds\":[]}]"))
                        .await
                        .is_ok();
                let mut lives = said;
                while lives {
                    match bad.next().await {
                        Some(answer) if answer[0] == "COUNT" && answer[1] == "alive" => break,
                        Some(_) => {}
                        None => lives = false,
                    }
                }
                if !lives {
                    bad = Raw::to(&relay).await;
                }
                let (taken, words) = good.publish(&event(9, n, "still there")).await;
                assert!(taken, "{words} after {shown:?}");
            }
        }
    });
}

#[test]
fn hostile_bytes_neither_panic_nor_hang() {
    sampled(async |runner| {
        for faults in [false, true] {
            let relay = relay(faults).await;
            let mut good = Raw::to(&relay).await;
            for n in 0..sampling::count("fuzz_inputs") / 20 {
                let bytes = wire().new_tree(runner).unwrap().current();
                let mut bad = TcpStream::connect(("127.0.0.1", relay.port())).await.unwrap();
                if n % 3 > 0 {
                    bad.write_all(UPGRADE).await.unwrap();
                }
                // It may hang up before all is said.
                let _ = bad.write_all(&bytes).await;
                let _ = bad.shutdown().await;
                let _ = within("the end", bad.read_to_end(&mut Vec::new())).await;
                let (taken, words) = good.publish(&event(9, n, "still there")).await;
                assert!(taken, "{words} after {bytes:?}");
            }
        }
    });
}
