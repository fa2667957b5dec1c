//! Seeded worlds with members who have prepared commits before they are removed: alone or together, as members or admins,
//! published in parts and in any order, while honest members are away, start again and speak.
//!
//! `hostile_worlds` of tests/sampling.json says how many.

use std::collections::{BTreeMap, BTreeSet};

use mdk_core::{Clock, EventBody, GroupState, Outcome};
use mdk_wire::{Event, GroupId, PublicKey};

use crate::kit::dice::Dice;
use crate::kit::fork::{Filed, found, later, on_all_cores};
use crate::kit::{chat, folder, named, unhurried};
use crate::sampling;

/// An honest member, and what it has of the events of the world.
struct Honest {
    member: Filed,
    /// Events that it has not got yet, by their places.
    missing: Vec<usize>,
    away: bool,
    /// Who was out when it had settled where it is, and the epochs in which that was seen first and last.
    out: BTreeMap<PublicKey, (u64, u64)>,
    was_out: BTreeSet<PublicKey>,
    /// Those of them whose removal was followed for so long that a rival of it is no race of the moment.
    settled: BTreeSet<PublicKey>,
    /// When the removal of an account was followed here, Unix milliseconds.
    followed_at: BTreeMap<PublicKey, u64>,
    /// Of whom it was told that they are back.
    told: BTreeSet<PublicKey>,
}

struct World {
    seed: u64,
    dice: Dice,
    group: GroupId,
    events: Vec<Event>,
    honest: Vec<Honest>,
    /// What the hostile ones have prepared.
    prepared: Vec<Event>,
    hostile: Vec<PublicKey>,
    /// Whom alice has put out.
    put_out: Vec<PublicKey>,
    /// One of the prepared commits removes alice.
    strikes: bool,
    _places: [tempfile::TempDir; 2],
}

const HONEST: [&str; 4] = ["alice", "bob", "carol", "dave"];
const HOSTILE: [&str; 3] = ["mallory", "trudy", "oscar"];

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let places = [folder(), folder()];
        let number = |at: usize| u8::try_from(at + 1).unwrap();
        // Their numbers decide their keys, and these the ties.
        let mut numbers: Vec<u8> = (0..40).map(number).collect();
        dice.shuffles(&mut numbers);
        let names = HONEST.iter().chain(&HOSTILE[..=dice.below(3)]);
        let mut all: Vec<Filed> = names
            .zip(&numbers)
            .map(|(name, number)| Filed::new(places[0].path(), name, *number))
            .collect();
        let admin = dice.below(3) == 0;
        let group = found(&mut all, if admin { &[1, 4] } else { &[1] });
        later(&mut all, 10_000);
        let hostile = all.split_off(HONEST.len());
        let keys = hostile.iter().map(|one| one.key()).collect();
        let mut kept: Vec<Filed> =
            hostile.into_iter().map(|mut one| one.copied(places[1].path())).collect();
        let strikes = admin && dice.below(3) == 0;
        let alice = all[0].key();
        let prepared = prepare(&mut kept, &mut dice, &group, strikes.then_some(alice));
        let honest = |member: Filed| Honest {
            member,
            missing: Vec::new(),
            away: false,
            out: BTreeMap::new(),
            was_out: BTreeSet::new(),
            settled: BTreeSet::new(),
            followed_at: BTreeMap::new(),
            told: BTreeSet::new(),
        };
        Self {
            seed,
            dice,
            group,
            events: Vec::new(),
            honest: all.into_iter().map(honest).collect(),
            prepared,
            hostile: keys,
            put_out: Vec::new(),
            strikes,
            _places: places,
        }
    }

    fn publishes(&mut self, event: Event) {
        if self.events.iter().all(|known| known.id() != event.id()) {
            for honest in &mut self.honest {
                honest.missing.push(self.events.len());
            }
            self.events.push(event);
        }
    }

    fn heeds(&mut self, who: usize, outcome: Outcome) {
        let honest = &mut self.honest[who];
        let now = honest.member.clock.now_millis();
        for event in outcome.events {
            match event.body {
                EventBody::RemovalUndone { account, .. } => drop(honest.told.insert(account)),
                EventBody::MembersChanged { removed, .. } => {
                    honest.followed_at.extend(removed.into_iter().map(|account| (account, now)));
                }
                _ => {}
            }
        }
        outcome.reply.into_iter().for_each(|event| self.publishes(event));
    }

    /// Alice puts one of them out, or several, or takes a role away.
    fn removes(&mut self) {
        let mut whom = self.hostile.clone();
        whom.truncate(1 + self.dice.below(self.hostile.len()));
        let (seal, group) = (self.dice.below(2) == 0, self.group.clone());
        let alice = &mut self.honest[0].member;
        let admin = alice.info(&group).admins.contains(&whom[0]);
        let engine = &mut alice.engine;
        let pending = match (admin && self.dice.below(3) == 0, seal) {
            (true, true) => engine.demote_and_seal(&group, &whom[..1]),
            (true, false) => engine.demote(&group, &whom[..1]),
            (false, true) => engine.remove_and_seal(&group, &whom),
            (false, false) => engine.remove_members(&group, &whom),
        };
        let pending = pending.unwrap();
        alice.confirms(&pending);
        let left: BTreeSet<PublicKey> = accounts(alice, &group);
        self.put_out = whom.into_iter().filter(|who| !left.contains(who)).collect();
        let now = alice.clock.now_millis();
        self.honest[0].followed_at.extend(self.put_out.iter().map(|who| (*who, now)));
        self.publishes(pending.event.unwrap());
    }

    /// Gives a member what it has not got: in an order of its own, in one call or in several.
    fn reads(&mut self, who: usize) {
        let mut missing = std::mem::take(&mut self.honest[who].missing);
        if self.dice.below(2) == 0 {
            self.dice.shuffles(&mut missing);
        }
        let batch = self.dice.below(2) == 0;
        let events: Vec<Event> = missing.iter().map(|at| self.events[*at].clone()).collect();
        if batch {
            let outcomes = self.honest[who].member.takes_all(&events);
            outcomes.into_iter().for_each(|outcome| self.heeds(who, outcome));
        } else {
            for event in &events {
                let outcome = self.honest[who].member.takes(event);
                self.heeds(who, outcome);
                if self.dice.below(8) == 0 {
                    let outcome = self.honest[who].member.waits(400);
                    self.heeds(who, outcome);
                }
            }
        }
    }

    fn acts(&mut self, who: usize) {
        let (group, what) = (self.group.clone(), self.dice.below(10));
        let engine = &mut self.honest[who].member.engine;
        let made = match what {
            0 | 1 => engine.create_message(&group, chat("hello")).ok().map(|sent| sent.event),
            2 if who < 2 => engine.update_group(&group, named("other")).ok().map(|pending| {
                engine.confirm(pending.id).unwrap();
                pending.event.unwrap()
            }),
            _ => None,
        };
        made.into_iter().for_each(|event| self.publishes(event));
    }

    fn round(&mut self, last: bool) {
        for who in 0..self.honest.len() {
            if self.dice.below(4) == 0 {
                self.honest[who].away = !self.honest[who].away;
            }
            if self.dice.below(12) == 0 {
                self.honest[who].member.restarts();
            }
            // (who removes somebody stays: nobody else makes it again)
            if who > 0 && self.honest[who].away && !last {
                self.honest[who].member.clock.advance_millis(7_000);
                continue;
            }
            self.reads(who);
            if !last {
                self.acts(who);
            }
            let outcome = self.honest[who].member.waits(7_000);
            self.heeds(who, outcome);
            self.looks(who);
        }
    }

    /// What must be true of a member that has settled where it is.
    fn looks(&mut self, who: usize) {
        let (seed, group) = (self.seed, self.group.clone());
        let honest = &mut self.honest[who];
        let info = honest.member.info(&group);
        if info.state != GroupState::Active || self.strikes {
            return;
        }
        let there = accounts(&mut honest.member, &group);
        let now = honest.member.clock.now_millis();
        for account in &self.put_out {
            if there.contains(account) {
                let name = honest.member.name;
                let Some((since, last)) = honest.out.remove(account) else { continue };
                assert!(last < since + 5, "seed {seed}: {name} has him back, who was out of reach");
                let raced = !honest.settled.remove(account);
                let told = honest.told.contains(account);
                assert!(raced || told, "seed {seed}: {name} was told nothing");
            } else {
                honest.out.entry(*account).or_insert((info.epoch, 0)).1 = info.epoch;
                honest.was_out.insert(*account);
                honest.told.remove(account);
                if now >= honest.followed_at[account] + unhurried().settling.quiet_millis {
                    honest.settled.insert(*account);
                }
            }
        }
    }

    /// Everybody has everything, and what is made of it.
    fn ends(&mut self) {
        for event in std::mem::take(&mut self.prepared) {
            self.publishes(event);
        }
        for _ in 0..14 {
            self.round(true);
        }
        let (seed, group) = (self.seed, self.group.clone());
        let mut views = Vec::new();
        for honest in &mut self.honest {
            let info = honest.member.info(&group);
            // (who is out of it has no state to compare)
            let inside = info.state == GroupState::Active;
            let auth = inside.then(|| honest.member.ends(&group).authenticator);
            let there = accounts(&mut honest.member, &group);
            let back = self.put_out.iter().any(|who| there.contains(who));
            views.push((honest.member.name, info, auth, back));
        }
        let alice = &views[0];
        // What is undone before it has settled is told as withdrawn, and nobody makes it again.
        let raced = self.put_out.iter().any(|who| !self.honest[0].was_out.contains(who));
        if !self.strikes {
            assert!(!alice.3 || raced, "seed {seed}: alice has put them out again");
        }
        for (name, info, auth, back) in &views {
            let sure = info.state == GroupState::Active && !info.removals.contested;
            let same = *auth == alice.2
                || alice.1.removals.contested
                || alice.1.state != GroupState::Active;
            assert!(!sure || same, "seed {seed}: {name} is elsewhere and does not know it");
            let known = !sure || !back || self.strikes || raced;
            assert!(known, "seed {seed}: {name} has them back");
        }
    }
}

fn accounts(member: &mut Filed, group: &GroupId) -> BTreeSet<PublicKey> {
    member.engine.members(group).unwrap().into_iter().map(|member| member.public_key).collect()
}

/// Commits one on the other, by any of them; the last one may remove somebody.
fn prepare(
    kept: &mut [Filed],
    dice: &mut Dice,
    group: &GroupId,
    whom: Option<PublicKey>,
) -> Vec<Event> {
    let (mut made, together) = (Vec::new(), dice.below(2) == 0);
    for _ in 0..1 + dice.below(9) {
        let by = if together { dice.below(kept.len()) } else { 0 };
        let Ok(pending) = kept[by].member.engine.self_update(group) else { continue };
        kept[by].confirms(&pending);
        made.push(pending.event.unwrap());
        for other in kept.iter_mut() {
            let _ = other.takes(made.last().unwrap());
            let _ = other.waits(6_000);
        }
    }
    if let Some(whom) = whom
        && let Ok(pending) = kept[0].member.engine.remove_members(group, &[whom])
    {
        kept[0].confirms(&pending);
        made.push(pending.event.unwrap());
    }
    made
}

fn live(seed: u64) {
    let mut world = World::new(seed);
    let (removal, rounds) = (2 + world.dice.below(4), 8 + world.dice.below(14));
    for round in 0..rounds {
        if round == removal {
            // She is up to date.
            world.reads(0);
            let outcome = world.honest[0].member.waits(7_000);
            world.heeds(0, outcome);
            world.removes();
        }
        if round >= removal && world.dice.below(3) == 0 {
            let some = world.dice.below(world.prepared.len() + 1);
            let mut prepared = std::mem::take(&mut world.prepared);
            if world.dice.below(2) == 0 {
                world.dice.shuffles(&mut prepared);
            }
            world.prepared = prepared.split_off(some);
            prepared.into_iter().for_each(|event| world.publishes(event));
        }
        world.round(false);
    }
    world.ends();
}

// shows: D8-2, D8-4, D8-5, D8-6, D8-8, D8-9, D8-10
/// Nobody panics. Who has the same events agrees, or knows that it may not; who was put out and is out of reach never comes
/// back; who comes back is told of; and in the end alice has put them out again.
#[test]
fn who_was_put_out_stays_out_or_is_told_of() {
    on_all_cores(sampling::seeds("hostile_worlds"), live);
}
