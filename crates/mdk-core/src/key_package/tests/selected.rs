//! A3: which of several KeyPackages is used.

use mdk_wire::{Event, Keys};
use openmls_rust_crypto::RustCrypto;

use super::super::{check, select};
use super::foreign::Foreign;
use super::now;

fn chosen(events: &[Event]) -> Option<Event> {
    let crypto = RustCrypto::default();
    let forward = select(events, &crypto, now());
    // The order of arrival must not matter.
    let reversed: Vec<Event> = events.iter().rev().cloned().collect();
    let backward = select(&reversed, &crypto, now());
    assert_eq!(forward.as_ref().map(Event::id), backward.as_ref().map(Event::id));
    forward
}

fn of(keys: &Keys, change: impl FnOnce(&mut Foreign)) -> Event {
    Foreign::with(|f| {
        f.identity = keys.public_key().as_bytes().to_vec();
        f.keys = keys.clone();
        change(f);
    })
    .event()
}

#[test]
fn nothing_usable() {
    assert!(chosen(&[]).is_none());
    let bad = Foreign::new().event_with(|e| e.content.clear());
    assert!(chosen(&[bad]).is_none());
}

#[test]
fn a2_a_bad_record_does_not_end_the_search() {
    let keys = Keys::generate();
    let good = of(&keys, |f| f.created_at = now() - 100);
    // The newest of the same slot, and useless.
    let bad = of(&keys, |f| f.lifetime = (0, u64::MAX));
    assert_eq!(chosen(&[bad, good.clone()]).map(|e| e.id()), Some(good.id()));
}

#[test]
fn a3_1_the_newest_of_a_slot() {
    let keys = Keys::generate();
    // The older one would win across slots, since it is not last-resort.
    let old = of(&keys, |f| {
        f.created_at = now() - 100;
        f.last_resort = None;
    });
    let new = of(&keys, |_| ());
    assert_eq!(chosen(&[old, new.clone()]).map(|e| e.id()), Some(new.id()));
}

#[test]
fn a3_1_the_lower_event_id_on_a_tie() {
    let keys = Keys::generate();
    let at = now();
    let events: Vec<Event> = (0..4).map(|_| of(&keys, |f| f.created_at = at)).collect();
    let lowest = events.iter().map(Event::id).min();
    assert_eq!(chosen(&events).map(|e| e.id()), lowest);
}

#[test]
fn a3_2_across_slots() {
    let keys = Keys::generate();
    let at = now();
    let single = of(&keys, |f| {
        f.slot = "01".repeat(32);
        f.created_at = at - 100;
        f.last_resort = None;
    });
    let newer_single = of(&keys, |f| {
        f.slot = "02".repeat(32);
        f.created_at = at - 50;
        f.last_resort = None;
    });
    let last_resort = of(&keys, |f| f.slot = "03".repeat(32));
    let id = |event: &Event| Some(event.id());
    assert_eq!(chosen(&[last_resort.clone(), single.clone()]).as_ref().and_then(id), id(&single));
    let all = [last_resort, newer_single.clone(), single];
    assert_eq!(chosen(&all).as_ref().and_then(id), id(&newer_single));
}

#[test]
fn a3_2_the_lower_reference_on_a_tie() {
    let keys = Keys::generate();
    let at = now();
    let events: Vec<Event> = (0..4)
        .map(|i| {
            of(&keys, |f| {
                f.slot = format!("0{i}").repeat(32);
                f.created_at = at;
            })
        })
        .collect();
    let crypto = RustCrypto::default();
    let lowest = events
        .iter()
        .map(|event| check(event, &crypto, now()).unwrap())
        .min_by_key(|valid| valid.reference)
        .unwrap();
    assert_eq!(chosen(&events).map(|e| e.id()), Some(lowest.event_id));
}
