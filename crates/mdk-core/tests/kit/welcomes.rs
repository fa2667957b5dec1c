//! Welcomes from a foreign member with one thing different, and the check that they are refused without a trace.

use mdk_core::{RejectCode, Verdict};
use mdk_wire::{Event, Keys, UnsignedEvent};

use super::foreign::{Change, Context, Foreign, Leaf, resigned, wrap};
use super::{Member, newcomer};

pub fn group(package: &Event, change: impl FnOnce(&mut Context)) -> Event {
    founder(package, |_| (), change)
}

pub fn founder(
    package: &Event,
    leaf: impl FnOnce(&mut Leaf),
    change: impl FnOnce(&mut Context),
) -> Event {
    founded_by(Foreign::with_leaf(leaf), package, change)
}

pub fn founded_by(
    mut founder: Foreign,
    package: &Event,
    change: impl FnOnce(&mut Context),
) -> Event {
    let mut context = founder.context();
    change(&mut context);
    founder.founds_with(&context, package)
}

/// A third member, whose leaf differs, was in the group before.
pub fn third(
    package: &Event,
    leaf: impl FnOnce(&mut Leaf),
    change: impl FnOnce(&mut Context),
) -> Event {
    let (mut founder, other) = (Foreign::new(), Foreign::with_leaf(leaf));
    let mut context = founder.context();
    change(&mut context);
    founder.founds(&context);
    let made = founder.commits(Change {
        adds: vec![other.key_package()],
        path: true,
        ..Change::default()
    });
    assert!(made.welcome.is_some());
    founder.merges();
    let welcome = founder.invites(&[package]);
    founder.wraps(&welcome, package)
}

pub fn rumor(package: &Event, change: impl FnOnce(&mut UnsignedEvent)) -> Event {
    let (founder, welcome) = Foreign::inviting(package);
    let mut rumor = founder.rumor(&welcome, &package.id());
    change(&mut rumor);
    wrap(&founder.keys, rumor, &package.pubkey())
}

pub fn outer(package: &Event, change: impl FnOnce(&mut UnsignedEvent)) -> Event {
    let author = Keys::generate();
    resigned(&rumor(package, |_| ()), &author, change)
}

pub fn bytes(package: &Event, change: impl FnOnce(&mut Vec<u8>)) -> Event {
    let (founder, mut welcome) = Foreign::inviting(package);
    change(&mut welcome);
    founder.wraps(&welcome, package)
}

pub fn proof(package: &Event, make: impl FnOnce(&Foreign) -> Option<Vec<u8>>) -> Event {
    let mut founder = Foreign::new();
    match make(&founder) {
        Some(data) => founder.leaf.entries().insert(0x8009, data),
        None => founder.leaf.entries().remove(&0x8009),
    };
    founded_by(founder, package, |_| ())
}

/// The valid proof of `founder`, changed.
pub fn patched(founder: &Foreign, change: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let mut data = founder.leaf.entries.as_ref().unwrap()[&0x8009].clone();
    change(&mut data);
    Some(data)
}

pub fn tag<'e>(event: &'e mut UnsignedEvent, name: &str) -> &'e mut Vec<String> {
    event.tags.iter_mut().find(|tag| tag[0] == name).unwrap()
}

pub fn twice(event: &mut UnsignedEvent, name: &str) {
    let again = tag(event, name).clone();
    event.tags.push(again);
}

/// Bob, and a KeyPackage that others invite him by.
pub struct Invited {
    bob: Member,
    package: Event,
}

impl Invited {
    pub fn bob() -> Self {
        let (bob, package) = newcomer("bob");
        Self { bob, package }
    }

    pub fn breaks(&mut self, rule: &'static str, code: RejectCode) -> Breach<'_> {
        Breach(self, rule, code)
    }

    /// After all that was refused the KeyPackage still serves.
    #[track_caller]
    pub fn still_joins(mut self) {
        self.bob.applies(&group(&self.package, |_| ()));
    }
}

/// The rule that is reported, and the category.
pub struct Breach<'a>(&'a mut Invited, &'static str, RejectCode);

impl Breach<'_> {
    /// Another rule is reported.
    #[must_use]
    pub fn told_as(mut self, rule: &'static str) -> Self {
        self.1 = rule;
        self
    }

    /// The Welcome for a KeyPackage is refused, leaves the database as it was and is judged alike when it comes again.
    #[track_caller]
    pub fn by(mut self, what: &str, build: impl FnOnce(&Event) -> Event) -> Self {
        let Self(Invited { bob, package }, rule, code) = &mut self;
        let event = build(package);
        let before = bob.digest();
        let verdict = bob.takes(&event).verdict;
        let Verdict::Rejected(rejection) = verdict else { panic!("{rule} {what}: {verdict:?}") };
        assert_eq!((rejection.rule, rejection.code), (*rule, *code), "{what}: {rejection:?}");
        assert_eq!(bob.digest(), before, "{rule} {what}: nothing was written");
        assert_eq!(bob.takes(&event).verdict, verdict, "{rule} {what}");
        assert!(bob.engine.invites().unwrap().is_empty(), "{rule} {what}");
        self
    }
}
