//! A long log with races in it, told in seeded orders with delays, duplicates and a clock of its own: always the same
//! final state and the same messages as in order.
//!
//! `MDK_SHUFFLES` says how many orders; the usual number is what a debug build does in a minute.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "kit/fork.rs"]
mod fork;
mod kit;

use std::path::Path;

use fork::{Dice, End, Filed, folder, number};
use mdk_core::{GroupUpdate, Verdict};
use mdk_wire::{Event, GroupId};

/// Members that act in rounds: often two at once, before they hear of each other.
struct Log {
    listener: Filed,
    group: GroupId,
    /// Round and event, as published.
    events: Vec<(usize, Event)>,
    end: End,
}

fn log(folder: &Path, before: &Path, rounds: usize, seed: u64) -> Log {
    let mut dice = Dice(seed);
    let mut all: Vec<Filed> = ["alice", "bob", "carol", "dave", "erin"]
        .into_iter()
        .zip(1..)
        .map(|(name, number)| Filed::new(folder, name, number))
        .collect();
    let (first, others) = all.split_at_mut(1);
    let mut others: Vec<_> = others.iter_mut().map(|m| &mut m.member).collect();
    let group = first[0].member.founds("before", &mut others);
    let keys: Vec<_> = others[..2].iter().map(|m| m.key()).collect();
    let promoted = first[0].member.engine.promote(&group, &keys).unwrap();
    first[0].member.confirms(&promoted);
    for member in others {
        member.applies(promoted.event.as_ref().unwrap());
    }
    all.iter_mut().for_each(|m| drop(m.waits(1_000)));
    // As it was before all this.
    let listener = all[4].copied(before);
    let mut events = Vec::new();
    for round in 0..rounds {
        // What everybody does before hearing anything of this round.
        let mut now: Vec<Event> = Vec::new();
        for (who, member) in all[..4].iter_mut().enumerate() {
            if dice.below(2) == 0 {
                now.push(member.member.says(&group, &format!("{round}: {who} before")));
            }
        }
        let committers = if dice.below(2) == 0 { 2 } else { 1 };
        for _ in 0..committers {
            let who = dice.below(4);
            if all[who].member.engine.pending().unwrap().iter().any(|p| p.event.is_some()) {
                continue;
            }
            let name = Some(format!("{round} by {who}"));
            let pending = if who < 3 && dice.below(3) > 0 {
                let update = GroupUpdate { name, ..GroupUpdate::default() };
                all[who].member.engine.update_group(&group, update)
            } else {
                all[who].member.engine.self_update(&group)
            };
            // A member that has committed already in this round stands on its own branch.
            let Ok(pending) = pending else { continue };
            all[who].member.confirms(&pending);
            now.push(pending.event.unwrap());
            if dice.below(2) == 0 {
                now.push(all[who].member.says(&group, &format!("{round}: {who} after")));
            }
        }
        for member in &mut all {
            for event in &now {
                let verdict = member.takes(event).verdict;
                assert!(!matches!(verdict, Verdict::Rejected(_)), "{verdict:?}");
            }
            member.waits(1_000);
            member.waits(1_000);
        }
        events.extend(now.into_iter().map(|event| (round, event)));
    }
    let ends: Vec<End> = all.iter_mut().map(|m| m.ends(&group)).collect();
    for end in &ends[..4] {
        let of = |end: &End| (end.epoch, end.context.clone(), end.authenticator.clone());
        assert_eq!(of(end), of(&ends[0]));
        assert_eq!(end.said, ends[0].said);
    }
    let end = ends[4].clone();
    assert_eq!(end, ends[0]);
    Log { listener, group, events, end }
}

#[test]
fn every_order_comes_to_the_same() {
    let shuffles = number("MDK_SHUFFLES", 20);
    let (place, before) = (folder(), folder());
    let mut log = log(place.path(), before.path(), number("MDK_ROUNDS", 48), 11);
    println!("{} events", log.events.len());
    assert!(log.end.said.iter().any(|(_, invalidated)| *invalidated), "there were races");
    for seed in 1..=shuffles as u64 {
        let mut dice = Dice(seed * 104_729);
        let place = folder();
        let mut listener = log.listener.copied(place.path());
        let mut told: Vec<(usize, usize)> = Vec::new();
        for (at, (round, _)) in log.events.iter().enumerate() {
            // Up to two rounds late, one in five told twice.
            told.push((round * 10 + dice.below(20), at));
            if dice.below(5) == 0 {
                told.push((round * 10 + dice.below(40), at));
            }
        }
        told.sort_unstable();
        for (_, at) in told {
            let verdict = listener.takes(&log.events[at].1).verdict;
            assert!(!matches!(verdict, Verdict::Rejected(_)), "seed {seed}: {verdict:?}");
            match dice.below(12) {
                0 => drop(listener.waits(1_100)),
                1 => drop(listener.waits(200)),
                // Clocks are set, sometimes back.
                2 => listener.member.clock.advance_millis(0u64.wrapping_sub(700)),
                3 if seed % 10 == 0 => listener.restarts(),
                _ => listener.member.clock.advance_millis(80),
            }
        }
        listener.member.engine.settle().unwrap();
        assert_eq!(listener.ends(&log.group), log.end, "seed {seed}");
    }
}

/// Who comes back after it all and gets it in one batch, in any order, ends where those ended who heard it live: a
/// member that waits and one that applies at once agree.
#[test]
fn one_batch_comes_to_the_same() {
    let (place, before) = (folder(), folder());
    let mut log = log(place.path(), before.path(), 24, 23);
    for (seed, size) in [(0, 1_000), (1, 1_000), (2, 1_000), (3, 40), (4, 40)] {
        let place = folder();
        let mut listener = log.listener.copied(place.path());
        let mut events: Vec<String> = log.events.iter().map(|(_, e)| e.to_json()).collect();
        if seed == 1 {
            events.reverse();
        } else if seed > 1 {
            Dice(seed).shuffles(&mut events);
        }
        for batch in events.chunks(size) {
            let batch: Vec<&[u8]> = batch.iter().map(String::as_bytes).collect();
            listener.member.engine.process_many(&batch).unwrap();
        }
        listener.member.engine.settle().unwrap();
        assert_eq!(listener.ends(&log.group), log.end, "seed {seed}");
    }
}
