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
use crate::kit::foreign::{Foreign, update};
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

    /// Hits with so many changed samples, put into events: these get the number of the sample and the bytes.
    fn rains(
        &mut self,
        rounds: usize,
        samples: &[Vec<u8>],
        mut event: impl FnMut(&mut World, usize, Vec<u8>) -> Vec<u8>,
    ) {
        for _ in 0..rounds {
            let (a, b) = (self.dice.below(samples.len()), self.dice.below(samples.len()));
            let changed = self.dice.mutates(&samples[a], &samples[b]);
            let bytes = event(&mut self.world, a, changed);
            self.hits(&bytes);
        }
    }

    /// As `rains`, and then all goes on.
    fn rages(
        mut self,
        rounds: usize,
        samples: &[Vec<u8>],
        event: impl FnMut(&mut World, usize, Vec<u8>) -> Vec<u8>,
    ) {
        self.rains(rounds, samples, event);
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
    let both = vec![rename("x"), update(id::RETENTION, &[0; 8])];
    all.push(w.ann.commits(by_value(both)).commit);
    w.ann.forgets();
    all.push(w.ann.proposes(Propose::Add(Foreign::new().key_package())));
    all.push(w.ann.proposes_update(id::PROFILE, Some(&profile("y"))));
    w.ann.forgets();
    all
}

/// The same, sealed.
fn sealed(w: &mut World) -> Vec<Event> {
    samples(w).iter().map(|mls| w.max.seals(mls)).collect()
}

#[test]
fn event_json() {
    let mut storm = Storm::new(1);
    let samples =
        sealed(&mut storm.world).iter().map(|e| e.to_json().into_bytes()).collect::<Vec<_>>();
    storm.rages(2_000, &samples, |_, _, json| json);
}

#[test]
fn sealed_content() {
    let mut storm = Storm::new(2);
    let events = sealed(&mut storm.world);
    let bytes = |e: &Event| GroupMessage::parse(e.clone()).unwrap().sealed;
    let samples = events.iter().map(bytes).collect::<Vec<_>>();
    let content = |at: usize, content| {
        let event = reenveloped(&events[at], |e| e.content = content);
        event.to_json().into_bytes()
    };
    storm.rains(300, &samples, |_, at, sealed| content(at, base64(&sealed)));
    let texts = events.iter().map(|e| e.content().as_bytes().to_vec()).collect::<Vec<_>>();
    storm
        .rages(300, &texts, |_, at, text| content(at, String::from_utf8_lossy(&text).into_owned()));
}

#[test]
fn mls_bytes() {
    let mut storm = Storm::new(3);
    let samples = samples(&mut storm.world);
    storm.rages(1_600, &samples, |w, _, bytes| w.max.seals(&bytes).to_json().into_bytes());
}

/// Proposals with any body, signed and tagged by an admin.
#[test]
fn proposal_bodies() {
    let bodies: [&[u8]; 5] =
        [&[0, 3, 0, 0, 0, 1], &[0, 8, 0x80, 1, 1, 2, 0, 0], &[0, 6, 1, 1], &[0, 7, 0], &[0, 10]];
    Storm::new(4).rages(400, &bodies.map(<[u8]>::to_vec), |w, _, body| {
        let bytes = Handmade::proposal(&w.ann, body).bytes(&w.ann);
        w.ann.seals(&bytes).to_json().into_bytes()
    });
}

#[test]
fn payloads() {
    let storm = Storm::new(5);
    let samples = ["one", "two, {\"more\": [1, \\u0000]}"]
        .map(|text| storm.world.max.payload(text).to_json().into_bytes());
    storm.rages(400, &samples, |w, _, plaintext| w.max.sends(&plaintext).to_json().into_bytes());
}
