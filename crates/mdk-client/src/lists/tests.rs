use mdk_wire::{Keys, UnsignedEvent};
use serde_json::Value;

use super::own::{merged, profile};
use super::profiles::believed;
use super::*;

fn event(keys: &Keys, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
    let tags = tags.iter().map(|tag| tag.iter().map(|v| (*v).to_owned()).collect()).collect();
    let content = content.to_owned();
    UnsignedEvent { pubkey: keys.public_key(), created_at, kind, tags, content }.sign(keys)
}

#[test]
fn the_newest_list_counts_and_only_where_its_owner_writes() {
    let keys = Keys::generate();
    let me = keys.public_key();
    let events = [
        event(&keys, RELAY_LIST, 1, &[&["r", "wss://old.example"]], ""),
        event(
            &keys,
            RELAY_LIST,
            2,
            &[
                &["r", "wss://both.example"],
                &["r", "wss://read.example", "read"],
                &["r", "wss://write.example", "write"],
                &["r", "https://none.example"],
                &["r"],
            ],
            "",
        ),
        event(&Keys::generate(), INBOX_LIST, 3, &[&["relay", "wss://forged.example"]], ""),
        event(&keys, INBOX_LIST, 3, &[&["relay", "wss://inbox.example"]], ""),
    ];
    let lists = read(&events, &me);
    assert_eq!(lists.write, ["wss://both.example", "wss://write.example"]);
    assert_eq!(lists.read, ["wss://both.example", "wss://read.example"]);
    assert_eq!(lists.inbox, ["wss://inbox.example"]);
}

#[test]
fn what_was_published_elsewhere_is_kept() {
    let keys = Keys::generate();
    let old = event(&keys, PROFILE, 1, &[], r#"{"name":"old","about":"me"}"#);
    let new: Value = serde_json::from_str(&profile("new", Some(&old))).unwrap();
    assert_eq!(new, json!({ "name": "new", "about": "me" }));
    assert_eq!(profile("a", Some(&event(&keys, PROFILE, 1, &[], "[]"))), r#"{"name":"a"}"#);

    let old = event(&keys, RELAY_LIST, 1, &[&["r", "wss://a.example", "read"], &["x"]], "");
    let tags = merged(&["wss://b.example".to_owned()], Some(&old));
    assert_eq!(tags, [vec!["r", "wss://b.example"], vec!["r", "wss://a.example", "read"]]);
}

// rule: 2.12-5
#[test]
fn a_profile_of_the_future_hides_no_later_one() {
    let keys = Keys::generate();
    let now = crate::client::times::now();
    let said = |at, name: &str| event(&keys, PROFILE, at, &[], name);
    let (old, new, ahead) =
        (said(now - 9, "old"), said(now + 200, "new"), said(now + 900, "ahead"));
    let foreign = event(&Keys::generate(), PROFILE, now, &[], "foreign");
    let other_kind = event(&keys, RELAY_LIST, now + 201, &[], "list");
    let found = believed(&[ahead, new.clone(), old, foreign, other_kind], &keys.public_key());
    assert_eq!(found.unwrap().id(), new.id());

    let (one, two) = (said(now, "one"), said(now, "two"));
    let lower = *one.id().as_bytes().min(two.id().as_bytes());
    let found = believed(&[two, one], &keys.public_key());
    assert_eq!(*found.unwrap().id().as_bytes(), lower);
}
