//! A long log with races in it, told in seeded orders with delays, duplicates and a clock of its own: always the same
//! final state and the same messages as in order.
//!
//! `log_orders` of tests/sampling.json says how many families of five orders.

use std::path::Path;

use mdk_core::{GroupUpdate, Verdict};
use mdk_wire::{Event, GroupId};

use crate::kit::dice::Dice;
use crate::kit::folder;
use crate::kit::fork::{End, Filed, Rest, found, numbered, on_all_cores};
use crate::sampling;

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
    let mut all = numbered(folder, &["alice", "bob", "carol", "dave", "erin"]);
    let group = found(&mut all, &[1, 2]);
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

/// Orders that share how they begin.
const FAMILY: u64 = 5;

#[test]
fn every_order_comes_to_the_same() {
    let (place, before) = (folder(), folder());
    let mut log = log(place.path(), before.path(), 48, 11);
    println!("{} events", log.events.len());
    assert!(log.end.said.iter().any(|(_, invalidated)| *invalidated), "there were races");
    let copies = folder();
    let listener = log.listener.at_rest(copies.path());
    let started = std::time::Instant::now();
    let told = Told { events: log.events, group: log.group, end: log.end };
    let seeds = sampling::seeds("log_orders");
    let orders = seeds.len() as u64 * FAMILY;
    on_all_cores(seeds, |seed| told.family(&listener, seed));
    println!("{orders} orders in {:?}", started.elapsed());
}

/// What is told, and what must come of it.
struct Told {
    events: Vec<(usize, Event)>,
    group: GroupId,
    end: End,
}

impl Told {
    /// Tells the first half in an order of its own, and from there the rest in several.
    fn family(&self, listener: &Rest, seed: u64) {
        let mut dice = Dice(seed * 104_729);
        let middle = self.events[self.events.len() / 2].0 * 10;
        let mut told: Vec<(usize, usize)> = Vec::new();
        // How late it may be told, for what is told later.
        let mut later: Vec<(usize, usize)> = Vec::new();
        for (at, (round, _)) in self.events.iter().enumerate() {
            // Up to two rounds late, one in five told twice.
            let twice = dice.below(5) == 0;
            for late in [20, 40].into_iter().take(1 + usize::from(twice)) {
                match round * 10 + dice.below(late) {
                    time if time < middle => told.push((time, at)),
                    _ => later.push((late, at)),
                }
            }
        }
        told.sort_unstable();
        let place = folder();
        let mut member = listener.copied(place.path()).opens();
        self.tell(&mut member, &told, &mut dice, &format!("seed {seed}"));
        let middle_of_it = member.closes();
        for child in 0..FAMILY {
            let mut dice = Dice(seed * 104_729 + (child + 1) * 15_485_863);
            let mut told: Vec<(usize, usize)> = later
                .iter()
                .map(|&(late, at)| ((self.events[at].0 * 10 + dice.below(late)).max(middle), at))
                .collect();
            told.sort_unstable();
            let place = folder();
            let mut member = middle_of_it.copied(place.path()).opens();
            let name = format!("seed {seed}, child {child}");
            self.tell(&mut member, &told, &mut dice, &name);
            member.member.engine.settle().unwrap();
            assert_eq!(member.ends(&self.group), self.end, "{name}");
        }
    }

    fn tell(&self, member: &mut Filed, told: &[(usize, usize)], dice: &mut Dice, name: &str) {
        let often = dice.below(10) == 0;
        for (_, at) in told {
            // Verified when the log was written.
            let event = self.events[*at].1.clone();
            let verdict = member.member.engine.process_event(event).unwrap().verdict;
            assert!(!matches!(verdict, Verdict::Rejected(_)), "{name}: {verdict:?}");
            match dice.below(12) {
                0 => drop(member.waits(1_100)),
                1 => drop(member.waits(200)),
                // Clocks are set, sometimes back.
                2 => member.member.clock.advance_millis(0u64.wrapping_sub(700)),
                3 if often => member.restarts(),
                _ => member.member.clock.advance_millis(80),
            }
        }
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
