//! A valid Welcome, changed at random places: refused without a trace, whatever the change.

use mdk_core::{KeyPackageVerdict, Verdict};
use mdk_wire::Event;

use crate::kit::dice::SplitMix;
use crate::kit::foreign::Foreign;
use crate::kit::{Member, newcomer};

impl SplitMix {
    fn pick(&mut self, sides: usize) -> usize {
        self.below(sides as u64) as usize
    }

    /// Changes `bytes` in one way.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.pick(bytes.len());
        match self.pick(6) {
            0 | 1 => bytes[at] ^= 1 << self.pick(8),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(..at.max(1))),
            4 => bytes.insert(at, self.pick(256) as u8),
            _ => {
                let end = (at + 1 + self.pick(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = self.pick(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
}

struct Scene {
    bob: Member,
    package: Event,
    founder: Foreign,
    welcome: Vec<u8>,
}

fn scene() -> Scene {
    let (bob, package) = newcomer("bob");
    let (founder, welcome) = Foreign::inviting(&package);
    Scene { bob, package, founder, welcome }
}

impl Scene {
    /// The event is refused and leaves no trace.
    fn refused(&mut self, json: &[u8], before: [u8; 32], round: usize) {
        let outcome = self.bob.engine.process(json).unwrap_or_else(|e| panic!("{round}: {e}"));
        assert!(matches!(outcome.verdict, Verdict::Rejected(_)), "{round}: {:?}", outcome.verdict);
        assert!(outcome.events.is_empty() && outcome.reply.is_empty(), "{round}");
        assert_eq!(self.bob.digest(), before, "{round}: nothing was written");
    }

    /// The KeyPackage is as it was.
    fn still_joins(&mut self) {
        self.bob.applies(&self.founder.wraps(&self.welcome, &self.package));
    }
}

#[test]
fn mutations_of_the_event() {
    let mut scene = scene();
    let event = scene.founder.wraps(&scene.welcome, &scene.package);
    let json = event.to_json().into_bytes();
    let before = scene.bob.digest();
    let mut dice = SplitMix(1);
    for round in 0..600 {
        let mut changed = json.clone();
        dice.mutate(&mut changed);
        match Event::from_json(&changed) {
            // A blank between two fields, say: it is the same event, in other words.
            Ok(same) => assert!(same == event, "{round}: another event is signed"),
            Err(_) => scene.refused(&changed, before, round),
        }
    }
    scene.bob.applies(&Event::from_json(&json).unwrap());
}

#[test]
fn mutations_of_the_welcome_inside() {
    let mut scene = scene();
    let before = scene.bob.digest();
    let mut dice = SplitMix(2);
    for round in 0..400 {
        let mut changed = scene.welcome.clone();
        dice.mutate(&mut changed);
        if changed == scene.welcome || changed.is_empty() {
            continue;
        }
        let wrapped = scene.founder.wraps(&changed, &scene.package);
        scene.refused(wrapped.to_json().as_bytes(), before, round);
    }
    scene.still_joins();
}

/// Every bit of the first 200 bytes: versions, lengths, reference, key material.
#[test]
fn every_bit_of_the_head_of_the_welcome() {
    let mut scene = scene();
    let before = scene.bob.digest();
    for bit in 0..200 * 8 {
        // One bit of each byte, another one from byte to byte.
        if bit % 8 != (bit / 8) % 8 {
            continue;
        }
        let mut changed = scene.welcome.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let wrapped = scene.founder.wraps(&changed, &scene.package);
        scene.refused(wrapped.to_json().as_bytes(), before, bit);
    }
    scene.still_joins();
}

/// Random bytes as components of the group and of its founder's leaf.
#[test]
fn groups_of_random_components() {
    let mut dice = SplitMix(3);
    let (mut bob, package) = newcomer("bob");
    let ids = [1, 2, 4, 0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006, 0x8007, 0x8008, 0x8009]
        .into_iter()
        .chain([0x800a, 0x800b, 0x800c, 0x9abc, 0xF000, 0xFFFF])
        .collect::<Vec<u16>>();
    let mut joined = 0;
    for round in 0..300 {
        let mut founder = Foreign::new();
        let mut context = founder.context();
        let id = ids[dice.pick(ids.len())];
        let mut data = context.entries().get(&id).cloned().unwrap_or_else(|| vec![0]);
        if dice.pick(2) == 0 {
            data = (0..dice.pick(80)).map(|_| dice.pick(256) as u8).collect();
        } else if !data.is_empty() {
            dice.mutate(&mut data);
        }
        if dice.pick(4) == 0 {
            founder.leaf.entries().insert(id, data);
        } else {
            context.set(id, data);
        }
        let wrapped = founder.founds_with(&context, &package);
        let before = bob.digest();
        match bob.takes(&wrapped).verdict {
            Verdict::Applied => {
                bob.engine.accept(&wrapped.id()).unwrap();
                joined += 1;
            }
            Verdict::Rejected(_) => assert_eq!(bob.digest(), before, "{round}"),
            verdict => panic!("{round}: {verdict:?}"),
        }
    }
    // Unknown components, a mutated name and the like are no reason to refuse.
    assert!((1..150).contains(&joined), "{joined}");
    assert_eq!(bob.engine.groups(None).unwrap().len(), joined);
}

#[test]
fn mutations_of_a_key_package() {
    let mut alice = Member::new("alice");
    let mut dice = SplitMix(4);
    let foreign = Foreign::new();
    let package = foreign.key_package();
    let before = alice.digest();
    for round in 0..500 {
        let event = foreign.package_event(&package, |bytes| dice.mutate(bytes), |_| ());
        if event.content() == foreign.package_event(&package, |_| (), |_| ()).content() {
            continue;
        }
        let verdict = alice.engine.check_key_package(&event).unwrap();
        assert!(matches!(verdict, KeyPackageVerdict::Unusable { .. }), "{round}");
        assert_eq!(alice.digest(), before, "{round}");
    }
}
