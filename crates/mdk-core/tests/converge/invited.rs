//! Whoever a commit of ours adds is invited when that commit is true, by whatever way it became so, and not before.

use mdk_core::{GroupState, Outcome, Pending, Verdict};
use mdk_wire::{Event, EventId, GroupId};

use crate::kit::acts::{adds, removes, renames, speak};
use crate::kit::fork::{Filed, found, numbered};
use crate::kit::{event, folder};

/// What of the Welcomes of a commit is to be published. (The first tick of a process hands out others, too.)
fn welcomes(made: &Pending, outcome: &Outcome) -> Vec<Event> {
    let ours = |event: &&Event| made.welcomes.iter().any(|welcome| welcome.id() == event.id());
    outcome.reply.iter().filter(ours).cloned().collect()
}

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(Event::id).collect()
}

/// Alice, bob and dave are admins; carol is nobody yet. All are settled.
fn three(folder: &std::path::Path) -> (Vec<Filed>, Filed, GroupId) {
    let mut all = numbered(folder, &["alice", "bob", "dave"]);
    let group = found(&mut all, &[1, 2]);
    all.iter_mut().for_each(|m| drop(m.waits(9_000)));
    (all, Filed::new(folder, "carol", 4), group)
}

/// Commits one after the other, by somebody who has heard of nothing else meanwhile.
fn line(member: &mut Filed, group: &GroupId, names: [&str; 2]) -> Vec<Event> {
    let renamed = names.map(|name| {
        let commit = event(&renames(member, group, name)).clone();
        member.waits(10_000);
        commit
    });
    renamed.into()
}

fn joins(carol: &mut Filed, made: &Pending, handed_out: &[Event]) {
    assert_eq!(ids(handed_out), ids(&made.welcomes));
    assert_eq!(carol.takes(&handed_out[0]).verdict, Verdict::Applied);
    carol.member.joins(&[]);
    // What went out twice is seen.
    assert_eq!(carol.takes(&made.welcomes[0]).verdict, Verdict::Duplicate);
}

// rule: C2-8
/// Alice ends between her commit that adds carol and the publication of its Welcome. The commit loses to two of bob's,
/// and wins with two that dave makes on it: then the Welcome goes out, also after a restart, and not while it is lost.
#[test]
fn a_commit_that_lost_and_wins_again_invites() {
    for restart in [false, true] {
        let place = folder();
        let (mut all, mut carol, group) = three(place.path());
        let [alice, bob, dave] = all.as_mut_slice() else { panic!() };
        let added = adds(alice, &group, &mut carol);
        let here = line(bob, &group, ["b1", "b2"]);
        here.iter().for_each(|commit| drop(alice.takes(commit)));
        let mut told = vec![alice.waits(10_000)];
        assert_eq!(alice.member.info(&group).member_count, 3);
        alice.restarts();
        told.extend([alice.waits(1_000), alice.waits(1_000)]);
        assert!(told.iter().all(|outcome| welcomes(&added, outcome).is_empty()), "it is not true");

        dave.takes(event(&added));
        dave.waits(10_000);
        let there = line(dave, &group, ["d1", "d2"]);
        let mut handed_out = Vec::new();
        for commit in &there {
            handed_out.extend(welcomes(&added, &alice.takes(commit)));
        }
        for commit in [event(&added), &there[0], &there[1]] {
            bob.takes(commit);
        }
        bob.waits(10_000);
        handed_out.extend(welcomes(&added, &alice.waits(10_000)));
        assert_eq!(alice.member.info(&group).member_count, 4);
        if restart {
            alice.restarts();
            handed_out = welcomes(&added, &alice.waits(1_000));
        }
        joins(&mut carol, &added, &handed_out);
        there.iter().for_each(|commit| drop(carol.takes(commit)));
        carol.waits(10_000);
        for other in [alice, bob, dave] {
            assert_eq!(other.ends(&group).authenticator, carol.ends(&group).authenticator);
            speak(&mut carol, other, &group);
        }
    }
}

// rule: C2-8
/// A relay has the commit, and its answer was lost, so the program gave the commit up. It comes back, and is true at
/// once, or when others have built on it.
#[test]
fn a_commit_that_was_given_up_and_is_true_invites() {
    for rival in [false, true] {
        for restart in [false, true] {
            let place = folder();
            let (mut all, mut carol, group) = three(place.path());
            let [alice, bob, dave] = all.as_mut_slice() else { panic!() };
            let package = carol.member.key_package();
            let added = alice.member.engine.add_members(&group, &[package], false).unwrap();
            alice.member.engine.discard(added.id).unwrap();
            assert!(welcomes(&added, &alice.waits(1_000)).is_empty());
            if restart {
                alice.restarts();
                assert!(welcomes(&added, &alice.waits(1_000)).is_empty());
            }
            let mut handed_out = Vec::new();
            if rival {
                let here = line(bob, &group, ["b1", "b2"]);
                here.iter().for_each(|commit| drop(alice.takes(commit)));
                alice.waits(10_000);
                handed_out.extend(welcomes(&added, &alice.takes(event(&added))));
                handed_out.extend(welcomes(&added, &alice.waits(10_000)));
                assert!(handed_out.is_empty(), "it is not true");
                dave.takes(event(&added));
                dave.waits(10_000);
                for commit in line(dave, &group, ["d1", "d2"]) {
                    handed_out.extend(welcomes(&added, &alice.takes(&commit)));
                }
            } else {
                let came = alice.takes(event(&added));
                assert_eq!(came.verdict, Verdict::Applied);
                handed_out.extend(welcomes(&added, &came));
            }
            handed_out.extend(welcomes(&added, &alice.waits(10_000)));
            assert_eq!(alice.member.info(&group).member_count, 4, "{rival} {restart}");
            if restart {
                alice.restarts();
                handed_out = welcomes(&added, &alice.waits(1_000));
            }
            joins(&mut carol, &added, &handed_out);
            assert_eq!(carol.member.info(&group).state, GroupState::Active);
            if !rival {
                speak(&mut carol, alice, &group);
            }
        }
    }
}

// shows: C2-8
/// Alice's commit wins with one of dave's that puts her out: carol is a member for all who are left, and only alice has
/// the Welcome.
#[test]
fn who_is_put_out_still_invites_whom_its_commit_has_added() {
    let place = folder();
    let (mut all, mut carol, group) = three(place.path());
    let [alice, bob, dave] = all.as_mut_slice() else { panic!() };
    let added = adds(alice, &group, &mut carol);
    let here = line(bob, &group, ["b1", "b2"]);
    here.iter().for_each(|commit| drop(alice.takes(commit)));
    alice.waits(10_000);
    dave.takes(event(&added));
    dave.waits(10_000);
    let there = [event(&renames(dave, &group, "d1")).clone(), {
        dave.waits(10_000);
        event(&removes(dave, &group, alice)).clone()
    }];
    let mut handed_out = Vec::new();
    for commit in &there {
        handed_out.extend(welcomes(&added, &alice.takes(commit)));
    }
    handed_out.extend(welcomes(&added, &alice.waits(10_000)));
    assert_eq!(alice.member.info(&group).state, GroupState::Removed);
    joins(&mut carol, &added, &handed_out);
    there.iter().for_each(|commit| drop(carol.takes(commit)));
    carol.waits(10_000);
    speak(&mut carol, dave, &group);
}

// shows: C2-8
/// On the branch that wins somebody has removed carol again: nothing goes out to her, until a branch wins that keeps her.
#[test]
fn who_is_no_member_any_more_is_not_invited() {
    let place = folder();
    let (mut all, mut carol, group) = three(place.path());
    let [alice, bob, dave] = all.as_mut_slice() else { panic!() };
    let added = adds(alice, &group, &mut carol);
    let here = line(bob, &group, ["b1", "b2"]);
    here.iter().for_each(|commit| drop(alice.takes(commit)));
    alice.waits(10_000);
    dave.takes(event(&added));
    dave.waits(10_000);
    let place_2 = folder();
    let mut other = dave.copied(place_2.path());
    let without = [event(&renames(dave, &group, "d1")).clone(), {
        dave.waits(10_000);
        event(&removes(dave, &group, &carol)).clone()
    }];
    without.iter().for_each(|commit| assert!(welcomes(&added, &alice.takes(commit)).is_empty()));
    assert!(welcomes(&added, &alice.waits(10_000)).is_empty());
    let info = alice.member.info(&group);
    assert_eq!((info.name.as_str(), info.member_count), ("d1", 3));
    // (of dave there are two, as after a backup)
    other.waits(10_000);
    let mut keeps = line(&mut other, &group, ["e1", "e2"]);
    keeps.extend(line(&mut other, &group, ["e3", "e4"]));
    let mut handed_out = Vec::new();
    keeps.iter().for_each(|commit| handed_out.extend(welcomes(&added, &alice.takes(commit))));
    handed_out.extend(welcomes(&added, &alice.waits(10_000)));
    assert_eq!(alice.member.info(&group).name, "e4");
    assert_eq!(ids(&handed_out), ids(&added.welcomes));
}
