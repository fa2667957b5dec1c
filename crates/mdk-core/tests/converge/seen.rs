//! What a member is shown and told of a group when it goes over to another branch, from outside or to outside.

use std::collections::BTreeSet;

use mdk_core::{EventBody, GroupInfo, GroupState, GroupUpdate, Outcome};
use mdk_wire::{Event, GroupId, PublicKey};

use crate::kit::acts::{commits, removes, renames};
use crate::kit::fork::Filed;
use crate::kit::{event, folder};

/// Alice, carol and erin are admins, bob and dave are members; all are settled. Of two commits carol's wins.
fn five(folder: &std::path::Path) -> ([Filed; 5], GroupId) {
    let names = [("alice", 1), ("bob", 2), ("carol", 3), ("dave", 4), ("erin", 5)];
    let mut all = names.map(|(name, number)| Filed::new(folder, name, number));
    let [alice, bob, carol, dave, erin] = &mut all;
    if alice.member.key() < carol.member.key() {
        std::mem::swap(alice, carol);
    }
    let mut others = [bob, carol, dave, erin].map(|m| &mut m.member);
    let group = alice.member.founds("before", &mut others);
    let admins = [others[1].key(), others[3].key()];
    let promoted = alice.member.engine.promote(&group, &admins).unwrap();
    let promoted = event(&commits(alice, promoted)).clone();
    others.into_iter().for_each(|m| drop(m.applies(&promoted)));
    all.iter_mut().for_each(|m| drop(m.waits(10_000)));
    (all, group)
}

/// The settings that were told as changed.
fn changed(outcomes: &[Outcome]) -> BTreeSet<&'static str> {
    let bodies = outcomes.iter().flat_map(|outcome| &outcome.events).map(|event| &event.body);
    bodies
        .filter_map(|body| match body {
            EventBody::GroupUpdated { changed, .. } => Some(changed.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

/// Accounts that were told as removed.
fn removed(outcomes: &[Outcome]) -> BTreeSet<PublicKey> {
    let bodies = outcomes.iter().flat_map(|outcome| &outcome.events).map(|event| &event.body);
    bodies
        .filter_map(|body| match body {
            EventBody::MembersChanged { removed, .. } => Some(removed.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

fn updates(member: &mut Filed, group: &GroupId) -> Event {
    let update =
        GroupUpdate { name: Some("there".into()), retention: Some(500), ..GroupUpdate::default() };
    let pending = member.member.engine.update_group(group, update).unwrap();
    event(&commits(member, pending)).clone()
}

/// What of a group does not depend on who looks at it.
fn look(member: &mut Filed, group: &GroupId) -> (GroupInfo, Vec<PublicKey>) {
    let members = member.member.engine.members(group).unwrap();
    let mut info = member.member.info(group);
    (info.unread_count, info.last_message) = (0, None);
    (info, members.into_iter().map(|m| m.public_key).collect())
}

// rule: D7-2
/// Bob is out on a branch, and comes back with one that has another name and another lifetime, or takes erin's rights:
/// he is told that these are not what he was shown.
#[test]
fn who_comes_back_is_told_what_is_different() {
    for demotes in [false, true] {
        let place = folder();
        let (mut all, group) = five(place.path());
        let [alice, bob, carol, _, erin] = &mut all;
        let removal = removes(alice, &group, bob);
        let winner = if demotes {
            let pending = carol.member.engine.demote(&group, &[erin.member.key()]).unwrap();
            event(&commits(carol, pending)).clone()
        } else {
            updates(carol, &group)
        };
        bob.takes(event(&removal));
        bob.waits(10_000);
        assert_eq!(bob.member.info(&group).state, GroupState::Removed);
        let told = [bob.takes(&winner), bob.waits(10_000)];
        let info = bob.member.info(&group);
        assert_eq!(info.state, GroupState::Active, "{demotes}");
        let expected = if demotes { vec!["admins"] } else { vec!["name", "retention"] };
        assert_eq!(changed(&told).into_iter().collect::<Vec<_>>(), expected);
        // And what is as it was shown is not told.
        assert!(info.name == if demotes { "before" } else { "there" });
    }
}

// shows: D7-2
/// Out on one branch, he goes over to another that renamed the group before it put him out.
#[test]
fn who_is_out_on_both_is_told_what_is_different() {
    let place = folder();
    let (mut all, group) = five(place.path());
    let [alice, bob, carol, ..] = &mut all;
    let removal = removes(alice, &group, bob);
    let renamed = updates(carol, &group);
    carol.waits(10_000);
    let again = removes(carol, &group, bob);
    bob.takes(event(&removal));
    bob.waits(10_000);
    for commit in [&renamed, event(&again)] {
        bob.takes(commit);
    }
    bob.waits(10_000);
    // (whatever he follows in between)
    let events = bob.member.engine.events(0, 10_000).unwrap();
    let mut named = BTreeSet::new();
    for event in events {
        if let EventBody::GroupUpdated { changed, .. } = event.body {
            named.extend(changed);
        }
    }
    let info = bob.member.info(&group);
    assert_eq!((info.state, info.name.as_str()), (GroupState::Removed, "there"));
    assert!(named.is_superset(&["name", "retention"].into()), "{named:?}");
}

// rule: D6-14
/// One commit removes bob, dave and erin, an admin. Bob has it first; dave followed another branch and goes over: both see
/// the same group, and are told the same.
#[test]
fn whom_a_commit_removes_together_is_seen_alike() {
    for restart in [false, true] {
        let place = folder();
        let (mut all, group) = five(place.path());
        let [alice, bob, carol, dave, erin] = &mut all;
        let gone = [bob.member.key(), dave.member.key(), erin.member.key()];
        let removal = carol.member.engine.remove_members(&group, &gone).unwrap();
        let removal = event(&commits(carol, removal)).clone();
        let rival = renames(alice, &group, "here");
        let direct = [bob.takes(&removal), bob.waits(10_000)];
        dave.takes(event(&rival));
        dave.waits(10_000);
        assert_eq!(dave.member.info(&group).name, "here");
        if restart {
            dave.restarts();
        }
        let over = [dave.takes(&removal), dave.waits(10_000)];
        assert_eq!(dave.member.info(&group).state, GroupState::Removed);
        assert_eq!(look(dave, &group), look(bob, &group));
        assert_eq!(dave.member.info(&group).admins.len(), 2);
        assert_eq!(removed(&over), gone.into());
        assert_eq!(removed(&direct), gone.into());
    }
}

// shows: D6-14
/// Erin is put out directly, a branch of equal length takes her back when somebody speaks on it, and the removal wins
/// again: the group looks as it did when she was put out first.
#[test]
fn a_removal_that_wins_again_looks_as_it_did() {
    let place = folder();
    let (mut all, group) = five(place.path());
    let [alice, bob, carol, dave, erin] = &mut all;
    let first = updates(carol, &group);
    carol.waits(10_000);
    erin.takes(&first);
    let said = carol.member.says(&group, "there");
    let gone = [dave.member.key(), erin.member.key()];
    let removal = carol.member.engine.remove_members(&group, &gone).unwrap();
    let removal = event(&commits(carol, removal)).clone();
    erin.takes(&removal);
    erin.waits(10_000);
    let seen = look(erin, &group);
    assert_eq!((seen.0.state, seen.1.len()), (GroupState::Removed, 3));
    // Two commits and a voice of alice's beat the two of carol's, until carol is heard, and bob.
    bob.takes(&first);
    let too = bob.member.says(&group, "here as well");
    for name in ["a1", "a2"] {
        let commit = renames(alice, &group, name);
        alice.waits(10_000);
        erin.takes(event(&commit));
    }
    let voice = alice.member.says(&group, "alone");
    erin.takes(&voice);
    erin.waits(10_000);
    assert_eq!(erin.member.info(&group).state, GroupState::Active);
    erin.restarts();
    erin.takes(&said);
    erin.takes(&too);
    erin.waits(10_000);
    assert_eq!(look(erin, &group), seen);
}
