//! Who comes back to a group with another branch is what it was when it went: asked and without an answer, about to leave,
//! or in the group.

use mdk_core::{EventBody, GroupState, Outcome, Pending};
use mdk_wire::{Event, GroupId, kind};

use crate::kit::acts::{adds, commits, invited, removes, renames, speak};
use crate::kit::fork::Filed;
use crate::kit::{event, folder};

/// Alice and carol are admins of a group that bob is not in. All are settled. Of two commits carol's wins.
fn two(folder: &std::path::Path) -> ([Filed; 3], GroupId) {
    let mut all = [("alice", 1), ("bob", 2), ("carol", 3)].map(|(n, k)| Filed::new(folder, n, k));
    let [alice, _, carol] = &mut all;
    if alice.member.key() < carol.member.key() {
        std::mem::swap(alice, carol);
    }
    let group = alice.member.founds("before", &mut [&mut carol.member]);
    let promoted = alice.member.engine.promote(&group, &[carol.member.key()]).unwrap();
    let promoted = commits(alice, promoted);
    carol.member.applies(event(&promoted));
    all.iter_mut().for_each(|m| drop(m.waits(10_000)));
    (all, group)
}

/// Bob is added by alice, and has not answered.
fn asks(all: &mut [Filed; 3], group: &GroupId) -> Pending {
    let [alice, bob, carol] = all;
    let added = adds(alice, group, bob);
    assert!(invited(&bob.takes(&added.welcomes[0])));
    carol.member.applies(event(&added));
    all.iter_mut().for_each(|m| drop(m.waits(10_000)));
    added
}

fn disbands(alice: &mut Filed, group: &GroupId) -> Event {
    let pending = alice.member.engine.disband(group).unwrap();
    event(&commits(alice, pending)).clone()
}

/// Carol commits this often, and bob takes it all.
fn beaten(carol: &mut Filed, bob: &mut Filed, group: &GroupId, names: &[&str]) -> Outcome {
    let mut told: Option<Outcome> = None;
    let mut add = |outcome: Outcome| match &mut told {
        None => told = Some(outcome),
        Some(told) => {
            told.events.extend(outcome.events);
            told.reply.extend(outcome.reply);
        }
    };
    for name in names {
        let commit = renames(carol, group, name);
        carol.waits(10_000);
        add(bob.takes(event(&commit)));
    }
    add(bob.waits(10_000));
    add(bob.waits(10_000));
    told.unwrap()
}

fn asks_for(bob: &mut Filed, route: &str) -> bool {
    bob.member.engine.interests().unwrap().iter().any(|i| i.filter.contains(route))
}

// rule: D6-13
/// Bob is invited, and put out before he has answered, by a removal or by the end of the group; a branch that keeps him
/// wins. He is asked again, and nobody took him for one who had accepted.
#[test]
fn who_had_not_answered_is_asked_again() {
    for ends in [false, true] {
        for (before, restart) in [(false, false), (false, true), (true, true)] {
            let case = format!("{ends} {before} {restart}");
            let place = folder();
            let (mut all, group) = two(place.path());
            if before {
                // He was in the group, and has something to remember.
                asks(&mut all, &group);
                let [alice, bob, carol] = &mut all;
                bob.member.joins(&[]);
                speak(bob, alice, &group);
                let removal = removes(alice, &group, bob);
                bob.member.applies(event(&removal));
                carol.member.applies(event(&removal));
                all.iter_mut().for_each(|m| drop(m.waits(10_000)));
            }
            let added = asks(&mut all, &group);
            let [alice, bob, carol] = &mut all;
            let route = carol.member.info(&group).nostr_group_id.to_hex();
            let out = if ends {
                disbands(alice, &group)
            } else {
                event(&removes(alice, &group, bob)).clone()
            };
            bob.takes(&out);
            let over = if ends { GroupState::Disbanded } else { GroupState::Removed };
            assert_eq!(bob.member.info(&group).state, over, "{case}");
            assert!(bob.member.engine.invites().unwrap().is_empty());
            let rival = renames(carol, &group, "c0");
            carol.waits(10_000);
            bob.takes(event(&rival));
            assert!(!asks_for(bob, &route), "an inviter's relays are not dialled: {case}");
            if restart {
                bob.restarts();
            }
            let told = beaten(carol, bob, &group, &["c1", "c2"]);
            assert_eq!(bob.member.info(&group).state, GroupState::Pending, "{case}");
            assert!(invited(&told), "{case}: {:?}", told.events);
            let [invite] = bob.member.engine.invites().unwrap().try_into().unwrap();
            assert_eq!(invite.id, added.welcomes[0].id());
            assert_eq!((invite.group_name.as_str(), invite.inviter), ("c2", alice.member.key()));
            assert!(!asks_for(bob, &route));
            if before {
                bob.member.engine.decline(&invite.id).unwrap();
                assert_eq!(bob.member.info(&group).state, GroupState::Left);
                assert_eq!(bob.member.texts(&group), ["from one", "from the other"]);
            } else {
                assert_eq!(bob.member.engine.accept(&invite.id).unwrap().state, GroupState::Active);
                assert!(asks_for(bob, &route));
                speak(bob, carol, &group);
            }
        }
    }
}

// shows: D6-13
/// Who had accepted is in the group again, whatever put it out.
#[test]
fn who_had_accepted_is_in_the_group_again() {
    for ends in [false, true] {
        let place = folder();
        let (mut all, group) = two(place.path());
        asks(&mut all, &group);
        let [alice, bob, carol] = &mut all;
        bob.member.joins(&[]);
        let out = if ends {
            disbands(alice, &group)
        } else {
            event(&removes(alice, &group, bob)).clone()
        };
        bob.takes(&out);
        bob.restarts();
        let told = beaten(carol, bob, &group, &["c1", "c2", "c3"]);
        assert_eq!(bob.member.info(&group).state, GroupState::Active, "{ends}");
        assert!(!invited(&told));
        speak(bob, carol, &group);
    }
}

/// Bob has accepted, and asks to leave.
fn leaves(place: &std::path::Path) -> ([Filed; 3], GroupId, Event) {
    let (mut all, group) = two(place);
    asks(&mut all, &group);
    let bob = &mut all[1];
    bob.member.joins(&[]);
    let leave = bob.member.engine.leave(&group).unwrap();
    (all, group, leave)
}

// rule: D6-13
/// Bob asks to leave, the end of the group comes before the answer, and loses to commits of carol's: he asks again.
#[test]
fn who_had_asked_to_leave_asks_again() {
    for restart in [false, true] {
        let place = folder();
        let (mut all, group, _) = leaves(place.path());
        let [alice, bob, carol] = &mut all;
        bob.takes(&disbands(alice, &group));
        assert_eq!(bob.member.info(&group).state, GroupState::Disbanded);
        if restart {
            bob.restarts();
        }
        let told = beaten(carol, bob, &group, &["c1", "c2", "c3"]);
        assert_eq!(bob.member.info(&group).state, GroupState::Leaving, "{restart}");
        let mut requests = told.reply.iter().filter(|event| event.kind() == kind::GROUP_MESSAGE);
        let Some(request) = requests.next_back() else { panic!("{restart}: no request") };
        let mut replies = carol.takes(request).reply;
        replies.extend(carol.waits(1_000).reply);
        let [answer] = replies.try_into().unwrap();
        bob.takes(&answer);
        assert_eq!(bob.member.info(&group).state, GroupState::Left);
    }
}

// shows: D6-12
/// As before, and on the winner carol has removed him: he has left, whichever answer is followed.
#[test]
fn who_had_asked_to_leave_has_left_where_it_was_removed() {
    for restart in [false, true] {
        let place = folder();
        let (mut all, group, _) = leaves(place.path());
        let [alice, bob, carol] = &mut all;
        let removal = removes(carol, &group, bob);
        bob.takes(&disbands(alice, &group));
        assert_eq!(bob.member.info(&group).state, GroupState::Disbanded);
        if restart {
            bob.restarts();
        }
        let mut told = bob.takes(event(&removal)).events;
        told.extend(bob.waits(10_000).events);
        assert_eq!(bob.member.info(&group).state, GroupState::Left, "{restart}");
        let left = told.iter().any(|e| matches!(e.body, EventBody::Removed { left: true, .. }));
        assert!(left, "{told:?}");
    }
}
