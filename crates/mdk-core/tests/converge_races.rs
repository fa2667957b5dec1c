//! Three commits from one epoch and five messages among four members, in every order: all end in the same state,
//! and no message is gone.
//!
//! `MDK_RACES=1` lives through every order with a restart between every two events; the gate takes every so many.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "kit/fork.rs"]
mod fork;
mod kit;

use fork::{End, Filed, folder, number, orders};
use mdk_core::{DeferredReason, Error, EventBody, GroupUpdate, Pending, Verdict};
use mdk_wire::{Event, GroupId};

fn event(pending: &Pending) -> &Event {
    pending.event.as_ref().unwrap()
}

fn rename(member: &mut Filed, group: &GroupId, name: &str) -> Pending {
    let update = GroupUpdate { name: Some(name.into()), ..GroupUpdate::default() };
    member.member.engine.update_group(group, update).unwrap()
}

/// Four admins of one group, settled.
fn four(folder: &std::path::Path) -> (Vec<Filed>, GroupId) {
    let mut all: Vec<Filed> = ["alice", "bob", "carol", "dave"]
        .into_iter()
        .zip(1..)
        .map(|(name, number)| Filed::new(folder, name, number))
        .collect();
    let (first, others) = all.split_at_mut(1);
    let mut others: Vec<_> = others.iter_mut().map(|m| &mut m.member).collect();
    let group = first[0].member.founds("before", &mut others);
    let keys: Vec<_> = others.iter().map(|m| m.key()).collect();
    let promoted = first[0].member.engine.promote(&group, &keys).unwrap();
    first[0].member.confirms(&promoted);
    for member in others {
        member.applies(event(&promoted));
    }
    for member in &mut all {
        member.waits(1_000);
    }
    (all, group)
}

/// What each member has done before it hears of the others, and what there is to hear.
struct Race {
    members: Vec<Filed>,
    group: GroupId,
    /// Who made it (for messages and commits), and the event.
    events: Vec<(usize, Event)>,
    /// Indices of events that a member knows at the start.
    known: Vec<Vec<usize>>,
}

/// Alice renames, bob and carol update themselves; each says something then. Dave follows one of them first.
fn race(folder: &std::path::Path, dave_follows: Option<usize>) -> Race {
    let (mut members, group) = four(folder);
    let mut events = Vec::new();
    events.push((3, members[3].member.says(&group, "before it all")));
    let mut commits = vec![rename(&mut members[0], &group, "alice's")];
    commits.push(members[1].member.engine.self_update(&group).unwrap());
    commits.push(rename(&mut members[2], &group, "carol's"));
    for (who, commit) in commits.iter().enumerate() {
        members[who].member.confirms(commit);
        events.push((who, event(commit).clone()));
        let text = format!("on the branch of {}", members[who].member.name);
        events.push((who, members[who].member.says(&group, &text)));
    }
    let mut known = vec![vec![1, 2], vec![3, 4], vec![5, 6], vec![0]];
    if let Some(who) = dave_follows {
        members[3].member.applies(&events[1 + 2 * who].1.clone());
        events.push((3, members[3].member.says(&group, "with them")));
        known[3].extend([1 + 2 * who, 7]);
    }
    Race { members, group, events, known }
}

/// Lives through orders of what each member has not heard; returns the one end that all come to.
fn all_orders(race: &mut Race, every: usize, restart_every: usize) -> End {
    let mut end: Option<End> = None;
    let mut lived = 0;
    for who in 0..4 {
        let unknown: Vec<usize> =
            (0..race.events.len()).filter(|e| !race.known[who].contains(e)).collect();
        for (n, order) in orders(unknown.len()).into_iter().enumerate() {
            if n % every != 0 {
                continue;
            }
            let place = folder();
            let mut member = race.members[who].copied(place.path());
            let restarts = lived % restart_every == 0;
            // In some tellings passes close between events, in others all falls into one.
            let gap = [0, 300, 1_500][lived % 3];
            lived += 1;
            for at in order {
                let event = &race.events[unknown[at]].1;
                let outcome = member.takes(event);
                assert!(!matches!(outcome.verdict, Verdict::Rejected(_)), "{outcome:?}");
                if restarts {
                    member.restarts();
                }
                if gap > 0 {
                    member.waits(gap);
                }
            }
            member.waits(1_000);
            member.waits(1_000);
            let reached = member.ends(&race.group);
            let expected = end.get_or_insert_with(|| reached.clone());
            assert_eq!(reached, *expected, "member {who}, order {n}, gap {gap}");
            // Nothing is left open, and commits of ours are let through again.
            let own = member.member.engine.self_update(&race.group).unwrap();
            member.member.engine.discard(own.id).unwrap();
        }
    }
    println!("{lived} orders");
    end.unwrap()
}

fn exhaustive() -> bool {
    number("MDK_RACES", 0) > 0
}

/// The privileged commits beat the ordinary one, and of the two that with the lower committer key.
#[test]
fn one_voice_each() {
    let place = folder();
    let mut race = race(place.path(), None);
    let (every, restarts) = if exhaustive() { (1, 1) } else { (37, 4) };
    let end = all_orders(&mut race, every, restarts);
    let keys: Vec<_> = race.members.iter().map(|m| m.member.engine.public_key()).collect();
    let winner = if keys[0] < keys[2] { "alice" } else { "carol" };
    assert_eq!(end.name, format!("{winner}'s"));
    assert_eq!(end.said.len(), 4, "0 messages deleted");
    for (text, invalidated) in &end.said {
        assert_eq!(*invalidated, text.starts_with("on") && !text.ends_with(winner), "{text}");
    }
}

// shows: E5-4, E5-9
/// Two speakers on a branch outweigh who made it, and an ordinary commit wins over privileged ones.
#[test]
fn a_quorum_decides() {
    let place = folder();
    let mut race = race(place.path(), Some(1));
    let (every, restarts) = if exhaustive() { (1, 1) } else { (37, 4) };
    let end = all_orders(&mut race, every, restarts);
    assert_eq!(end.name, "before");
    assert_eq!(end.said.len(), 5, "0 messages deleted");
    let kept = ["before it all", "on the branch of bob", "with them"];
    for (text, invalidated) in &end.said {
        assert_eq!(*invalidated, !kept.contains(&text.as_str()), "{text}");
    }
}

// shows: E5-6
/// What a member is told on its way to another branch, in order.
#[test]
fn what_is_told() {
    let place = folder();
    let mut race = race(place.path(), Some(1));
    let group = race.group.clone();
    let elsewhere = folder();
    let mut alice = race.members[0].copied(elsewhere.path());
    let mut told = Vec::new();
    for at in [3, 4, 7] {
        let outcome = alice.takes(&race.events[at].1);
        assert_eq!(outcome.verdict, Verdict::Deferred(DeferredReason::Rival));
        told.extend(outcome.events);
    }
    assert!(told.is_empty(), "nothing before the choice");
    assert!(
        matches!(alice.member.engine.self_update(&group), Err(Error::Settling { millis: 1_000 })),
        "no commit meanwhile"
    );
    alice.member.clock.advance_millis(999);
    assert!(alice.member.engine.tick().unwrap().events.is_empty());
    assert!(matches!(alice.member.engine.self_update(&group), Err(Error::Settling { millis: 1 })));
    let events = alice.waits(1).events;
    let bodies: Vec<&EventBody> = events.iter().map(|e| &e.body).collect();
    assert!(
        matches!(
            bodies.as_slice(),
            [
                EventBody::ChangeWithdrawn { .. },
                EventBody::GroupUpdated { .. },
                EventBody::MessagesInvalidated { message_ids },
                EventBody::MessageReceived { message: first },
                EventBody::MessageReceived { message: second },
            ] if message_ids.len() == 1
                && first.text == "on the branch of bob"
                && second.text == "with them"
        ),
        "{bodies:?}"
    );
    // The log says the same to whoever asks later.
    let log = alice.member.engine.events(0, 1_000).unwrap();
    assert!(log.ends_with(&events));
    // Told once: the same events again change nothing.
    let before = alice.member.engine.digest().unwrap();
    for at in [1, 3, 4, 7] {
        assert_eq!(alice.takes(&race.events[at].1).verdict, Verdict::Duplicate);
    }
    assert!(alice.member.engine.digest().unwrap() == before);
}
