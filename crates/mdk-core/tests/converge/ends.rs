//! Two ends of a group, or an end and something else, at one time: what each member is told and shown.

use std::collections::BTreeSet;

use mdk_core::{EventBody, GroupState, GroupUpdate, Outcome};
use mdk_store::{DatabaseKey, OpenOptions, Progress, Store, StoreError};
use mdk_wire::{ContentId, Event, GroupId, PublicKey, Secret, SecretVec};

use crate::kit::fork::{Filed, two_admins_and};
use crate::kit::{event, folder};

/// What is shown of a group to somebody: its state, its epoch, who is in it, and who are admins.
fn look(
    member: &mut Filed,
    group: &GroupId,
) -> (GroupState, u64, BTreeSet<PublicKey>, Vec<PublicKey>) {
    let info = member.member.info(group);
    let members = member.member.engine.members(group).unwrap();
    assert_eq!(info.member_count, members.len());
    (info.state, info.epoch, members.into_iter().map(|m| m.public_key).collect(), info.admins)
}

/// The names of what was told in it, and what each of it says that it came from.
fn told(outcome: &Outcome) -> Vec<(&'static str, Option<ContentId>)> {
    let name = |body: &EventBody| match body {
        EventBody::ChangeWithdrawn { commit } => ("withdrawn", Some(*commit)),
        EventBody::MembersChanged { commit, .. } => ("members", *commit),
        EventBody::GroupUpdated { commit, .. } => ("settings", *commit),
        EventBody::Disbanded { .. } => ("disbanded", None),
        _ => ("other", None),
    };
    outcome.events.iter().map(|event| name(&event.body)).collect()
}

// shows: C5-1, C5-4, D6-9
/// Two admins end the group. Whichever end came first to whom, everybody is shown the group that the winner left, is told
/// what the winner changed, and of one end.
#[test]
fn two_ends_of_a_group_look_the_same_to_all() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let other = folder();
    let mut dave = all[2].copied(other.path());
    let ends = [0, 1].map(|ender: usize| all[ender].member.engine.disband(&group).unwrap());
    for (ender, end) in ends.iter().enumerate() {
        all[ender].member.confirms(end);
        all[1 - ender].takes(event(end));
    }
    all[0].takes(event(&ends[1]));
    all[1].takes(event(&ends[0]));
    for end in &ends {
        all[2].takes(event(end));
    }
    for end in ends.iter().rev() {
        dave.takes(event(end));
    }
    all.push(dave);
    let (winner, loser) = (all[0].member.key(), all[1].member.key());
    let first = all[0].waits(1_000);
    let shown = look(&mut all[0], &group);
    assert_eq!(told(&first), [("disbanded", None)]);
    assert_eq!(shown.2, BTreeSet::from([winner]));
    assert_eq!((shown.0, &shown.3), (GroupState::Disbanded, &vec![winner]));
    for (place, switched) in [(1, true), (2, false), (3, true)] {
        let outcome = all[place].waits(1_000);
        assert_eq!(look(&mut all[place], &group), shown, "{place}");
        let names: Vec<&str> = told(&outcome).iter().map(|(name, _)| *name).collect();
        if !switched {
            assert_eq!(names, ["disbanded"], "{place}");
            continue;
        }
        let expected = ["withdrawn", "members", "members", "settings", "disbanded"];
        assert_eq!(names, expected, "{place}");
        let commits: Vec<_> = told(&outcome).into_iter().map(|(_, commit)| commit).collect();
        assert!(commits[0] != commits[1] && commits[1..4].iter().all(|c| *c == commits[1]));
        let back = (format!("+{} - /", winner.to_hex()), None);
        let gone = (format!("+ -{} /", loser.to_hex()), Some(winner));
        assert_eq!(deeds(&outcome)[..2], [back, gone], "{place}");
    }
}

// shows: C5-3
/// Who ended the group on a branch that lost, and is no admin on the winner, cannot end it again, and is told so: the end
/// is withdrawn, by the one who took the right away.
#[test]
fn an_end_by_one_who_is_no_longer_admin_is_withdrawn_for_good() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let (winner, ender) = (all[0].member.key(), all[1].member.key());
    let end = all[1].member.engine.disband(&group).unwrap();
    all[1].member.confirms(&end);
    let demoted = all[0].member.engine.demote(&group, &[ender]).unwrap();
    all[0].member.confirms(&demoted);
    all[1].takes(event(&demoted));
    all[0].takes(event(&end));
    all[2].takes(event(&end));
    all[2].takes(event(&demoted));
    let outcomes: Vec<Outcome> = all.iter_mut().map(|member| member.waits(1_000)).collect();
    for member in &mut all {
        assert_eq!(look(member, &group).0, GroupState::Active);
        assert_eq!(look(member, &group).3, [winner]);
    }
    let told = &outcomes[1].events;
    let own = all[1].member.engine.pending().unwrap();
    assert!(own.is_empty() && outcomes[1].reply.is_empty());
    assert!(told.iter().any(|e| matches!(e.body, EventBody::ChangeWithdrawn { .. })));
    let by = told.iter().find_map(|e| match &e.body {
        EventBody::GroupUpdated { changed, by, .. } if changed.contains("admins") => *by,
        _ => None,
    });
    assert_eq!(by, Some(winner), "{told:?}");
}

/// Everything that was told in a group, as words.
fn log(member: &mut Filed) -> Vec<String> {
    let all = member.member.engine.events(0, 1_000).unwrap();
    all.iter()
        .filter_map(|event| match &event.body {
            EventBody::EpochChanged { old, new, .. } => Some(format!("{old} to {new}")),
            EventBody::MembersChanged { removed, left, .. }
                if !removed.is_empty() || !left.is_empty() =>
            {
                Some(format!("{} removed, {} left", removed.len(), left.len()))
            }
            EventBody::GroupUpdated { changed, .. } => {
                let mut changed: Vec<&str> = changed.iter().copied().collect();
                changed.sort_unstable();
                Some(changed.join(", "))
            }
            EventBody::ChangeWithdrawn { .. } => Some("withdrawn".into()),
            EventBody::Removed { left, .. } => Some(format!("out, asked: {left}")),
            _ => None,
        })
        .collect()
}

// shows: D6-12
/// Carol asks to leave, and both of the others answer at once: she has left, whichever answer came first to her.
#[test]
fn who_asked_to_leave_has_left_whichever_answer_is_followed() {
    for order in [[0, 1], [1, 0]] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        let leave = all[2].member.engine.leave(&group).unwrap();
        let mut answers = Vec::new();
        for answerer in &mut all[..2] {
            let mut replies = answerer.takes(&leave).reply;
            for _ in 0..120 {
                replies.extend(answerer.waits(1_000).reply);
            }
            let [answer] = replies.try_into().unwrap();
            answers.push(answer);
        }
        for at in order {
            all[2].takes(&answers[at]);
        }
        all[2].waits(1_000);
        all[2].restarts();
        assert_eq!(look(&mut all[2], &group).0, GroupState::Left, "{order:?}");
        let told = log(&mut all[2]);
        assert_eq!(told.last().unwrap(), "out, asked: true", "{told:?}");
        assert!(!told.contains(&"out, asked: false".to_owned()), "{told:?}");
    }
}

// shows: D7-1
/// Carol goes over to a branch that renames the group and then puts her out: what is different there is told, as it is to
/// who followed it from the first. When she is invited again, and that is not the branch that she was on, her database
/// is whole.
#[test]
fn who_is_put_out_by_another_branch_is_told_what_it_changed() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let key = all[2].member.key();
    let promoted = all[0].member.engine.promote(&group, &[key]).unwrap();
    all[0].member.confirms(&promoted);
    for member in &mut all[1..] {
        member.member.applies(event(&promoted));
        member.waits(1_000);
    }
    all[0].waits(1_000);
    let renames = |member: &mut Filed, name: &str| {
        let update = GroupUpdate { name: Some(name.into()), ..GroupUpdate::default() };
        let pending = member.member.engine.update_group(&group, update).unwrap();
        member.member.confirms(&pending);
        event(&pending).clone()
    };
    let here = renames(&mut all[1], "here");
    let there = renames(&mut all[0], "there");
    let removal = all[0].member.engine.remove_members(&group, &[key]).unwrap();
    all[0].member.confirms(&removal);
    let before = log(&mut all[2]).len();
    let epoch = all[2].member.info(&group).epoch;
    for commit in [&here, &there, event(&removal)] {
        all[2].takes(commit);
    }
    all[2].waits(1_000);
    let told = log(&mut all[2]).split_off(before);
    let (one, two) =
        (format!("{epoch} to {}", epoch + 1), format!("{} to {}", epoch + 1, epoch + 2));
    let expected =
        [&one, "name", "withdrawn", &two, "1 removed, 0 left", "admins, name", "out, asked: false"];
    assert_eq!(told, expected);
    let shown = look(&mut all[2], &group);
    assert_eq!((shown.0, shown.1), (GroupState::Removed, epoch + 2));
    assert!(!shown.3.contains(&all[2].member.key()), "an admin no more");
    assert_eq!(all[2].member.info(&group).name, "there");
}

// shows: D6-1
/// Carol is put out, taken back by two commits of a rival, and then invited to what leads on from her removal: what lies
/// behind her is no damage.
#[test]
fn a_database_that_was_out_and_in_again_is_whole() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let key = all[2].member.key();
    let removal = all[0].member.engine.remove_members(&group, &[key]).unwrap();
    all[0].member.confirms(&removal);
    let rivals: Vec<Event> = (0..2)
        .map(|_| {
            let update = all[1].member.engine.self_update(&group).unwrap();
            all[1].member.confirms(&update);
            event(&update).clone()
        })
        .collect();
    for commit in [event(&removal), &rivals[0], &rivals[1]] {
        all[2].takes(commit);
    }
    all[2].waits(1_000);
    assert_eq!(look(&mut all[2], &group).0, GroupState::Active);
    let package = all[2].member.key_package();
    let added = all[0].member.engine.add_members(&group, &[package], false).unwrap();
    all[0].member.confirms(&added);
    let update = GroupUpdate { name: Some("later".into()), ..GroupUpdate::default() };
    let named = all[0].member.engine.update_group(&group, update).unwrap();
    all[0].member.confirms(&named);
    all[2].takes(event(&added));
    all[2].member.joins(&added.welcomes);
    all[2].takes(event(&named));
    for _ in 0..200 {
        all[2].waits(1_000);
    }
    for invite in all[2].member.engine.invites().unwrap() {
        all[2].member.engine.accept(&invite.id).unwrap();
    }
    all[2].takes(event(&named));
    all[2].waits(1_000);
    assert_eq!(all[2].member.info(&group).name, "later");
    let report = all[2].member.engine.verify(&mut Progress::none()).unwrap();
    assert!(report.is_intact(), "{:?}", report.logic);
}

/// While it is open whether the end of a group is final, its database is as whole as before, for who ended it and for whom
/// that put out.
#[test]
fn a_database_is_whole_while_a_group_of_it_ends() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let end = all[0].member.engine.disband(&group).unwrap();
    all[0].member.confirms(&end);
    for member in &mut all[1..] {
        member.takes(event(&end));
    }
    for settled in [false, true] {
        for member in &mut all {
            let report = member.member.engine.verify(&mut Progress::none()).unwrap();
            assert!(report.is_intact(), "{settled}: {:?}", report.logic);
            let events = member.member.engine.events(0, 100).unwrap();
            let ended = events.iter().any(|e| matches!(e.body, EventBody::Disbanded { .. }));
            assert_eq!(ended, settled);
            member.waits(1_000);
        }
    }
}

/// Who is said to have done what of the changes of members and settings that were told.
fn deeds(outcome: &Outcome) -> Vec<(String, Option<PublicKey>)> {
    let names = |keys: &BTreeSet<PublicKey>| keys.iter().map(PublicKey::to_hex).collect::<String>();
    let of = |body: &EventBody| match body {
        EventBody::MembersChanged { added, removed, left, by, .. } => {
            Some((format!("+{} -{} /{}", names(added), names(removed), names(left)), *by))
        }
        EventBody::GroupUpdated { changed, by, .. } => {
            Some((changed.iter().copied().collect(), *by))
        }
        _ => None,
    };
    outcome.events.iter().filter_map(|event| of(&event.body)).collect()
}

// shows: D7-3
/// Two admins change a group at once. What the loser had changed is taken back, which the winner has not done: it is
/// told without a name, and what the winner did is told by itself.
#[test]
fn what_is_taken_back_was_done_by_nobody() {
    for case in ["the loser adds", "the loser removes", "the loser renames", "both change members"]
    {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        let mut dave = Filed::new(place.path(), "dave", 9);
        let (winner, carol) = (all[0].member.key(), all[2].member.key());
        let named = |name: &str| GroupUpdate { name: Some(name.into()), ..GroupUpdate::default() };
        let package = dave.member.key_package();
        let engine = &mut all[1].member.engine;
        let lost = match case {
            "the loser removes" => engine.remove_members(&group, &[carol]),
            "the loser renames" => engine.update_group(&group, named("lost")),
            _ => engine.add_members(&group, std::slice::from_ref(&package), false),
        };
        let engine = &mut all[0].member.engine;
        let won = match case {
            "the loser renames" => engine.add_members(&group, &[package], false),
            "both change members" => engine.remove_members(&group, &[carol]),
            _ => engine.update_group(&group, named("won")),
        };
        let (lost, won) = (lost.unwrap(), won.unwrap());
        all[1].member.confirms(&lost);
        all[0].member.confirms(&won);
        let dave = dave.member.key().to_hex();
        let carol = carol.to_hex();
        let expected: Vec<(String, Option<PublicKey>)> = match case {
            "the loser adds" => vec![(format!("+ -{dave} /"), None), ("name".into(), Some(winner))],
            "the loser removes" => {
                vec![(format!("+{carol} - /"), None), ("name".into(), Some(winner))]
            }
            "the loser renames" => {
                vec![(format!("+{dave} - /"), Some(winner)), ("name".into(), None)]
            }
            _ => vec![(format!("+ -{dave} /"), None), (format!("+ -{carol} /"), Some(winner))],
        };
        for who in [1, 2] {
            if who == 2 {
                all[2].takes(event(&lost));
            }
            let mut told = deeds(&all[who].takes(event(&won)));
            told.extend(deeds(&all[who].waits(1_000)));
            assert_eq!(told, expected, "{case}, {who}");
        }
        assert_eq!(deeds(&all[0].takes(event(&lost))), [], "{case}");
        assert_eq!(deeds(&all[0].waits(1_000)), [], "{case}");
    }
}

/// What the branches have in common cannot be read any more: the winner is followed all the same, and nothing that is
/// different is said to be anybody's deed.
#[test]
fn who_did_what_is_not_known_when_the_fork_cannot_be_read() {
    for broken in [vec![], vec![7; 99]] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        let named = |name: &str| GroupUpdate { name: Some(name.into()), ..GroupUpdate::default() };
        let lost = all[1].member.engine.update_group(&group, named("lost")).unwrap();
        let key = all[1].member.key();
        let won = all[0].member.engine.demote(&group, &[key]).unwrap();
        all[0].member.confirms(&won);
        all[2].takes(event(&lost));
        all[2].takes(event(&won));
        let carol = all.pop().unwrap();
        let path = carol.path.clone();
        let carol = carol.closes();
        let database = DatabaseKey::Raw(Secret::new([7; 32]));
        let mut store = Store::open(&path, &database, &OpenOptions::default()).unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            let nodes = tx.nodes(&group)?;
            let rival = nodes.iter().find(|node| !node.canonical).unwrap();
            tx.set_node_state(&group, &rival.parent.unwrap(), &SecretVec::new(broken.clone()))
        });
        done.unwrap();
        drop(store);
        let mut carol = carol.opens();
        let told = carol.waits(1_000);
        assert_eq!(deeds(&told), [("adminsname".into(), None)], "{:?}", told.events);
        assert_eq!(carol.ends(&group).authenticator, all[0].ends(&group).authenticator);
    }
}
