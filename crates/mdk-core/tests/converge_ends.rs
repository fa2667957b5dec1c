//! Two ends of a group, or an end and something else, at one time: what each member is told and shown.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "kit/fork.rs"]
mod fork;
mod kit;

use std::collections::BTreeSet;

use fork::{Filed, folder, two_admins_and};
use mdk_core::{EventBody, GroupState, Outcome, Pending};
use mdk_wire::{ContentId, Event, GroupId, PublicKey};

fn event(pending: &Pending) -> &Event {
    pending.event.as_ref().unwrap()
}

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
        assert_eq!(names, ["withdrawn", "members", "settings", "disbanded"], "{place}");
        let commits: Vec<_> = told(&outcome).into_iter().map(|(_, commit)| commit).collect();
        assert!(commits[0] != commits[1] && commits[1] == commits[2], "{place}");
        let changed = outcome.events.iter().any(|event| {
            matches!(&event.body, EventBody::MembersChanged { added, removed, by, .. }
                if *by == Some(winner) && *added == BTreeSet::from([winner])
                    && *removed == BTreeSet::from([loser]))
        });
        assert!(changed, "{place}: {:?}", outcome.events);
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
