//! The publish lifecycle and deferral: commits that wait for a relay, events that wait for a state, leaving, ending.

use mdk_core::{
    Clock as _, Config, DeferredReason as Wait, Error, EventBody, GroupState, GroupUpdate, Verdict,
};
use mdk_wire::Event;

use crate::kit::disk::Disk;
use crate::kit::{
    CLOSED, Member, REFUSED, RELAY, RIVAL, event, kept_for, named, new_group, pair, received,
    relayed_by, three,
};

/// shows: C2-4: while a commit is being published all inbound waits, and is drained by confirm and by discard.
#[test]
fn inbound_waits_while_publishing() {
    for confirms in [true, false] {
        let (mut alice, mut bob, group) = pair();
        let pending = alice.engine.self_update(&group).unwrap();
        let said = bob.says(&group, "meanwhile");
        assert_eq!(alice.takes(&said).verdict, Verdict::Deferred(Wait::PublishInProgress));
        assert!(alice.texts(&group).is_empty());
        if confirms {
            alice.confirms(&pending);
        } else {
            alice.engine.discard(pending.id).unwrap();
        }
        assert_eq!(alice.texts(&group), ["meanwhile"]);
        assert_eq!(
            received(&alice.engine.tick().unwrap()),
            ["meanwhile"],
            "reported by the next call"
        );
        assert_eq!(alice.takes(&said).verdict, Verdict::Duplicate);
        assert_eq!(alice.info(&group).epoch, if confirms { 2 } else { 1 });
    }
}

/// rule: C2-5, C3-1: a commit is resolved once, and nothing is said before that.
#[test]
fn a_commit_is_resolved_once() {
    let (mut alice, _, group) = pair();
    let first = alice.engine.self_update(&group).unwrap();
    assert!(matches!(alice.engine.self_update(&group), Err(Error::CommitPending)));
    let early = alice.engine.create_message(&group, mdk_core::NewMessage::default());
    assert!(matches!(early, Err(Error::CommitPending)));
    let confirmed = alice.confirms(&first);
    let before = alice.digest();
    assert_eq!(alice.confirms(&first), confirmed, "who asks again gets the same");
    assert!(matches!(alice.engine.discard(first.id), Err(Error::NotAllowed(_))));
    assert!(matches!(alice.engine.confirm(9999), Err(Error::CommitLost)));
    assert!(alice.digest() == before);
    let second = alice.engine.self_update(&group).unwrap();
    alice.engine.discard(second.id).unwrap();
    assert!(matches!(alice.engine.confirm(second.id), Err(Error::CommitLost)));
    assert!(matches!(alice.engine.discard(second.id), Err(Error::CommitLost)));
    assert!(alice.engine.pending().unwrap().is_empty());
}

/// rule: C2-5: a founding too is resolved once, and confirming it again gives the group.
#[test]
fn a_founding_is_resolved_once() {
    let mut alice = Member::new("alice");
    let new = || new_group("", vec![]);
    let founding = alice.engine.create_group(new()).unwrap();
    let founded = alice.confirms(&founding);
    assert_eq!(alice.confirms(&founding), founded);
    assert!(matches!(alice.engine.discard(founding.id), Err(Error::NotAllowed(_))));
    // What is not confirmed is not there, and leaves no trace.
    let (before, groups) = (alice.digest(), alice.engine.groups(None).unwrap());
    let discarded = alice.engine.create_group(new()).unwrap();
    assert_eq!(alice.engine.groups(None).unwrap(), groups);
    alice.engine.discard(discarded.id).unwrap();
    assert!(alice.digest() == before);
    assert!(matches!(alice.engine.confirm(discarded.id), Err(Error::CommitLost)));
}

// rule: C2-5
/// What was confirmed and then lost against another branch is not confirmed again, also when its state is long forgotten;
/// what won stays confirmed.
#[test]
fn a_commit_that_was_withdrawn_is_not_confirmed_again() {
    let (mut alice, mut bob, mut carol, group) = three();
    // Of equal commits that of the lower key wins.
    if alice.key() > bob.key() {
        std::mem::swap(&mut alice, &mut bob);
    }
    let (a, b) =
        (alice.engine.self_update(&group).unwrap(), bob.engine.self_update(&group).unwrap());
    alice.confirms(&a);
    bob.confirms(&b);
    alice.takes(event(&b));
    bob.takes(event(&a));
    carol.applies(event(&a));
    for member in [&mut alice, &mut bob] {
        member.waits(2_000);
    }
    let withdrawn = bob.engine.events(0, 100).unwrap().into_iter();
    let withdrawn = withdrawn.filter(|e| matches!(e.body, EventBody::ChangeWithdrawn { .. }));
    assert_eq!(withdrawn.count(), 1);
    for later in 0..8 {
        let before = bob.digest();
        assert!(matches!(bob.engine.confirm(b.id), Err(Error::CommitLost)), "{later}");
        assert!(matches!(bob.engine.discard(b.id), Err(Error::CommitLost)), "{later}");
        assert!(bob.digest() == before);
        let info = alice.info(&group);
        assert_eq!(alice.confirms(&a), info, "{later}");
        let next = carol.updates(&group, &mut []);
        for member in [&mut alice, &mut bob] {
            member.applies(event(&next));
            member.waits(2_000);
        }
    }
}

/// shows: C2-7: a discarded commit that a relay took after all is a rival, not lost and not refused.
#[test]
fn a_discarded_commit_comes_back() {
    let (mut alice, mut bob, group) = pair();
    let pending = alice.engine.self_update(&group).unwrap();
    alice.engine.discard(pending.id).unwrap();
    bob.applies(event(&pending));
    alice.applies(event(&pending));
    assert_eq!(alice.takes(event(&pending)).verdict, Verdict::Duplicate);
    assert_eq!((alice.info(&group).epoch, bob.info(&group).epoch), (2, 2));
    alice.tells(&group, "as if nothing had been", &mut [&mut bob]);
    assert_eq!(alice.info(&group).state, GroupState::Active);
}

/// shows: D2-2, 2.6-4a: any member updates itself; the better of two rivals applies, the other one is kept.
#[test]
fn rivals() {
    let (mut alice, mut bob, mut carol, group) = three();
    // Of equal commits that of the lower key wins.
    if alice.key() > bob.key() {
        std::mem::swap(&mut alice, &mut bob);
    }
    let (a, b) =
        (alice.engine.self_update(&group).unwrap(), bob.engine.self_update(&group).unwrap());
    carol.applies(event(&a));
    assert_eq!(carol.takes(event(&b)).verdict, RIVAL);
    assert_eq!(carol.takes(event(&b)).verdict, Verdict::Duplicate);
    assert_eq!(bob.takes(event(&a)).verdict, Verdict::Deferred(Wait::PublishInProgress));
    bob.engine.discard(b.id).unwrap();
    assert_eq!(bob.info(&group).epoch, 2, "the rival was waiting");
    alice.confirms(&a);
    assert_eq!(alice.takes(event(&b)).verdict, RIVAL);
    alice.tells(&group, "one branch", &mut [&mut bob, &mut carol]);
}

/// shows: D2-1, D5-2: what is early waits for its commit, in one batch and over several calls.
#[test]
fn early_messages_wait() {
    let (mut alice, mut bob, mut carol, group) = three();
    let commit = alice.updates(&group, &mut []);
    // A batch takes the oldest first: by a clock that was set back what waits is older than its commit.
    alice.clock.set(alice.clock.now() - 1);
    let said = alice.says(&group, "after");
    assert_eq!(bob.takes(&said).verdict, CLOSED);
    assert_eq!(received(&bob.applies(event(&commit))), ["after"]);
    assert_eq!(bob.takes(&said).verdict, Verdict::Duplicate);
    let batch = [event(&commit).to_json(), said.to_json()];
    let bytes: Vec<&[u8]> = batch.iter().map(String::as_bytes).collect();
    let outcomes = carol.engine.process_many(&bytes).unwrap();
    assert_eq!(outcomes[1].verdict, CLOSED);
    // What waited for the commit comes with it.
    assert_eq!(received(&outcomes[0]), ["after"]);
    assert_eq!(carol.takes(&said).verdict, Verdict::Duplicate);
    assert_eq!(carol.texts(&group), ["after"]);
}

/// shows: D5-3: a commit that comes before the proposal it refers to.
#[test]
fn a_commit_before_its_proposal() {
    let (mut alice, mut bob, mut carol, group) = three();
    let leave = bob.engine.leave(&group).unwrap();
    let [commit] = alice.applies(&leave).reply.try_into().unwrap();
    assert_eq!(carol.takes(&commit).verdict, Verdict::Deferred(Wait::MissingParent));
    carol.applies(&leave);
    assert_eq!(carol.info(&group).member_count, 2);
    assert_eq!(carol.info(&group).epoch, 2);
}

/// rule: D1-6: what is held is bounded; what is refused for that is not remembered.
/// shows: D1-8: after 30 days it is dropped, and makes room.
#[test]
fn held_events_are_bounded() {
    const MONTH: u64 = 30 * 86_400_000;
    let mut config = Config::default();
    config.max_held_events = 3;
    let (mut alice, mut bob) = (Member::new("alice"), Member::with("bob", config));
    let group = alice.founds("g", &mut [&mut bob]);
    let commit = alice.updates(&group, &mut []);
    let said: Vec<Event> = (0..5).map(|n| alice.says(&group, &n.to_string())).collect();
    for event in &said[..3] {
        assert_eq!(bob.takes(event).verdict, CLOSED);
    }
    let before = bob.digest();
    for event in &said[3..] {
        assert_eq!(bob.takes(event).verdict, REFUSED);
    }
    assert_eq!(bob.takes(&said[0]).verdict, CLOSED, "it is held already");
    bob.clock.advance_millis(MONTH - 1_000);
    assert_eq!(bob.takes(&said[3]).verdict, REFUSED);
    assert!(bob.digest() == before);
    bob.clock.advance_millis(1_000);
    assert_eq!(bob.takes(&said[3]).verdict, CLOSED);
    assert_eq!(received(&bob.applies(event(&commit))), ["3"]);
    for event in said[..3].iter().chain(&said[4..]) {
        bob.applies(event);
    }
    assert_eq!(bob.texts(&group).len(), 5);
}

/// After a restart the very bytes are handed out again, and confirming works. Welcomes that nobody is known to have come again:
/// once in each process, for three days.
// shows: C2-6
#[test]
fn welcomes_of_a_confirmed_commit_are_handed_out_again() {
    let disk = Disk::new("alice");
    let (mut alice, mut bob, mut dave) = (disk.open(), Member::new("bob"), Member::new("dave"));
    let group = alice.founds("g", &mut [&mut bob]);
    let pending = alice.engine.add_members(&group, &[dave.key_package()], false).unwrap();
    let said = bob.says(&group, "held over the restart");
    alice.takes(&said);
    let json = |events: &[Event]| events.iter().map(Event::to_json).collect::<Vec<_>>();
    let [welcome] = json(&pending.welcomes).try_into().unwrap();

    let mut alice = disk.again(alice);
    let [again] = alice.engine.pending().unwrap().try_into().unwrap();
    assert_eq!((again.id, event(&again).to_json()), (pending.id, event(&pending).to_json()));
    assert_eq!(
        (json(&again.welcomes), &again.relays[..]),
        (vec![welcome.clone()], &[RELAY.into()][..])
    );
    // (that of the founding is)
    let pushed = alice.engine.tick().unwrap().reply;
    assert!(!json(&pushed).contains(&welcome), "nothing is pushed before the answer is known");
    bob.applies(event(&again));
    alice.confirms(&again);
    assert_eq!(alice.texts(&group), ["held over the restart"]);

    // Died after confirming, before the Welcome was sent.
    let mut alice = disk.again(alice);
    let reply = alice.engine.tick().unwrap().reply;
    assert!(json(&reply).contains(&welcome));
    assert!(alice.engine.tick().unwrap().reply.is_empty());
    dave.joins(&reply);
    // His own Add is of an epoch that he cannot read: it waits like anything undecryptable.
    assert_eq!(dave.takes(event(&again)).verdict, CLOSED);
    alice.tells(&group, "hello", &mut [&mut bob, &mut dave]);

    disk.clock.advance_millis(3 * 86_400_000);
    alice.engine.tick().unwrap();
    let mut alice = disk.again(alice);
    assert!(alice.engine.tick().unwrap().reply.is_empty());
}

/// shows: D4-6d: the end of a group, for its maker and for the others.
#[test]
fn disbanding() {
    let (mut alice, mut bob, mut carol, group) = three();
    let late = bob.says(&group, "late");
    alice.applies(&late);
    alice.disbands(&group, &mut [&mut bob, &mut carol]);
    assert_eq!(alice.info(&group).state, GroupState::Disbanded);
    assert_ne!(bob.info(&group).state, GroupState::Active);
    assert_eq!(alice.texts(&group), ["late"], "the history stays");
    carol.refuses(&late, "D1-3");
    assert!(matches!(alice.engine.self_update(&group), Err(Error::NotMember(_))));
}

// shows: 2.6-7
/// rule: 2.6-3: a member may do none of what admins do; a removed admin's key goes too.
#[test]
fn members_are_no_admins() {
    let (mut alice, mut bob, mut carol, group) = three();
    let (a, b, c) = (alice.key(), bob.key(), carol.key());
    let package = Member::new("dave").key_package();
    let before = bob.digest();
    let refused = [
        bob.engine.add_members(&group, &[package], false).map(drop),
        bob.engine.remove_members(&group, &[c]).map(drop),
        bob.engine.promote(&group, &[b]).map(drop),
        bob.engine.demote(&group, &[a]).map(drop),
        bob.engine.disband(&group).map(drop),
        bob.engine.update_group(&group, named("x")).map(drop),
        bob.engine.update_group(&group, kept_for(5)).map(drop),
        bob.engine.update_group(&group, relayed_by(vec![RELAY.into()])).map(drop),
        bob.engine
            .update_group(&group, GroupUpdate { admins: Some(vec![b]), ..GroupUpdate::default() })
            .map(drop),
    ];
    for (position, result) in refused.into_iter().enumerate() {
        assert!(matches!(result, Err(Error::NotAdmin)), "operation {position}: {result:?}");
    }
    assert!(bob.digest() == before);
    alice.promotes(&group, b, &mut [&mut bob, &mut carol]);
    alice.removes(&group, b, &mut [&mut carol]);
    assert_eq!(carol.info(&group).admins, [a]);
}

/// An invited account misses nothing while it thinks, and an invite ends with a removal.
#[test]
fn before_an_invite_is_answered() {
    let (mut alice, mut bob, group) = pair();
    let (mut dave, mut erin) = (Member::new("dave"), Member::new("erin"));
    let packages = [dave.key_package(), erin.key_package()];
    let add = alice.engine.add_members(&group, &packages, false).unwrap();
    bob.applies(event(&add));
    alice.confirms(&add);
    for member in [&mut dave, &mut erin] {
        for welcome in &add.welcomes {
            member.takes(welcome);
        }
        assert_eq!(member.info(&group).state, GroupState::Pending);
        assert!(matches!(member.engine.self_update(&group), Err(Error::NotMember(_))));
    }
    let said = alice.says(&group, "early");
    let update = bob.engine.self_update(&group).unwrap();
    let remove_first = [&said, event(&update)];
    for member in [&mut alice, &mut dave, &mut erin] {
        for event in remove_first {
            member.takes(event);
        }
    }
    bob.confirms(&update);
    assert_eq!(dave.info(&group).epoch, 3);
    let invite = dave.engine.invites().unwrap()[0].id;
    assert_eq!(dave.engine.accept(&invite).unwrap().epoch, 3);
    assert_eq!(dave.texts(&group), ["early"]);
    assert_eq!(
        dave.engine.accept(&invite).unwrap().state,
        GroupState::Active,
        "said twice, done once"
    );
    let remove = alice.removes(&group, erin.key(), &mut [&mut dave]);
    let invite = erin.engine.invites().unwrap()[0].id;
    erin.applies(event(&remove));
    assert!(erin.engine.invites().unwrap().is_empty());
    assert!(matches!(erin.engine.accept(&invite), Err(Error::InviteNotFound)));
    dave.tells(&group, "hello", &mut [&mut alice]);
}
