//! What a race costs: two commits from one epoch, chosen between, against one commit that nobody contests.

use mdk_core::{Verdict, testing};
use mdk_wire::Event;

use crate::kit::Member;
use crate::kit::folder;
use crate::kit::fork::{Filed, numbered};

/// The steps of MLS that a watcher takes to follow these.
fn steps_of(watcher: &mut Filed, events: &[&Event]) -> u64 {
    let before = testing::mls_steps();
    for event in events {
        let verdict = watcher.takes(event).verdict;
        assert!(!matches!(verdict, Verdict::Rejected(_)));
    }
    watcher.waits(1_000);
    testing::mls_steps() - before
}

#[test]
fn a_fork_of_two_costs_a_few_commits() {
    let place = folder();
    let mut all = numbered(place.path(), &["alice", "bob", "carol"]);
    all.sort_by_key(|m| m.member.engine.public_key());
    let mut crowd: Vec<Member> = (0..17).map(|_| Member::new("crowd")).collect();
    let (first, others) = all.split_at_mut(1);
    let mut members: Vec<_> = others.iter_mut().map(|m| &mut m.member).collect();
    members.extend(crowd.iter_mut());
    let group = first[0].member.founds("g", &mut members);
    // The last one watches; of the other two the first one's commits win.
    for round in 0..4 {
        let commit = all[0].member.engine.self_update(&group).unwrap();
        all[0].member.confirms(&commit);
        let commit = commit.event.unwrap();
        all[1].takes(&commit);
        all[1].waits(1_000);
        let plain = steps_of(&mut all[2], &[&commit]);

        let better = all[0].member.engine.self_update(&group).unwrap();
        let worse = all[1].member.engine.self_update(&group).unwrap();
        all[0].member.confirms(&better);
        all[1].member.engine.discard(worse.id).unwrap();
        let (better, worse) = (better.event.unwrap(), worse.event.unwrap());
        // The winner first, and the winner last: then the group has to change over.
        let order = if round % 2 == 0 { [&better, &worse] } else { [&worse, &better] };
        let fork = steps_of(&mut all[2], &order);
        println!("one commit {plain} steps, a fork {fork}");
        assert!(plain > 0 && fork <= 3 * plain, "{fork} against {plain}");
        all[1].takes(&better);
        all[0].takes(&worse);
        all.iter_mut().for_each(|m| drop(m.waits(1_000)));
        let end = all[0].ends(&group);
        assert_eq!(all[2].ends(&group), end);
    }
}
