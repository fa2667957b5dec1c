//! Several invitations to one group: the answer to one takes none of the others with it.

use mdk_core::{Error, GroupState, Verdict};

use crate::kit::acts::{adds, invited, removes, renames};
use crate::kit::fork::{Filed, two_admins_and};
use crate::kit::strangers::{
    accepts, by, declines, former_admin, goes_on, invites, invites_again, is_with, takes_over,
    welcome,
};
use crate::kit::{WAITS, event, folder, received};

// shows: B4-34
/// Bob invites dave twice to his copy, the second one takes the place of the first: that was no membership, so that alice's,
/// which waits or comes after it, may be accepted, and stays when bob's is declined.
#[test]
fn a_second_invitation_to_a_copy_takes_nothing_from_that_of_the_others() {
    for declined in [0, 1, 2] {
        for waits in [true, false] {
            let place = folder();
            let (mut all, group) = former_admin(place.path());
            let mut dave = Filed::new(place.path(), "dave", 7);
            let [alice, bob, _] = all.as_mut_slice() else { panic!() };
            takes_over(bob, alice, &group);
            goes_on(bob, &group);
            let first = adds(bob, &group, &mut dave);
            let added = adds(alice, &group, &mut dave);
            bob.waits(5_000);
            let (_, second) = invites_again(bob, &group, &mut dave);
            dave.waits(10_000);
            assert!(invited(&dave.takes(welcome(&first))));
            if waits {
                assert_eq!(dave.takes(welcome(&added)).verdict, WAITS);
            }
            assert_eq!(dave.takes(welcome(&second)).verdict, WAITS);
            dave.waits(130_000);
            assert_eq!(by(&mut dave, bob).id, welcome(&second).id());
            if !waits {
                assert_eq!(dave.takes(welcome(&added)).verdict, WAITS);
            }
            if declined > 0 {
                declines(&mut dave, bob);
                let asked = invites(&mut dave);
                let makers: Vec<_> = asked.iter().map(|invite| invite.inviter).collect();
                assert_eq!(makers, [alice.member.key()]);
            }
            if declined > 1 {
                declines(&mut dave, alice);
                assert!(dave.member.engine.groups(None).unwrap().is_empty(), "he was never there");
                continue;
            }
            accepts(&mut dave, alice);
            is_with(&mut dave, alice, &group);
        }
    }
}

// shows: B4-35
/// Bob's copy is a few commits beside, where alice is an admin still: her invitation is another branch of it and no question
/// of its own. Dave declines bob's, and is asked by alice.
#[test]
fn who_declines_one_of_two_branches_is_asked_for_the_other() {
    for was_in in [false, true] {
        for (commits, restart) in [(1, false), (2, false), (3, true)] {
            let place = folder();
            let (mut all, group) = former_admin(place.path());
            let mut dave = Filed::new(place.path(), "dave", 7);
            let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
            let who = if was_in { carol } else { &mut dave };
            if was_in {
                let removal = removes(alice, &group, who);
                who.member.applies(event(&removal));
                removes(bob, &group, who);
            }
            (0..commits).for_each(|n| drop(renames(bob, &group, &format!("stray {n}"))));
            let both = [adds(bob, &group, who), adds(alice, &group, who)];
            who.waits(5_000);
            assert!(invited(&who.takes(welcome(&both[0]))));
            who.takes(welcome(&both[1]));
            assert_eq!(invites(who).len(), 1, "one question");
            who.waits(200_000);
            if restart {
                who.restarts();
            }
            // (where her branch wins meanwhile, his invitation speaks for her)
            let asked = invites(who).remove(0);
            assert_eq!(asked.id, welcome(&both[0]).id());
            who.member.engine.decline(&asked.id).unwrap();
            assert_eq!(by(who, alice).id, welcome(&both[1]).id());
            accepts(who, alice);
            assert_eq!(who.takes(welcome(&both[0])).verdict, Verdict::Duplicate);
            is_with(who, alice, &group);
        }
    }
}

// shows: B4-35
/// Dave was invited by bob, put out before he had seen it, and invited by alice a good while later. Her invitation comes first,
/// and something is said and changed there; he accepts bob's, which is over. When that shows, alice's is asked again, and what
/// had been read for it is read.
#[test]
fn an_invitation_that_gave_way_to_one_that_is_over_comes_back() {
    for restart in [false, true] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        let mut dave = Filed::new(place.path(), "dave", 7);
        let [alice, bob, _] = all.as_mut_slice() else { panic!() };
        let mut log = Vec::new();
        let old = adds(bob, &group, &mut dave);
        alice.member.applies(event(&old));
        alice.waits(5_000);
        log.push(removes(alice, &group, &dave));
        log.extend((0..6).map(|n| renames(alice, &group, &format!("later {n}"))));
        let new = adds(alice, &group, &mut dave);
        let after = renames(alice, &group, "with dave");
        let said = alice.member.says(&group, "hello dave");
        dave.waits(10_000);
        assert!(invited(&dave.takes(welcome(&new))));
        assert_eq!(dave.takes(welcome(&old)).verdict, WAITS);
        dave.takes(event(&after));
        assert_eq!(received(&dave.member.applies(&said)), ["hello dave"]);
        let asked: Vec<_> = invites(&mut dave).iter().map(|invite| invite.inviter).collect();
        assert_eq!(
            asked,
            [alice.member.key(), bob.member.key()],
            "in one second; what is followed first"
        );
        accepts(&mut dave, bob);
        if restart {
            dave.restarts();
        }
        log.iter().for_each(|pending| drop(dave.takes(event(pending))));
        dave.waits(2_000);
        assert_eq!(dave.member.info(&group).state, GroupState::Pending);
        let gone = dave.member.engine.accept(&welcome(&old).id());
        assert!(matches!(gone, Err(Error::InviteNotFound)));
        accepts(&mut dave, alice);
        // As who asks relays for the history of a group that stands still.
        dave.takes(event(&after));
        assert_eq!(received(&dave.takes(&said)), ["hello dave"]);
        is_with(&mut dave, alice, &group);
    }
}
