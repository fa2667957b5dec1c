//! Who was put out, and whoever else knows the id of a group, can invite to a copy of their own: that must not keep anybody
//! from being invited to the group that the others are in.

use mdk_core::{EventBody, GroupState, Verdict};

use crate::kit::acts::{adds, invited, removes};
use crate::kit::fork::{Filed, two_admins_and};
use crate::kit::strangers::{
    accepts, by, declines, former_admin, goes_on, invites, invites_again, is_with, takes_over,
    welcome,
};
use crate::kit::{WAITS, event, folder};

// shows: B4-31
/// Carol is out, and declines what bob invites her to: she is what she was, and can be invited.
#[test]
fn declining_a_strangers_invitation_leaves_the_way_back_open() {
    for later in [0, 5] {
        let place = folder();
        let (mut all, group) = former_admin(place.path());
        let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
        goes_on(bob, &group);
        let (_, stray) = invites_again(bob, &group, carol);
        let removal = removes(alice, &group, carol);
        carol.member.applies(event(&removal));
        let before = carol.member.info(&group);
        // (made before what bob has made)
        let added = adds(alice, &group, carol);
        carol.waits(later * 1_000);
        assert!(invited(&carol.takes(welcome(&stray))));
        declines(carol, bob);
        let after = carol.member.info(&group);
        assert_eq!(after.state, GroupState::Left);
        assert_eq!(
            (after.epoch, after.name, after.admins),
            (before.epoch, before.name, before.admins)
        );
        assert!(invited(&carol.takes(welcome(&added))));
        accepts(carol, alice);
        is_with(carol, alice, &group);
    }
}

// shows: B4-32
/// Carol has not answered bob's invitation when alice's comes, or the other way round: she is asked both, and answers
/// either first.
#[test]
fn two_invitations_of_people_who_do_not_know_each_other_are_both_asked() {
    for was_in in [true, false] {
        for first in [0, 1] {
            for (yes, restart, far) in [
                (true, false, true),
                (true, true, true),
                (false, false, true),
                (true, false, false),
            ] {
                let case = format!("was in: {was_in}, first {first}, yes: {yes}, far: {far}");
                let place = folder();
                let (mut all, group) = former_admin(place.path());
                let mut dave = Filed::new(place.path(), "dave", 7);
                let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
                if far {
                    goes_on(bob, &group);
                } else {
                    takes_over(bob, alice, &group);
                }
                let invitee = if was_in { carol } else { &mut dave };
                if was_in {
                    let removal = removes(alice, &group, invitee);
                    invitee.member.applies(event(&removal));
                    removes(bob, &group, invitee);
                }
                let both = [adds(bob, &group, invitee), adds(alice, &group, invitee)];
                invitee.waits(1_000);
                assert!(invited(&invitee.takes(welcome(&both[first]))), "{case}");
                let second = invitee.takes(welcome(&both[1 - first]));
                assert_eq!(second.verdict, WAITS, "{case}");
                let told: Vec<_> = second
                    .events
                    .iter()
                    .filter_map(|e| match &e.body {
                        EventBody::Invited { invite } => Some(invite.inviter),
                        _ => None,
                    })
                    .collect();
                assert_eq!(told, [[&*alice, &*bob][first].member.key()], "{case}");
                if restart {
                    invitee.restarts();
                }
                assert_eq!(invites(invitee).len(), 2, "{case}");
                let logged = invitee.member.engine.events(0, 1_000).unwrap();
                let logged = logged.iter().filter(|e| matches!(e.body, EventBody::Invited { .. }));
                assert_eq!(logged.count(), 2, "{case}");
                assert_eq!(by(invitee, alice).group_id, group, "{case}");
                if !yes {
                    declines(invitee, bob);
                }
                accepts(invitee, alice);
                assert!(invites(invitee).is_empty(), "{case}");
                is_with(invitee, alice, &group);
            }
        }
    }
}

// shows: B4-32
/// Carol has accepted what bob invited her to. Alice, whom she knew as an admin before, asks her all the same; and who never
/// knew alice is asked once it wants to go. What was accepted stays until she says otherwise.
#[test]
fn who_accepted_a_strangers_invitation_is_still_asked_by_the_others() {
    for was_in in [true, false] {
        let place = folder();
        let (mut all, group) = former_admin(place.path());
        let mut dave = Filed::new(place.path(), "dave", 7);
        let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
        goes_on(bob, &group);
        let invitee = if was_in { carol } else { &mut dave };
        if was_in {
            let removal = removes(alice, &group, invitee);
            invitee.member.applies(event(&removal));
            removes(bob, &group, invitee);
        }
        let stray = adds(bob, &group, invitee);
        invitee.waits(1_000);
        alice.waits(5_000);
        invitee.takes(welcome(&stray));
        accepts(invitee, bob);
        let added = adds(alice, &group, invitee);
        let verdict = invitee.takes(welcome(&added)).verdict;
        if was_in {
            assert_eq!(verdict, WAITS);
        } else {
            assert!(matches!(verdict, Verdict::Rejected(_)), "{verdict:?}");
            invitee.member.engine.leave(&group).unwrap();
            assert_eq!(invitee.takes(welcome(&added)).verdict, WAITS);
        }
        invitee.waits(600_000);
        let expected = if was_in { GroupState::Active } else { GroupState::Leaving };
        assert_eq!(invitee.member.info(&group).state, expected);
        accepts(invitee, alice);
        is_with(invitee, alice, &group);
    }
}

// shows: B4-20
/// Bob puts carol out again, whom he had invited: what alice makes after that is no invitation from before.
#[test]
fn what_was_made_after_a_membership_far_ahead_is_not_from_before_it() {
    let place = folder();
    let (mut all, group) = former_admin(place.path());
    let mut dave = Filed::new(place.path(), "dave", 7);
    let [alice, bob, _] = all.as_mut_slice() else { panic!() };
    goes_on(bob, &group);
    let stray = adds(bob, &group, &mut dave);
    dave.member.joins(&stray.welcomes);
    alice.waits(5_000);
    let added = adds(alice, &group, &mut dave);
    let removal = removes(bob, &group, &dave);
    dave.member.applies(event(&removal));
    assert!(invited(&dave.takes(welcome(&added))));
    accepts(&mut dave, alice);
    is_with(&mut dave, alice, &group);
}

// shows: B4-34
/// Bob ends his copy, or puts the invitee out of it, before she has answered: alice's invitation, which waits or is yet to
/// come, is asked all the same.
#[test]
fn a_copy_that_ends_before_the_answer_takes_no_other_invitation_with_it() {
    for was_in in [false, true] {
        for disbands in [false, true] {
            for waits in [false, true] {
                let place = folder();
                let (mut all, group) = former_admin(place.path());
                let mut dave = Filed::new(place.path(), "dave", 9);
                let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
                takes_over(bob, alice, &group);
                goes_on(bob, &group);
                let who = if was_in { carol } else { &mut dave };
                let stray = match was_in {
                    true => {
                        let removal = removes(alice, &group, who);
                        who.member.applies(event(&removal));
                        invites_again(bob, &group, who).1
                    }
                    false => adds(bob, &group, who),
                };
                let added = adds(alice, &group, who);
                who.waits(3_000);
                assert!(invited(&who.takes(welcome(&stray))));
                if waits {
                    assert_eq!(who.takes(welcome(&added)).verdict, WAITS);
                }
                let end = match disbands {
                    true => {
                        let end = bob.member.engine.disband(&group).unwrap();
                        bob.member.confirms(&end);
                        end
                    }
                    false => removes(bob, &group, who),
                };
                who.takes(event(&end));
                who.waits(100_000);
                if !waits {
                    who.takes(welcome(&added));
                }
                who.waits(1_000);
                let asked = invites(who);
                let makers: Vec<_> = asked.iter().map(|invite| invite.inviter).collect();
                assert_eq!(makers, [alice.member.key()], "{was_in} {disbands} {waits}");
                accepts(who, alice);
                is_with(who, alice, &group);
            }
        }
    }
}

// rule: A4-9
/// Both invitations are for one KeyPackage, which has a successor since the first one came; the user answers in the evening.
#[test]
fn the_key_package_of_a_waiting_welcome_stays() {
    let place = folder();
    let (mut all, group) = former_admin(place.path());
    let mut dave = Filed::new(place.path(), "dave", 9);
    let [alice, bob, _] = all.as_mut_slice() else { panic!() };
    goes_on(bob, &group);
    let package = dave.member.key_package();
    let add = |member: &mut Filed| {
        let added = member
            .member
            .engine
            .add_members(&group, std::slice::from_ref(&package), false)
            .unwrap();
        member.member.confirms(&added);
        added
    };
    let (stray, added) = (add(bob), add(alice));
    assert!(invited(&dave.takes(welcome(&stray))));
    assert_eq!(dave.takes(welcome(&added)).verdict, WAITS);
    dave.member.key_package();
    dave.waits(10 * 3_600_000);
    accepts(&mut dave, alice);
    is_with(&mut dave, alice, &group);
}

// rule: B4-33
/// Bob's Welcomes wait as well as any, but for a place that they leave to those of admins; and when he was one as they
/// came, they make room.
#[test]
fn welcomes_of_a_former_admin_do_not_hold_all_places() {
    for known in [false, true] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
        let out = removes(alice, &group, bob);
        goes_on(bob, &group);
        if !known {
            carol.member.applies(event(&out));
        }
        for n in 0..6 {
            let (_, stray) = invites_again(bob, &group, carol);
            assert_eq!(carol.takes(welcome(&stray)).verdict, WAITS, "{n}, known: {known}");
        }
        if known {
            carol.member.applies(event(&out));
        }
        let (removal, added) = invites_again(alice, &group, carol);
        assert_eq!(carol.takes(welcome(&added)).verdict, WAITS, "known: {known}");
        assert_eq!(carol.member.info(&group).state, GroupState::Active);
        carol.restarts();
        carol.takes(event(&removal));
        accepts(carol, alice);
        is_with(carol, alice, &group);
    }
}

// rule: B4-33
/// While bob's invitation is not answered, whom he calls an admin is none to carol: his further ones leave a place for
/// alice's.
#[test]
fn further_welcomes_of_who_has_invited_do_not_hold_all_places() {
    let place = folder();
    let (mut all, group) = former_admin(place.path());
    let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
    goes_on(bob, &group);
    let removal = removes(alice, &group, carol);
    carol.member.applies(event(&removal));
    for n in 0..6 {
        let (_, stray) = invites_again(bob, &group, carol);
        let expected = if n == 0 { Verdict::Applied } else { WAITS };
        assert_eq!(carol.takes(welcome(&stray)).verdict, expected, "{n}");
    }
    assert_eq!(invites(carol).len(), 1, "of one maker one is asked");
    let added = adds(alice, &group, carol);
    assert_eq!(carol.takes(welcome(&added)).verdict, WAITS);
    accepts(carol, alice);
    assert!(invites(carol).is_empty());
    is_with(carol, alice, &group);
}
