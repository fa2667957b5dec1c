//! KeyPackages that break one rule each: no invitation uses them, and the search goes on.

use mdk_core::RejectCode::{
    AuthorizationFailed as Forbidden, InvalidEncoding as Encoding, InvalidSignature as Signature,
    TransportRejected as Transport, UnsupportedRequiredFeature as Unsupported,
};
use mdk_core::{Error, KeyPackageVerdict, RejectCode};
use mdk_wire::v2::IdentityProof;
use mdk_wire::{Event, GroupId, Keys, UnsignedEvent};
use openmls::prelude::{BasicCredential, Ciphersuite, Credential, CredentialType};

use crate::kit::foreign::{Foreign, LIST, agent_stream, resigned};
use crate::kit::welcomes::tag;
use crate::kit::{Member, new_group, newcomer, now, pair};

fn with(change: impl FnOnce(&mut Foreign)) -> Event {
    let mut foreign = Foreign::new();
    change(&mut foreign);
    foreign.key_package_event()
}

fn lasting(from: u64, until: u64) -> Event {
    with(|f| f.package.lifetime = (from, until))
}

fn named(identity: Vec<u8>) -> Event {
    with(|f| f.leaf.credential = BasicCredential::new(identity).into())
}

fn event(change: impl FnOnce(&mut UnsignedEvent)) -> Event {
    changed(|_| (), change)
}

/// A KeyPackage with something different, in an event with something different.
fn changed(package: impl FnOnce(&mut Foreign), event: impl FnOnce(&mut UnsignedEvent)) -> Event {
    let mut foreign = Foreign::new();
    package(&mut foreign);
    foreign.package_event(&foreign.key_package(), |_| (), event)
}

fn bytes(change: impl FnOnce(&mut Vec<u8>)) -> Event {
    let foreign = Foreign::new();
    foreign.package_event(&foreign.key_package(), change, |_| ())
}

fn proof(change: impl FnOnce(&Foreign, &mut Vec<u8>)) -> Event {
    with(|f| {
        let mut data = f.leaf.entries()[&0x8009].clone();
        change(f, &mut data);
        f.leaf.entries().insert(0x8009, data);
    })
}

fn without(name: &'static str) -> Event {
    event(|e| e.tags.retain(|tag| tag[0] != name))
}

fn twice(name: &'static str) -> Event {
    event(|e| {
        let again = tag(e, name).clone();
        e.tags.push(again);
    })
}

/// A right signature over any `created_at`.
fn dated(foreign: &Foreign, created_at: u64) -> Vec<u8> {
    let proof = IdentityProof::sign(&foreign.keys, foreign.signer.public(), created_at);
    [&proof.signer.as_bytes()[..], &created_at.to_be_bytes(), &proof.signature].concat()
}

/// Alice, who has a group with bob and would invite somebody.
struct Reader {
    alice: Member,
    group: GroupId,
    good: Event,
    before: [u8; 32],
}

/// The rule that is reported, and the category.
struct Breach<'a>(&'a mut Reader, &'static str, RejectCode);

impl Reader {
    fn new() -> Self {
        let (mut alice, _, group) = pair();
        let before = alice.digest();
        Self { alice, group, good: Foreign::new().key_package_event(), before }
    }

    fn breaks(&mut self, rule: &'static str, code: RejectCode) -> Breach<'_> {
        Breach(self, rule, code)
    }

    fn still_invites(mut self) {
        assert!(self.alice.engine.add_members(&self.group, &[self.good], false).is_ok());
    }
}

impl Breach<'_> {
    /// Another rule is reported.
    fn told_as(mut self, rule: &'static str) -> Self {
        self.1 = rule;
        self
    }

    /// The KeyPackage is useless, the search goes on behind it, and nothing is written.
    #[track_caller]
    fn by(self, what: &str, event: Event) -> Self {
        let Self(reader, rule, code) = self;
        let Reader { alice: Member { engine, .. }, good, before, .. } = &mut *reader;
        let verdict = engine.check_key_package(&event).unwrap();
        assert!(
            matches!(verdict, KeyPackageVerdict::Unusable { rule: r, code: c, .. } if (r, c) == (rule, code)),
            "{what}: {verdict:?}"
        );
        let selected = engine.select_key_package(&[event, good.clone()]).unwrap();
        assert!(selected.unwrap().id() == good.id(), "{what}: the search goes on");
        assert_eq!(engine.digest().unwrap(), *before, "{what}: nothing was written");
        Self(reader, rule, code)
    }

    /// As [`Breach::by`], and no way to invite takes it.
    #[track_caller]
    fn in_every_way_by(self, what: &str, event: Event) -> Self {
        let Self(reader, rule, code) = self.by(what, event.clone());
        let Reader { alice: Member { engine, .. }, group, good, before } = &mut *reader;
        for result in [
            engine.add_members(group, std::slice::from_ref(&event), false),
            engine.add_members(group, &[good.clone(), event.clone()], true),
            engine.create_group(new_group("", vec![event.clone()])),
        ] {
            match result {
                Err(Error::IncompatibleMember { rule: found, .. }) => {
                    assert_eq!(found, rule, "{what}");
                }
                Err(error) => panic!("{what}: {error:?}"),
                Ok(_) => panic!("{what}: invited"),
            }
        }
        let read = engine.read_key_packages(&[event.clone(), good.clone()]).unwrap();
        assert!(read.len() == 1 && read[0].event_id == good.id(), "{what}: left out");
        assert!(engine.select_key_package(&[event]).unwrap().is_none(), "{what}");
        assert_eq!(engine.digest().unwrap(), *before, "{what}: nothing was written");
        Self(reader, rule, code)
    }
}

const TAGS: [&str; 7] = [
    "d",
    "i",
    "mls_protocol_version",
    "mls_ciphersuite",
    "mls_extensions",
    "mls_proposals",
    "app_components",
];

#[test]
fn the_event_of_a_key_package() {
    let mut alice = Reader::new();
    alice
        .breaks("A2-1", Transport)
        .in_every_way_by("kind 443", event(|e| e.kind = 443))
        .by("dated ahead", event(|e| e.created_at = now() + 400));
    for name in TAGS {
        alice.breaks("A2-2", Transport).by(name, without(name)).by(name, twice(name));
    }
    alice
        .breaks("A2-2", Transport)
        .by("an encoding tag", event(|e| e.tags.push(vec!["encoding".into(), "base64".into()])))
        .by("a short d", event(|e| tag(e, "d")[1].truncate(62)))
        .by("d in capitals", event(|e| tag(e, "d")[1].make_ascii_uppercase()))
        .by("version 1.1", event(|e| tag(e, "mls_protocol_version")[1] = "1.1".into()));
    alice
        .breaks("A2-3", Encoding)
        .by("no content", event(|e| e.content.clear()))
        .by("not base64", event(|e| e.content.insert(0, '*')))
        .by("too large", event(|e| e.content = "A".repeat(100_000)));
    alice
        .breaks("A2-8", Transport)
        .by("capitals in a list", event(|e| tag(e, "mls_extensions")[2] = "0xF2D1".into()))
        .by("an id twice", event(|e| tag(e, "mls_extensions").push("0x0006".into())))
        .by("no 0x8009", event(|e| tag(e, "app_components").retain(|id| id != "0x8009")))
        .by(
            "0x0001 among the private ids",
            event(|e| tag(e, "app_components").push("0x0001".into())),
        )
        .by("an extension too many", event(|e| tag(e, "mls_extensions").push("0xf2d2".into())))
        .by("a proposal too few", event(|e| tag(e, "mls_proposals").truncate(2)))
        .by("a component too many", event(|e| tag(e, "app_components").push("0x9abc".into())))
        .by("another ciphersuite", event(|e| tag(e, "mls_ciphersuite")[1] = "0x0003".into()))
        .by("a number in another form", event(|e| tag(e, "mls_ciphersuite")[1] = "1".into()))
        .by("an extension too few", event(|e| drop(tag(e, "mls_extensions").pop())))
        .by("a proposal too many", event(|e| tag(e, "mls_proposals").push("0x0009".into())))
        .by("a component too few", event(|e| drop(tag(e, "app_components").pop())))
        // GREASE among the proposals is listed, unlike GREASE among the extensions.
        .by(
            "GREASE not in the tag",
            changed(
                |f| f.leaf.proposals.push(0x1a1a),
                |e| tag(e, "mls_proposals").retain(|id| id != "0x1a1a"),
            ),
        );
    alice.breaks("A2-9", Forbidden).by("published by somebody else", {
        let other = Keys::generate();
        let made = Foreign::new().key_package_event();
        resigned(&made, &other, |_| ())
    });
    alice
        .breaks("A2-10", Transport)
        .in_every_way_by("i of something else", event(|e| tag(e, "i")[1] = "ab".repeat(32)));
    alice.still_invites();
}

// rule: 2.1-10, 2.1-11
#[test]
fn the_key_package_itself() {
    let mut alice = Reader::new();
    alice
        .breaks("A2-3", Encoding)
        .by("a bare KeyPackage", bytes(|b| drop(b.drain(..4))))
        .by("a byte more", bytes(|b| b.push(0)))
        .by("a byte less", bytes(|b| b.truncate(b.len() - 1)))
        .by("another kind of MLSMessage", bytes(|b| b[3] = 3));
    alice
        .breaks("A2-4", Signature)
        .in_every_way_by("a signature that does not hold", bytes(|b| *b.last_mut().unwrap() ^= 1));
    alice
        .breaks("A2-4", Transport)
        .in_every_way_by("expired", lasting(now() - 600, now() - 60))
        .by("not valid yet", lasting(now() + 600, now() + 6000));
    alice
        .breaks("A2-5", Transport)
        .by("a second too long", lasting(now() - 60, now() - 60 + 7_261_201))
        .by("a span that wraps", lasting(0, u64::MAX))
        // It is wrong in rows 5, 8 and 10: the first of them speaks.
        .by(
            "much",
            changed(
                |f| f.package.lifetime = (0, u64::MAX),
                |e| {
                    tag(e, "i")[1] = "ab".repeat(32);
                    tag(e, "mls_proposals").pop();
                },
            ),
        );
    alice
        .breaks("A2-6", Encoding)
        .by("nothing", named(vec![]))
        .by("33 bytes", named(vec![2; 33]))
        .by("the key in hex", named(Keys::generate().public_key().to_hex().into_bytes()))
        .by("no curve point", named(vec![0xff; 32]))
        .by("not a basic credential", {
            with(|f| {
                f.leaf.credential =
                    Credential::new(CredentialType::Other(0xF000), f.key().as_bytes().to_vec());
                f.leaf.credentials = vec![CredentialType::Basic, CredentialType::Other(0xF000)];
            })
        });
    alice.breaks("A2-7", Signature).by("no dictionary", with(|f| f.leaf.entries = None));
    alice
        .breaks("2.3-v1", Signature)
        .told_as("A2-7")
        .by("listed, not there", with(|f| drop(f.leaf.entries().remove(&0x8009))))
        .by("there, not listed", with(|f| f.leaf.set_list(&[0x8001, 0x8003])));
    alice.breaks("2.3-v2", Signature).told_as("A2-7").by("the transitional extension", {
        with(|f| {
            f.leaf.extensions.push(0xF2F1);
            f.leaf.others.push((0xF2F1, vec![0; 104]));
        })
    });
    alice
        .breaks("2.3-1", Signature)
        .told_as("A2-7")
        .by("103 bytes", proof(|_, d| d.truncate(103)))
        .by("105 bytes", proof(|_, d| d.push(0)));
    alice
        .breaks("2.3-2", Signature)
        .told_as("A2-7")
        .by("created_at 0", proof(|f, d| *d = dated(f, 0)))
        .by("created_at 2^53", proof(|f, d| *d = dated(f, 1 << 53)));
    alice
        .breaks("2.3-3", Signature)
        .told_as("A2-7")
        .by("the signer is no point", proof(|_, d| d[..32].fill(0xff)));
    alice.breaks("2.3-4", Signature).told_as("A2-7").by("the signer is another account", {
        proof(|f, d| {
            *d = IdentityProof::sign(&Keys::generate(), f.signer.public(), 1).encode().unwrap();
        })
    });
    alice
        .breaks("2.3-5", Signature)
        .told_as("A2-7")
        .by("for another MLS key", {
            proof(|f, d| {
                *d = IdentityProof::sign(&f.keys, Foreign::new().signer.public(), 1)
                    .encode()
                    .unwrap();
            })
        })
        .in_every_way_by("the signature changed", proof(|_, d| d[103] ^= 1));
    alice.breaks("A2-11", Encoding).by("last-resort with data", {
        with(|f| {
            f.package.entries.as_mut().unwrap().insert(4, vec![0]);
        })
    });
    alice.breaks("A2-12", Unsupported).in_every_way_by("another ciphersuite", {
        with(|f| {
            f.package.suite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
        })
    });
    alice
        .breaks("A2-8", Transport)
        .by("GREASE in the tag", event(|e| tag(e, "mls_extensions").push("0x1a1a".into())));
    alice.breaks("A2-3", Encoding).by("garbage", bytes(|b| *b = vec![0xff; 40_000]));
    alice.still_invites();
}

// rule: A2-12
#[test]
fn a_key_package_that_does_not_fit_the_group() {
    let (mut bob, package) = newcomer("bob");
    let mut founder = Foreign::new();
    founder.leaf.extensions.push(0xF2D2);
    let mut context = founder.context();
    context.set_admins(&[founder.key(), bob.key()]);
    context.set(0x8006, agent_stream(1));
    let wrapped = founder.founds_with(&context, &package);
    bob.applies(&wrapped);
    let group = bob.engine.accept(&wrapped.id()).unwrap().id;
    let before = bob.digest();
    let lacks = |id: u16| LIST.into_iter().filter(|listed| *listed != id).collect::<Vec<_>>();
    let cases = [
        ("a component", Foreign::with_leaf(|l| l.set_list(&lacks(0x800b)))),
        ("a proposal", Foreign::with_leaf(|l| l.proposals = vec![8])),
        ("a role", Foreign::with_leaf(|l| l.extensions = vec![6])),
    ];
    for (what, foreign) in cases {
        let event = foreign.key_package_event();
        // By itself it is a good one.
        assert_eq!(bob.engine.check_key_package(&event).unwrap(), KeyPackageVerdict::Usable);
        let refused = bob.engine.add_members(&group, &[event], false);
        assert!(
            matches!(refused, Err(Error::IncompatibleMember { rule: "A2-12", .. })),
            "{what}: {refused:?}"
        );
        assert_eq!(bob.digest(), before, "{what}");
    }
    let fits = Foreign::with_leaf(|l| l.set_list(&LIST)).key_package_event();
    assert!(bob.engine.add_members(&group, &[fits], false).is_ok());
}

#[test]
fn unusual_but_allowed() {
    let mut alice = Member::new("alice");
    let cases: [(&str, Event); 11] = [
        ("not last-resort", with(|f| f.package.entries = None)),
        ("no 0x0002", with(|f| drop(f.leaf.entries().remove(&2)))),
        ("0x0001 not in its own list", with(|f| f.leaf.set_list(&LIST))),
        ("an unknown component", with(|f| f.leaf.set_list(&[0x8003, 0x8009, 0x9abc]))),
        (
            "GREASE",
            with(|f| {
                f.leaf.extensions.push(0x1a1a);
                f.leaf.proposals.push(0x2a2a);
            }),
        ),
        ("proof dated far ahead", proof(|f, d| *d = dated(f, (1 << 53) - 1))),
        ("longest lifetime", lasting(now() - 60, now() - 60 + 7_261_200)),
        ("a little ahead", event(|e| e.created_at = now() + 240)),
        ("tags reversed", event(|e| e.tags.reverse())),
        ("a list reversed", event(|e| tag(e, "app_components")[1..].reverse())),
        ("a tag more", event(|e| e.tags.push(vec!["client".into(), "x".into()]))),
    ];
    for (what, event) in cases {
        let verdict = alice.engine.check_key_package(&event).unwrap();
        assert_eq!(verdict, KeyPackageVerdict::Usable, "{what}");
    }
}

// rule: A2-4
#[test]
fn our_clock_counts_too() {
    let event =
        changed(|f| f.package.lifetime = (now() - 60, now() + 86_400), |e| e.created_at = 1);
    let mut alice = Member::new("alice");
    for (at, usable) in [
        (now() - 600, false),
        (now(), true),
        (now() + 86_400 - 60, true),
        (now() + 86_400 + 60, false),
    ] {
        alice.clock.set(at);
        match alice.engine.check_key_package(&event).unwrap() {
            KeyPackageVerdict::Usable => assert!(usable, "{at}"),
            KeyPackageVerdict::Unusable { rule, .. } => assert!(!usable && rule == "A2-4", "{at}"),
        }
    }
}
