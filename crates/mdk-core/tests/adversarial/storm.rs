//! Thousands of seeded mutations at every level of an event: nothing panics, nothing is an error, and what has
//! no effect leaves no trace.

use std::collections::BTreeSet;

use mdk_core::DeferredReason::ResourceRefused;
use mdk_core::{Config, Verdict};
use mdk_wire::v2::component_id as id;
use mdk_wire::{Event, GroupMessage};
use openmls::prelude::Propose;

use crate::kit::Member;
use crate::kit::dice::Dice;
use crate::kit::foreign_commits::{
    Handmade, Who, World, base64, by_value, profile, reenveloped, rename, self_update,
};

const CAP: u32 = 16;

impl Dice {
    /// Flips bits, cuts, inserts, overwrites with numbers that parsers dislike, or joins two inputs.
    fn mutates(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(out.len());
            match self.below(6) {
                0 => out.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1),
                1 => out.truncate(at),
                2 => out.insert(
                    at.min(out.len()),
                    [0, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff][self.below(8)],
                ),
                3 => out.iter_mut().skip(at).take(4).for_each(|b| *b = 0xff),
                4 => drop(out.drain(at..(at + self.below(9)).min(out.len()))),
                _ => {
                    out.truncate(at);
                    out.extend_from_slice(&other[self.below(other.len())..]);
                }
            }
        }
        if out == bytes {
            out.push(0);
        }
        out
    }
}

struct Storm {
    world: World,
    dice: Dice,
    kept: BTreeSet<Vec<u8>>,
    verdicts: [usize; 4],
    /// As of the last event, unless that had an effect.
    digest: Option<[u8; 32]>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut config = Config::default();
        config.max_held_events = CAP;
        let world = World::of(Member::with("us", config), |_, _| ());
        Self { world, dice: Dice(seed), kept: BTreeSet::new(), verdicts: [0; 4], digest: None }
    }

    fn hits(&mut self, bytes: &[u8]) {
        let engine = &mut self.world.us.engine;
        let before = self.digest.take().unwrap_or_else(|| engine.digest().unwrap());
        let outcome = engine.process(bytes).expect("no error comes from a peer's bytes");
        let effect = match outcome.verdict {
            Verdict::Applied => Some(0),
            Verdict::Deferred(reason) if reason != ResourceRefused => Some(1),
            Verdict::Deferred(_) | Verdict::Duplicate => None,
            Verdict::Rejected(rejection) => {
                assert!(!rejection.rule.is_empty() && !rejection.reason.is_empty());
                None
            }
        };
        if effect.is_none() {
            assert!(engine.digest().unwrap() == before, "{:?} left a trace", outcome.verdict);
            assert!(outcome.events.is_empty() && outcome.reply.is_empty());
            self.digest = Some(before);
        }
        if effect == Some(1) {
            self.kept.insert(bytes.to_vec());
        }
        self.verdicts[match outcome.verdict {
            Verdict::Applied => 0,
            Verdict::Duplicate => 1,
            Verdict::Deferred(_) => 2,
            _ => 3,
        }] += 1;
        // Held events and held handshakes are bounded each by itself.
        assert!(self.kept.len() <= 2 * CAP as usize, "more is held than the bound allows");
    }

    fn ends(mut self) {
        let [applied, _, deferred, rejected] = self.verdicts;
        println!("applied {applied}, deferred {deferred}, rejected {rejected}");
        assert!(rejected > 0);
        self.world.still_follows(Who::Max);
        let commit = self.world.max.commit_event(self_update());
        self.world.us.applies(&commit);
        self.world.us.engine.tick().unwrap();
    }
}

/// Unprocessed events of all sorts; the members keep no trace of having made them.
fn samples(w: &mut World) -> Vec<Vec<u8>> {
    let payload = w.max.payload("a message").to_json();
    let mut all = vec![w.max.encrypts(payload.as_bytes())];
    all.push(w.max.commits(self_update()).commit);
    w.max.forgets();
    all.push(w.max.proposes_self_remove());
    w.max.forgets();
    all.push(
        w.ann
            .commits(by_value(vec![
                rename("x"),
                crate::kit::foreign::update(id::RETENTION, &[0; 8]),
            ]))
            .commit,
    );
    w.ann.forgets();
    all.push(w.ann.proposes(Propose::Add(crate::kit::foreign::Foreign::new().key_package())));
    all.push(w.ann.proposes_update(id::PROFILE, Some(&profile("y"))));
    w.ann.forgets();
    all
}

#[test]
fn event_json() {
    let mut storm = Storm::new(1);
    let samples: Vec<String> =
        samples(&mut storm.world).iter().map(|mls| storm.world.max.seals(mls).to_json()).collect();
    for _ in 0..2_000 {
        let (a, b) = (storm.dice.below(samples.len()), storm.dice.below(samples.len()));
        let bytes = storm.dice.mutates(samples[a].as_bytes(), samples[b].as_bytes());
        storm.hits(&bytes);
    }
    storm.ends();
}

#[test]
fn sealed_content() {
    let mut storm = Storm::new(2);
    let events: Vec<Event> =
        samples(&mut storm.world).iter().map(|mls| storm.world.max.seals(mls)).collect();
    let sealed: Vec<Vec<u8>> =
        events.iter().map(|e| GroupMessage::parse(e.clone()).unwrap().sealed).collect();
    for round in 0..600 {
        let (a, b) = (storm.dice.below(events.len()), storm.dice.below(events.len()));
        let event = if round % 2 == 0 {
            let content = base64(&storm.dice.mutates(&sealed[a], &sealed[b]));
            reenveloped(&events[a], |e| e.content = content)
        } else {
            let content =
                storm.dice.mutates(events[a].content().as_bytes(), events[b].content().as_bytes());
            reenveloped(&events[a], |e| e.content = String::from_utf8_lossy(&content).into_owned())
        };
        storm.hits(event.to_json().as_bytes());
    }
    storm.ends();
}

#[test]
fn mls_bytes() {
    let mut storm = Storm::new(3);
    let samples = samples(&mut storm.world);
    for _ in 0..1_600 {
        let (a, b) = (storm.dice.below(samples.len()), storm.dice.below(samples.len()));
        let bytes = storm.dice.mutates(&samples[a], &samples[b]);
        let event = storm.world.max.seals(&bytes);
        storm.hits(event.to_json().as_bytes());
    }
    storm.ends();
}

/// Proposals with any body, signed and tagged by an admin.
#[test]
fn proposal_bodies() {
    let mut storm = Storm::new(4);
    let bodies: [&[u8]; 5] =
        [&[0, 3, 0, 0, 0, 1], &[0, 8, 0x80, 1, 1, 2, 0, 0], &[0, 6, 1, 1], &[0, 7, 0], &[0, 10]];
    for _ in 0..400 {
        let (a, b) = (storm.dice.below(bodies.len()), storm.dice.below(bodies.len()));
        let body = storm.dice.mutates(bodies[a], bodies[b]);
        let bytes = Handmade::proposal(&storm.world.ann, body).bytes(&storm.world.ann);
        let event = storm.world.ann.seals(&bytes);
        storm.hits(event.to_json().as_bytes());
    }
    storm.ends();
}

#[test]
fn payloads() {
    let mut storm = Storm::new(5);
    let samples = [
        storm.world.max.payload("one").to_json(),
        storm.world.max.payload("two, {\"more\": [1, \\u0000]}").to_json(),
    ];
    for _ in 0..400 {
        let (a, b) = (storm.dice.below(2), storm.dice.below(2));
        let plaintext = storm.dice.mutates(samples[a].as_bytes(), samples[b].as_bytes());
        let event = storm.world.max.sends(&plaintext);
        storm.hits(event.to_json().as_bytes());
    }
    storm.ends();
}
