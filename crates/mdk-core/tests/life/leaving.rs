//! Leaving by SelfRemove, the commit that answers it, and who may not leave.

use mdk_core::{Engine, Error, EventBody, GroupState, NewGroup, Verdict};
use mdk_wire::{ContentId, Event, GroupId};

use crate::kit::disk::Disk;
use crate::kit::foreign::Change;
use crate::kit::foreign_commits::World;
use crate::kit::{Member, event, named, new_group, pair, three};

fn rename(member: &mut Member, group: &GroupId, name: &str) -> mdk_core::Pending {
    let update = named(name);
    member.engine.update_group(group, update).unwrap()
}

// rule: 2.7-2
/// shows: 2.7-4: the lowest remaining leaf answers at once, the next ones only when it is silent.
#[test]
fn leaving_is_answered() {
    let (mut alice, mut bob, mut carol, group) = three();
    let leave = carol.engine.leave(&group).unwrap();
    assert_eq!(carol.info(&group).state, GroupState::Leaving);
    assert!(matches!(
        carol.engine.create_message(&group, mdk_core::NewMessage::default()),
        Err(Error::NotMember(_))
    ));
    assert!(matches!(carol.engine.self_update(&group), Err(Error::NotMember(_))));
    assert!(bob.applies(&leave).reply.is_empty(), "alice goes first");
    bob.clock.advance_millis(499);
    assert!(bob.engine.tick().unwrap().reply.is_empty());
    let [answer] = bob.waits(1).reply.try_into().unwrap();
    assert!(bob.engine.tick().unwrap().reply.is_empty(), "once");
    // An automatic commit does not block: bob may still speak, and his echo confirms it.
    bob.says(&group, "still here");
    alice.applies(&leave);
    let outcome = alice.applies(&answer);
    let left = outcome.events.iter().any(|e| matches!(&e.body, EventBody::MembersChanged { left, .. } if left.contains(&carol.key())));
    assert!(left);
    bob.applies(&answer);
    assert_eq!(bob.info(&group).member_count, 2);
    carol.applies(&answer);
    assert_eq!(carol.info(&group).state, GroupState::Left);
    // Late rank-0 answers of the same leave are rivals, never a second removal.
    assert_eq!(alice.info(&group).epoch, 2);
}

// shows: C2-7
/// Two answer a leave, and each hears the other's answer before a relay has said of its own that it has it. Neither gets its own
/// back: what `confirm` tells is enough to come to one end.
#[test]
fn answers_that_cross_are_rivals_once_they_are_confirmed() {
    let (mut alice, mut bob, mut carol, group) = three();
    let leave = carol.engine.leave(&group).unwrap();
    let [first] = alice.applies(&leave).reply.try_into().unwrap();
    bob.applies(&leave);
    let [second] = bob.waits(500).reply.try_into().unwrap();
    let made = [&mut alice, &mut bob].map(|m| m.engine.pending().unwrap().remove(0).id);
    for (member, others) in [(&mut alice, &second), (&mut bob, &first)] {
        member.applies(others);
        assert!(member.engine.pending().unwrap().is_empty());
    }
    // The clocks stand still, so the choice is made with the call. Of equal commits that of the lower key wins.
    let wins = [alice.key() < bob.key(), bob.key() < alice.key()];
    for (member, made, wins) in [(&mut alice, made[0], wins[0]), (&mut bob, made[1], wins[1])] {
        match member.engine.confirm(made) {
            Ok(info) => assert!(wins && info.epoch == 2),
            Err(error) => assert!(!wins && matches!(error, Error::CommitLost)),
        }
    }
    for (said, member) in [(&first, &mut alice), (&second, &mut bob)] {
        assert_eq!(member.takes(said).verdict, Verdict::Duplicate);
    }
    alice.tells(&group, "together", &mut [&mut bob]);
}

/// rule: 2.7-3: asked again in a new epoch, once.
#[test]
fn leaving_is_renewed() {
    let (mut alice, mut bob, mut carol, group) = three();
    let lost = carol.engine.leave(&group).unwrap();
    assert!(matches!(carol.engine.leave(&group), Err(Error::NotAllowed(_))), "once per epoch");
    let renamed = rename(&mut alice, &group, "other");
    alice.confirms(&renamed);
    bob.applies(event(&renamed));
    let [again] = carol.applies(event(&renamed)).reply.try_into().unwrap();
    assert_ne!(again.id(), lost.id());
    assert!(!matches!(alice.takes(&lost).verdict, Verdict::Applied), "of an epoch that is over");
    let [answer] = alice.applies(&again).reply.try_into().unwrap();
    bob.applies(&again);
    bob.applies(&answer);
    carol.applies(&answer);
    assert_eq!(carol.info(&group).state, GroupState::Left);
}

/// rule: 2.7-1: and who else cannot leave.
#[test]
fn admins_step_down_first() {
    let (mut alice, mut bob, group) = pair();
    assert!(matches!(alice.engine.leave(&group), Err(Error::LastAdmin)));
    assert!(matches!(
        alice.engine.demote(&group, &[alice.engine.public_key()]),
        Err(Error::LastAdmin)
    ));
    alice.promotes(&group, bob.key(), &mut [&mut bob]);
    assert!(matches!(alice.engine.leave(&group), Err(Error::NotAllowed(_))));
    alice.demotes(&group, alice.key(), &mut [&mut bob]);
    let leave = alice.engine.leave(&group).unwrap();
    let [answer] = bob.applies(&leave).reply.try_into().unwrap();
    alice.applies(&answer);
    assert_eq!(alice.info(&group).state, GroupState::Left);
    bob.applies(&answer);
    assert!(
        matches!(bob.engine.leave(&group), Err(Error::NotAllowed(_))),
        "the last member disbands"
    );
    bob.disbands(&group, &mut []);
    assert_eq!(bob.info(&group).state, GroupState::Disbanded);
}

/// shows: 2.7-5: of several proposals of one leaf we commit the lowest digest, and accept whichever is committed.
#[test]
fn several_proposals_of_one_leaf() {
    for we_answer in [true, false] {
        let mut w = World::new();
        let mut made: Vec<Vec<u8>> = [b"one", b"two", b"six"]
            .iter()
            .map(|data| {
                w.max.group.as_mut().unwrap().set_aad(data.to_vec());
                let bytes = w.max.proposes_self_remove();
                w.max.forgets();
                bytes
            })
            .collect();
        let events: Vec<Event> = made.iter().map(|bytes| w.max.seals(bytes)).collect();
        for event in &events {
            w.us.applies(event);
        }
        made.sort_by_key(|bytes| ContentId::of(bytes));
        made.dedup();
        assert_eq!(made.len(), 3);
        if we_answer {
            let [answer] = w.us.waits(10_000).reply.try_into().unwrap();
            // ann knows the lowest only: any other would be missing to her.
            let lowest = w.ann.seals(&made[0]);
            w.ann.follows(&lowest);
            w.ann.follows(&answer);
            w.us.applies(&answer);
        } else {
            let highest = w.ann.seals(&made[2]);
            w.ann.follows(&highest);
            let commit = w.ann.commit_event(Change::by_reference());
            w.us.applies(&commit);
        }
        assert_eq!(w.us.info(&w.id.clone()).member_count, 3);
    }
}

/// A leave, and the answer to it, whose events were lost with their processes are handed out again by the next tick.
// shows: C2-6
#[test]
fn a_leave_and_its_answer_survive_restarts() {
    let (hers, his) = (Disk::new("alice"), Disk::new("carol"));
    let (mut alice, mut bob, mut carol) = (hers.open(), Member::new("bob"), his.open());
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    let leave = carol.engine.leave(&group).unwrap();
    let mut carol = his.again(carol);
    assert_eq!(carol.info(&group).state, GroupState::Leaving);
    let [again] = carol.engine.tick().unwrap().reply.try_into().unwrap();
    assert_eq!(again.to_json(), leave.to_json());

    let [answer] = alice.applies(&leave).reply.try_into().unwrap();
    let mut alice = hers.again(alice);
    // The Welcomes of the founding come again too.
    let mut replies = alice.engine.tick().unwrap().reply;
    replies.retain(|event| event.kind() == mdk_wire::kind::GROUP_MESSAGE);
    let [again] = replies.try_into().unwrap();
    assert_eq!(again.to_json(), answer.to_json());
    assert!(alice.engine.tick().unwrap().reply.is_empty(), "once");
    alice.tells(&group, "still sending", &mut [&mut bob]);
    bob.applies(&leave);
    for member in [&mut alice, &mut bob] {
        member.applies(&again);
        assert_eq!(member.info(&group).member_count, 2);
    }
    carol.applies(&again);
    assert_eq!(carol.info(&group).state, GroupState::Left);
}

/// Who declines an invite leaves, and is gone for the others; nothing is left with him. An admin cannot.
// shows: 2.7-6
#[test]
fn who_declines_asks_to_leave() {
    let (mut alice, mut bob, mut carol) =
        (Member::new("alice"), Member::new("bob"), Member::new("carol"));
    let members = vec![bob.key_package(), carol.key_package()];
    let founding = new_group("g", members);
    let admins = vec![carol.key()];
    let pending = alice.engine.create_group(NewGroup { admins, ..founding }).unwrap();
    let group = alice.confirms(&pending).id;
    for welcome in &pending.welcomes {
        bob.takes(welcome);
        carol.takes(welcome);
    }
    let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
    let leave = bob.engine.decline_and_leave(&invite.id).unwrap().unwrap();
    assert!(bob.engine.groups(None).unwrap().is_empty());
    let [answer] = alice.applies(&leave).reply.try_into().unwrap();
    alice.applies(&answer);
    assert_eq!(alice.info(&group).member_count, 2);
    // His own event and the answer to it mean nothing to him any more.
    let before = bob.digest();
    bob.takes_all(&[leave, answer]);
    assert_eq!(bob.digest(), before);

    let [invite] = carol.engine.invites().unwrap().try_into().unwrap();
    assert_eq!(carol.engine.decline_and_leave(&invite.id).unwrap(), None);
    assert!(carol.engine.groups(None).unwrap().is_empty());
}

/// Who declines after the group has changed follows it until he can leave, also after a restart. Nobody sees anything of that.
// shows: 2.7-6
#[test]
fn who_declines_follows_until_he_has_left() {
    let disk = Disk::new("bob");
    let (mut alice, mut bob) = (Member::new("alice"), disk.open());
    let pending = alice.engine.create_group(new_group("g", vec![bob.key_package()])).unwrap();
    let group = alice.confirms(&pending).id;
    let route = alice.info(&group).nostr_group_id;
    bob.takes(&pending.welcomes[0]);
    let renamed = rename(&mut alice, &group, "h");
    alice.confirms(&renamed);
    let said = alice.says(&group, "hello");
    let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
    assert_eq!(bob.engine.interests().unwrap().len(), 1);
    bob.engine.decline_and_follow(&invite.id).unwrap();
    for again in [Engine::decline, |bob: &mut Engine, invite: &_| bob.decline_and_follow(invite)] {
        assert!(matches!(again(&mut bob.engine, &invite.id), Err(Error::InviteNotFound)));
    }
    assert!(matches!(bob.engine.accept(&invite.id), Err(Error::InviteNotFound)));

    let mut bob = disk.again(bob);
    let listened = bob.engine.interests().unwrap();
    assert!(listened.iter().any(|interest| interest.filter.contains(&route.to_hex())));
    let heard = bob.applies(event(&renamed));
    assert!(heard.events.is_empty());
    assert!(bob.takes(&said).events.is_empty());
    assert!(bob.engine.groups(None).unwrap().is_empty());
    assert!(bob.engine.events(0, 100).unwrap().iter().all(|e| e.group_id.is_none()));
    assert!(bob.engine.search("hello", None, 10).unwrap().is_empty());
    assert!(matches!(bob.engine.messages(&group, 10, None, None), Err(Error::GroupNotFound)));

    assert_eq!(bob.engine.farewells().unwrap(), [(group.clone(), route)]);
    let elsewhere = mdk_wire::NostrGroupId::from_bytes([7; 32]);
    assert!(!bob.engine.farewell_to(&group, &elsewhere).unwrap());
    bob.engine.enable_outbox();
    assert!(bob.engine.farewell_to(&group, &route).unwrap());
    assert!(bob.engine.farewells().unwrap().is_empty());
    let [leave] = bob.engine.outbox(100).unwrap().try_into().unwrap();
    let [answer] =
        alice.applies(&Event::from_json(leave.event.as_bytes()).unwrap()).reply.try_into().unwrap();
    alice.applies(&answer);
    assert_eq!(alice.info(&group).member_count, 1);
    assert!(bob.engine.groups(None).unwrap().is_empty());
}

/// Who was put out meanwhile has nothing to say any more.
// shows: 2.7-6
#[test]
fn who_was_put_out_after_he_declined_is_gone() {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let pending = alice.engine.create_group(new_group("g", vec![bob.key_package()])).unwrap();
    let group = alice.confirms(&pending).id;
    let route = alice.info(&group).nostr_group_id;
    bob.takes(&pending.welcomes[0]);
    let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
    bob.engine.decline_and_follow(&invite.id).unwrap();
    let removal = alice.engine.remove_members(&group, &[bob.key()]).unwrap();
    alice.confirms(&removal);
    bob.applies(event(&removal));
    bob.engine.enable_outbox();
    assert!(bob.engine.groups(None).unwrap().is_empty());
    assert!(bob.engine.farewell_to(&group, &route).unwrap());
    assert!(bob.engine.outbox(100).unwrap().is_empty());
    assert!(bob.engine.farewells().unwrap().is_empty());
}
