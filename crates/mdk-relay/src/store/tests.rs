use std::sync::Arc;

use mdk_wire::{Event, Keys, UnsignedEvent};
use serde_json::json;

use super::{Saved, Store, Stored};
use crate::filters::Filter;

/// Half a year after the epoch: later than what the tests write.
const NOW: u64 = 16_000_000;

fn event(keys: &Keys, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
    let tags = tags.iter().map(|tag| tag.iter().map(ToString::to_string).collect()).collect();
    UnsignedEvent { pubkey: keys.public_key(), created_at, kind, tags, content: content.into() }
        .sign(keys)
}

impl Store {
    fn put(&mut self, event: &Event) -> Saved {
        self.save(&Arc::new(Stored::new(event.clone())), NOW)
    }

    fn contents(&self, filter: &serde_json::Value) -> Vec<String> {
        let filter = Filter::read(filter).expect("a filter of the test");
        let found = self.query(&[filter], |filter| filter.limit.unwrap_or(usize::MAX));
        found.iter().map(|stored| stored.event.content().to_owned()).collect()
    }
}

#[test]
fn newest_first_and_ties_by_id() {
    let (keys, mut store) = (Keys::generate(), Store::new(100));
    let mut tied: Vec<_> = (0..5).map(|n| event(&keys, 9, 7, &[], &n.to_string())).collect();
    for event in &tied {
        assert_eq!(store.put(event), Saved::New);
        assert_eq!(store.put(event), Saved::Duplicate);
    }
    tied.sort_by_key(Event::id);
    let tied: Vec<_> = tied.iter().map(|event| event.content().to_owned()).collect();
    store.put(&event(&keys, 1, 8, &[], "new"));
    store.put(&event(&keys, 1, 6, &[], "old"));
    let all: Vec<_> =
        ["new".to_owned()].into_iter().chain(tied).chain(["old".to_owned()]).collect();
    assert_eq!(store.contents(&json!({})), all);
    assert_eq!(store.contents(&json!({"kinds": [1, 9]})), all);
    assert_eq!(store.contents(&json!({"kinds": [9, 1], "limit": 3})), all[..3]);
    assert_eq!(store.contents(&json!({"limit": 3})), all[..3]);
    assert_eq!(store.contents(&json!({"since": 7, "until": 7})), all[1..6]);
    assert_eq!(store.contents(&json!({"kinds": [9], "until": 6})), [""; 0]);
    assert_eq!(store.contents(&json!({"since": 8, "until": 7})), [""; 0]);
    assert_eq!(store.contents(&json!({"limit": 0})), [""; 0]);
}

#[test]
fn the_oldest_go_first_and_the_log_keeps_as_many() {
    let (keys, mut store) = (Keys::generate(), Store::new(3));
    for n in [5, 1, 4, 2, 3] {
        assert_eq!(store.put(&event(&keys, 9, n, &[], &n.to_string())), Saved::New);
    }
    assert_eq!(store.contents(&json!({})), ["5", "4", "3"]);
    assert_eq!((store.count(9), store.log(9).len()), (3, 3));
    store.wipe();
    assert_eq!((store.count(9), store.log(9).len()), (0, 3));
    assert_eq!(store.put(&event(&keys, 9, 1, &[], "again")), Saved::New);
}

#[test]
fn one_of_a_kind_that_replaces_stays() {
    let (keys, other, mut store) = (Keys::generate(), Keys::generate(), Store::new(100));
    for kind in [0, 3, 10_002] {
        let [old, new] = [1, 2].map(|n| event(&keys, kind, n, &[], &n.to_string()));
        assert_eq!(store.put(&new), Saved::New);
        assert_eq!(store.put(&old), Saved::Outdated);
        assert_eq!(store.put(&event(&other, kind, 1, &[], "of another")), Saved::New);
        assert_eq!(store.contents(&json!({"kinds": [kind]})), ["2", "of another"]);
        assert_eq!(store.put(&event(&keys, kind, 3, &[], "3")), Saved::New);
        assert_eq!(store.put(&new), Saved::Outdated);
        assert_eq!(store.contents(&json!({"kinds": [kind]})), ["3", "of another"]);
    }
    // Of one second the lower id stays, whichever comes first.
    let mut two = [1, 2].map(|n| event(&keys, 10_050, 7, &[], &n.to_string()));
    two.sort_by_key(Event::id);
    assert_eq!((store.put(&two[1]), store.put(&two[0])), (Saved::New, Saved::New));
    assert_eq!(store.put(&two[1]), Saved::Outdated);
    // Addressable ones by their `d`, which may be missing.
    for tags in [&[&["d", "a"][..]][..], &[&["d", "b"]], &[]] {
        for n in 1..=2 {
            assert_eq!(store.put(&event(&keys, 30_443, n, tags, "x")), Saved::New);
        }
    }
    assert_eq!(store.count(30_443), 3);
    assert_eq!(store.put(&event(&keys, 20_001, 1, &[], "gone")), Saved::Ephemeral);
    assert_eq!((store.count(20_001), store.log(20_001).len()), (0, 0));
}

#[test]
fn authors_delete_what_is_theirs_for_good() {
    let (keys, other, mut store) = (Keys::generate(), Keys::generate(), Store::new(100));
    let (mine, later) = (event(&keys, 9, 1, &[], "mine"), event(&keys, 9, 2, &[], "later"));
    let foreign = event(&other, 9, 1, &[], "foreign");
    store.put(&mine);
    store.put(&foreign);
    let ids = [&mine, &later, &foreign].map(|event| event.id().to_hex());
    let tags: Vec<[&str; 2]> = ids.iter().map(|id| ["e", id.as_str()]).collect();
    let tags: Vec<&[&str]> = tags.iter().map(|tag| &tag[..]).collect();
    let deletion = event(&keys, 5, 3, &tags, "");
    assert_eq!(store.put(&deletion), Saved::New);
    assert_eq!(store.contents(&json!({"kinds": [9]})), ["foreign"]);
    assert_eq!((store.put(&mine), store.put(&later)), (Saved::Deleted, Saved::Deleted));
    assert_eq!(store.put(&foreign), Saved::Duplicate);
    // A deletion of a deletion does nothing.
    let id = deletion.id().to_hex();
    assert_eq!(store.put(&event(&keys, 5, 4, &[&["e", &id]], "")), Saved::New);
    assert_eq!((store.count(5), store.put(&mine)), (2, Saved::Deleted));
    // A deletion by another author that came first deletes nothing.
    let early = event(&keys, 9, 9, &[], "early");
    store.put(&event(&other, 5, 9, &[&["e", &early.id().to_hex()]], ""));
    assert_eq!(store.put(&early), Saved::New);
}

#[test]
fn addresses_are_deleted_up_to_their_time() {
    let (keys, other, mut store) = (Keys::generate(), Keys::generate(), Store::new(100));
    let at = |n, tags: &[&[&str]]| event(&keys, 30_443, n, tags, &n.to_string());
    let (slot, profile) = ([&["d", "a"][..]], event(&keys, 0, 1, &[], "profile"));
    store.put(&at(5, &slot));
    store.put(&at(5, &[&["d", "b"]]));
    store.put(&profile);
    let key = keys.public_key().to_hex();
    let (address, of_profile) = (format!("30443:{key}:a"), format!("0:{key}:"));
    let tags: [&[&str]; 2] = [&["a", &address], &["a", &of_profile]];
    store.put(&event(&other, 5, 9, &tags, ""));
    assert_eq!((store.count(30_443), store.count(0)), (2, 1), "not another's");
    store.put(&event(&keys, 5, 4, &tags, ""));
    assert_eq!((store.count(30_443), store.count(0)), (2, 0), "not what is younger");
    store.put(&event(&keys, 5, 6, &tags, ""));
    assert_eq!(store.count(30_443), 1);
    assert_eq!((store.put(&at(6, &slot)), store.put(&profile)), (Saved::Deleted, Saved::Deleted));
    assert_eq!(store.put(&at(7, &slot)), Saved::New);
}

#[test]
fn what_expires_goes() {
    let (keys, mut store) = (Keys::generate(), Store::new(100));
    let expires = |at: u64| event(&keys, 9, 1, &[&["expiration", &at.to_string()]], "x");
    assert_eq!(store.put(&expires(NOW)), Saved::Expired);
    assert_eq!(store.put(&expires(NOW + 5)), Saved::New);
    store.forget_expired(NOW + 4);
    assert_eq!(store.count(9), 1);
    store.forget_expired(NOW + 5);
    assert_eq!((store.count(9), store.log(9).len()), (0, 1));
    assert_eq!(store.put(&event(&keys, 9, 1, &[&["expiration", "soon"]], "x")), Saved::New);
}
