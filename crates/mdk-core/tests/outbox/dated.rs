//! Messages that waited until nobody would look for them.

use mdk_core::{Delivery, OutboxItem, RelayVerdict, Verdict};
use mdk_wire::{EventId, GroupId, GroupMessage};

use super::relays::{OnDisk, TWO, later, parse, refused, relays, sending};
use crate::kit::{Member, RELAY};

const DAY: u64 = 86_400;

fn pair() -> (Member, Member, GroupId) {
    let (mut alice, mut bob) = (sending("alice"), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    alice.publishes();
    (alice, bob, group)
}

fn ids(items: &[OutboxItem]) -> Vec<EventId> {
    items.iter().map(|item| item.event_id).collect()
}

fn sealed(item: &OutboxItem) -> Vec<u8> {
    GroupMessage::parse(parse(&item.event)).unwrap().sealed
}

fn at(item: &OutboxItem) -> u64 {
    parse(&item.event).created_at()
}

/// breaks: a message waits for three days, and who was away asks for two. (rule: OB-19)
#[test]
fn what_waited_for_a_day_goes_out_with_the_time_of_now() {
    let (mut alice, mut bob, group) = pair();
    alice.says(&group, "one");
    alice.clock.advance_millis((DAY / 2) * 1000);
    alice.says(&group, "two");
    let before = alice.outbox();
    alice.engine.set_outbox_relays(before[0].seq, &relays(&[RELAY, TWO])).unwrap();
    alice.answers(&before[0], TWO, later(7));
    assert_eq!(ids(&alice.outbox()), ids(&before), "not yet");
    alice.clock.advance_millis((DAY / 2 + 1) * 1000);
    let after = alice.outbox();
    assert_eq!(after.len(), 2);
    assert!(ids(&after).iter().all(|id| !ids(&before).contains(id)));
    let now = mdk_core::Clock::now_millis(&alice.clock) / 1000;
    assert!(after.iter().all(|item| at(item) == now), "the second stays behind the first");
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((sealed(old), &old.purpose), (sealed(new), &new.purpose));
        assert_ne!(parse(&old.event).pubkey(), parse(&new.event).pubkey(), "a key of its own");
    }
    let tried = after[0].results.iter().map(|r| (r.relay.as_str(), r.attempts, r.next_at));
    assert_eq!(tried.collect::<Vec<_>>(), [(RELAY, 0, 0), (TWO, 1, 7)]);
    // A late answer to what was replaced says nothing of what took its place.
    alice.answers(&before[0], RELAY, RelayVerdict::Accepted);
    alice.answers(&before[1], RELAY, refused("blocked"));
    assert_eq!(alice.outbox(), after);
    let events = alice.publishes();
    assert_eq!(alice.delivery(&group), Delivery::Accepted);
    for event in &events {
        bob.applies(event);
    }
    assert_eq!(bob.texts(&group), ["one", "two"]);
    assert_eq!(alice.takes(&events[0]).verdict, Verdict::Duplicate, "its own");
}

/// breaks: a relay had taken the old event after all. (rule: D1-9)
#[test]
fn who_has_the_old_event_reads_it_once() {
    let (mut alice, mut bob, group) = pair();
    alice.says(&group, "one");
    let old = parse(&alice.outbox()[0].event);
    alice.clock.advance_millis((DAY + 1) * 1000);
    let new = alice.publishes().remove(0);
    bob.applies(&new);
    for again in [&old, &new] {
        let outcome = bob.takes(again);
        assert_eq!((outcome.verdict, outcome.events.len()), (Verdict::Duplicate, 0));
    }
    assert_eq!(bob.texts(&group), ["one"]);
    assert_eq!(alice.takes(&old).verdict, Verdict::Duplicate);
    assert_eq!(alice.texts(&group), ["one"]);
}

/// breaks: the clock was a month ahead when it was written; relays take nothing of that. (rule: OB-19)
#[test]
fn what_lies_in_the_future_goes_out_with_the_time_of_now() {
    let (mut alice, _bob, group) = pair();
    let now = mdk_core::Clock::now_millis(&alice.clock) / 1000;
    alice.clock.advance_millis((30 * DAY) * 1000);
    alice.says(&group, "one");
    assert_eq!(at(&alice.outbox()[0]), now + 30 * DAY);
    alice.clock.set(now);
    assert_eq!(at(&alice.outbox()[0]), now);
}

/// shows: what a relay has stays as it is for the others; what waits is dated anew on disk, once a day, in its order,
/// and can be taken back. (rule: OB-19)
#[test]
fn what_a_relay_has_stays_and_a_restart_changes_nothing() {
    let (mut alice, mut bob) = (OnDisk::new("alice"), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    alice.publishes();
    for text in ["kept", "one", "two", "three"] {
        alice.says(&group, text);
    }
    let before = alice.outbox();
    alice.engine.set_outbox_relays(before[0].seq, &relays(&[RELAY, TWO])).unwrap();
    alice.answers(&before[0], RELAY, RelayVerdict::Accepted);
    alice.clock.advance_millis((DAY + 1) * 1000);
    let after = alice.outbox();
    assert_eq!(after[0].event_id, before[0].event_id);
    assert!(ids(&after[1..]).iter().all(|id| !ids(&before).contains(id)));
    alice = alice.restarted();
    assert_eq!(alice.outbox(), after);
    alice.clock.advance_millis((DAY / 2) * 1000);
    assert_eq!(alice.outbox(), after);
    let two = alice.engine.messages(&group, 2, None, None).unwrap().remove(0);
    assert_eq!(two.text, "two");
    assert!(alice.engine.outbox_cancel(&two.id).unwrap());
    for event in alice.publishes() {
        bob.takes(&event);
    }
    assert_eq!(bob.texts(&group), ["kept", "one", "three"]);
}
