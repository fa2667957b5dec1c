//! Welcomes and commits come by two subscriptions: an invitation may be there before the commit that ended the
//! membership before it, or while we stand on a branch that nobody else follows.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "kit/foreign.rs"]
mod foreign;
#[path = "kit/fork.rs"]
mod fork;
mod kit;

use foreign::Foreign;
use fork::{Filed, folder};
use kit::received;
use mdk_core::{
    DeferredReason, EventBody, GroupState, GroupUpdate, Outcome, Pending, RejectCode, Verdict,
    testing,
};
use mdk_wire::{Event, GroupId};

const WAITS: Verdict = Verdict::Deferred(DeferredReason::FutureEpoch);

fn event(pending: &Pending) -> &Event {
    pending.event.as_ref().unwrap()
}

fn commits(member: &mut Filed, pending: Pending) -> Pending {
    member.member.confirms(&pending);
    pending
}

fn renames(member: &mut Filed, group: &GroupId, name: &str) -> Pending {
    let update = GroupUpdate { name: Some(name.into()), ..GroupUpdate::default() };
    let pending = member.member.engine.update_group(group, update).unwrap();
    commits(member, pending)
}

fn removes(member: &mut Filed, group: &GroupId, other: &Filed) -> Pending {
    let pending = member.member.engine.remove_members(group, &[other.member.key()]).unwrap();
    commits(member, pending)
}

fn adds(member: &mut Filed, group: &GroupId, other: &mut Filed) -> Pending {
    let package = other.member.key_package();
    let pending = member.member.engine.add_members(group, &[package], false).unwrap();
    commits(member, pending)
}

fn two(folder: &std::path::Path) -> (Filed, Filed, GroupId) {
    let (mut alice, mut bob) = (Filed::new(folder, "alice", 1), Filed::new(folder, "bob", 2));
    let group = alice.member.founds("before", &mut [&mut bob.member]);
    (alice, bob, group)
}

fn invited(outcome: &Outcome) -> bool {
    outcome.events.iter().any(|e| matches!(e.body, EventBody::Invited { .. }))
}

fn speak(one: &mut Filed, other: &mut Filed, group: &GroupId) {
    for (text, from, to) in [("from one", 0, 1), ("from the other", 1, 0)] {
        let both = [&mut *one, &mut *other];
        let said = both[from].member.says(group, text);
        assert_eq!(received(&both[to].member.applies(&said)), [text]);
    }
}

// rule: B4-15
/// The Welcome waits until the removal has come; what was said before that is read first.
#[test]
fn a_welcome_before_the_removal_is_taken_up_after_it() {
    for restart in [false, true] {
        for together in [false, true] {
            let place = folder();
            let (mut alice, mut bob, group) = two(place.path());
            let said = alice.member.says(&group, "before");
            let removal = removes(&mut alice, &group, &bob);
            let added = adds(&mut alice, &group, &mut bob);
            let after = alice.member.says(&group, "after");
            let [welcome] = &added.welcomes[..] else { panic!() };
            if together {
                let all = [welcome, event(&added), &after, &said, event(&removal)];
                let all: Vec<String> = all.into_iter().map(Event::to_json).collect();
                let all: Vec<&[u8]> = all.iter().map(String::as_bytes).collect();
                bob.member.engine.process_many(&all).unwrap();
            } else {
                assert_eq!(bob.takes(welcome).verdict, WAITS);
                assert_eq!(bob.takes(welcome).verdict, WAITS, "and is not doubled");
                assert_eq!(bob.member.info(&group).state, GroupState::Active);
                if restart {
                    bob.restarts();
                }
                assert_eq!(received(&bob.takes(&said)), ["before"]);
                bob.takes(&after);
                let outcome = bob.takes(event(&removal));
                assert!(invited(&outcome), "{:?}", outcome.events);
                assert_eq!(bob.takes(welcome).verdict, Verdict::Duplicate);
            }
            let [invite] = bob.member.engine.invites().unwrap().try_into().unwrap();
            assert_eq!(bob.member.engine.accept(&invite.id).unwrap().state, GroupState::Active);
            bob.waits(1_000);
            assert_eq!(bob.ends(&group).authenticator, alice.ends(&group).authenticator);
            assert_eq!(bob.member.texts(&group), ["before", "after"]);
            speak(&mut alice, &mut bob, &group);
            let watch = testing::watch(&mut bob.member.engine, &group).unwrap();
            assert!(watch.raw <= 1, "at most the commit that added him");
        }
    }
}

/// Whoever left by a wish of its own is taken back in the same way.
#[test]
fn a_welcome_before_the_answer_to_a_leave_is_taken_up_after_it() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let leave = bob.member.engine.leave(&group).unwrap();
    let [answer] = alice.takes(&leave).reply.try_into().unwrap();
    alice.takes(&answer);
    alice.waits(1_000);
    let added = adds(&mut alice, &group, &mut bob);
    assert_eq!(bob.takes(&added.welcomes[0]).verdict, WAITS);
    assert!(invited(&bob.takes(&answer)));
    bob.member.joins(&[]);
    speak(&mut alice, &mut bob, &group);
}

// shows: B4-4, B4-15
/// Only Welcomes of something later wait, a few of them, and a stranger's takes nothing away.
#[test]
fn what_does_not_wait() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let thief = |bob: &mut Filed, epochs: usize| {
        let package = bob.member.key_package();
        let mut thief = Foreign::new();
        let mut context = thief.context();
        context.id = group.as_bytes().to_vec();
        thief.founds(&context);
        for _ in 0..epochs {
            thief.commits(foreign::Change { path: true, ..Default::default() });
            thief.merges();
        }
        let welcome = thief.invites(&[&package]);
        thief.wraps(&welcome, &package)
    };
    // Of the epoch in which bob came, by somebody else.
    let old = thief(&mut bob, 0);
    let before = bob.member.engine.digest().unwrap();
    let Verdict::Rejected(rejection) = bob.takes(&old).verdict else { panic!() };
    assert_eq!((rejection.rule, rejection.code), ("B4-4", RejectCode::AlreadyApplied));
    assert_eq!(bob.member.engine.digest().unwrap(), before);
    // Of later ones: four wait, whoever makes them.
    for n in 0..6 {
        let later = thief(&mut bob, 3);
        let expected =
            if n < 4 { WAITS } else { Verdict::Deferred(DeferredReason::ResourceRefused) };
        assert_eq!(bob.takes(&later).verdict, expected, "{n}");
    }
    // However long they wait, the group stays as it is.
    for _ in 0..3 {
        bob.waits(600_000);
        alice.waits(600_000);
        speak(&mut alice, &mut bob, &group);
    }
    assert!(bob.member.engine.invites().unwrap().is_empty());
    // And they are no gap in the history, nor there for ever.
    let told = bob.waits(31 * 86_400_000).events;
    assert!(!told.iter().any(|e| matches!(e.body, EventBody::HistoryGap { .. })), "{told:?}");
    assert_eq!(testing::watch(&mut bob.member.engine, &group).unwrap().raw, 0);
}

// rule: B4-16
/// Carol is invited on a branch that loses. The others cannot be heard from there; when they invite her again, she is
/// told that the copy is lost, and asked.
#[test]
fn who_joined_on_a_branch_that_lost_can_be_invited_again() {
    for restart in [false, true] {
        let place = folder();
        let (mut alice, mut bob, group) = two(place.path());
        let promoted = alice.member.engine.promote(&group, &[bob.member.key()]).unwrap();
        let promoted = commits(&mut alice, promoted);
        bob.member.applies(event(&promoted));
        alice.waits(1_000);
        bob.waits(1_000);
        let mut carol = Filed::new(place.path(), "carol", 3);
        let added = adds(&mut alice, &group, &mut carol);
        carol.member.joins(&added.welcomes);
        let winner = [renames(&mut bob, &group, "b1"), renames(&mut bob, &group, "b2")];
        for commit in &winner {
            alice.takes(event(commit));
            carol.takes(event(commit));
        }
        bob.takes(event(&added));
        for member in [&mut alice, &mut bob, &mut carol] {
            member.waits(1_000);
        }
        assert_eq!(alice.ends(&group), bob.ends(&group));
        assert_eq!(carol.member.info(&group).member_count, 3, "nobody can tell her");

        carol.member.says(&group, "alone");
        let again = adds(&mut alice, &group, &mut carol);
        bob.takes(event(&again));
        bob.waits(1_000);
        assert_eq!(carol.takes(&again.welcomes[0]).verdict, WAITS);
        carol.waits(60_000);
        assert_eq!(carol.member.info(&group).state, GroupState::Active);
        if restart {
            carol.restarts();
        }
        let told = carol.waits(60_000);
        let lost = told.events.iter().any(|e| {
            matches!(&e.body, EventBody::Unrecoverable { reason } if reason == "joined_on_a_lost_branch")
        });
        assert!(lost && invited(&told), "{:?}", told.events);
        let [invite] = carol.member.engine.invites().unwrap().try_into().unwrap();
        assert_eq!(invite.inviter, alice.member.key());
        assert_eq!(carol.member.info(&group).state, GroupState::Pending);
        carol.member.engine.accept(&invite.id).unwrap();
        assert_eq!(carol.ends(&group).authenticator, alice.ends(&group).authenticator);
        assert_eq!(
            carol.ends(&group).said,
            [("alone".to_owned(), true)],
            "marked, and still there"
        );
        speak(&mut alice, &mut carol, &group);
        speak(&mut bob, &mut carol, &group);
    }
}

/// A copy that was given up is replaced by a fresh invitation.
#[test]
fn a_copy_that_was_given_up_is_replaced() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let removal = removes(&mut alice, &group, &bob);
    let added = adds(&mut alice, &group, &mut bob);
    testing::give_up(&mut bob.member.engine, &group).unwrap();
    bob.takes(event(&removal));
    assert_eq!(bob.member.info(&group).state, GroupState::Unrecoverable);
    assert!(invited(&bob.takes(&added.welcomes[0])));
    bob.member.joins(&[]);
    speak(&mut alice, &mut bob, &group);
}

/// An invitation that waits for the end of a membership is taken up when that cannot be followed any more.
#[test]
fn a_welcome_that_waits_leads_out_of_a_copy_that_was_given_up() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let promoted = alice.member.engine.promote(&group, &[bob.member.key()]).unwrap();
    let promoted = commits(&mut alice, promoted);
    bob.takes(event(&promoted));
    alice.waits(1_000);
    bob.waits(1_000);
    // Alice founded the group: no invitation brought her here.
    removes(&mut bob, &group, &alice);
    let added = adds(&mut bob, &group, &mut alice);
    assert_eq!(alice.takes(&added.welcomes[0]).verdict, WAITS);
    testing::give_up(&mut alice.member.engine, &group).unwrap();
    assert!(invited(&alice.waits(1_000)));
    alice.member.joins(&[]);
    speak(&mut alice, &mut bob, &group);
}
