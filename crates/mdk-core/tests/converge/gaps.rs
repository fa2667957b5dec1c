//! What is told as lost: all that is, and nothing that may still be read, whatever the members' clocks say.

use std::sync::Arc;

use mdk_core::{DeferredReason, Engine, EventBody, ManualClock, Unpaged, Verdict, testing};
use mdk_wire::{Event, GroupId, Keys, NostrGroupId};

use crate::kit::{self, CLOSED, Member, received, unhurried};

const DAY: i64 = 86_400;

/// As the protocol has it; `wrong` is by how many seconds the member's clock is ahead.
fn member(name: &'static str, wrong: i64) -> Member {
    let clock = ManualClock::at(kit::now().checked_add_signed(wrong).unwrap());
    let engine = Engine::in_memory(Keys::generate(), unhurried(), Arc::new(clock.clone())).unwrap();
    Member { name, engine, clock }
}

/// Of every gap that was told how many events it has.
fn gaps(member: &mut Member) -> Vec<u64> {
    let told = member.engine.events(0, 100_000).unwrap().into_iter();
    told.filter_map(|event| match event.body {
        EventBody::HistoryGap { count, .. } => Some(count),
        _ => None,
    })
    .collect()
}

fn waits(members: &mut [&mut Member], seconds: u64) {
    for member in members {
        member.clock.advance_millis(seconds * 1_000);
        member.engine.tick().unwrap();
    }
}

/// The next epoch, which these others are told of.
fn advances(member: &mut Member, group: &GroupId, others: &mut [&mut Member]) -> Event {
    let pending = member.engine.self_update(group).unwrap();
    member.confirms(&pending);
    let commit = pending.event.unwrap();
    others.iter_mut().for_each(|other| drop(other.applies(&commit)));
    commit
}

// shows: F1-5
/// A message comes before the commit that made its epoch. Whatever the clocks of both say, it is none that is lost.
#[test]
fn a_clock_makes_no_gap_of_what_is_early() {
    for (committer, sender) in [(0, -150), (150, 0), (365 * DAY, 0)] {
        let (mut alice, mut bob, mut carol) =
            (member("alice", 0), member("bob", 0), member("carol", 0));
        let group = alice.founds("g", &mut [&mut bob, &mut carol]);
        waits(&mut [&mut alice, &mut bob, &mut carol], 3_600);
        // (so late that nothing is taken for what was said before they joined)
        for (member, wrong) in [(&mut alice, committer), (&mut bob, sender)] {
            let now = mdk_core::Clock::now(&member.clock);
            member.clock.set(now.checked_add_signed(wrong).unwrap());
        }
        let mut last = None;
        for n in 0..8 {
            waits(&mut [&mut alice, &mut bob, &mut carol], 20);
            let commit = advances(&mut alice, &group, &mut [&mut bob]);
            if n < 7 {
                carol.applies(&commit);
            }
            last = Some(commit);
        }
        let early = bob.says(&group, "early");
        assert_eq!(carol.takes(&early).verdict, CLOSED);
        for _ in 0..3 {
            waits(&mut [&mut carol], 3_600);
            assert_eq!(gaps(&mut carol), [0; 0], "{committer} {sender}");
        }
        let outcome = carol.applies(&last.unwrap());
        assert_eq!(received(&outcome), ["early"]);
        carol.engine.settle().unwrap();
        assert_eq!(gaps(&mut carol), [0; 0], "{committer} {sender}");
    }
}

// shows: F1-5
/// The caller says that everything was given, and commits are missing: of what waits for them nothing is told as lost,
/// though it claims to be older than all that is retained.
#[test]
fn while_commits_are_missing_nothing_is_told() {
    let (mut alice, mut slow, mut carol) =
        (member("alice", 0), member("slow", 0), member("carol", 0));
    let group = alice.founds("g", &mut [&mut slow, &mut carol]);
    waits(&mut [&mut alice, &mut slow, &mut carol], 3_600);
    for _ in 0..8 {
        waits(&mut [&mut alice, &mut slow, &mut carol], 5);
        advances(&mut alice, &group, &mut [&mut slow, &mut carol]);
    }
    slow.clock.set(mdk_core::Clock::now(&slow.clock) - 300);
    let (mut commits, mut texts) = (Vec::new(), Vec::new());
    for epoch in 0..4 {
        waits(&mut [&mut alice, &mut slow, &mut carol], 5);
        commits.push(advances(&mut alice, &group, &mut [&mut slow]));
        for who in [&mut alice, &mut slow] {
            texts.push(format!("{} in {epoch}", who.name));
            let said = who.says(&group, texts.last().unwrap());
            assert_eq!(carol.takes(&said).verdict, CLOSED);
        }
    }
    waits(&mut [&mut carol], 5);
    carol.engine.settle().unwrap();
    assert_eq!(gaps(&mut carol), [0; 0]);
    for commit in &commits {
        carol.applies(commit);
    }
    waits(&mut [&mut carol], 5);
    carol.engine.settle().unwrap();
    assert_eq!(gaps(&mut carol), [0; 0]);
    let mut read = carol.texts(&group);
    read.sort();
    texts.sort();
    assert_eq!(read, texts);
}

// shows: F1-5, F1-6
/// What came when its epoch had long left the window is told, also of one whose clock lies before our invitation.
#[test]
fn what_a_slow_clock_made_is_told_as_well() {
    let (mut alice, mut slow, mut carol) =
        (member("alice", 0), member("slow", -2 * 3_600), member("carol", 0));
    let group = alice.founds("g", &mut [&mut slow, &mut carol]);
    waits(&mut [&mut alice, &mut slow, &mut carol], 5);
    let late = [alice.says(&group, "a"), slow.says(&group, "s")];
    for _ in 0..8 {
        waits(&mut [&mut alice, &mut slow, &mut carol], 5);
        advances(&mut alice, &group, &mut [&mut slow, &mut carol]);
    }
    carol.engine.settle().unwrap();
    assert_eq!(gaps(&mut carol), [0; 0]);
    for event in &late {
        assert_eq!(carol.takes(event).verdict, CLOSED);
    }
    waits(&mut [&mut carol], 5);
    assert_eq!(gaps(&mut carol), [0; 0], "more may still come");
    carol.engine.settle().unwrap();
    assert_eq!(gaps(&mut carol), [2]);
    carol.engine.settle().unwrap();
    waits(&mut [&mut carol], 31 * DAY.unsigned_abs());
    assert_eq!(gaps(&mut carol), [2], "once");
    assert_eq!(testing::watch(&mut carol.engine, &group).unwrap().raw, 0);
}

// shows: F1-7
/// A member that had not heard of our invitation speaks in the epoch before it. Nothing that we ever had would open
/// that, so we have lost nothing: neither when the window has moved on, nor when it is dropped.
#[test]
fn what_was_said_in_an_epoch_before_ours_is_no_gap() {
    for epochs in [0, 3, 7] {
        let (mut alice, mut bob, mut carol) =
            (member("alice", 0), member("bob", 0), member("carol", 0));
        let group = alice.founds("g", &mut [&mut bob]);
        waits(&mut [&mut alice, &mut bob, &mut carol], 60);
        let package = carol.key_package();
        let added = alice.engine.add_members(&group, &[package], false).unwrap();
        alice.confirms(&added);
        carol.joins(&added.welcomes);
        waits(&mut [&mut alice, &mut bob, &mut carol], 5);
        let before = bob.says(&group, "who is carol?");
        alice.applies(&before);
        assert_eq!(carol.takes(&before).verdict, CLOSED);
        bob.applies(added.event.as_ref().unwrap());
        for _ in 0..epochs {
            waits(&mut [&mut alice, &mut bob, &mut carol], 5);
            advances(&mut alice, &group, &mut [&mut bob, &mut carol]);
        }
        waits(&mut [&mut carol], 5);
        let said = alice.says(&group, "hello");
        carol.applies(&said);
        carol.engine.settle().unwrap();
        assert_eq!(gaps(&mut carol), [0; 0], "after {epochs} epochs");
        waits(&mut [&mut carol], 31 * DAY.unsigned_abs());
        assert_eq!(testing::watch(&mut carol.engine, &group).unwrap().raw, 0);
        assert_eq!(gaps(&mut carol), [0; 0], "{epochs} epochs, dropped");
    }
}

// shows: F1-6
/// A commit never comes. What was said after it is told when it is dropped, also to who has just joined.
#[test]
fn what_waits_for_a_commit_that_never_comes_is_told_in_the_end() {
    let (mut alice, mut bob) = (member("alice", 0), member("bob", 0));
    let group = alice.founds("g", &mut [&mut bob]);
    waits(&mut [&mut alice, &mut bob], 5);
    advances(&mut alice, &group, &mut []);
    for text in ["one", "two"] {
        waits(&mut [&mut alice, &mut bob], 5);
        let said = alice.says(&group, text);
        assert_eq!(bob.takes(&said).verdict, CLOSED);
    }
    waits(&mut [&mut bob], 5);
    bob.engine.settle().unwrap();
    assert_eq!(gaps(&mut bob), [0; 0], "it may still come");
    waits(&mut [&mut bob], 31 * DAY.unsigned_abs());
    assert_eq!(gaps(&mut bob), [2]);
}

// rule: F1-10
/// A message is too far ahead in its sender's ratchet, in the first epochs of bob's membership or later, and those before
/// it never come: its epoch goes by, and it is told as lost. A key has opened it, so it is none of before he came.
#[test]
fn what_was_opened_and_never_read_is_told() {
    for epochs in [0, 3, 7] {
        for settles in [false, true] {
            let mut alice = member("alice", 0);
            let mut config = unhurried();
            config.maximum_forward_distance = 2;
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
    let mut alice = member("alice", 0);
    let mut config = unhurried();
    config.maximum_forward_distance = 2;
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
    let (mut alice, mut bob) = (member("alice", 0), member("bob", 0));
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
    let (mut alice, mut bob, mut carol) =
        (member("alice", 0), member("bob", 0), member("carol", 0));
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
