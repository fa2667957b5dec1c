//! Our KeyPackages are replaced in time, by `tick`, and the old one serves until a relay has the new one.

use mdk_core::{Clock as _, Config, Error, KeyPackageVerdict, Verdict};
use mdk_wire::{Event, kind};

use crate::kit::{self, Member, RELAY, new_group};

const DAY: u64 = 86_400_000;

fn member() -> Member {
    Member::with("us", Config::default())
}

fn handed_out(member: &mut Member) -> Vec<Event> {
    let reply = member.engine.tick().unwrap().reply;
    reply.into_iter().filter(|e| e.kind() == kind::KEY_PACKAGE).collect()
}

/// Slots and whether they are replaced are not shown, but whether a Welcome can use one is.
fn known(member: &mut Member) -> usize {
    member.engine.key_packages().unwrap().len()
}

// shows: A4-4, A4-5
#[test]
fn one_that_was_used_is_replaced() {
    let (mut us, mut alice) = (member(), Member::new("alice"));
    assert!(handed_out(&mut us).is_empty(), "none was ever made");
    let first = us.key_package();
    assert!(handed_out(&mut us).is_empty(), "nothing is due");
    let made = alice.engine.create_group(new_group("g", vec![first.clone()])).unwrap();
    us.joins(&made.welcomes);
    let [second] = handed_out(&mut us).try_into().unwrap();
    let slot = |e: &Event| e.tags().iter().find(|t| t[0] == "d").unwrap()[1].clone();
    assert_eq!(slot(&second), slot(&first), "relays replace it");
    assert!(second.created_at() > first.created_at());
    assert_eq!(known(&mut us), 2, "the old one serves until a relay has the new one");
    // No relay says anything: the same bytes again after 30 s, 60 s, 120 s, at most an hour.
    for wait in [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
        us.clock.advance_millis(wait * 1_000 - 1);
        assert!(handed_out(&mut us).is_empty(), "{wait}");
        us.clock.advance_millis(1);
        let [again] = handed_out(&mut us).try_into().unwrap();
        assert_eq!(again.id(), second.id());
    }
    // It comes back from a relay.
    assert_eq!(us.takes(&second).verdict, Verdict::Duplicate);
    us.clock.advance_millis(DAY);
    assert!(handed_out(&mut us).is_empty());
    assert_eq!(known(&mut us), 1, "a used one goes with its successor");
}

// shows: A4-4: fourteen to twenty-one days before its end.
#[test]
fn one_that_ends_is_replaced_before() {
    for _ in 0..2 {
        let mut us = member();
        let first = us.key_package();
        us.clock.advance_millis((84 - 21) * DAY - 60_000);
        assert!(handed_out(&mut us).is_empty());
        us.clock.advance_millis(7 * DAY + 60_000);
        let [second] = handed_out(&mut us).try_into().unwrap();
        us.engine.published_key_package(&second.id()).unwrap();
        // A Welcome to the old one may be under way for a week.
        us.clock.advance_millis(6 * DAY);
        us.engine.tick().unwrap();
        assert_eq!(known(&mut us), 2);
        us.clock.advance_millis(DAY + 1_000);
        us.engine.tick().unwrap();
        assert_eq!(known(&mut us), 1);
        assert_ne!(first.id(), second.id());
        assert!(!us.engine.published_key_package(&first.id()).unwrap(), "gone by now");
        assert!(us.engine.published_key_package(&second.id()).unwrap());
    }
}

/// A program that never says what relays have, or relays that refuse for months: there is always one to be invited by.
// shows: A4-7
#[test]
fn one_that_is_never_confirmed_is_replaced_too() {
    let (mut us, mut alice) = (member(), Member::new("alice"));
    let first = us.key_package();
    // Used early: the first one outlives the time in which its successor is to be replaced.
    let made = alice.engine.create_group(new_group("g", vec![first.clone()])).unwrap();
    us.joins(&made.welcomes);
    let mut newest = first;
    let mut made = 0;
    for day in 0..400 {
        for event in handed_out(&mut us) {
            assert!(event.created_at() >= newest.created_at(), "day {day}");
            made += u32::from(event.id() != newest.id());
            newest = event;
        }
        let now = us.clock.now();
        let all = us.engine.key_packages().unwrap();
        assert!(all.iter().any(|k| k.expires_at > now + 14 * 86_400 - 1), "day {day}");
        assert!(all.len() <= 3, "day {day}: {}", all.len());
        us.clock.advance_millis(DAY);
    }
    assert!((5..=8).contains(&made), "{made}");
}

// shows: A4-6: a clock that went back makes nothing that relays would take for older.
#[test]
fn a_clock_that_went_back_waits() {
    let mut us = member();
    us.key_package();
    us.clock.advance_millis(80 * DAY);
    let [second] = handed_out(&mut us).try_into().unwrap();
    us.engine.published_key_package(&second.id()).unwrap();
    let mut alice = Member::new("alice");
    let _ = alice.key_package();
    us.clock.set(kit::now());
    assert!(handed_out(&mut us).is_empty());
}

// shows: A4-8
#[test]
fn a_clock_that_was_far_ahead_takes_nobody_from_the_account() {
    let mut us = member();
    let now = kit::now();
    us.clock.set(now + 3 * DAY / 1000);
    let ahead = us.key_package();
    us.clock.set(now);
    let made = us.key_package();
    assert!(made.created_at() <= us.clock.now(), "dated {}", made.created_at());
    let packages = us.engine.key_packages().unwrap();
    let slot = |event: &Event| {
        packages.iter().find(|one| one.event_id == event.id()).unwrap().slot.clone()
    };
    assert_ne!(slot(&made), slot(&ahead));
    let verdict = Member::new("alice").engine.check_key_package(&made).unwrap();
    assert_eq!(verdict, KeyPackageVerdict::Usable);
    // It is the account's slot from now on; who names the other one is told.
    us.clock.advance_millis(1_000);
    let next = us.key_package();
    let packages = us.engine.key_packages().unwrap();
    let of = |event: &Event| packages.iter().find(|one| one.event_id == event.id());
    assert_eq!(of(&next).unwrap().slot, of(&made).unwrap().slot);
    let relays = [RELAY.to_owned()];
    let named = us.engine.new_key_package(&relays, Some(&of(&ahead).unwrap().slot));
    assert!(matches!(named, Err(Error::NotAllowed(_))));
}
