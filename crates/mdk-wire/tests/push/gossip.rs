//! What members tell each other of tokens.

use mdk_wire::kind;
use mdk_wire::push::{Gossip, Ignored, TokenRemoval, parse, records_content, removals_content};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn entry() -> Value {
    let content = records_content(&[signed(&keys(3), 3, &keys(5), NOW, "wss://relay.example.com")]);
    serde_json::from_str::<Value>(&content).unwrap()["tokens"][0].clone()
}

/// How many entries are taken, and how many dropped.
fn taken(entries: &[Value]) -> Result<(usize, usize), Ignored> {
    let content = json!({"v": "marmot-push-v1", "tokens": entries}).to_string();
    match parse(kind::PUSH_KNOWN_TOKENS, &content, NOW)? {
        Gossip::Records(records, dropped) => Ok((records.len(), dropped)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn entries_are_read_as_they_were_written() {
    let records = [
        signed(&keys(3), 3, &keys(5), NOW, "wss://relay.example.com"),
        signed(&keys(4), 0, &keys(5), NOW + 1, ""),
        // The key stands twice: which one counts is for the reader's store.
        signed(&keys(4), 0, &keys(5), NOW + 2, " wss://relay.example.com "),
    ];
    for number in [kind::PUSH_TOKENS, kind::PUSH_KNOWN_TOKENS] {
        let read = parse(number, &records_content(&records), NOW).unwrap();
        assert_eq!(read, Gossip::Records(records.to_vec(), 0));
    }
    records.iter().for_each(|record| record.verify(&group(16)).unwrap());
    let mut removal = TokenRemoval {
        key: records[0].key,
        fingerprint: records[0].fingerprint,
        owner_ts: NOW,
        signature: [0; 64],
    };
    removal.sign(&group(16), &keys(3));
    let read = parse(kind::PUSH_REMOVALS, &removals_content(&[removal.clone()]), NOW).unwrap();
    assert_eq!(read, Gossip::Removals(vec![removal], 0));
}

// shows: 2.11-1
#[test]
fn what_is_no_payload_is_ignored_whole() {
    let read = |content: &str| parse(kind::PUSH_TOKENS, content, NOW);
    for content in [
        "",
        "[]",
        r#"{"tokens":[]}"#,
        r#"{"v":"marmot-push-v2","tokens":[]}"#,
        r#"{"v":"marmot-push-v1","tokens":{}}"#,
        r#"{"v":"marmot-push-v1","tokens":null}"#,
        &"[".repeat(100_000),
    ] {
        assert_eq!(read(content), Err(Ignored::Form), "{}", &content[..content.len().min(40)]);
    }
    assert_eq!(taken(&vec![entry(); 32]), Ok((32, 0)));
    assert_eq!(taken(&vec![entry(); 33]), Err(Ignored::TooMany));
    assert_eq!(taken(&vec![json!(1); 33]), Err(Ignored::TooMany));
    // Nothing at all is a question in a 447, and an answer in others.
    for empty in [r#"{"v":"marmot-push-v1","tokens":[]}"#, r#"{"v":"marmot-push-v1","more":1}"#] {
        assert_eq!(read(empty), Ok(Gossip::Request));
        let known = parse(kind::PUSH_KNOWN_TOKENS, empty, NOW);
        assert_eq!(known, Ok(Gossip::Records(Vec::new(), 0)));
        let removals = parse(kind::PUSH_REMOVALS, empty, NOW);
        assert_eq!(removals, Ok(Gossip::Removals(Vec::new(), 0)));
    }
}

// shows: 2.11-2
#[test]
fn a_bad_entry_is_dropped_alone() {
    let changed = |name: &str, value: Value| {
        let mut entry = entry();
        entry[name] = value;
        entry
    };
    let upper = |name: &str| json!(entry()[name].as_str().unwrap().to_uppercase());
    let bad = [
        changed("member_id_hex", upper("member_id_hex")),
        changed("member_id_hex", json!("ff".repeat(32))),
        changed("server_pubkey_hex", json!("00".repeat(31))),
        changed("leaf_index", json!(-1)),
        changed("leaf_index", json!(1_u64 << 32)),
        changed("leaf_index", json!("3")),
        changed("platform", json!("FCM")),
        changed("platform", json!("web")),
        changed("token_fingerprint", upper("token_fingerprint")),
        changed("token_fingerprint", json!("3118d89f6b02908a9bf43af2")),
        changed("relay_hint", json!(1)),
        changed("relay_hint", json!(format!("wss://{}", "x".repeat(512)))),
        changed("encrypted_token", json!("A".repeat(1444))),
        changed("encrypted_token", Value::Null),
        changed("owner_ts", json!(-1)),
        changed("owner_ts", json!(1.5)),
        changed("owner_sig", upper("owner_sig")),
        changed("owner_sig", json!("00")),
        json!(null),
        json!([]),
    ];
    for one in bad {
        assert_eq!(taken(&[entry(), one.clone(), entry()]), Ok((2, 1)), "{one}");
    }
    let good = [
        changed("more", json!({"deep": [1]})),
        changed("relay_hint", Value::Null),
        changed("relay_hint", json!(" ")),
    ];
    assert_eq!(taken(&good), Ok((3, 0)));
}

// shows: 2.11-3
#[test]
fn an_entry_may_be_an_hour_ahead() {
    let at = |owner_ts: u64| {
        let mut entry = entry();
        entry["owner_ts"] = json!(owner_ts);
        taken(&[entry]).unwrap()
    };
    assert_eq!(at(0), (1, 0));
    assert_eq!(at(NOW + 3_600_000), (1, 0));
    assert_eq!(at(NOW + 3_600_001), (0, 1));
    assert_eq!(at(u64::MAX), (0, 1));
    // A clock at its end does not overflow.
    let content = json!({"v": "marmot-push-v1", "tokens": [entry()]}).to_string();
    assert!(parse(kind::PUSH_TOKENS, &content, u64::MAX).is_ok());
}
