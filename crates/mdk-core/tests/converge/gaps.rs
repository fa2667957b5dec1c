//! What is told as lost: all that is, and nothing that may still be read, whatever the members' clocks say.

use mdk_core::{DeferredReason, Engine, EventBody, Unpaged, Verdict, testing};
use mdk_wire::{Event, GroupId, NostrGroupId};

use crate::kit::strays::gaps;
use crate::kit::tale::{Tale, story};
use crate::kit::{CLOSED, Member, unhurried};

const DAY: i64 = 86_400;

fn member(name: &'static str) -> Member {
    Member::with(name, unhurried())
}

fn waits(members: &mut [&mut Member], seconds: u64) {
    members.iter_mut().for_each(|member| drop(member.waits(seconds * 1_000)));
}

/// The next epoch, which these others are told of.
fn advances(member: &mut Member, group: &GroupId, others: &mut [&mut Member]) -> Event {
    member.updates(group, others).event.unwrap()
}

// shows: F1-5
/// A message comes before the commit that made its epoch. Whatever the clocks of both say, it is none that is lost.
#[test]
fn a_clock_makes_no_gap_of_what_is_early() {
    for case in ["behind", "ahead", "far-ahead"] {
        let mut tale = Tale::of("alice bob carol", case);
        // (so late that nothing is taken for what was said before they joined)
        story!(tale; "
            all wait 1h
            [behind] bob clock -150s
            [ahead] alice clock +150s
            [far-ahead] alice clock +365d
        ");
        tale.repeats(7, "all wait 20s; on: alice renews; bob,carol apply on");
        story!(tale; "
            all wait 20s; last: alice renews; bob applies last; early: bob says
            carol takes early =closed
        ");
        tale.repeats(3, "carol waits 1h; carol loses");
        tale.plays("carol applies last hears:early; carol settles; carol loses");
    }
}

// shows: F1-5
/// The caller says that everything was given, and commits are missing: of what waits for them nothing is told as lost,
/// though it claims to be older than all that is retained.
#[test]
fn while_commits_are_missing_nothing_is_told() {
    let mut tale = Tale::of("alice slow carol", "");
    tale.plays("all wait 1h");
    tale.repeats(8, "all wait 5s; on: alice renews; slow,carol apply on");
    story!(tale; "
        slow clock -5m
        all wait 5s; c1: alice renews; slow applies c1; a1: alice says; s1: slow says
        all wait 5s; c2: alice renews; slow applies c2; a2: alice says; s2: slow says
        all wait 5s; c3: alice renews; slow applies c3; a3: alice says; s3: slow says
        carol takes a1 s1 a2 s2 a3 s3 =closed; carol waits 5s; carol settles; carol loses
        carol applies c1 c2 c3; carol waits 5s; carol settles; carol loses
        carol has a1 s1 a2 s2 a3 s3
    ");
}

// shows: F1-5, F1-6
/// What came when its epoch had long left the window is told, also of one whose clock lies before our invitation.
#[test]
fn what_a_slow_clock_made_is_told_as_well() {
    let mut tale = Tale::of("alice slow carol", "");
    tale.plays("slow clock -2h; all wait 5s; a: alice says; s: slow says");
    tale.repeats(8, "all wait 5s; on: alice renews; slow,carol apply on");
    story!(tale; "
        carol settles; carol loses; carol takes a s =closed
        carol waits 5s; carol loses -- more may still come
        carol settles; carol loses 2; carol settles; carol waits 31d
        carol loses 2; carol holds 0 -- it is told once
    ");
}

// shows: F1-7
/// A member that had not heard of our invitation speaks in the epoch before it. Nothing that we ever had would open
/// that, nor the commit that added us, so we have lost nothing: neither when the window has moved on, nor when it is dropped.
#[test]
fn what_was_said_in_an_epoch_before_ours_is_no_gap() {
    for epochs in [0, 3, 7] {
        let mut tale = Tale::of("alice bob", "");
        story!(tale; "
            carol enters; all wait 60s; added: alice adds carol; carol joins added.w; all wait 5s
            before: bob says; alice applies before; carol takes before added =closed
            bob applies added
        ");
        tale.repeats(epochs, "all wait 5s; on: alice renews; bob,carol apply on");
        story!(tale; "
            carol waits 5s; hello: alice says; carol applies hello; carol settles
            carol holds 2; carol loses; carol waits 31d; carol holds 0; carol loses
        ");
    }
}

// shows: F1-6
/// A commit never comes. What was said after it is told when it is dropped, also to who has just joined.
#[test]
fn what_waits_for_a_commit_that_never_comes_is_told_in_the_end() {
    story!("alice bob", [""]; "
        all wait 5s; alice renews
        all wait 5s; one: alice says; bob takes one =closed
        all wait 5s; two: alice says; bob takes two =closed
        bob waits 5s; bob settles; bob loses -- it may still come
        bob waits 31d; bob loses 2
    ");
}

// rule: F1-10
/// A message is too far ahead in its sender's ratchet, in the first epochs of bob's membership or later, and those before
/// it never come: its epoch goes by, and it is told as lost. A key has opened it, so it is none of before he came.
#[test]
fn what_was_opened_and_never_read_is_told() {
    for epochs in [0, 3, 7] {
        for settles in [false, true] {
            let mut alice = member("alice");
            let mut config = unhurried();
            config.ratchet.maximum_forward_distance = 2;
            let mut bob = Member::with("bob", config);
            let group = alice.founds("g", &mut [&mut bob]);
            let advance = |alice: &mut Member, bob: &mut Member, times| {
                for _ in 0..times {
                    waits(&mut [alice, bob], 10);
                    advances(alice, &group, &mut [bob]);
                }
                waits(&mut [alice, bob], 10);
            };
            advance(&mut alice, &mut bob, epochs);
            let said: Vec<Event> = (0..8).map(|n| alice.says(&group, &n.to_string())).collect();
            let far = Verdict::Deferred(DeferredReason::FutureGeneration);
            assert_eq!(bob.takes(&said[7]).verdict, far);
            advance(&mut alice, &mut bob, 8);
            if settles {
                bob.engine.settle().unwrap();
                assert_eq!(gaps(&mut bob), [1], "{epochs} epochs since the invitation");
            }
            for _ in 0..31 {
                waits(&mut [&mut alice, &mut bob], DAY.unsigned_abs());
                let said = alice.says(&group, "today");
                bob.takes(&said);
            }
            assert_eq!(gaps(&mut bob), [1], "{epochs} {settles}");
            assert_eq!(testing::watch(&mut bob.engine, &group).unwrap().raw, 0);
        }
    }
}

// shows: F1-10
/// What was opened before its time, and is read then, is no loss.
#[test]
fn what_was_opened_too_early_and_is_read_is_no_gap() {
    let mut alice = member("alice");
    let mut config = unhurried();
    config.ratchet.maximum_forward_distance = 2;
    let mut bob = Member::with("bob", config);
    let group = alice.founds("g", &mut [&mut bob]);
    waits(&mut [&mut alice, &mut bob], 10);
    let said: Vec<Event> = (0..8).map(|n| alice.says(&group, &n.to_string())).collect();
    [7, 6].into_iter().for_each(|n: usize| drop(bob.takes(&said[n])));
    for _ in 0..2 {
        waits(&mut [&mut alice, &mut bob], 10);
        advances(&mut alice, &group, &mut [&mut bob]);
    }
    said.iter().for_each(|event| drop(bob.takes(event)));
    assert_eq!(bob.texts(&group).len(), 8);
    waits(&mut [&mut alice, &mut bob], 10);
    bob.engine.settle().unwrap();
    waits(&mut [&mut bob], 31 * DAY.unsigned_abs());
    assert_eq!(gaps(&mut bob), [0; 0]);
}

/// The second of `said`, which a relay gives no more of.
fn unpaged(engine: &mut Engine, group: &GroupId, said: &[Event]) -> Unpaged {
    let route = engine.group(group).unwrap().nostr_group_id;
    let at = said[0].created_at();
    Unpaged { route, first: at, last: at, events: said.iter().map(Event::id).collect() }
}

// shows: F1-11
/// A relay gives a part of a second, and there is no way to ask for the rest: told, with no number, and once.
#[test]
fn a_second_that_a_relay_cannot_give_is_told() {
    let (mut alice, mut bob) = (member("alice"), member("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    waits(&mut [&mut alice, &mut bob], 7_200);
    let said = [alice.says(&group, "one"), alice.says(&group, "two")];
    let gap = unpaged(&mut bob.engine, &group, &said);
    bob.takes(&said[0]);
    assert_eq!(bob.engine.report_unpaged(std::slice::from_ref(&gap)).unwrap(), 1);
    assert_eq!(gaps(&mut bob), [0]);
    let told = bob.engine.events(0, 100_000).unwrap();
    assert!(told.iter().any(|event| {
        event.body == EventBody::HistoryGap { count: 0, first: gap.first, last: gap.last }
    }));
    // As often as it is seen; and no relay fills the log.
    for _ in 0..3 {
        assert_eq!(bob.engine.report_unpaged(std::slice::from_ref(&gap)).unwrap(), 0);
    }
    waits(&mut [&mut alice, &mut bob], 7_200);
    let said = [alice.says(&group, "three")];
    let gap = unpaged(&mut bob.engine, &group, &said);
    bob.engine.report_unpaged(&[gap]).unwrap();
    assert_eq!(gaps(&mut bob), [0, 0]);
}

// shows: F1-11
/// Who was there has heard it, also what cannot be read yet; and what was said before somebody came is not hers.
#[test]
fn what_a_relay_cannot_give_is_no_gap_for_who_was_there_or_came_later() {
    let (mut alice, mut bob, mut carol) = (member("alice"), member("bob"), member("carol"));
    let group = alice.founds("g", &mut [&mut bob]);
    let package = carol.key_package();
    waits(&mut [&mut alice, &mut bob, &mut carol], 7_200);
    let mut said = vec![alice.says(&group, "one"), bob.says(&group, "mine")];
    bob.takes(&said[0]);
    // (of an epoch that bob hears of later)
    let commit = advances(&mut alice, &group, &mut []);
    said.push(alice.says(&group, "early"));
    assert_eq!(bob.takes(&said[2]).verdict, CLOSED);
    let gap = unpaged(&mut bob.engine, &group, &said);
    assert_eq!(bob.engine.report_unpaged(std::slice::from_ref(&gap)).unwrap(), 0);
    bob.applies(&commit);
    waits(&mut [&mut alice, &mut bob, &mut carol], 60);
    let pending = alice.engine.add_members(&group, &[package], false).unwrap();
    alice.confirms(&pending);
    carol.joins(&pending.welcomes);
    assert_eq!(carol.engine.report_unpaged(std::slice::from_ref(&gap)).unwrap(), 0);
    // Nor is what is of nobody.
    let gap = Unpaged { route: NostrGroupId::from_bytes([7; 32]), ..gap };
    assert_eq!(carol.engine.report_unpaged(&[gap]).unwrap(), 0);
    assert_eq!((gaps(&mut bob), gaps(&mut carol)), (vec![], vec![]));
}
