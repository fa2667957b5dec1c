//! Alone on a branch that lost: the others' invitation leads out of it.

use mdk_core::GroupState;

use crate::kit::acts::{adds, commits, invited, removes, renames, speak};
use crate::kit::fork::{Filed, two_admins_and};
use crate::kit::{WAITS, event, folder};

fn wait(members: &mut [&mut Filed]) {
    members.iter_mut().for_each(|member| drop(member.waits(2_000)));
}

// shows: B4-16, B4-21
/// Carol is alone on her branch, and renews her leaf there until no state is retained of when she joined. She is let go
/// all the same: where she is longer than the others, too, because nobody but her has been heard there.
#[test]
fn who_was_alone_for_long_on_a_branch_that_lost_can_be_invited_again() {
    for (alone, others) in [(7, 12), (9, 2)] {
        let place = folder();
        let (mut all, group) = two_admins_and("dave", place.path());
        let mut carol = Filed::new(place.path(), "carol", 9);
        let [alice, bob, dave] = all.as_mut_slice() else { panic!() };
        let added = adds(bob, &group, &mut carol);
        carol.member.joins(&added.welcomes);
        let winner = renames(alice, &group, "winner");
        for member in [&mut *bob, &mut *dave] {
            member.takes(event(&winner));
            member.takes(event(&added));
        }
        alice.takes(event(&added));
        for _ in 0..2 {
            wait(&mut [&mut *alice, &mut *bob, &mut *dave, &mut carol]);
        }
        assert_eq!(alice.ends(&group), bob.ends(&group));
        for _ in 0..alone {
            let own = carol.member.engine.self_update(&group).unwrap();
            commits(&mut carol, own);
            wait(&mut [&mut *alice, &mut *bob, &mut *dave, &mut carol]);
        }
        for _ in 0..others {
            let own = renames(alice, &group, "goes on");
            for member in [&mut *bob, &mut *dave, &mut carol] {
                member.takes(event(&own));
            }
            wait(&mut [&mut *alice, &mut *bob, &mut *dave, &mut carol]);
        }
        let again = adds(bob, &group, &mut carol);
        for member in [&mut *alice, &mut *dave] {
            member.takes(event(&again));
        }
        assert_eq!(carol.takes(&again.welcomes[0]).verdict, WAITS);
        carol.waits(60_000);
        assert_eq!(carol.member.info(&group).state, GroupState::Active, "{alone} {others}");
        assert!(invited(&carol.waits(61_000)), "{alone} {others}");
        carol.member.joins(&[]);
        bob.waits(1_000);
        assert_eq!(carol.ends(&group).authenticator, bob.ends(&group).authenticator);
        speak(bob, &mut carol, &group);
    }
}

// rule: B4-21
/// Somebody else is heard in the states that are retained: carol is not alone, so a Welcome from another branch waits on.
#[test]
fn who_is_not_alone_is_not_let_go() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
    // On a copy of alice's that nobody follows carol is removed, and invited again.
    let other = folder();
    let mut copy = alice.copied(other.path());
    removes(&mut copy, &group, carol);
    (0..20).for_each(|_| drop(renames(&mut copy, &group, "stray")));
    let stray = adds(&mut copy, &group, carol);
    for _ in 0..9 {
        let own = carol.member.engine.self_update(&group).unwrap();
        let own = commits(carol, own);
        for member in [&mut *alice, &mut *bob] {
            member.takes(event(&own));
            member.waits(1_000);
        }
        carol.waits(1_000);
    }
    let said = bob.member.says(&group, "here");
    carol.member.applies(&said);
    assert_eq!(carol.takes(&stray.welcomes[0]).verdict, WAITS);
    for _ in 0..3 {
        assert!(!invited(&carol.waits(130_000)));
    }
    assert_eq!(carol.member.info(&group).state, GroupState::Active);
}
