//! How many epochs are kept: of states always five, whatever keys of messages the live group is to have.

use mdk_core::testing;
use mdk_wire::{Event, GroupId};

use crate::kit::{Member, received, unhurried};

fn member(name: &'static str, past: u32) -> Member {
    let mut config = unhurried();
    config.max_past_epochs = past;
    Member::with(name, config)
}

fn waits(member: &mut Member) {
    member.clock.advance_millis(10_000);
    member.engine.tick().unwrap();
}

/// Commits one after the other, by somebody who has heard of nothing else meanwhile.
fn line(member: &mut Member, group: &GroupId, length: usize) -> Vec<Event> {
    let mut commits = Vec::new();
    for _ in 0..length {
        commits.extend(member.updates(group, &mut []).event);
        waits(member);
    }
    commits
}

// rule: E2-2
/// Whoever keeps the keys of few epochs in its group is alone with up to five commits, while others make one more: it
/// goes where they are, as everybody else does.
#[test]
fn a_race_is_followed_whatever_keys_are_kept() {
    for past in [1, 3, 5] {
        for length in [1, 4, 5] {
            let (mut alice, mut bob) = (member("alice", 5), member("bob", past));
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
            assert_eq!(ends[0], ends[1], "{past} epochs, {length} commits");
            let said = alice.says(&group, "together");
            assert_eq!(received(&bob.applies(&said)), ["together"]);
        }
    }
}

// shows: E2-2
/// What was said up to five epochs ago is read, also where the live group has not kept its keys: the states that are
/// kept have them.
#[test]
fn late_messages_are_read_whatever_keys_are_kept() {
    for past in [1, 3, 5] {
        let (mut alice, mut bob) = (member("alice", 5), member("bob", past));
        let group = alice.founds("g", &mut [&mut bob]);
        [&mut alice, &mut bob].into_iter().for_each(waits);
        let mut said = Vec::new();
        for epoch in 0..6 {
            let texts = ["first", "second"].map(|which| format!("{which} of {epoch}"));
            let [first, second] = [&texts[0], &texts[1]].map(|text| alice.says(&group, text));
            // One that comes in its time, and one that comes late.
            assert_eq!(received(&bob.applies(&second)), [texts[1].as_str()]);
            said.push((first, texts[0].clone()));
            if epoch < 5 {
                for commit in line(&mut alice, &group, 1) {
                    bob.applies(&commit);
                }
                waits(&mut bob);
            }
        }
        for (event, text) in &said {
            assert_eq!(received(&bob.applies(event)), [text.as_str()], "{past}");
        }
    }
}
