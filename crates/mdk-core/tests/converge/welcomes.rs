//! Welcomes and commits come by two subscriptions: an invitation may be there before the commit that ended the
//! membership before it, or while we stand on a branch that nobody else follows.

use mdk_core::{DeferredReason, EventBody, GroupState, Pending, RejectCode, Verdict, testing};
use mdk_wire::{Event, GroupId};

use crate::kit::acts::{adds, commits, invited, removes, renames, speak};
use crate::kit::foreign::{Change, Foreign};
use crate::kit::fork::{Filed, two_admins_and};
use crate::kit::{WAITS, event, folder, received};

fn two(folder: &std::path::Path) -> (Filed, Filed, GroupId) {
    let (mut alice, mut bob) = (Filed::new(folder, "alice", 1), Filed::new(folder, "bob", 2));
    let group = alice.member.founds("before", &mut [&mut bob.member]);
    (alice, bob, group)
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
            thief.commits(Change { path: true, ..Default::default() });
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
    // Of later ones: three wait, whoever makes them.
    for n in 0..6 {
        let later = thief(&mut bob, 3);
        let expected =
            if n < 3 { WAITS } else { Verdict::Deferred(DeferredReason::ResourceRefused) };
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

// shows: B4-16
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

// shows: B4-18
/// Bob removes carol and takes her in again, while she and alice follow a commit of alice's that beats the removal by
/// itself. She cannot see beyond the removal but for the Welcome, which may come before it or after it, or after a commit
/// more: it leads her to where the others go, and what was said before the fork she can still read.
#[test]
fn a_welcome_leads_on_from_a_removal_that_was_not_followed() {
    for between in [0, 1] {
        for (order, restart) in [([0, 1], false), ([1, 0], false), ([1, 0], true)] {
            let case = format!("{between} between, {order:?}, {restart}");
            let place = folder();
            let (mut all, group) = two_admins_and("carol", place.path());
            let late = all[1].member.says(&group, "before the fork");
            let here = renames(&mut all[0], &group, "here");
            let (_, carol) = all.split_at_mut(2);
            carol[0].member.applies(event(&here));
            let (removal, added) = {
                let [_, bob, carol] = all.as_mut_slice() else { panic!() };
                let removal = removes(bob, &group, carol);
                (0..between).for_each(|_| drop(renames(bob, &group, "between")));
                (removal, adds(bob, &group, carol))
            };
            let carol = &mut all[2];
            let said = carol.member.says(&group, "on the loser");
            for which in order {
                let event = [event(&removal), &added.welcomes[0]][which];
                let verdict = carol.takes(event).verdict;
                let rival = Verdict::Deferred(DeferredReason::Rival);
                let early = order[0] == 1 && which == 1;
                assert_eq!(verdict, if early { WAITS } else { rival }, "{case}");
                if restart {
                    carol.restarts();
                }
            }
            (0..3).for_each(|_| drop(carol.waits(1_000)));
            let (end, info) = (all[1].ends(&group).authenticator, all[1].member.info(&group));
            let carol = &mut all[2];
            assert_eq!(carol.ends(&group).authenticator, end, "{case}");
            assert_eq!(carol.member.info(&group).state, GroupState::Active);
            assert_eq!(carol.member.info(&group).member_count, info.member_count);
            assert!(carol.member.engine.invites().unwrap().is_empty(), "she is in it already");
            assert!(carol.ends(&group).said.contains(&("on the loser".into(), true)), "{case}");
            assert_eq!(received(&carol.takes(&late)), ["before the fork"], "{case}");
            // The commit that took her in is of an epoch that she has no state of: that is no loss of hers.
            carol.takes(event(&added));
            assert_eq!(carol.member.info(&group).state, GroupState::Active);
            all[1].takes(&said);
            all[1].takes(event(&here));
            all[1].waits(1_000);
            let (_, rest) = all.split_at_mut(1);
            let [bob, carol] = rest else { panic!() };
            speak(bob, carol, &group);
            bob.waits(1_000);
            carol.waits(1_000);
            // Commits go on, and nothing of what came before outlives the window.
            for _ in 0..7 {
                let own = carol.member.engine.self_update(&group).unwrap();
                let own = commits(carol, own);
                bob.takes(event(&own));
                bob.waits(1_000);
                carol.waits(1_000);
                carol.takes(event(&added));
                assert_eq!(carol.ends(&group).authenticator, bob.ends(&group).authenticator);
            }
            let watch = testing::watch(&mut carol.member.engine, &group).unwrap();
            assert!(watch.states.iter().all(|s| s.followed) && watch.states.len() == 6, "{case}");
        }
    }
}

// shows: B4-18
/// As above, but carol has asked to leave, which is what the removal does: the invitation after it is a question to her, whether she
/// has just come or has been there for long.
#[test]
fn who_asked_to_leave_is_asked_again_by_a_welcome_beyond_the_removal() {
    for since in [0, 8] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        for n in 0..since {
            let before = renames(&mut all[0], &group, &format!("before {n}"));
            for member in &mut all[1..] {
                member.takes(event(&before));
            }
            all.iter_mut().for_each(|member| drop(member.waits(1_000)));
        }
        let here = renames(&mut all[0], &group, "here");
        let carol = &mut all[2];
        let leave = carol.member.engine.leave(&group).unwrap();
        let mut replies = all[1].takes(&leave).reply;
        for _ in 0..120 {
            replies.extend(all[1].waits(1_000).reply);
        }
        let [answer] = replies.try_into().unwrap();
        all[1].takes(&answer);
        // Hers is the branch of a commit more, until she knows of the invitation.
        let more = renames(&mut all[0], &group, "there");
        for event in [event(&here), event(&more), &answer] {
            all[2].takes(event);
        }
        (0..2).for_each(|_| drop(all[2].waits(1_000)));
        assert_eq!(all[2].member.info(&group).state, GroupState::Leaving);
        (0..2).for_each(|n| drop(renames(&mut all[1], &group, ["b1", "b2"][n])));
        let added = {
            let [_, bob, carol] = all.as_mut_slice() else { panic!() };
            adds(bob, &group, carol)
        };
        let carol = &mut all[2];
        assert!(invited(&carol.takes(&added.welcomes[0])));
        carol.member.joins(&[]);
        let end = all[1].ends(&group).authenticator;
        assert_eq!(all[2].ends(&group).authenticator, end);
    }
}

// shows: B4-24
/// Bob removes carol and takes her in again, while she follows a commit of alice's that removes bob: to her he is nobody by
/// then. That he was an admin where the two branches parted is what counts, also for somebody who has asked to leave.
#[test]
fn who_was_put_out_by_one_of_the_branch_invites_from_the_other() {
    for leaves in [false, true] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
        let here = [removes(alice, &group, bob), renames(alice, &group, "more")];
        here.iter().for_each(|commit| drop(carol.member.applies(event(commit))));
        if leaves {
            carol.member.engine.leave(&group).unwrap();
        }
        let mut there = vec![removes(bob, &group, carol)];
        there.extend(["b1", "b2"].map(|name| renames(bob, &group, name)));
        let added = adds(bob, &group, carol);
        carol.takes(event(&there[0]));
        carol.takes(&added.welcomes[0]);
        (0..3).for_each(|_| drop(carol.waits(1_000)));
        for commit in there.iter().chain([&added]) {
            alice.takes(event(commit));
        }
        (0..3).for_each(|_| drop(alice.waits(1_000)));
        let end = bob.ends(&group).authenticator;
        assert_eq!(alice.ends(&group).authenticator, end, "leaves: {leaves}");
        assert_eq!(carol.ends(&group).authenticator, end, "leaves: {leaves}");
        if leaves {
            assert_eq!(carol.member.info(&group).state, GroupState::Leaving, "she asks there, too");
        } else {
            speak(bob, carol, &group);
        }
    }
}

// rule: B4-19
/// Carol is put out by a branch that loses, and the Welcome of the one that wins comes before what it consists of: it waits
/// for the pass, in which what she had read on the loser is marked.
#[test]
fn a_welcome_waits_for_the_pass_that_decides_between_removals() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let lost = renames(&mut all[0], &group, "lost");
    let said = all[0].member.says(&group, "on the loser");
    let carol = &all[2];
    let key = carol.member.key();
    let out = all[0].member.engine.remove_members(&group, &[key]).unwrap();
    let out = commits(&mut all[0], out);
    let won: Vec<Pending> = {
        let [_, bob, carol] = all.as_mut_slice() else { panic!() };
        let first = vec![renames(bob, &group, "w1"), renames(bob, &group, "w2")];
        let removal = removes(bob, &group, carol);
        first.into_iter().chain([removal]).collect()
    };
    let added = {
        let [_, bob, carol] = all.as_mut_slice() else { panic!() };
        adds(bob, &group, carol)
    };
    let carol = &mut all[2];
    carol.member.applies(event(&lost));
    assert_eq!(received(&carol.takes(&said)), ["on the loser"]);
    carol.member.applies(event(&out));
    assert_eq!(carol.member.info(&group).state, GroupState::Removed);
    let rival = Verdict::Deferred(DeferredReason::Rival);
    assert_eq!(carol.takes(event(&won[0])).verdict, rival);
    assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
    assert_eq!(carol.takes(event(&won[1])).verdict, rival);
    assert_eq!(carol.takes(event(&won[2])).verdict, rival);
    let marked = |carol: &mut Filed| {
        let [message] =
            carol.member.engine.messages(&group, 10, None, None).unwrap().try_into().unwrap();
        message.invalidated
    };
    assert!(!marked(carol));
    assert!(invited(&carol.waits(1_000)));
    assert!(marked(carol));
    carol.member.joins(&[]);
    let end = all[1].ends(&group).authenticator;
    assert_eq!(all[2].ends(&group).authenticator, end);
}
