//! A removed member publishes commits that he made before: he is back by their depth. It is told, made again, and with a seal
//! it cannot happen.

use mdk_core::{Error, EventBody};
use mdk_wire::kind;

use super::betrayed::{Betrayed, undone};
use crate::kit::fork::later;
use crate::kit::{chat, event};

// shows: D8-1, D8-2, D8-3, D8-4
#[test]
fn who_comes_back_is_told_of_and_put_out_again() {
    let mut group = Betrayed::new(false);
    let him = group.him();
    group.removed(false);
    assert_eq!(group.members(), [3; 3]);
    let revenge = group.revenge(2);
    for told in group.come(&revenge) {
        assert_eq!(undone(&told, him), [false]);
    }
    assert_eq!(group.members(), [4; 3]);
    assert_eq!(group.contested(), [true; 3]);
    let id = group.group.clone();
    for member in &mut group.honest {
        let said = member.engine.create_message(&id, chat("who is here?"));
        assert!(matches!(said, Err(Error::Contested)));
    }
    // It is known after a restart, and what she has made is handed out again.
    group.made.clear();
    group.honest[0].restarts();
    assert!(group.alice_works() > 0);
    assert_eq!(group.members(), [3; 3]);
    assert_eq!(group.contested(), [false; 3]);
    for member in &mut group.honest {
        member.engine.create_message(&id, chat("we are")).unwrap();
    }
    // Once is enough.
    assert!((0..5).all(|_| group.alice_works() == 0));
}

// shows: D8-2
/// Bob gets a rival and the repeated removal in one pass: he has never seen him back. More of the rivals come in the same
/// moment. That is no race: the removal was settled long ago.
#[test]
fn who_was_out_all_along_is_told_of_when_he_comes_back() {
    let mut group = Betrayed::new(false);
    let him = group.him();
    group.removed(false);
    let mut rivals = group.revenge(6);
    let more = rivals.split_off(2);
    let alice = &mut group.honest[0];
    alice.takes_all(&rivals);
    rivals.extend(alice.waits(6_000).reply);
    assert_eq!(rivals.len(), 3, "she has made it again");
    let bob = &mut group.honest[1];
    bob.takes_all(&rivals);
    let first = bob.waits(6_000).events;
    bob.takes_all(&more);
    let then = bob.waits(6_000).events;
    let told = [first, then].map(|told| {
        let bodies: Vec<EventBody> = told.into_iter().map(|event| event.body).collect();
        undone(&bodies, him)
    });
    assert_eq!(told, [vec![], vec![false]]);
}

// shows: D8-2, D8-4
#[test]
fn a_demoted_admin_who_comes_back_is_demoted_again() {
    let mut group = Betrayed::new(true);
    let (him, id) = (group.him(), group.group.clone());
    let pending = group.honest[0].engine.demote(&id, &[him]).unwrap();
    group.settles(&pending);
    let revenge = group.revenge(2);
    for told in group.come(&revenge) {
        assert_eq!(undone(&told, him), [true]);
    }
    assert_eq!(group.contested(), [true; 3]);
    assert_eq!(group.alice_works(), 1);
    assert_eq!(group.contested(), [false; 3]);
    for member in &mut group.honest {
        assert!(!member.info(&id).admins.contains(&him));
    }
}

// shows: D8-3, D8-7
/// What alice has made by herself meanwhile and no relay has goes nowhere, sealed or not, after a restart as well.
#[test]
fn members_who_are_accepted_stay() {
    for seal in [false, true] {
        let mut group = Betrayed::new(false);
        let id = group.group.clone();
        group.removed(seal);
        let revenge = group.revenge(3);
        group.come(&revenge);
        let pending = group.honest[0].engine.pending().unwrap();
        assert!(pending.iter().all(|commit| commit.automatic) && pending.len() == 1);
        for member in &mut group.honest {
            member.engine.accept_members(&id).unwrap();
            member.engine.create_message(&id, chat("stay")).unwrap();
        }
        assert_eq!(group.contested(), [false; 3]);
        assert!(group.honest[0].engine.pending().unwrap().is_empty());
        group.made.clear();
        group.honest[0].restarts();
        // (it hands out its invites again)
        let made = group.honest[0].waits(2_500).reply;
        assert!(made.iter().all(|event| event.kind() == kind::GIFT_WRAP));
        assert!((0..5).all(|_| group.alice_works() == 0), "alice accepts him, too");
        assert_eq!(group.members(), [4; 3]);
    }
}

/// Two admins do not fight: who is added by a commit that follows the removal may stay.
// shows: D8-1
#[test]
fn who_is_added_again_may_stay() {
    let mut group = Betrayed::new(false);
    let id = group.group.clone();
    group.removed(false);
    let package = group.mallory.key_package();
    let added = group.honest[1].engine.add_members(&id, &[package], false).unwrap();
    group.honest[1].confirms(&added);
    for at in [0, 2] {
        group.honest[at].applies(event(&added));
    }
    later(&mut group.honest, 10_000);
    assert_eq!(group.contested(), [false; 3]);
    assert!((0..5).all(|_| group.alice_works() == 0));
    assert_eq!(group.members(), [4; 3]);
}

/// Alice's own client works on by itself, after a restart as well; nothing that he has made brings him back after that.
// shows: D8-5
#[test]
fn a_sealed_removal_cannot_be_undone() {
    for (admin, demotes) in [(false, false), (true, false), (true, true)] {
        let mut group = Betrayed::new(admin);
        let (him, id) = (group.him(), group.group.clone());
        if demotes {
            let pending = group.honest[0].engine.demote_and_seal(&id, &[him]).unwrap();
            group.settles(&pending);
        } else {
            group.removed(true);
        }
        let mut missing = group.honest[0].info(&id).removals.sealing;
        assert!(missing <= 5);
        for round in 0..20 {
            if round == 2 {
                group.honest[0].restarts();
            }
            group.alice_works();
            let left = group.honest[0].info(&id).removals.sealing;
            assert!(left <= missing);
            missing = left;
        }
        assert_eq!(missing, 0);
        let epoch = group.honest[0].info(&id).epoch;
        assert!((0..5).all(|_| group.alice_works() == 0), "five are enough");
        let before = group.members();
        let revenge = group.revenge(9);
        for told in group.come(&revenge) {
            assert!(undone(&told, him).is_empty());
        }
        assert_eq!(group.members(), before);
        for member in &mut group.honest {
            let info = member.info(&id);
            assert_eq!(info.epoch, epoch);
            assert!(!info.admins.contains(&him) && !info.removals.contested);
        }
    }
}

/// His commits win a race of the moment, as any may: members hear of a withdrawn change, and of nothing more. She who removed
/// him makes it again, or he could win such races without end.
// shows: D8-2, D8-4
#[test]
fn a_race_of_the_moment_is_lost_by_who_removes_alone() {
    let mut group = Betrayed::new(false);
    let (him, id) = (group.him(), group.group.clone());
    let pending = group.honest[0].engine.remove_members(&id, &[him]).unwrap();
    group.honest[0].confirms(&pending);
    for other in &mut group.honest[1..] {
        other.applies(event(&pending));
    }
    let revenge = group.revenge(2);
    for (told, undone_for) in group.come(&revenge).iter().zip([1, 0, 0]) {
        assert_eq!(undone(told, him).len(), undone_for);
        assert!(told.iter().any(|body| matches!(body, EventBody::ChangeWithdrawn { .. })));
    }
    assert_eq!(group.contested(), [true, false, false]);
    assert!(group.alice_works() > 0);
    assert_eq!(group.members(), [3; 3]);
    assert_eq!(group.contested(), [false; 3]);
}
