//! A group whose routing id a stranger floods: what is held stays full of noise, and the line of commits is followed all
//! the same, at a cost that does not grow with the line.

use mdk_core::testing::cost;
use mdk_core::{Config, EventBody, Incoming, Verdict};
use mdk_wire::budget::group::MAX_TRIED_AT_ONCE;
use mdk_wire::{Event, GroupId};

use crate::kit::{self, Member, REFUSED, strays};

/// Passes last a second, and so many events are held.
fn holds(name: &'static str, events: u32) -> Member {
    let mut config = Config::default();
    config.max_held_events = events;
    Member::with(name, config)
}

fn noise(of: &Event) -> Event {
    strays::noise(&strays::route(of), 100, kit::now())
}

fn takes(member: &mut Member, events: &[Event]) -> Vec<Verdict> {
    let outcomes = member.takes_all(events);
    for outcome in &outcomes {
        assert!(outcome.events.iter().map(|event| event.cursor).is_sorted(), "{outcome:?}");
    }
    outcomes.into_iter().map(|outcome| outcome.verdict).collect()
}

fn commits(alice: &mut Member, group: &GroupId) -> Event {
    alice.clock.advance_millis(10_000);
    alice.updates(group, &mut []).event.unwrap()
}

// shows: E5-8
#[test]
fn a_line_in_one_batch_needs_no_room() {
    for room_left in [0, 2] {
        let (mut alice, mut bob) = (Member::new("alice"), holds("bob", 4));
        let group = alice.founds("g", &mut [&mut bob]);
        let mut line = Vec::new();
        for epoch in 0..20 {
            line.push(alice.says(&group, &format!("in {epoch}")));
            line.push(commits(&mut alice, &group));
        }
        let flood: Vec<Event> = (room_left..4).map(|_| noise(&line[0])).collect();
        assert!(takes(&mut bob, &flood).iter().all(|verdict| *verdict != Verdict::Applied));
        let verdicts = takes(&mut bob, &line);
        assert!(verdicts.iter().all(|verdict| *verdict != REFUSED), "{verdicts:?}");
        bob.engine.settle().unwrap();
        assert_eq!(bob.info(&group).epoch, alice.info(&group).epoch);
        assert_eq!(bob.texts(&group), alice.texts(&group));
    }
}

// rule: F1-2
/// Anybody who knows the routing id fills what is held: a commit costs so many trials of its key, however much that is, and
/// what is for us among it is read all the same.
#[test]
fn a_flood_costs_a_commit_so_many_trials_and_no_more() {
    const HELD: usize = 8_192;
    let (mut alice, mut bob) = (Member::new("alice"), holds("bob", 8_192));
    let group = alice.founds("g", &mut [&mut bob]);
    let first = alice.says(&group, "first");
    let next = commits(&mut alice, &group);
    let (below, above) = (alice.says(&group, "below"), alice.says(&group, "above"));
    let flood: Vec<Event> = (0..HELD - 2).map(|_| noise(&first)).collect();
    bob.takes(&below);
    takes(&mut bob, &flood);
    bob.takes(&above);
    let most = u64::from(MAX_TRIED_AT_ONCE);
    // (one of the trials is that of the commit itself, with the key that it is sealed under)
    let trials = |bob: &mut Member, work: &mut dyn FnMut(&mut Member)| {
        let before = cost(&mut bob.engine).unwrap().0;
        work(bob);
        cost(&mut bob.engine).unwrap().0 - before
    };
    let tried = trials(&mut bob, &mut |bob| drop(bob.applies(&next)));
    assert!(tried <= 2 * most + 16, "{tried}");
    assert_eq!(bob.texts(&group), ["above"], "what came last is looked at first");
    for _ in 0..HELD / MAX_TRIED_AT_ONCE as usize {
        let tried = trials(&mut bob, &mut |bob| drop(bob.engine.tick().unwrap()));
        assert!(tried <= 2 * most + 16, "{tried}");
    }
    assert_eq!(bob.texts(&group).len(), 2, "and the others after that");
    let idle = trials(&mut bob, &mut |bob| drop(bob.engine.tick().unwrap()));
    assert!(idle <= 1, "nothing is tried again: {idle}");
    // The pass is open, so all states of the line are kept.
    for _ in 0..12 {
        let commit = commits(&mut alice, &group);
        let tried = trials(&mut bob, &mut |bob| drop(bob.applies(&commit)));
        assert!(tried <= 2 * most + 16, "of one new state, and of all before it: {tried}");
    }
    // Who says that everything was given is told what became of all of it.
    let early = commits(&mut alice, &group);
    let last = alice.says(&group, "last");
    bob.takes(&last);
    bob.applies(&early);
    bob.engine.settle().unwrap();
    assert!(bob.texts(&group).contains(&"last".to_owned()));
}

// rule: D1-10
#[test]
fn what_a_key_has_opened_goes_before_noise() {
    let (mut alice, mut bob) = (Member::new("alice"), holds("bob", 100));
    let group = alice.founds("g", &mut [&mut bob]);
    let said: Vec<Event> = (0..80).map(|n| alice.says(&group, &format!("{n}"))).collect();
    let flood: Vec<Event> = (0..100).map(|_| noise(&said[0])).collect();
    takes(&mut bob, &flood);
    assert_eq!(bob.takes(&noise(&said[0])).verdict, REFUSED, "noise takes no room from noise");
    // While a commit of ours is on its way everything else waits.
    let update = bob.engine.self_update(&group).unwrap();
    for event in &said {
        assert_ne!(bob.takes(event).verdict, REFUSED);
    }
    bob.confirms(&update);
    bob.engine.tick().unwrap();
    assert_eq!(bob.texts(&group).len(), said.len());
}

/// Gives events as a relay has given them.
fn takes_from(member: &mut Member, relay: i64, events: &[Event]) -> Vec<Verdict> {
    let given = events.iter().cloned().map(|event| Incoming::From(event, relay)).collect();
    let outcomes = member.engine.process_batch(given).unwrap();
    outcomes.into_iter().map(|outcome| outcome.verdict).collect()
}

/// How often it was told that something may be missing.
fn gaps(member: &mut Member) -> usize {
    let events = member.engine.events(0, 100_000).unwrap();
    events.iter().filter(|event| matches!(event.body, EventBody::HistoryGap { .. })).count()
}

const NOISY: i64 = 1;
const GOOD: i64 = 2;
const OTHER: i64 = 3;

// rule: D1-11
/// A relay fills a group with noise. What another relay gives takes the place of that, until both have as much.
#[test]
fn one_relays_noise_takes_no_room_from_what_others_give() {
    let (mut alice, mut bob) = (Member::new("alice"), holds("bob", 100));
    let group = alice.founds("g", &mut [&mut bob]);
    let first = alice.says(&group, "first");
    let next = commits(&mut alice, &group);
    let said: Vec<Event> = (0..40).map(|n| alice.says(&group, &format!("{n}"))).collect();
    let flood: Vec<Event> = (0..100).map(|_| noise(&first)).collect();
    takes_from(&mut bob, NOISY, &flood);
    assert_eq!(takes_from(&mut bob, NOISY, &[noise(&first)]), [REFUSED], "it has all of the room");
    for event in &said {
        assert_ne!(takes_from(&mut bob, GOOD, std::slice::from_ref(event)), [REFUSED]);
    }
    assert_eq!(takes_from(&mut bob, NOISY, &[noise(&first)]), [REFUSED]);
    // Another one that sends noise gets a third of the room, and takes none from who has less than that.
    let flood: Vec<Event> = (0..200).map(|_| noise(&first)).collect();
    takes_from(&mut bob, OTHER, &flood);
    assert_eq!(gaps(&mut bob), 1, "what went is told once in an hour");
    bob.applies(&next);
    bob.engine.settle().unwrap();
    let kept = bob.texts(&group).len();
    // (a message is larger than the noise here, and weighs more)
    assert!((28..=33).contains(&kept), "a third of the room is the share of each: {kept}");
}

// rule: D1-11
/// A relay repeats what others will give, and then sends noise: what others give as well does not go with that.
#[test]
fn what_a_noisy_relay_has_repeated_does_not_go_with_its_noise() {
    let (mut alice, mut bob) = (Member::new("alice"), holds("bob", 100));
    let group = alice.founds("g", &mut [&mut bob]);
    let first = alice.says(&group, "first");
    let next = commits(&mut alice, &group);
    let said: Vec<Event> = (0..30).map(|n| alice.says(&group, &format!("{n}"))).collect();
    takes_from(&mut bob, NOISY, &said[..15]);
    let flood: Vec<Event> = (0..85).map(|_| noise(&first)).collect();
    takes_from(&mut bob, NOISY, &flood);
    takes_from(&mut bob, GOOD, &said[..15]);
    takes_from(&mut bob, GOOD, &said[15..]);
    bob.applies(&next);
    bob.engine.settle().unwrap();
    assert_eq!(bob.texts(&group).len(), said.len());
}
