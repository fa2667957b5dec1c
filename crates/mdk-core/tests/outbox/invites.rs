//! The outbox: invites that no relay takes.

use mdk_core::{Delivery, EventBody, GroupState, OutboxItem, RelayVerdict, SendState};
use mdk_wire::{GroupId, PublicKey};

use super::relays::{ONE, OnDisk, TWO, parse, refused, relays, sending};
use crate::kit::{Member, RELAY};

type Told = (PublicKey, Delivery, Vec<(String, String)>);

/// What was told of invites: how far, and what relays said.
fn told(member: &mut Member) -> Vec<Told> {
    let events = member.engine.events(0, 1_000).unwrap();
    let invites = events.into_iter().filter_map(|event| match event.body {
        EventBody::InviteDeliveryChanged { account, delivery, errors } => {
            Some((account, delivery, errors))
        }
        _ => None,
    });
    invites.collect()
}

fn words(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(relay, words)| ((*relay).to_owned(), (*words).to_owned())).collect()
}

fn invites(alice: &mut Member, bob: &mut Member, to: &[&str]) -> (GroupId, OutboxItem) {
    let group = alice.founds("g", &mut [bob]);
    let [welcome] = alice.outbox().try_into().unwrap();
    alice.engine.set_outbox_relays(welcome.seq, &relays(to)).unwrap();
    (group, alice.welcomes().remove(0))
}

/// breaks: every relay refuses an invite. It stays, over restarts, is told once, and goes out at last. (rule: OB-18)
#[test]
fn a_refused_invite_is_told_and_stays() {
    let mut alice = OnDisk::new("alice");
    let mut bob = Member::new("bob");
    let (group, welcome) = invites(&mut alice.member, &mut bob, &[ONE]);
    assert!(!alice.answers(&welcome, ONE, refused("too large")).finished);
    assert_eq!(alice.engine.outbox_next(0, None).unwrap(), None, "nobody need wait for it");
    for _ in 0..2 {
        alice = alice.restarted();
        alice.engine.tick().unwrap();
        let [again] = alice.outbox().try_into().unwrap();
        assert_eq!(again.event, welcome.event);
        assert_eq!(again.results[0].state, SendState::Refused);
        assert!(again.is_refused_invite() && !again.is_accepted());
        assert!(!alice.answers(&again, ONE, refused("still too large")).finished);
    }
    let queued = (bob.key(), Delivery::Queued, words(&[(ONE, "too large")]));
    assert_eq!(told(&mut alice.member), std::slice::from_ref(&queued));
    assert!(alice.answers(&welcome, ONE, RelayVerdict::Accepted).finished);
    assert_eq!(told(&mut alice.member), [queued, (bob.key(), Delivery::Accepted, vec![])]);
    assert!(alice.outbox().is_empty());
    bob.joins(&[parse(&welcome.event)]);
    assert_eq!(bob.info(&group).state, GroupState::Active);
}

/// shows: OB-18: another relay is another chance, and one that takes it is enough.
#[test]
fn one_relay_that_takes_it_is_enough() {
    let (mut alice, mut bob) = (sending("alice"), Member::new("bob"));
    let (_, welcome) = invites(&mut alice, &mut bob, &[ONE]);
    alice.answers(&welcome, ONE, refused("no"));
    alice.engine.set_outbox_relays(welcome.seq, &relays(&[ONE, TWO])).unwrap();
    assert_eq!(
        alice.engine.outbox_next(0, None).unwrap(),
        Some(welcome.seq),
        "there is hope again"
    );
    assert!(alice.answers(&welcome, TWO, RelayVerdict::Accepted).finished);
    let accepted = (bob.key(), Delivery::Accepted, words(&[(ONE, "no")]));
    assert_eq!(told(&mut alice)[1..], [accepted]);
}

/// shows: OB-18: an invite that goes its way is not worth a word, whoever else refuses it.
#[test]
fn an_invite_that_goes_its_way_is_not_told() {
    let (mut alice, mut bob) = (sending("alice"), Member::new("bob"));
    let (_, welcome) = invites(&mut alice, &mut bob, &[ONE, TWO]);
    alice.answers(&welcome, ONE, refused("no"));
    assert!(alice.answers(&welcome, TWO, RelayVerdict::Accepted).finished);
    assert_eq!(told(&mut alice), []);
}

/// shows: OB-18: it ends with the membership that it is about, or when its time is over.
#[test]
fn a_refused_invite_ends_with_its_membership() {
    let (mut alice, mut bob) = (sending("alice"), Member::new("bob"));
    let (group, welcome) = invites(&mut alice, &mut bob, &[ONE]);
    alice.answers(&welcome, ONE, refused("no"));
    alice.engine.remove_members(&group, &[bob.key()]).unwrap();
    alice.commit_arrives();
    assert!(alice.answers(&welcome, ONE, refused("no")).finished);
    assert!(alice.welcomes().is_empty());

    let (mut alice, mut carol) = (sending("alice"), Member::new("carol"));
    let (_, welcome) = invites(&mut alice, &mut carol, &[ONE]);
    alice.answers(&welcome, ONE, refused("no"));
    alice.clock.advance_millis(31 * 86_400 * 1_000);
    assert!(alice.answers(&welcome, ONE, refused("never")).finished);
    let failed = (carol.key(), Delivery::Failed, words(&[(ONE, "never")]));
    assert_eq!(told(&mut alice).last(), Some(&failed));
    assert!(alice.outbox().is_empty());
}

/// breaks: an invite waits when its group ends. Nobody is invited any more, and that is told. (rule: C5-5)
#[test]
fn an_invite_ends_with_its_group() {
    for answered in [false, true] {
        let mut alice = OnDisk::new("alice");
        let mut bob = Member::new("bob");
        let (group, welcome) = invites(&mut alice.member, &mut bob, &[ONE, TWO]);
        alice.answers(&welcome, ONE, refused("too large"));
        if answered {
            alice.answers(&welcome, TWO, RelayVerdict::Accepted);
        }
        alice.engine.disband(&group).unwrap();
        alice.commit_arrives();
        alice.waits(2_000);
        assert_eq!(alice.info(&group).state, GroupState::Disbanded);
        assert!(alice.welcomes().is_empty());
        let ended = words(&[(ONE, "too large"), (TWO, "the group has ended")]);
        let expected = (!answered).then(|| (bob.key(), Delivery::Failed, ended));
        assert_eq!(told(&mut alice.member).pop(), expected);
        // An answer that comes now changes nothing, and the next process does not find it again.
        alice.answers(&welcome, TWO, RelayVerdict::Accepted);
        alice = alice.restarted();
        alice.engine.tick().unwrap();
        assert!(alice.welcomes().is_empty());
        assert_eq!(told(&mut alice.member).pop(), expected);
    }
}

/// Alice's commit that adds carol loses to two of bob's, and then wins with two that dave makes on it.
fn loses_and_wins(sent: bool) -> (Member, GroupId, OutboxItem) {
    let (mut alice, mut bob, mut dave) =
        (sending("alice"), Member::new("bob"), Member::new("dave"));
    let mut carol = Member::new("carol");
    let group = alice.founds("g", &mut [&mut bob, &mut dave]);
    alice.publishes();
    let added = alice.engine.add_members(&group, &[carol.key_package()], false).unwrap();
    alice.commit_arrives();
    let [welcome] = alice.welcomes().try_into().unwrap();
    alice.engine.set_outbox_relays(welcome.seq, &relays(&[ONE, TWO])).unwrap();
    if sent {
        alice.answers(&welcome, ONE, RelayVerdict::Accepted);
    }
    dave.applies(added.event.as_ref().unwrap());
    for (n, member) in [&mut bob, &mut dave].into_iter().enumerate() {
        member.goes_ahead_of(&mut alice, &group);
        alice.engine.settle().unwrap();
        let count = [3, 4][n];
        assert_eq!(alice.info(&group).member_count, count);
        if n == 0 {
            assert!(alice.outbox().is_empty(), "it is not true");
        }
    }
    (alice, group, welcome)
}

/// shows: C2-8: the Welcome of a commit that lost and wins again is put in again, with the same bytes, if no relay has it.
#[test]
fn an_invite_of_a_commit_that_wins_again_is_put_in_again() {
    let (mut alice, _, before) = loses_and_wins(false);
    let [again] = alice.welcomes().try_into().unwrap();
    assert_eq!((&again.event, again.purpose), (&before.event, before.purpose));
    assert!(again.seq > before.seq && again.relays.is_empty());

    let (mut alice, _, _) = loses_and_wins(true);
    assert!(alice.outbox().is_empty());
    assert!(alice.engine.tick().unwrap().reply.is_empty());
}

/// breaks: every relay refuses an invite after its recipient was removed, and the removal loses. (rule: C2-8)
#[test]
fn a_refused_invite_is_there_when_the_removal_loses() {
    let (mut alice, mut bob) = (sending("alice"), Member::new("bob"));
    let mut carol = Member::new("carol");
    let group = alice.founds("g", &mut [&mut bob]);
    alice.publishes();
    let promoted = alice.engine.promote(&group, &[bob.key()]).unwrap();
    alice.publishes();
    bob.applies(promoted.event.as_ref().unwrap());
    let added = alice.engine.add_members(&group, &[carol.key_package()], false).unwrap();
    alice.commit_arrives();
    bob.applies(added.event.as_ref().unwrap());
    let [welcome] = alice.welcomes().try_into().unwrap();
    alice.engine.set_outbox_relays(welcome.seq, &relays(&[ONE])).unwrap();
    alice.engine.remove_members(&group, &[carol.key()]).unwrap();
    let removal = alice.commit_item();
    alice.answers(&removal, RELAY, RelayVerdict::Accepted);
    assert!(alice.answers(&welcome, ONE, refused("no")).finished);
    assert!(alice.outbox().is_empty());
    bob.goes_ahead_of(&mut alice, &group);
    alice.engine.settle().unwrap();
    assert_eq!(alice.info(&group).member_count, 3, "the removal has lost");
    let [again] = alice.welcomes().try_into().unwrap();
    assert_eq!(again.event, welcome.event);
}
