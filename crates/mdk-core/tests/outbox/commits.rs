//! The outbox: commits of ours, what becomes true when a relay has one, and the Welcomes behind it.

use mdk_core::{
    CommitEnd, CommitState, Error, GroupState, NewGroup, OutboxPurpose, Pending, RelayVerdict,
    SendState, Verdict,
};
use mdk_wire::GroupId;

use super::relays::{ONE, OnDisk, TWO, ended, later, pair, parse, refused, relays, sending};
use crate::kit::{Member, RELAY, event};

fn three() -> (Member, Member, Member, GroupId) {
    let (mut alice, mut bob, mut carol) = (sending("alice"), sending("bob"), sending("carol"));
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    for member in [&mut alice, &mut bob, &mut carol] {
        member.publishes();
    }
    (alice, bob, carol, group)
}

fn adds(alice: &mut Member, group: &GroupId, whom: &mut Member) -> Pending {
    let package = whom.key_package();
    alice.engine.add_members(group, &[package], false).unwrap()
}

fn state(member: &mut Member, pending: &Pending) -> CommitState {
    member.engine.commit_state(pending.id).unwrap()
}

/// shows: OB-4, OB-6: the first relay that has the commit makes it true, and only then its Welcomes are there.
#[test]
fn a_commit_is_confirmed_by_the_first_relay() {
    let (mut alice, mut bob, group) = pair();
    let mut carol = Member::new("carol");
    let pending = adds(&mut alice, &group, &mut carol);
    let item = alice.commit_item();
    assert_eq!((&item.event, &item.relays), (&event(&pending).to_json(), &relays(&[ONE, TWO])));
    assert_eq!(item.purpose, OutboxPurpose::Commit { pending: pending.id });
    assert!(alice.welcomes().is_empty());
    assert_eq!(state(&mut alice, &pending), CommitState::Waiting);

    assert_eq!(alice.answers(&item, ONE, refused("no")).commit, None);
    assert_eq!(alice.info(&group).member_count, 2);
    assert_eq!(
        ended(alice.answers(&item, TWO, RelayVerdict::Accepted)),
        (true, Some(CommitEnd::Confirmed))
    );
    assert_eq!(state(&mut alice, &pending), CommitState::Confirmed);
    assert_eq!(alice.info(&group).member_count, 3);

    let [welcome] = alice.welcomes().try_into().unwrap();
    assert_eq!(welcome.purpose, OutboxPurpose::Welcome { recipient: carol.key() });
    assert_eq!((&welcome.event, welcome.relays.len()), (&pending.welcomes[0].to_json(), 0));
    assert_eq!(welcome.group, Some(group.clone()));
    bob.applies(event(&pending));
    carol.joins(&[parse(&welcome.event)]);
    assert_eq!(carol.info(&group).member_count, 3);
}

/// A disband that is final before every relay has it was confirmed, and stays so for whoever asks late.
#[test]
fn a_disband_that_is_final_before_every_relay_has_it() {
    let (mut alice, _, group) = pair();
    let pending = alice.engine.disband(&group).unwrap();
    let item = alice.commit_item();
    let ended = alice.answers(&item, ONE, RelayVerdict::Accepted);
    assert_eq!((ended.finished, ended.commit), (false, Some(CommitEnd::Confirmed)));
    alice.engine.settle().unwrap();
    assert_eq!(alice.info(&group).state, GroupState::Disbanded);
    assert_eq!(state(&mut alice, &pending), CommitState::Confirmed);
    alice.answers(&item, TWO, refused("late"));
    assert_eq!(state(&mut alice, &pending), CommitState::Confirmed);
}

/// breaks: every relay refuses: it is discarded, and its Welcomes never leave. (rule: OB-7)
#[test]
fn a_commit_that_all_refuse_is_discarded() {
    let (mut alice, mut bob, group) = pair();
    let mut carol = Member::new("carol");
    let pending = adds(&mut alice, &group, &mut carol);
    let item = alice.commit_item();
    assert!(!alice.answers(&item, ONE, refused("a")).finished);
    assert_eq!(ended(alice.answers(&item, TWO, refused("b"))), (true, Some(CommitEnd::Discarded)));
    let reasons = vec![(ONE.to_owned(), "a".to_owned()), (TWO.to_owned(), "b".to_owned())];
    assert_eq!(state(&mut alice, &pending), CommitState::Refused { reasons });
    assert!(alice.outbox().is_empty() && alice.engine.pending().unwrap().is_empty());
    assert!(matches!(alice.engine.confirm(pending.id), Err(Error::CommitLost)));
    assert!(alice.outbox().is_empty(), "no Welcome");
    assert_eq!(alice.info(&group).member_count, 2);
    // Too late.
    assert_eq!(ended(alice.answers(&item, ONE, RelayVerdict::Accepted)), (true, None));
    // The group goes on.
    alice.tells(&group, "on", &mut [&mut bob]);
    let again = adds(&mut alice, &group, &mut carol);
    alice.publishes();
    assert_eq!(state(&mut alice, &again), CommitState::Confirmed);
}

/// shows: OB-9: discarding by hand takes the row out; so does another commit that wins.
#[test]
fn a_discarded_commit_is_not_published() {
    let (mut alice, _, group) = pair();
    let pending = alice.engine.self_update(&group).unwrap();
    let item = alice.commit_item();
    alice.engine.discard(pending.id).unwrap();
    assert!(alice.outbox().is_empty());
    assert_eq!(state(&mut alice, &pending), CommitState::Lost);
    assert!(alice.answers(&item, ONE, RelayVerdict::Accepted).finished);
    assert_eq!(alice.engine.commit_state(9_999).unwrap(), CommitState::Lost);
}

/// Confirmed by hand before a relay has answered: the row stays until all have, and nothing is confirmed twice.
#[test]
fn confirming_by_hand_does_no_harm() {
    let (mut alice, _, group) = pair();
    let mut carol = Member::new("carol");
    let pending = adds(&mut alice, &group, &mut carol);
    let item = alice.commit_item();
    alice.engine.confirm(pending.id).unwrap();
    assert_eq!(alice.welcomes().len(), 1);
    assert_eq!(
        ended(alice.answers(&item, ONE, RelayVerdict::Accepted)),
        (false, Some(CommitEnd::Confirmed))
    );
    assert!(alice.answers(&item, TWO, refused("no")).finished);
    assert_eq!(state(&mut alice, &pending), CommitState::Confirmed);
    assert_eq!(alice.info(&group).member_count, 3);
}

/// breaks: a relay gives the commit back, then all say that they refuse it: one has it. (rule: OB-10)
#[test]
fn a_commit_that_came_back_is_confirmed() {
    let (mut alice, mut bob, group) = pair();
    let pending = alice.engine.self_update(&group).unwrap();
    let item = alice.commit_item();
    assert_eq!(alice.takes(event(&pending)).verdict, Verdict::Duplicate);
    alice.answers(&item, ONE, refused("a"));
    assert_eq!(ended(alice.answers(&item, TWO, refused("b"))), (true, Some(CommitEnd::Confirmed)));
    assert_eq!(state(&mut alice, &pending), CommitState::Confirmed);
    bob.applies(event(&pending));
    assert_eq!(bob.info(&group).epoch, alice.info(&group).epoch);
}

/// shows: OB-1, OB-2, OB-4: the process ends after every step of an invite; each thing is there once.
#[test]
fn an_invite_outlives_every_step() {
    let mut alice = OnDisk::new("alice");
    let (mut bob, mut carol) = (Member::new("bob"), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob]);
    assert_eq!(alice.welcomes().len(), 1, "founding is confirmed by hand");
    alice.publishes();
    let pending = adds(&mut alice.member, &group, &mut carol);

    let mut alice = alice.restarted();
    alice.engine.tick().unwrap();
    let item = alice.commit_item();
    assert_eq!((&item.event, alice.outbox().len()), (&event(&pending).to_json(), 1));
    alice.answers(&item, RELAY, later(1));

    let mut alice = alice.restarted();
    alice.answers(&item, RELAY, RelayVerdict::Accepted);
    let mut alice = alice.restarted();
    alice.engine.tick().unwrap();
    let [welcome] = alice.outbox().try_into().unwrap();
    assert_eq!(welcome.event, pending.welcomes[0].to_json());
    alice.engine.set_outbox_relays(welcome.seq, &relays(&[ONE, TWO])).unwrap();
    alice.answers(&welcome, ONE, RelayVerdict::Accepted);

    let mut alice = alice.restarted();
    assert!(alice.engine.tick().unwrap().reply.is_empty(), "a relay has it");
    let [welcome] = alice.outbox().try_into().unwrap();
    assert_eq!(welcome.results[0].state, SendState::Accepted);
    assert!(alice.answers(&welcome, TWO, refused("no")).finished);

    let mut alice = alice.restarted();
    assert!(alice.engine.tick().unwrap().reply.is_empty());
    assert!(alice.outbox().is_empty());
    carol.joins(&[parse(&welcome.event)]);
    assert_eq!(carol.info(&group).state, GroupState::Active);
}

/// shows: OB-4: nothing of a founding is there before it is confirmed, or after it is discarded.
#[test]
fn founding_has_no_commit_to_publish() {
    let (mut alice, mut bob) = (sending("alice"), Member::new("bob"));
    let found = |alice: &mut Member, bob: &mut Member| {
        let members = vec![bob.key_package()];
        let (name, relays) = ("g".to_owned(), relays(&[RELAY]));
        let new = NewGroup { name, relays, members, ..NewGroup::default() };
        alice.engine.create_group(new).unwrap()
    };
    let given_up = found(&mut alice, &mut bob);
    assert!(alice.outbox().is_empty());
    assert_eq!(state(&mut alice, &given_up), CommitState::Waiting);
    alice.engine.discard(given_up.id).unwrap();
    assert!(alice.outbox().is_empty());
    assert_eq!(state(&mut alice, &given_up), CommitState::Lost);
    let meant = found(&mut alice, &mut bob);
    alice.engine.confirm(meant.id).unwrap();
    assert_eq!(alice.welcomes().len(), 1);
}

/// shows: OB-1: a leave, and the commit that answers it; neither blocks.
#[test]
fn a_leave_and_its_answer() {
    let (mut alice, mut bob, mut carol, group) = three();
    let leave = carol.engine.leave(&group).unwrap();
    let [item] = carol.outbox().try_into().unwrap();
    assert_eq!((item.purpose, &item.event), (OutboxPurpose::Proposal, &leave.to_json()));
    carol.answers(&item, RELAY, RelayVerdict::Accepted);

    let reply = alice.applies(&leave).reply;
    let answer = alice.commit_item();
    assert_eq!((reply.len(), reply[0].to_json()), (1, answer.event.clone()));
    alice.tells(&group, "while it is out", &mut [&mut bob]);
    let change = alice.answers(&answer, RELAY, RelayVerdict::Accepted);
    assert_eq!(change.commit, Some(CommitEnd::Confirmed));
    assert_eq!(alice.info(&group).member_count, 2);
    carol.applies(&parse(&answer.event));
    assert_eq!(carol.info(&group).state, GroupState::Left);
    assert!(carol.outbox().is_empty());
}

/// shows: OB-9: a commit of somebody else that wins takes an automatic one out; it does not become true later.
#[test]
fn an_automatic_commit_that_is_overtaken_is_not_published() {
    let (mut alice, mut bob, mut carol, group) = three();
    let leave = carol.engine.leave(&group).unwrap();
    alice.applies(&leave);
    let answer = alice.commit_item();
    alice.answers(&answer, RELAY, later(1));
    let update = bob.updates(&group, &mut [&mut alice]);
    assert!(alice.item(|p| matches!(p, OutboxPurpose::Commit { .. })).is_none());
    assert!(alice.answers(&answer, RELAY, RelayVerdict::Accepted).commit.is_none());
    // Carol asks again in the new epoch; only that request is of use.
    let first = carol.outbox().remove(0);
    carol.applies(event(&update));
    let [again] = carol.outbox().try_into().unwrap();
    assert_ne!(again.event_id, first.event_id);
}

/// breaks: relays that refuse the answer to a leave do not make a flood of answers. (rule: OB-11)
#[test]
fn a_refused_answer_waits() {
    let (mut alice, _, mut carol, group) = three();
    let leave = carol.engine.leave(&group).unwrap();
    alice.applies(&leave);
    let answer = alice.commit_item();
    let change = alice.answers(&answer, RELAY, refused("blocked"));
    assert_eq!(change.commit, Some(CommitEnd::Discarded));
    for _ in 0..9 {
        alice.clock.advance_millis(60_000);
        assert!(alice.engine.tick().unwrap().reply.is_empty());
    }
    assert!(alice.outbox().is_empty());
    // A commit of the user's is not in its way.
    let pending = alice.engine.self_update(&group).unwrap();
    alice.engine.discard(pending.id).unwrap();
    alice.clock.advance_millis(60_001);
    assert_eq!(alice.engine.tick().unwrap().reply.len(), 1);
    assert_eq!(alice.outbox().len(), 1);
}

/// shows: OB-2: what an earlier process without the outbox left is put in by the first tick, once.
#[test]
fn the_first_tick_takes_over_what_was_left() {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    alice.says(&group, "published by the caller");
    let pending = alice.engine.self_update(&group).unwrap();
    alice.engine.enable_outbox();
    let reply = alice.engine.tick().unwrap().reply;
    let [commit, welcome] = alice.outbox().try_into().unwrap();
    assert_eq!((reply.len(), &welcome.event), (1, &reply[0].to_json()));
    assert_eq!(commit.purpose, OutboxPurpose::Commit { pending: pending.id });
    alice.engine.tick().unwrap();
    assert_eq!(alice.outbox().len(), 2);
    alice.publishes();
    assert_eq!(state(&mut alice, &pending), CommitState::Confirmed);
}

/// shows: OB-2: a KeyPackage is published once, counts as published then, and asks again when all have refused.
#[test]
fn key_packages_are_published() {
    let mut alice = sending("alice");
    let first = alice.engine.new_key_package(&relays(&[ONE]), None).unwrap();
    let item = alice.outbox().remove(0);
    assert_eq!((item.purpose, &item.event), (OutboxPurpose::KeyPackage, &first.to_json()));
    alice.answers(&item, ONE, RelayVerdict::Accepted);
    assert!(alice.outbox().is_empty());
    let second = alice.engine.new_key_package(&relays(&[TWO]), None).unwrap();
    let [item] = alice.outbox().try_into().unwrap();
    assert_eq!(item.relays, relays(&[TWO]));
    let packages = alice.engine.key_packages().unwrap();
    let own = packages.iter().find(|p| p.event_id == second.id()).unwrap();
    alice.engine.delete_key_package(&own.reference).unwrap();
    assert!(alice.outbox().is_empty(), "nobody is to use it");
}

/// It may have waited for a relay, and the clock of who made it may be another one: what counts is when it became true here.
// shows: OB-20
#[test]
fn an_epoch_is_as_old_as_it_is_here() {
    let (mut alice, mut bob, group) = pair();
    let pending = alice.engine.update_group(&group, crate::kit::named("late")).unwrap();
    alice.clock.advance_millis(90_000);
    bob.clock.advance_millis(3_600_000);
    alice.publishes();
    bob.applies(event(&pending));
    alice.clock.advance_millis(500);
    alice.says(&group, "at once");
    let now = mdk_core::Clock::now_millis(&alice.clock);
    let [item] = alice.engine.outbox(10).unwrap().try_into().unwrap();
    assert_eq!(item.epoch_since, now - 500);
}
