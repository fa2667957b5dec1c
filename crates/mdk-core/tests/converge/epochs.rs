//! Five epochs are kept: branches are chosen among their states, and late messages are read from them.

use mdk_core::{Verdict, testing};
use mdk_wire::{Event, GroupId};

use crate::kit::{Member, received, unhurried};

fn member(name: &'static str) -> Member {
    Member::with(name, unhurried())
}

fn waits(member: &mut Member) {
    member.clock.advance_millis(10_000);
    member.engine.tick().unwrap();
}

/// Commits one after the other, by somebody who has heard of nothing else meanwhile.
fn line(member: &mut Member, group: &GroupId, length: usize) -> Vec<Event> {
    let mut commits = Vec::new();
    for _ in 0..length {
        let pending = member.engine.self_update(group).unwrap();
        member.confirms(&pending);
        commits.push(pending.event.unwrap());
        waits(member);
    }
    commits
}

// rule: E2-2
/// A member who was alone with up to five commits, while others made one more, goes where they are.
#[test]
fn a_race_of_up_to_five_commits_is_followed() {
    for length in [1, 4, 5] {
        let (mut alice, mut bob) = (member("alice"), member("bob"));
        let group = alice.founds("g", &mut [&mut bob]);
        [&mut alice, &mut bob].into_iter().for_each(waits);
        let here = line(&mut bob, &group, length);
        let there = line(&mut alice, &group, length + 1);
        there.iter().for_each(|commit| drop(bob.takes(commit)));
        here.iter().for_each(|commit| drop(alice.takes(commit)));
        for member in [&mut alice, &mut bob] {
            waits(member);
            member.engine.settle().unwrap();
        }
        let ends = [&mut alice, &mut bob]
            .map(|m| testing::state(&mut m.engine, &group).unwrap().authenticator);
        assert_eq!(ends[0], ends[1], "{length} commits");
        let said = alice.says(&group, "together");
        assert_eq!(received(&bob.applies(&said)), ["together"]);
    }
}

// shows: E2-2, B4-11
/// Late messages are read up to five epochs later, each once, and one that does not decrypt there is refused.
#[test]
fn late_messages_are_read_from_the_retained_states() {
    let (mut alice, mut bob) = (member("alice"), member("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    [&mut alice, &mut bob].into_iter().for_each(waits);
    let mut said = Vec::new();
    for epoch in 0..6 {
        let texts = ["first", "second"].map(|which| format!("{which} of {epoch}"));
        let [first, second] = [&texts[0], &texts[1]].map(|text| alice.says(&group, text));
        // One that comes in its time, and one that comes late.
        assert_eq!(received(&bob.applies(&second)), [texts[1].as_str()]);
        said.push((first, second, texts[0].clone()));
        if epoch < 5 {
            for commit in line(&mut alice, &group, 1) {
                bob.applies(&commit);
            }
            waits(&mut bob);
        }
    }
    for (first, second, text) in &said {
        assert_eq!(received(&bob.applies(first)), [text.as_str()]);
        for again in [first, second] {
            assert_eq!(bob.takes(again).verdict, Verdict::Duplicate, "{text}");
        }
    }
}
