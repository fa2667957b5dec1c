//! The demands of each NIP on a relay without the layer of faults.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use mdk_relay::{LocalRelay, LocalRelayOptions};
use mdk_wire::{Event, Keys};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde_json::{Value, json};

use super::kit::{Raw, by, content, event, http};

fn plain() -> LocalRelayOptions {
    LocalRelayOptions { faults: false, ..LocalRelayOptions::default() }
}

async fn started(options: LocalRelayOptions) -> (LocalRelay, Raw) {
    let relay = LocalRelay::start(options).await.unwrap();
    let raw = Raw::to(&relay).await;
    (relay, raw)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn reason(message: &Value) -> &str {
    message[2].as_str().unwrap()
}

#[tokio::test]
async fn nip_01_filters_and_their_order() {
    let (_relay, mut raw) = started(plain()).await;
    let (one, two) = (Keys::generate(), Keys::generate());
    for n in 0..4 {
        raw.store(&by(&one, 1, n, &[&["t", "x"]], &format!("one {n}"))).await;
        raw.store(&by(&two, 9, 10 + n, &[&["t", "y"], &["h", "g"]], &format!("two {n}"))).await;
    }
    let key = one.public_key().to_hex();
    assert_eq!(
        raw.fetch(json!({"authors": [key], "since": 1, "until": 2})).await,
        ["one 2", "one 1"]
    );
    assert_eq!(raw.fetch(json!({"#t": ["x", "y"], "limit": 2})).await, ["two 3", "two 2"]);
    assert_eq!(
        raw.fetch(json!({"#t": ["y"], "#h": ["g"], "kinds": [9], "limit": 1})).await,
        ["two 3"]
    );
    assert!(raw.fetch(json!({"#t": ["x"], "#h": ["g"]})).await.is_empty());
    // Of several filters each event comes once, all of them newest first.
    let messages = raw.stored(json!(["REQ", "a", {"kinds": [1], "limit": 2}, {"#h": ["g"], "limit": 1}, {"limit": 1}])).await;
    assert_eq!(messages.iter().map(content).collect::<Vec<_>>(), ["two 3", "one 3", "one 2"]);
}

#[tokio::test]
async fn nip_01_subscriptions_hear_each_event_once_until_they_end() {
    let (relay, mut raw) = started(plain()).await;
    let mut writer = Raw::to(&relay).await;
    writer.store(&event(1, 1, "stored")).await;
    raw.send(
        json!(["REQ", "a\"b", {"kinds": [1], "limit": 0}, {"kinds": [1, 20_001], "limit": 0}]),
    )
    .await;
    assert_eq!(raw.expect("EOSE").await[1], "a\"b");
    writer.store(&event(1, 2, "live")).await;
    writer.store(&event(20_001, 3, "ephemeral")).await;
    for words in ["live", "ephemeral"] {
        let live = raw.expect("EVENT").await;
        assert_eq!((&live[1], content(&live)), (&json!("a\"b"), words.into()));
    }
    assert!(raw.fetch(json!({"kinds": [20_001]})).await.is_empty());
    // Another request of the same name takes its place.
    raw.subscribe("a\"b", json!({"kinds": [9]})).await;
    writer.store(&event(1, 4, "not asked for any more")).await;
    writer.store(&event(9, 5, "asked for now")).await;
    assert_eq!(content(&raw.expect("EVENT").await), "asked for now");
    raw.send(json!(["CLOSE", "a\"b"])).await;
    writer.store(&event(9, 6, "after the end")).await;
    // An author who listens gets OK first.
    raw.subscribe("own", json!({"kinds": [9], "limit": 0})).await;
    raw.store(&event(9, 7, "own")).await;
    assert_eq!(content(&raw.expect("EVENT").await), "own");
}

#[tokio::test]
async fn nip_01_what_is_wrong_is_refused_with_a_prefix() {
    let (relay, mut raw) = started(plain()).await;
    let good = event(1, 1, "good");
    let changed = good.to_json().replace("good", "evil");
    let false_signature =
        good.to_json().replace("\"sig\":\"", "\"sig\":\"00").replace("00\"}", "\"}");
    let many: Vec<&[&str]> = vec![&["t"]; 4_097];
    let tags = by(&Keys::generate(), 1, 1, &many, "");
    for json in
        [changed, tags.to_json(), false_signature, good.to_json().replace("\"kind\":1,", "")]
    {
        raw.text(format!("[\"EVENT\",{json}]")).await;
        let ok = raw.expect("OK").await;
        assert_eq!(ok[2], false);
        assert!(ok[3].as_str().unwrap().starts_with("invalid: "), "{ok}");
    }
    let long = "x".repeat(65);
    for (name, filter) in
        [("a", json!({"ids": ["0"]})), ("a", json!(5)), ("", json!({})), (&long, json!({}))]
    {
        for verb in ["REQ", "COUNT"] {
            raw.send(json!([verb, name, filter])).await;
            assert!(reason(&raw.expect("CLOSED").await).starts_with("invalid: "));
        }
    }
    raw.send(json!(["REQ", "a"])).await;
    assert!(reason(&raw.expect("CLOSED").await).starts_with("invalid: "));
    raw.send(json!(["WHAT", "a"])).await;
    raw.expect("NOTICE").await;
    futures_util::SinkExt::send(&mut raw.0, vec![1, 2, 3].into()).await.unwrap();
    raw.expect("NOTICE").await;
    raw.store(&good).await;
    assert_eq!(relay.count(1), 1);
}

#[tokio::test]
async fn nip_01_kinds_that_replace() {
    let (relay, mut raw) = started(plain()).await;
    let keys = Keys::generate();
    let mut live = Raw::to(&relay).await;
    live.subscribe("a", json!({})).await;
    let list = |n, d: &str| by(&keys, 30_443, n, &[&["d", d]], &format!("{d} {n}"));
    raw.store(&list(2, "a")).await;
    raw.store(&list(2, "b")).await;
    let (taken, words) = raw.publish(&list(1, "a")).await;
    assert!(!taken && words.starts_with("duplicate: "), "{words}");
    raw.store(&list(3, "a")).await;
    raw.store(&by(&keys, 10_002, 5, &[], "list")).await;
    raw.store(&by(&keys, 10_002, 6, &[], "list again")).await;
    assert_eq!(raw.fetch(json!({})).await, ["list again", "a 3", "b 2"]);
    for words in ["a 2", "b 2", "a 3", "list", "list again"] {
        assert_eq!(
            content(&live.expect("EVENT").await),
            words,
            "what was refused is not passed on"
        );
    }
}

#[tokio::test]
async fn nip_09_deletions() {
    let (relay, mut raw) = started(plain()).await;
    let (keys, other) = (Keys::generate(), Keys::generate());
    let (note, list) = (by(&keys, 1, 1, &[], "note"), by(&keys, 30_443, 1, &[&["d", "x"]], "list"));
    raw.store(&note).await;
    raw.store(&list).await;
    let (id, key) = (note.id().to_hex(), keys.public_key().to_hex());
    let address = format!("30443:{key}:x");
    let tags: [&[&str]; 2] = [&["e", &id], &["a", &address]];
    raw.store(&by(&other, 5, 2, &tags, "of another")).await;
    assert_eq!(raw.fetch(json!({"kinds": [1, 30_443]})).await.len(), 2);
    raw.store(&by(&keys, 5, 2, &tags, "of the author")).await;
    assert!(raw.fetch(json!({"kinds": [1, 30_443]})).await.is_empty());
    for event in [&note, &list] {
        assert_eq!(raw.publish(event).await, (false, "blocked: this event is deleted".into()));
    }
    raw.store(&by(&keys, 30_443, 3, &[&["d", "x"]], "a later one")).await;
    assert_eq!(relay.count(5), 2, "who asks is told of the deletions");
}

#[tokio::test]
async fn nip_11_names_what_it_can() {
    let (relay, _raw) = started(LocalRelayOptions { page_limit: Some(700), ..plain() }).await;
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/nostr+json\r\n\r\n";
    let answer = http(&relay, ask).await;
    let document: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(document["supported_nips"], json!([1, 9, 11, 40, 42, 45, 70, 77]));
    assert_eq!(document["limitation"]["default_limit"], 500);
    assert_eq!(document["limitation"]["max_limit"], 700);
    assert_eq!(document["limitation"]["auth_required"], false);
}

#[tokio::test]
async fn nip_40_what_has_expired_is_not_taken() {
    let (relay, mut raw) = started(plain()).await;
    let until = |at: u64| by(&Keys::generate(), 1, 1, &[&["expiration", &at.to_string()]], "x");
    let (taken, words) = raw.publish(&until(now() - 1)).await;
    assert!(!taken && words.starts_with("invalid: "), "{words}");
    raw.store(&until(now() + 1_000)).await;
    assert_eq!(relay.count(1), 1);
}

#[tokio::test]
async fn nip_42_nothing_before_a_proof() {
    let (relay, mut raw) = started(LocalRelayOptions { require_auth: true, ..plain() }).await;
    let keys = Keys::generate();
    let mut challenges = BTreeSet::new();
    for (message, verb) in [
        (json!(["REQ", "a", {}]), "CLOSED"),
        (json!(["COUNT", "a", {}]), "CLOSED"),
        (json!(["NEG-OPEN", "a", {}, "61"]), "NEG-ERR"),
        (json!(["NEG-MSG", "a", "61"]), "NEG-ERR"),
    ] {
        raw.send(message).await;
        challenges.insert(raw.expect("AUTH").await[1].as_str().unwrap().to_owned());
        assert!(reason(&raw.expect(verb).await).starts_with("auth-required: "));
    }
    let note = by(&keys, 1, 1, &[], "x");
    raw.offer("EVENT", &note).await;
    raw.expect("AUTH").await;
    assert!(raw.expect("OK").await[3].as_str().unwrap().starts_with("auth-required: "));
    assert_eq!(challenges.len(), 1, "one for each connection");
    let challenge = challenges.pop_first().unwrap();
    let (good, time) = (["challenge", challenge.as_str()], now());
    let here = ["relay", relay.url()];
    for (time, tags) in [
        (time - 700, [&good[..], &here]),
        (time + 700, [&good[..], &here]),
        (time, [&["challenge", "guess"], &here]),
        (time, [&good[..], &["relay", "ws://127.0.0.1:1"]]),
        (time, [&good[..], &["relay", "nowhere"]]),
        (time, [&good[..], &["p", "no relay"]]),
    ] {
        let (taken, words) = raw.prove(&keys, time, &tags).await;
        assert!(!taken && words.starts_with("invalid: "), "{words}");
    }
    raw.offer("AUTH", &note).await;
    assert_eq!(raw.expect("OK").await[2], false, "another kind");
    let with_slash = format!("{}/", relay.url());
    let tags: [&[&str]; 2] = [&good, &["relay", &with_slash]];
    assert_eq!(raw.prove(&keys, time, &tags).await, (true, String::new()));
    raw.store(&note).await;
    assert_eq!(raw.fetch(json!({})).await, ["x"]);
    // Another connection is another client.
    let mut other = Raw::to(&relay).await;
    other.send(json!(["REQ", "a", {}])).await;
    assert_ne!(other.expect("AUTH").await[1], challenge);
}

#[tokio::test]
async fn nip_45_counts() {
    let (_relay, mut raw) = started(plain()).await;
    for n in 0..600 {
        raw.store(&event(if n % 3 == 0 { 1 } else { 9 }, n, "x")).await;
    }
    for (filters, count) in [
        (vec![json!({})], 600),
        (vec![json!({"kinds": [1]})], 200),
        (vec![json!({"kinds": [1]}), json!({"since": 597}), json!({"kinds": [7]})], 202),
        (vec![json!({"kinds": [7]})], 0),
    ] {
        let message: Vec<_> = [json!("COUNT"), json!("c")].into_iter().chain(filters).collect();
        raw.send(json!(message)).await;
        assert_eq!(raw.expect("COUNT").await, json!(["COUNT", "c", {"count": count}]));
    }
}

#[tokio::test]
async fn nip_70_only_its_author_publishes_what_is_protected() {
    let (relay, mut raw) = started(plain()).await;
    let (keys, other) = (Keys::generate(), Keys::generate());
    let protected = by(&keys, 1, 1, &[&["-"]], "x");
    let mut other_raw = Raw::to(&relay).await;
    for (raw, who, taken) in [(&mut other_raw, &other, false), (&mut raw, &keys, true)] {
        raw.offer("EVENT", &protected).await;
        let challenge = raw.expect("AUTH").await[1].as_str().unwrap().to_owned();
        assert!(raw.expect("OK").await[3].as_str().unwrap().starts_with("auth-required: "));
        let tags: [&[&str]; 2] = [&["relay", relay.url()], &["challenge", &challenge]];
        assert!(raw.prove(who, now(), &tags).await.0);
        let (is_taken, words) = raw.publish(&protected).await;
        assert_eq!((is_taken, words.starts_with("blocked: ")), (taken, !taken), "{words}");
    }
}

/// Ids that the client has and the relay does not, and the other way round.
async fn reconcile(raw: &mut Raw, filter: Value, own: &[Event]) -> (Vec<Id>, Vec<Id>) {
    let mut storage = NegentropyStorageVector::new();
    for event in own {
        storage.insert(event.created_at(), Id::from_byte_array(*event.id().as_bytes())).unwrap();
    }
    storage.seal().unwrap();
    let mut client = Negentropy::owned(storage, 4_096).unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let first = hex::encode(client.initiate().unwrap());
    raw.send(json!(["NEG-OPEN", "sync", filter, first])).await;
    loop {
        let answer = raw.expect("NEG-MSG").await;
        let answer = hex::decode(reason(&answer)).unwrap();
        let next = client.reconcile_with_ids(&answer, &mut have, &mut need).unwrap();
        let Some(next) = next else { break };
        raw.send(json!(["NEG-MSG", "sync", hex::encode(next)])).await;
    }
    raw.send(json!(["NEG-CLOSE", "sync"])).await;
    (have, need)
}

#[tokio::test]
async fn nip_77_tells_what_each_side_lacks() {
    let (_relay, mut raw) = started(plain()).await;
    let keys = Keys::generate();
    let events: Vec<_> = (0..1_500).map(|n| by(&keys, 9, n / 2, &[], &n.to_string())).collect();
    let ids = |events: &[Event]| -> BTreeSet<_> {
        events.iter().map(|event| Id::from_byte_array(*event.id().as_bytes())).collect()
    };
    for event in &events[..1_200] {
        raw.store(event).await;
    }
    raw.store(&event(1, 5, "another kind")).await;
    let (have, need) = reconcile(&mut raw, json!({"kinds": [9]}), &events[700..]).await;
    assert_eq!(have.into_iter().collect::<BTreeSet<_>>(), ids(&events[1_200..]));
    assert_eq!(need.into_iter().collect::<BTreeSet<_>>(), ids(&events[..700]));
    let (have, need) = reconcile(&mut raw, json!({"kinds": [9]}), &events[..1_200]).await;
    assert_eq!((have.len(), need.len()), (0, 0));
    let (have, need) = reconcile(&mut raw, json!({"kinds": [7]}), &[]).await;
    assert_eq!((have.len(), need.len()), (0, 0));
}

#[tokio::test]
async fn nip_77_says_what_is_wrong() {
    let (_relay, mut raw) = started(plain()).await;
    for message in [
        json!(["NEG-OPEN", "a", {}]),
        json!(["NEG-OPEN", "a", {}, "6"]),
        json!(["NEG-OPEN", "a", {}, ""]),
        json!(["NEG-OPEN", "a", {"ids": 5}, "61"]),
        json!(["NEG-OPEN", "a", {}, "61000009"]),
        json!(["NEG-OPEN", "a", {}, "61000002ffffffffffffffff"]),
        json!(["NEG-MSG", "a"]),
    ] {
        raw.send(message).await;
        let answer = raw.next().await.unwrap();
        assert_eq!(answer[0], "NEG-ERR", "{answer}");
        assert!(reason(&answer).starts_with("invalid: "), "{answer}");
    }
    raw.send(json!(["NEG-MSG", "a", "61"])).await;
    assert!(reason(&raw.expect("NEG-ERR").await).starts_with("closed: "));
    // A version that is still to come is answered with the one that is spoken.
    raw.send(json!(["NEG-OPEN", "a", {}, "62"])).await;
    assert_eq!(raw.expect("NEG-MSG").await[2], "61");
    raw.send(json!(["NEG-MSG", "a", "zz"])).await;
    raw.expect("NEG-ERR").await;
    raw.send(json!(["NEG-MSG", "a", "61"])).await;
    assert!(reason(&raw.expect("NEG-ERR").await).starts_with("closed: "), "an error ends it");
}
