//! The cost of passing time for an account in which nothing is due.

use mdk_core::Verdict;
use mdk_wire::GroupId;

use crate::kit::{Member, steps};

/// Steps of a tick for which nothing is due.
fn idle(member: &mut Member) -> u64 {
    let before = steps::so_far(&mut member.engine);
    let outcome = member.engine.tick().unwrap();
    assert_eq!((outcome.events.len(), outcome.reply.len()), (0, 0));
    steps::so_far(&mut member.engine) - before
}

fn founds_many(member: &mut Member, count: usize) -> Vec<GroupId> {
    (0..count).map(|_| member.founds("g", &mut [])).collect()
}

#[test]
fn an_idle_tick_costs_the_same_with_ten_times_the_groups() {
    let mut costs = [10, 100].map(|count| {
        let mut alice = Member::new("alice");
        let groups = founds_many(&mut alice, count);
        // The first one looks at all groups, the second one at what was written until then.
        for _ in 0..2 {
            idle(&mut alice);
        }
        let nothing = idle(&mut alice);
        // One group that something happens in is looked at, and no other.
        alice.says(&groups[0], "hi");
        let commit = alice.engine.self_update(&groups[0]).unwrap();
        alice.confirms(&commit);
        let one = idle(&mut alice);
        (nothing, one)
    });
    println!("{costs:?}");
    costs.sort_unstable();
    let [few, many] = costs;
    assert!(many.0 <= few.0 + 50, "{costs:?}");
    assert!(many.1 <= few.1 + 50, "{costs:?}");
}

#[test]
fn what_waits_in_one_group_of_many_is_not_overlooked() {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    founds_many(&mut alice, 12);
    let group = bob.founds("shared", &mut [&mut alice]);
    for _ in 0..3 {
        idle(&mut alice);
    }
    let commit = bob.engine.self_update(&group).unwrap();
    let commit_event = commit.event.clone().unwrap();
    bob.confirms(&commit);
    let said = bob.says(&group, "early");
    assert!(matches!(alice.takes(&said).verdict, Verdict::Deferred(_)));
    idle(&mut alice);
    alice.applies(&commit_event);
    alice.engine.tick().unwrap();
    assert_eq!(alice.texts(&group), ["early"]);
}
