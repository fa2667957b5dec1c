//! The ordinary life of a group, member by member.

use mdk_core::{EventBody, GroupState, GroupUpdate, NewGroup, Verdict};

use crate::kit::{Member, received};

#[test]
fn a_group_is_founded_and_talks() {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let group = alice.founds("Lunch", &mut [&mut bob]);
    let question = alice.says(&group, "Soup or sandwich?");
    assert_eq!(received(&bob.applies(&question)), ["Soup or sandwich?"]);
    assert_eq!(bob.takes(&question).verdict, Verdict::Duplicate);
    assert_eq!(alice.takes(&question).verdict, Verdict::Duplicate);
    let answer = bob.says(&group, "Soup.");
    assert_eq!(received(&alice.applies(&answer)), ["Soup."]);
    assert_eq!(alice.texts(&group), bob.texts(&group));
}

#[test]
fn every_kind_of_commit_reaches_the_others() {
    let (mut alice, mut bob, mut carol) =
        (Member::new("alice"), Member::new("bob"), Member::new("carol"));
    let group = alice.founds("Trip", &mut [&mut bob]);
    let package = carol.key_package();
    let add = alice.engine.add_members(&group, &[package], false).unwrap();
    bob.applies(add.event.as_ref().unwrap());
    alice.confirms(&add);
    carol.joins(&add.welcomes);

    let rename = alice
        .engine
        .update_group(
            &group,
            GroupUpdate { name: Some("Journey".into()), ..GroupUpdate::default() },
        )
        .unwrap();
    let promote_all = |event: &mdk_wire::Event, members: &mut [&mut Member]| {
        for member in members {
            member.applies(event);
        }
    };
    promote_all(rename.event.as_ref().unwrap(), &mut [&mut bob, &mut carol]);
    alice.confirms(&rename);
    assert_eq!(carol.info(&group).name, "Journey");

    let update = bob.engine.self_update(&group).unwrap();
    promote_all(update.event.as_ref().unwrap(), &mut [&mut alice, &mut carol]);
    bob.confirms(&update);

    let promote = alice.engine.promote(&group, &[bob.key()]).unwrap();
    promote_all(promote.event.as_ref().unwrap(), &mut [&mut bob, &mut carol]);
    alice.confirms(&promote);
    assert_eq!(bob.info(&group).admins.len(), 2);

    let leave = carol.engine.leave(&group).unwrap();
    let outcome = alice.applies(&leave);
    let [reply] = outcome.reply.as_slice() else { panic!("alice answers the leave") };
    assert!(bob.applies(&leave).reply.is_empty());
    let outcome = carol.applies(reply);
    assert!(outcome.events.iter().any(|e| matches!(e.body, EventBody::Removed { left: true, .. })));
    bob.applies(reply);
    assert_eq!(
        alice.takes(reply).verdict,
        Verdict::Applied,
        "the echo confirms an automatic commit"
    );
    assert_eq!(carol.info(&group).state, GroupState::Left);

    let remove = bob.engine.remove_members(&group, &[alice.key()]).unwrap();
    alice.applies(remove.event.as_ref().unwrap());
    bob.confirms(&remove);
    assert_eq!(alice.info(&group).state, GroupState::Removed);
    assert_eq!(bob.info(&group).member_count, 1);
}

#[test]
fn an_unconfirmed_founding_is_invisible_and_can_be_discarded() {
    let mut alice = Member::new("alice");
    let before = alice.engine.digest().unwrap();
    let new = NewGroup {
        name: "x".into(),
        relays: vec![crate::kit::RELAY.into()],
        ..NewGroup::default()
    };
    let pending = alice.engine.create_group(new).unwrap();
    assert!(alice.engine.groups(None).unwrap().is_empty());
    alice.engine.discard(pending.id).unwrap();
    assert_eq!(alice.engine.digest().unwrap(), before);
}
