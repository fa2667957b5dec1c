//! A Welcome that nobody can place yet: it waits, and is then kept beside our own branch until either goes on.

use mdk_core::{GroupState, testing};
use mdk_wire::GroupId;

use crate::kit::acts::{adds, renames};
use crate::kit::fork::{Filed, two_admins_and};
use crate::kit::{WAITS, event, folder, received};

/// How many states are retained beside the followed branch.
fn beside(member: &mut Filed, group: &GroupId) -> usize {
    let watch = testing::watch(&mut member.member.engine, group).unwrap();
    watch.states.iter().filter(|state| !state.followed).count()
}

// shows: B4-22
/// Alice and bob invite carol, each on a branch of their own, and hers is as long as the other when the Welcome comes: she
/// cannot tell which of them the others follow, since nobody will say so on the loser. When either goes on, she is where
/// the others are, and is asked nothing.
#[test]
fn a_welcome_that_waited_is_kept_beside_ours_until_either_goes_on() {
    for (wins, restart) in [(1, false), (1, true), (0, false)] {
        let place = folder();
        let (mut all, group) = two_admins_and("dave", place.path());
        let mut carol = Filed::new(place.path(), "carol", 9);
        let [alice, bob, dave] = all.as_mut_slice() else { panic!() };
        let first = adds(alice, &group, &mut carol);
        let ours = [renames(alice, &group, "a1"), renames(alice, &group, "a2")];
        carol.member.joins(&first.welcomes);
        ours.iter().for_each(|commit| carol.member.applies(event(commit)).events.clear());
        carol.waits(1_000);
        let theirs = renames(bob, &group, "b1");
        let second = adds(bob, &group, &mut carol);
        assert_eq!(carol.takes(&second.welcomes[0]).verdict, WAITS, "{wins}");
        carol.waits(119_000);
        assert_eq!(beside(&mut carol, &group), 0, "{wins}");
        if restart {
            carol.restarts();
        }
        carol.waits(1_000);
        assert_eq!(beside(&mut carol, &group), 1, "{wins}");
        carol.waits(1_000);
        let here = carol.member.info(&group);
        assert_eq!((here.state, here.name.as_str()), (GroupState::Active, "a2"), "{wins}");

        let said = carol.member.says(&group, "of carol's");
        let winner = &mut [&mut *alice, &mut *bob][wins];
        let more = [renames(winner, &group, "more"), renames(winner, &group, "still more")];
        let answer = winner.member.says(&group, "of the winner's");
        for commit in &more {
            carol.takes(event(commit));
        }
        carol.takes(&answer);
        carol.waits(1_000);
        for member in [&mut *alice, &mut *bob, &mut *dave] {
            for commit in [&first, &ours[0], &ours[1], &theirs, &second, &more[0], &more[1]] {
                member.takes(event(commit));
            }
            member.takes(&said);
            member.waits(1_000);
            member.waits(1_000);
        }
        let end = carol.ends(&group);
        for member in [&mut *alice, &mut *bob, &mut *dave] {
            assert_eq!(member.ends(&group).authenticator, end.authenticator, "{wins}");
        }
        assert!(carol.member.engine.invites().unwrap().is_empty(), "she is in it already");
        let expected =
            [("of carol's".to_owned(), wins == 1), ("of the winner's".to_owned(), false)];
        assert_eq!(end.said, expected);
        let said = bob.member.says(&group, "all hear this");
        assert_eq!(received(&carol.takes(&said)), ["all hear this"]);
    }
}

// rule: B4-22
/// What nobody made whom we know as an admin waits on, and is not kept beside ours.
#[test]
fn a_welcome_of_nobody_that_is_known_waits_on() {
    let place = folder();
    let (mut all, group) = two_admins_and("dave", place.path());
    let mut carol = Filed::new(place.path(), "carol", 9);
    let [alice, bob, dave] = all.as_mut_slice() else { panic!() };
    let first = adds(alice, &group, &mut carol);
    carol.member.joins(&first.welcomes);
    for n in 0..2 {
        let own = renames(alice, &group, &format!("a{n}"));
        carol.member.applies(event(&own));
    }
    // (two who speak outweigh a commit more)
    let heard = alice.member.says(&group, "here");
    carol.member.applies(&heard);
    carol.member.says(&group, "and here");
    carol.waits(1_000);
    // Dave is an admin on the other branch only.
    let promoted = bob.member.engine.promote(&group, &[dave.member.key()]).unwrap();
    bob.member.confirms(&promoted);
    dave.member.applies(event(&promoted));
    dave.waits(1_000);
    renames(dave, &group, "d");
    renames(dave, &group, "e");
    let second = adds(dave, &group, &mut carol);
    assert_eq!(carol.takes(&second.welcomes[0]).verdict, WAITS);
    (0..3).for_each(|_| drop(carol.waits(60_000)));
    let watch = testing::watch(&mut carol.member.engine, &group).unwrap();
    assert_eq!((watch.welcomes, watch.states.iter().filter(|s| !s.followed).count()), (1, 0));
}

// shows: B4-23
/// Bob removes carol and takes her in again, while she follows two commits of alice's. The removal comes when she has
/// waited for it in vain and keeps the other branch beside hers, or follows it already: what was said before the fork
/// counts, however it came.
#[test]
fn a_removal_that_comes_late_is_put_before_what_leads_on_from_it() {
    for followed in [false, true] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
        let shared = bob.member.says(&group, "before the fork");
        assert_eq!(received(&carol.takes(&shared)), ["before the fork"]);
        let ours = [renames(alice, &group, "a1"), renames(alice, &group, "a2")];
        ours.iter().for_each(|commit| carol.member.applies(event(commit)).events.clear());
        let lost = carol.member.says(&group, "on the loser");
        carol.waits(1_000);
        let removal = bob.member.engine.remove_members(&group, &[carol.member.key()]).unwrap();
        bob.member.confirms(&removal);
        let added = adds(bob, &group, carol);
        assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
        (0..2).for_each(|_| drop(carol.waits(60_000)));
        carol.waits(1_000);
        assert_eq!(beside(carol, &group), 1);
        let more = renames(bob, &group, "more");
        let events = [event(&removal), event(&more)];
        for place in if followed { [1, 0] } else { [0, 1] } {
            carol.takes(events[place]);
            carol.waits(1_000);
        }
        let end = carol.ends(&group);
        assert_eq!(end.authenticator, bob.ends(&group).authenticator, "{followed}");
        let said = [("before the fork".to_owned(), false), ("on the loser".to_owned(), true)];
        assert_eq!(end.said, said, "{followed}");
        bob.takes(&lost);
        let said = carol.member.says(&group, "here again");
        assert_eq!(received(&bob.takes(&said)), ["here again"]);
        // And none of it outlives the window.
        for _ in 0..7 {
            let own = carol.member.engine.self_update(&group).unwrap();
            carol.member.confirms(&own);
            bob.takes(event(&own));
            bob.waits(1_000);
            carol.waits(1_000);
        }
        let watch = testing::watch(&mut carol.member.engine, &group).unwrap();
        assert!(watch.states.iter().all(|s| s.followed) && watch.states.len() == 6);
    }
}
