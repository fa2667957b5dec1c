//! Seeded mutations of what is not judged by its form alone: nothing panics, nothing is an error, and what has no effect
//! leaves no trace. (Forms that are read without a state are mutated by the fuzz targets.)

use mdk_core::{Config, DeferredReason, KeyPackageVerdict, Verdict};
use mdk_wire::v2::component_id as id;
use openmls::prelude::Propose;

use crate::kit::dice::Dice;
use crate::kit::foreign::{Foreign, update};
use crate::kit::foreign_commits::{Who, World, by_value, profile, rename, self_update};
use crate::kit::{Member, newcomer};

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

/// Messages of all sorts that nobody has processed; the members keep no trace of having made them.
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

#[test]
fn messages_of_a_group() {
    let mut config = Config::default();
    config.max_held_events = CAP;
    let mut w = World::of(Member::with("us", config), |_, _| ());
    let (mut dice, samples) = (Dice(3), samples(&mut w));
    let (mut before, mut kept, mut rejected) = (w.us.digest(), 0, 0);
    for _ in 0..400 {
        let [one, other] = [(); 2].map(|()| &samples[dice.below(samples.len())]);
        let event = w.max.seals(&dice.mutates(one, other));
        let outcome = w.us.takes(&event);
        match outcome.verdict {
            Verdict::Deferred(DeferredReason::ResourceRefused) | Verdict::Duplicate => {}
            Verdict::Rejected(rejection) => {
                assert!(!rejection.rule.is_empty() && !rejection.reason.is_empty());
                rejected += 1;
            }
            verdict => {
                kept += u32::from(verdict != Verdict::Applied);
                before = w.us.digest();
                continue;
            }
        }
        assert!(w.us.digest() == before, "{:?} left a trace", outcome.verdict);
        assert!(outcome.events.is_empty() && outcome.reply.is_empty());
    }
    assert!(rejected > 100, "{rejected}");
    // Held events and held handshakes are bounded each by itself.
    assert!(kept <= 2 * CAP, "more is held than the bound allows: {kept}");
    w.still_follows(Who::Max);
}

#[test]
fn welcomes() {
    let (mut bob, package) = newcomer("bob");
    let (founder, welcome) = Foreign::inviting(&package);
    let (before, mut dice) = (bob.digest(), Dice(2));
    for round in 0..120 {
        let changed = match round {
            // Versions, lengths, reference, key material: one bit of some bytes of the head, another one from byte to byte.
            0..60 => {
                let mut changed = welcome.clone();
                changed[round * 3] ^= 1 << (round % 8);
                changed
            }
            _ => dice.mutates(&welcome, &welcome),
        };
        if changed.is_empty() {
            continue;
        }
        let outcome = bob.takes(&founder.wraps(&changed, &package));
        assert!(matches!(outcome.verdict, Verdict::Rejected(_)), "{round}: {:?}", outcome.verdict);
        assert!(outcome.events.is_empty() && outcome.reply.is_empty(), "{round}");
        assert_eq!(bob.digest(), before, "{round}: nothing was written");
    }
    bob.applies(&founder.wraps(&welcome, &package));
}

#[test]
fn key_packages() {
    let (mut alice, foreign) = (Member::new("alice"), Foreign::new());
    let package = foreign.key_package();
    let (before, mut dice) = (alice.digest(), Dice(4));
    for round in 0..120 {
        let change = |bytes: &mut Vec<u8>| *bytes = dice.mutates(&bytes.clone(), b"more");
        let event = foreign.package_event(&package, change, |_| ());
        let verdict = alice.engine.check_key_package(&event).unwrap();
        assert!(matches!(verdict, KeyPackageVerdict::Unusable { .. }), "{round}");
        assert_eq!(alice.digest(), before, "{round}");
    }
}
