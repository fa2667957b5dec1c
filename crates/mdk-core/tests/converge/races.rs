//! Three commits from one epoch and five messages among four members, in every order: all end in the same state,
//! and no message is gone.
//!
//! The gate takes some orders. The nightly run (`MDK_RACE_ORDERS=1`) takes every order of all eight events for a member that
//! has heard none of them, 40,320 orders, and every order of what each of the four that act has not heard;
//! `MDK_RACE_ORDERS=2` lets those hear their own ones too, which is 201,600. There is a restart between every two events: the
//! database is closed, copied and opened again, and each copy hears another event next, so that orders that begin alike share
//! what they share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mdk_core::{DeferredReason, Error, EventBody, Verdict};
use mdk_wire::{Event, GroupId};

use crate::kit::acts::rename;
use crate::kit::fork::{End, Filed, Rest, found, numbered, on_all_cores, orders};
use crate::kit::{event, folder};
use crate::sampling;

/// Four admins of one group and erin, who only listens; settled.
fn four(folder: &std::path::Path) -> (Vec<Filed>, GroupId) {
    let mut all = numbered(folder, &["alice", "bob", "carol", "dave", "erin"]);
    let group = found(&mut all, &[1, 2, 3]);
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
    let mut known = vec![vec![1, 2], vec![3, 4], vec![5, 6], vec![0], vec![]];
    if let Some(who) = dave_follows {
        members[3].member.applies(&events[1 + 2 * who].1.clone());
        events.push((3, members[3].member.says(&group, "with them")));
        known[3].extend([1 + 2 * who, 7]);
    }
    Race { members, group, events, known }
}

/// A member's way through the orders of what there is to hear.
struct Walk<'a> {
    events: &'a [(usize, Event)],
    group: &'a GroupId,
    known: &'a [usize],
    /// What it hears.
    heard: Vec<usize>,
    /// What all must come to.
    end: &'a Mutex<Option<End>>,
    lived: &'a AtomicUsize,
}

impl Walk<'_> {
    /// One event more, then time. In some tellings passes close between events, in others all falls into one.
    fn hears(&self, member: &mut Filed, order: &[usize]) {
        let at = order[order.len() - 1];
        let outcome = member.takes(&self.events[at].1);
        let expected = match &outcome.verdict {
            Verdict::Rejected(_) => false,
            verdict => !self.known.contains(&at) || *verdict == Verdict::Duplicate,
        };
        assert!(expected, "{order:?}: {outcome:?}");
        match [0, 300, 1_500][chance(order) % 3] {
            0 => {}
            gap => drop(member.waits(gap)),
        }
    }

    /// All was heard: time passes, and the member must have come to where all do.
    fn ends(&self, member: &mut Filed, order: &[usize]) {
        member.waits(1_000);
        member.waits(1_000);
        let reached = member.ends(self.group);
        let expected = self.end.lock().unwrap().get_or_insert_with(|| reached.clone()).clone();
        assert_eq!(reached, expected, "{}: {order:?}", member.member.name);
        // Nothing is left open, and commits of ours are let through again.
        if chance(order).is_multiple_of(8) {
            let own = member.member.engine.self_update(self.group).unwrap();
            member.member.engine.discard(own.id).unwrap();
        }
        self.lived.fetch_add(1, Ordering::Relaxed);
    }

    /// Every order that begins like this one. The member is at rest, and is opened for each event.
    fn every_order(&self, rest: &Rest, order: &mut Vec<usize>) {
        // Nothing of an earlier copy is left.
        let place = folder();
        for &next in &self.heard {
            if order.contains(&next) {
                continue;
            }
            let mut member = rest.copied(place.path()).opens();
            order.push(next);
            self.hears(&mut member, order);
            if order.len() == self.heard.len() {
                self.ends(&mut member, order);
                member.closes();
            } else {
                self.every_order(&member.closes(), order);
            }
            order.pop();
        }
    }

    /// One order, with restarts that nothing was prepared for.
    fn order(&self, rest: &Rest, order: &[usize]) {
        let place = folder();
        let mut member = rest.copied(place.path()).opens();
        for heard in 1..=order.len() {
            self.hears(&mut member, &order[..heard]);
            if chance(order).is_multiple_of(2) {
                member.restarts();
            }
        }
        self.ends(&mut member, order);
    }
}

/// Something accidental about an order, the same in every run.
fn chance(order: &[usize]) -> usize {
    let mixed = order
        .iter()
        .fold(7u64, |h, &at| (h ^ at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23));
    usize::try_from(mixed >> 40).unwrap()
}

/// Lives through orders of what there is to hear, for each member; returns the one end that all come to.
fn all_orders(race: &mut Race) -> End {
    let (end, lived) = (Mutex::new(None), AtomicUsize::new(0));
    let place = folder();
    let rests: Vec<Rest> = race.members.iter_mut().map(|m| m.at_rest(place.path())).collect();
    let (level, count) = (sampling::count("race_orders"), race.events.len());
    let walk = |who: usize| Walk {
        events: &race.events,
        group: &race.group,
        known: &race.known[who],
        heard: (0..count).filter(|e| level != 1 || !race.known[who].contains(e)).collect(),
        end: &end,
        lived: &lived,
    };
    let started = std::time::Instant::now();
    if level > 0 {
        // Each member's first two events give the work in parts.
        let parts: Vec<(usize, usize, usize)> = (0..rests.len() * count * count)
            .map(|n| (n / count / count, n / count % count, n % count))
            .filter(|&(who, first, second)| {
                let heard = walk(who).heard;
                first != second && heard.contains(&first) && heard.contains(&second)
            })
            .collect();
        on_all_cores(parts, |(who, first, second)| {
            let walk = walk(who);
            let (one, two) = (folder(), folder());
            let mut member = rests[who].copied(one.path()).opens();
            walk.hears(&mut member, &[first]);
            let mut member = member.closes().copied(two.path()).opens();
            walk.hears(&mut member, &[first, second]);
            walk.every_order(&member.closes(), &mut vec![first, second]);
            println!("{}, {first} and {second} first: {:?}", rests[who].name(), started.elapsed());
        });
        let all = (0..rests.len()).map(|who| (1..=walk(who).heard.len()).product::<usize>());
        assert!(lived.load(Ordering::Relaxed) == all.sum::<usize>());
    } else {
        let all = orders(count);
        let some: Vec<(usize, &[usize])> = (0..rests.len())
            .flat_map(|who| all.iter().step_by(all.len() / 12).map(move |o| (who, &o[..])))
            .collect();
        on_all_cores(some, |(who, order)| walk(who).order(&rests[who], order));
    }
    println!("{} orders in {:?}", lived.load(Ordering::Relaxed), started.elapsed());
    end.into_inner().unwrap().unwrap()
}

/// The privileged commits beat the ordinary one, and of the two that with the lower committer key.
#[test]
fn one_voice_each() {
    let place = folder();
    let mut race = race(place.path(), None);
    let end = all_orders(&mut race);
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
    let end = all_orders(&mut race);
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
    let due = |alice: &mut Filed| alice.member.engine.needs_self_update(86_400).unwrap();
    assert!(due(&mut alice).is_empty());
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
    // The keys of her leaf went with her commit.
    assert_eq!(due(&mut alice), std::slice::from_ref(&group));
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
