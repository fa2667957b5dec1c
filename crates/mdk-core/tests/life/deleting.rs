//! Deleting a group that is over: what goes, what stays as it was, and who may not.

use mdk_core::{
    Error, EventBody, GroupState, NewGroup, OutboxPurpose, RejectCode, RelayVerdict, Verdict,
    testing,
};
use mdk_store::StoreError;
use mdk_wire::GroupId;

use crate::kit::disk::Disk;
use crate::kit::{Member, at_once, chat, event, new_group, three};

fn removes(alice: &mut Member, bob: &mut Member, group: &GroupId) {
    alice.removes(group, bob.key(), &mut [&mut *bob]);
    assert_eq!(bob.info(group).state, GroupState::Removed);
}

fn ends(alice: &mut Member, bob: &mut Member, group: &GroupId) {
    alice.disbands(group, &mut [&mut *bob]);
    bob.engine.tick().unwrap();
}

fn is_out(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Rejected(r) if r.code == RejectCode::UnknownGroup)
}

fn not_allowed(result: mdk_core::Result<()>, words: &str) {
    match result {
        Err(Error::NotAllowed(reason)) => assert!(reason.contains(words), "{reason}"),
        other => panic!("{other:?} instead of: {words}"),
    }
}

#[test]
fn only_what_is_over_can_be_deleted() {
    let (mut alice, _, mut carol, group) = three();
    let unknown = GroupId::from_bytes(&[3; 16]).unwrap();
    assert!(matches!(alice.engine.delete_group(&unknown), Err(Error::GroupNotFound)));
    let before = alice.digest();
    not_allowed(alice.engine.delete_group(&group), "leave it first");
    assert!(alice.digest() == before);
    let leave = carol.engine.leave(&group).unwrap();
    not_allowed(carol.engine.delete_group(&group), "answered its leave");
    let [answer] = alice.applies(&leave).reply.try_into().unwrap();
    carol.applies(&answer);
    assert_eq!(carol.info(&group).state, GroupState::Left);
    carol.engine.delete_group(&group).unwrap();
    assert!(matches!(carol.engine.delete_group(&group), Err(Error::GroupNotFound)));

    // One that is not confirmed is not there; an invite is declined.
    let mut dave = Member::new("dave");
    let founding = alice.engine.create_group(new_group("other", vec![dave.key_package()])).unwrap();
    let refused = alice.engine.delete_group(&founding.group_id);
    assert!(matches!(refused, Err(Error::GroupNotFound)));
    let other = alice.confirms(&founding).id;
    dave.applies(&founding.welcomes[0]);
    not_allowed(dave.engine.delete_group(&other), "decline it");

    // A copy that cannot be followed may go.
    testing::give_up(&mut alice.engine, &group).unwrap();
    alice.engine.delete_group(&group).unwrap();
    assert!(matches!(alice.engine.group(&group), Err(Error::GroupNotFound)));
}

/// A member whose choices between branches take their time.
fn patient(name: &'static str) -> Member {
    let mut config = at_once();
    config.settling.quiet_millis = 1_000;
    Member::with(name, config)
}

/// While another branch could still win the end of a group is not final; when time has decided, it is.
#[test]
fn a_disband_is_waited_for() {
    let mut bob = patient("bob");
    let mut alice = Member::new("alice");
    let group = alice.founds("g", &mut [&mut bob]);
    bob.waits(5_000);
    let end = alice.disbands(&group, &mut []);
    bob.takes(event(&end));
    assert_eq!(bob.info(&group).state, GroupState::Disbanded);
    not_allowed(bob.engine.delete_group(&group), "not final");
    bob.clock.advance_millis(5_000);
    bob.engine.delete_group(&group).unwrap();
    assert!(bob.engine.groups(None).unwrap().is_empty());
}

/// Who was put out on a branch that may lose is not out for certain, and nobody would tell it again.
#[test]
fn a_removal_that_may_lose_is_waited_for() {
    let mut bob = patient("bob");
    let [mut alice, mut carol, mut dave] = ["alice", "carol", "dave"].map(Member::new);
    let group = alice.founds("g", &mut [&mut bob, &mut carol, &mut dave]);
    bob.waits(5_000);
    let removal = alice.removes(&group, bob.key(), &mut []);
    let rival = carol.updates(&group, &mut [&mut dave]);
    let said = [carol.says(&group, "we are here"), dave.says(&group, "so we are")];
    bob.takes(event(&removal));
    assert_eq!(bob.info(&group).state, GroupState::Removed);
    bob.takes(event(&rival));
    for event in &said {
        bob.takes(event);
    }
    let settling = bob.engine.delete_group(&group);
    assert!(matches!(settling, Err(Error::Settling { millis: 1.. })), "{settling:?}");
    bob.clock.advance_millis(5_000);
    not_allowed(bob.engine.delete_group(&group), "leave it first");
    bob.engine.tick().unwrap();
    assert_eq!(bob.info(&group).state, GroupState::Active);
    assert_eq!(bob.texts(&group).len(), 2);
}

/// Whom we have invited nobody else can let in.
#[test]
fn an_invite_on_its_way_is_waited_for() {
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(Member::new);
    let group = alice.founds("g", &mut [&mut bob]);
    alice.promotes(&group, bob.key(), &mut [&mut bob]);
    bob.engine.enable_outbox();
    bob.adds(&group, carol.key_package(), &mut [&mut alice]);
    removes(&mut alice, &mut bob, &group);
    not_allowed(bob.engine.delete_group(&group), "on its way");
    let items = bob.engine.outbox(10).unwrap();
    let invite = items.iter().find(|i| matches!(i.purpose, OutboxPurpose::Welcome { .. })).unwrap();
    let relay = "wss://inbox.example".to_owned();
    bob.engine.set_outbox_relays(invite.seq, std::slice::from_ref(&relay)).unwrap();
    not_allowed(bob.engine.delete_group(&group), "on its way");
    bob.engine.outbox_result(invite.seq, &relay, RelayVerdict::Accepted).unwrap();
    bob.engine.delete_group(&group).unwrap();
}

/// Nothing of it is left in any table, and nothing else has changed.
#[test]
fn all_that_a_group_had_goes() {
    let disk = Disk::new("bob");
    let (mut alice, mut bob) = (Member::new("alice"), disk.open());
    let kept = alice.founds("kept", &mut [&mut bob]);
    bob.applies(&alice.says(&kept, "kept text"));
    bob.engine.enable_outbox();
    let group = alice.founds("secret name", &mut [&mut bob]);
    alice.tells(&group, "secret text", &mut [&mut bob]);
    let target = bob.engine.messages(&group, 1, None, None).unwrap()[0].id;
    bob.engine.react(&group, &target, "secret +").unwrap();
    let own = bob.engine.create_message(&group, chat("mine"));
    let own = own.unwrap().message.id;
    let waiting = bob.engine.outbox(99).unwrap();
    let is_own =
        |i: &&mdk_core::OutboxItem| i.purpose == OutboxPurpose::Message { message_id: own };
    let failed = waiting.iter().find(is_own).unwrap().seq;
    let refused = RelayVerdict::Refused { reason: "blocked".into() };
    bob.engine.outbox_result(failed, crate::kit::RELAY, refused).unwrap();
    assert_eq!(bob.engine.delivery_errors(&own).unwrap().len(), 1);
    bob.engine.edit(&group, &own, "mine, edited").unwrap();
    let route = bob.info(&group).nostr_group_id.to_hex();
    let names = [format!("cli/listen/{}", group.to_hex()), format!("deeper/{route}")];
    for name in names.iter().map(String::as_str).chain(["bot/position"]) {
        bob.engine.set_state(name, Some(b"1")).unwrap();
    }
    for (name, value) in [("cursor/wss://one", route.as_str()), ("cursor/wss://other", "kept")] {
        bob.engine.set_state(name, Some(format!("[\"{value}\"]").as_bytes())).unwrap();
    }
    removes(&mut alice, &mut bob, &group);
    let cursor = bob.engine.events(0, 1_000).unwrap().last().unwrap().cursor;
    let kept_events = |bob: &mut Member| {
        let events = bob.engine.events(0, 1_000).unwrap();
        let of = events.iter().filter(|e| e.group_id.as_ref() == Some(&kept)).map(|e| e.cursor);
        of.collect::<Vec<_>>()
    };
    let before = kept_events(&mut bob);

    bob.engine.delete_group(&group).unwrap();
    for again in [false, true] {
        if again {
            bob = disk.again(bob);
        }
        assert_eq!(bob.engine.groups(None).unwrap().len(), 1);
        assert!(matches!(bob.engine.group(&group), Err(Error::GroupNotFound)));
        assert!(matches!(bob.engine.messages(&group, 9, None, None), Err(Error::GroupNotFound)));
        assert!(bob.engine.search("secret", None, 9).unwrap().is_empty());
        assert!(bob.engine.outbox(99).unwrap().iter().all(|i| i.group.as_ref() != Some(&group)));
        assert!(bob.engine.interests().unwrap().iter().all(|i| !i.filter.contains(&route)));
        let states = bob.engine.states("").unwrap();
        assert_eq!(
            states.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            ["bot/position", "cursor/wss://other"]
        );
        let events = bob.engine.events(0, 1_000).unwrap();
        assert!(events.iter().all(|e| e.group_id.as_ref() != Some(&group)));
        assert_eq!(kept_events(&mut bob), before);
        assert!(bob.engine.delivery_errors(&own).unwrap().is_empty());
        assert!(matches!(bob.engine.outbox_retry(&own), Err(Error::MessageNotFound)));
        assert_eq!(bob.texts(&kept), ["kept text"]);
    }
    // What comes now stands above every cursor that was ever given.
    bob.applies(&alice.says(&kept, "later"));
    let later = bob.engine.events(cursor, 9).unwrap();
    assert_eq!(later.len(), 1);
    bob.engine.close().unwrap();

    let held: Result<_, StoreError> = disk.store().read(|tx| {
        assert!(tx.group(&group)?.is_none() && tx.routes(&group)?.is_empty());
        assert!(tx.nodes(&group)?.is_empty() && tx.inputs(&group)?.is_empty());
        assert!(tx.held(&group)?.is_empty() && tx.mls_dump(&group)?.expose().len() < 2);
        assert!(tx.copies(&group, &target)?.is_empty() && tx.leave(&group)?.is_none());
        Ok(tx.ended(&group)?.is_some())
    });
    assert!(held.unwrap(), "a hash of its id is");
    let report = disk.store().verify(&mut mdk_store::Progress::none()).unwrap();
    assert!(report.is_intact(), "{report:?}");
}

/// What belongs to it is refused as what belongs to a group that we are out of: messages, rivals, what led us in.
#[test]
fn what_comes_afterwards_is_refused() {
    let disk = Disk::new("bob");
    let (mut alice, mut bob, mut carol) = (Member::new("alice"), disk.open(), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    alice.promotes(&group, carol.key(), &mut [&mut bob, &mut carol]);
    let rival = carol.engine.self_update(&group).unwrap();
    let rival = event(&rival).clone();
    let said = alice.says(&group, "of the epoch that we knew");
    let heard = alice.says(&group, "heard");
    bob.applies(&heard);
    removes(&mut alice, &mut bob, &group);
    let later = alice.says(&group, "later");
    bob.engine.delete_group(&group).unwrap();
    for again in [false, true] {
        if again {
            bob = disk.again(bob);
        }
        for came in [&said, &rival, &later] {
            let verdict = bob.takes(came).verdict;
            assert!(is_out(&verdict), "{verdict:?}");
        }
        assert_eq!(bob.takes(&heard).verdict, Verdict::Duplicate);
        bob.engine.tick().unwrap();
        assert!(bob.engine.groups(None).unwrap().is_empty());
        assert!(bob.engine.invites().unwrap().is_empty());
    }
}

// rule: B4-36
/// Whoever has not heard of the end can still invite.
#[test]
fn a_disbanded_group_stays_disbanded() {
    let disk = Disk::new("bob");
    let (mut alice, mut bob, mut carol) = (Member::new("alice"), disk.open(), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    alice.promotes(&group, carol.key(), &mut [&mut bob, &mut carol]);
    alice.disbands(&group, &mut [&mut bob]);
    bob.engine.tick().unwrap();
    carol.removes(&group, bob.key(), &mut []);
    bob.engine.delete_group(&group).unwrap();
    let mut bob = disk.again(bob);
    let [welcome] = carol.adds(&group, bob.key_package(), &mut []).welcomes.try_into().unwrap();
    bob.refuses(&welcome, "B4-4");
    assert!(bob.engine.invites().unwrap().is_empty());
    assert!(bob.engine.groups(None).unwrap().is_empty());
}

// rule: B4-36
/// A new invitation leads in again, as to an unknown group; one that was used, or is from before, asks nothing. Who declines
/// the new one is where it was.
#[test]
fn a_group_that_was_left_is_asked_for_again_only_by_a_new_invitation() {
    let disk = Disk::new("bob");
    let (mut alice, mut bob, mut carol) = (Member::new("alice"), disk.open(), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut carol]);
    let package = bob.key_package();
    let old = alice.adds(&group, package.clone(), &mut []).welcomes;
    let out = |alice: &mut Member, bob: &Member| {
        let removal = alice.removes(&group, bob.key(), &mut []);
        event(&removal).clone()
    };
    out(&mut alice, &bob);
    let used = alice.adds(&group, package.clone(), &mut []).welcomes;
    bob.joins(&used);
    // Far enough that no branch from before could still be chosen.
    for _ in 0..6 {
        alice.updates(&group, &mut [&mut bob]);
    }
    bob.applies(&alice.says(&group, "first time"));
    // While he is in he is in already.
    assert!(matches!(bob.takes(&old[0]).verdict, Verdict::Rejected(_)));
    let removal = out(&mut alice, &bob);
    bob.applies(&removal);
    bob.refuses(&old[0], "B4-20");
    assert_eq!(bob.info(&group).state, GroupState::Removed);
    bob.engine.delete_group(&group).unwrap();
    let before_it = |bob: &mut Member| {
        assert_eq!(bob.takes(&used[0]).verdict, Verdict::Duplicate);
        bob.refuses(&old[0], "B4-20");
        assert!(bob.engine.invites().unwrap().is_empty());
    };
    before_it(&mut bob);
    let mut bob = disk.again(bob);
    before_it(&mut bob);

    for accepts in [false, true] {
        let fresh = alice.adds(&group, bob.key_package(), &mut []).welcomes;
        bob.applies(&fresh[0]);
        let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
        if accepts {
            assert_eq!(bob.engine.accept(&invite.id).unwrap().state, GroupState::Active);
            continue;
        }
        bob.engine.decline(&invite.id).unwrap();
        before_it(&mut bob);
        out(&mut alice, &bob);
    }
    assert!(bob.texts(&group).is_empty(), "what was deleted does not come back");
    alice.tells(&group, "welcome", &mut [&mut bob]);
    alice.applies(&bob.says(&group, "thanks"));
    // And out again, and deleted again.
    removes(&mut alice, &mut bob, &group);
    bob.engine.delete_group(&group).unwrap();
    assert_eq!(bob.takes(&used[0]).verdict, Verdict::Duplicate);
}

// shows: B4-36
/// What waits for the choice between branches is another question, and is asked when the group goes.
#[test]
fn an_invitation_that_waits_is_asked() {
    let (mut alice, mut bob, mut carol) =
        (Member::new("alice"), patient("bob"), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    let promoted = alice.promotes(&group, carol.key(), &mut []);
    bob.takes(event(&promoted));
    carol.applies(event(&promoted));
    bob.waits(5_000);
    let rival = carol.engine.self_update(&group).unwrap();
    let removal = alice.removes(&group, bob.key(), &mut []);
    bob.takes(event(&removal));
    bob.takes(event(&rival));
    assert_eq!(bob.info(&group).state, GroupState::Removed);
    let [fresh] = alice.adds(&group, bob.key_package(), &mut []).welcomes.try_into().unwrap();
    let verdict = bob.takes(&fresh).verdict;
    assert!(matches!(verdict, Verdict::Deferred(_)), "{verdict:?}");
    assert!(matches!(bob.engine.delete_group(&group), Err(Error::Settling { .. })));
    bob.clock.advance_millis(5_000);
    not_allowed(bob.engine.delete_group(&group), "decline it");
    bob.engine.tick().unwrap();
    bob.joins(&[]);
    alice.tells(&group, "again", &mut [&mut bob]);
}

// shows: B4-34
/// An invitation that nobody had accepted was no membership: another one is asked, although its copy has ended.
#[test]
fn what_ended_unanswered_was_no_membership() {
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(Member::new);
    let group = alice.founds("g", &mut [&mut carol]);
    alice.promotes(&group, carol.key(), &mut [&mut carol]);
    let added = alice.adds(&group, bob.key_package(), &mut [&mut carol]);
    bob.applies(&added.welcomes[0]);
    ends(&mut alice, &mut bob, &group);
    assert_eq!(bob.info(&group).state, GroupState::Disbanded);
    bob.engine.delete_group(&group).unwrap();
    // Carol has not heard of the end.
    carol.removes(&group, bob.key(), &mut []);
    let fresh = carol.adds(&group, bob.key_package(), &mut []).welcomes;
    assert_eq!(bob.takes(&added.welcomes[0]).verdict, Verdict::Duplicate);
    bob.joins(&fresh);
    carol.tells(&group, "hello", &mut [&mut bob]);
}

/// Positions in the history are not given out again, or what is new in another group would count as read, and an old
/// event would tell of it.
#[test]
fn the_history_of_other_groups_goes_on_above_it() {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let new = NewGroup { retention: Some(60), ..new_group("fleeting", vec![bob.key_package()]) };
    let founding = alice.engine.create_group(new).unwrap();
    bob.joins(&founding.welcomes);
    let fleeting = alice.confirms(&founding).id;
    let long = alice.founds("long", &mut [&mut bob]);
    bob.applies(&alice.says(&fleeting, "gone soon"));
    bob.engine.mark_read(&fleeting, None).unwrap();
    bob.applies(&alice.says(&long, "much later"));
    // It expires, and what was kept of it for a while goes, too.
    for _ in 0..2 {
        for member in [&mut alice, &mut bob] {
            member.waits(40 * 86_400_000);
        }
    }
    for _ in 0..7 {
        alice.updates(&fleeting, &mut [&mut bob]);
    }
    bob.engine.tick().unwrap();
    removes(&mut alice, &mut bob, &long);
    bob.engine.delete_group(&long).unwrap();
    bob.applies(&alice.says(&fleeting, "new"));
    assert_eq!(bob.info(&fleeting).unread_count, 1);
    let told = bob.engine.events(0, 1_000).unwrap();
    let told = told.iter().filter(|e| matches!(e.body, EventBody::MessageReceived { .. }));
    assert_eq!(told.count(), 1);
}
