//! KeyPackages that break one rule each: no invitation uses them, and the search goes on.

use mdk_core::{Error, KeyPackageVerdict, NewGroup, RejectCode};
use mdk_wire::v2::IdentityProof;
use mdk_wire::{Event, Keys, UnsignedEvent};
use openmls::prelude::{BasicCredential, Ciphersuite, Credential, CredentialType};

use RejectCode::{
    AuthorizationFailed, InvalidEncoding, InvalidSignature, TransportRejected,
    UnsupportedRequiredFeature,
};

use crate::kit::foreign::{Foreign, LIST, agent_stream, resigned};
use crate::kit::welcomes::tag;
use crate::kit::{Member, RELAY, now};

/// Rule, what breaks it, the event, the rule that is reported, its category.
type Case = (&'static str, &'static str, fn() -> Event, &'static str, RejectCode);

fn with(change: impl FnOnce(&mut Foreign)) -> Event {
    let mut foreign = Foreign::new();
    change(&mut foreign);
    foreign.key_package_event()
}

fn event(change: impl FnOnce(&mut UnsignedEvent)) -> Event {
    let foreign = Foreign::new();
    foreign.package_event(&foreign.key_package(), |_| (), change)
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

const EVENT: [Case; 29] = [
    ("A2-1", "kind 443", || event(|e| e.kind = 443), "A2-1", TransportRejected),
    ("A2-1", "dated ahead", || event(|e| e.created_at = now() + 400), "A2-1", TransportRejected),
    ("A2-2", "no d", || without("d"), "A2-2", TransportRejected),
    ("A2-2", "no i", || without("i"), "A2-2", TransportRejected),
    ("A2-2", "no version", || without("mls_protocol_version"), "A2-2", TransportRejected),
    ("A2-2", "no ciphersuite", || without("mls_ciphersuite"), "A2-2", TransportRejected),
    ("A2-2", "no extensions", || without("mls_extensions"), "A2-2", TransportRejected),
    ("A2-2", "no proposals", || without("mls_proposals"), "A2-2", TransportRejected),
    ("A2-2", "no components", || without("app_components"), "A2-2", TransportRejected),
    ("A2-2", "d twice", || twice("d"), "A2-2", TransportRejected),
    ("A2-2", "i twice", || twice("i"), "A2-2", TransportRejected),
    ("A2-2", "components twice", || twice("app_components"), "A2-2", TransportRejected),
    (
        "A2-2",
        "an encoding tag",
        || event(|e| e.tags.push(vec!["encoding".into(), "base64".into()])),
        "A2-2",
        TransportRejected,
    ),
    ("A2-2", "a short d", || event(|e| tag(e, "d")[1].truncate(62)), "A2-2", TransportRejected),
    (
        "A2-2",
        "d in capitals",
        || event(|e| tag(e, "d")[1].make_ascii_uppercase()),
        "A2-2",
        TransportRejected,
    ),
    (
        "A2-2",
        "version 1.1",
        || event(|e| tag(e, "mls_protocol_version")[1] = "1.1".into()),
        "A2-2",
        TransportRejected,
    ),
    ("A2-3", "no content", || event(|e| e.content.clear()), "A2-3", InvalidEncoding),
    ("A2-3", "not base64", || event(|e| e.content.insert(0, '*')), "A2-3", InvalidEncoding),
    ("A2-3", "too large", || event(|e| e.content = "A".repeat(100_000)), "A2-3", InvalidEncoding),
    (
        "A2-8",
        "capitals in a list",
        || event(|e| tag(e, "mls_extensions")[2] = "0xF2D1".into()),
        "A2-8",
        TransportRejected,
    ),
    (
        "A2-8",
        "an id twice",
        || event(|e| tag(e, "mls_extensions").push("0x0006".into())),
        "A2-8",
        TransportRejected,
    ),
    (
        "A2-8",
        "no 0x8009",
        || event(|e| tag(e, "app_components").retain(|id| id != "0x8009")),
        "A2-8",
        TransportRejected,
    ),
    (
        "A2-8",
        "0x0001 among the private ids",
        || event(|e| tag(e, "app_components").push("0x0001".into())),
        "A2-8",
        TransportRejected,
    ),
    (
        "A2-8",
        "an extension too many",
        || event(|e| tag(e, "mls_extensions").push("0xf2d2".into())),
        "A2-8",
        TransportRejected,
    ),
    (
        "A2-8",
        "a proposal too few",
        || event(|e| tag(e, "mls_proposals").truncate(2)),
        "A2-8",
        TransportRejected,
    ),
    (
        "A2-8",
        "a component too many",
        || event(|e| tag(e, "app_components").push("0x9abc".into())),
        "A2-8",
        TransportRejected,
    ),
    (
        "A2-8",
        "another ciphersuite",
        || event(|e| tag(e, "mls_ciphersuite")[1] = "0x0003".into()),
        "A2-8",
        TransportRejected,
    ),
    (
        "A2-9",
        "published by somebody else",
        || {
            let other = Keys::generate();
            let made = Foreign::new().key_package_event();
            resigned(&made, &other, |_| ())
        },
        "A2-9",
        AuthorizationFailed,
    ),
    (
        "A2-10",
        "i of something else",
        || event(|e| tag(e, "i")[1] = "ab".repeat(32)),
        "A2-10",
        TransportRejected,
    ),
];

const PACKAGE: [Case; 28] = [
    ("A2-3", "a bare KeyPackage", || bytes(|b| drop(b.drain(..4))), "A2-3", InvalidEncoding),
    ("A2-3", "a byte more", || bytes(|b| b.push(0)), "A2-3", InvalidEncoding),
    ("A2-3", "a byte less", || bytes(|b| b.truncate(b.len() - 1)), "A2-3", InvalidEncoding),
    ("A2-3", "another kind of MLSMessage", || bytes(|b| b[3] = 3), "A2-3", InvalidEncoding),
    (
        "A2-4",
        "a signature that does not hold",
        || bytes(|b| *b.last_mut().unwrap() ^= 1),
        "A2-4",
        InvalidSignature,
    ),
    (
        "A2-4",
        "expired",
        || with(|f| f.package.lifetime = (now() - 600, now() - 60)),
        "A2-4",
        TransportRejected,
    ),
    (
        "A2-4",
        "not valid yet",
        || with(|f| f.package.lifetime = (now() + 600, now() + 6000)),
        "A2-4",
        TransportRejected,
    ),
    (
        "A2-5",
        "a second too long",
        || with(|f| f.package.lifetime = (now() - 60, now() - 60 + 7_261_201)),
        "A2-5",
        TransportRejected,
    ),
    (
        "A2-6",
        "33 bytes",
        || with(|f| f.leaf.credential = BasicCredential::new(vec![2; 33]).into()),
        "A2-6",
        InvalidEncoding,
    ),
    (
        "A2-6",
        "the key in hex",
        || with(|f| f.leaf.credential = BasicCredential::new(f.key().to_hex().into_bytes()).into()),
        "A2-6",
        InvalidEncoding,
    ),
    (
        "A2-6",
        "no curve point",
        || with(|f| f.leaf.credential = BasicCredential::new(vec![0xff; 32]).into()),
        "A2-6",
        InvalidEncoding,
    ),
    (
        "A2-6",
        "not a basic credential",
        || {
            with(|f| {
                f.leaf.credential =
                    Credential::new(CredentialType::Other(0xF000), f.key().as_bytes().to_vec());
                f.leaf.credentials = vec![CredentialType::Basic, CredentialType::Other(0xF000)];
            })
        },
        "A2-6",
        InvalidEncoding,
    ),
    ("A2-7", "no dictionary", || with(|f| f.leaf.entries = None), "A2-7", InvalidSignature),
    (
        "2.3-v1",
        "listed, not there",
        || with(|f| drop(f.leaf.entries().remove(&0x8009))),
        "A2-7",
        InvalidSignature,
    ),
    (
        "2.3-v1",
        "there, not listed",
        || with(|f| f.leaf.set_list(&[0x8001, 0x8003])),
        "A2-7",
        InvalidSignature,
    ),
    (
        "2.3-v2",
        "the transitional extension",
        || {
            with(|f| {
                f.leaf.extensions.push(0xF2F1);
                f.leaf.others.push((0xF2F1, vec![0; 104]));
            })
        },
        "A2-7",
        InvalidSignature,
    ),
    ("2.3-1", "103 bytes", || proof(|_, d| d.truncate(103)), "A2-7", InvalidSignature),
    ("2.3-1", "105 bytes", || proof(|_, d| d.push(0)), "A2-7", InvalidSignature),
    ("2.3-2", "created_at 0", || proof(|f, d| *d = dated(f, 0)), "A2-7", InvalidSignature),
    ("2.3-2", "created_at 2^53", || proof(|f, d| *d = dated(f, 1 << 53)), "A2-7", InvalidSignature),
    (
        "2.3-3",
        "the signer is no point",
        || proof(|_, d| d[..32].fill(0xff)),
        "A2-7",
        InvalidSignature,
    ),
    (
        "2.3-4",
        "the signer is another account",
        || {
            proof(|f, d| {
                *d = IdentityProof::sign(&Keys::generate(), f.signer.public(), 1).encode().unwrap();
            })
        },
        "A2-7",
        InvalidSignature,
    ),
    (
        "2.3-5",
        "for another MLS key",
        || {
            proof(|f, d| {
                *d = IdentityProof::sign(&f.keys, Foreign::new().signer.public(), 1)
                    .encode()
                    .unwrap();
            })
        },
        "A2-7",
        InvalidSignature,
    ),
    ("2.3-5", "the signature changed", || proof(|_, d| d[103] ^= 1), "A2-7", InvalidSignature),
    (
        "A2-11",
        "last-resort with data",
        || {
            with(|f| {
                f.package.entries.as_mut().unwrap().insert(4, vec![0]);
            })
        },
        "A2-11",
        InvalidEncoding,
    ),
    (
        "A2-12",
        "another ciphersuite",
        || {
            with(|f| {
                f.package.suite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
            })
        },
        "A2-12",
        UnsupportedRequiredFeature,
    ),
    (
        "A2-8",
        "GREASE in the tag",
        || event(|e| tag(e, "mls_extensions").push("0x1a1a".into())),
        "A2-8",
        TransportRejected,
    ),
    ("A2-3", "garbage", || bytes(|b| *b = vec![0xff; 40_000]), "A2-3", InvalidEncoding),
];

fn unusable(cases: &[Case]) {
    let mut alice = Member::new("alice");
    let mut bob = Member::new("bob");
    let group = alice.founds("Lunch", &mut [&mut bob]);
    let before = alice.engine.digest().unwrap();
    let good = Foreign::new().key_package_event();
    let mut wrong = Vec::new();
    for (id, what, build, rule, code) in cases {
        let event = build();
        match alice.engine.check_key_package(&event).unwrap() {
            KeyPackageVerdict::Unusable { rule: found, code: category, .. }
                if (found, category) == (*rule, *code) => {}
            verdict => wrong.push(format!("{id} {what}: {verdict:?}")),
        }
        for result in [
            alice.engine.add_members(&group, std::slice::from_ref(&event), false),
            alice.engine.add_members(&group, &[good.clone(), event.clone()], true),
            alice.engine.create_group(NewGroup {
                members: vec![event.clone()],
                relays: vec![RELAY.to_owned()],
                ..NewGroup::default()
            }),
        ] {
            match result {
                Err(Error::IncompatibleMember { rule: found, .. }) if found == *rule => {}
                Err(error) => wrong.push(format!("{id} {what}: {error:?}")),
                Ok(_) => panic!("{id} {what}: invited"),
            }
        }
        let read = alice.engine.read_key_packages(&[event.clone(), good.clone()]).unwrap();
        assert!(read.len() == 1 && read[0].event_id == good.id(), "{id} {what}: left out");
        let selected = alice.engine.select_key_package(&[event.clone(), good.clone()]).unwrap();
        assert!(selected.unwrap().id() == good.id(), "{id} {what}: the search goes on");
        assert!(alice.engine.select_key_package(&[event]).unwrap().is_none(), "{id} {what}");
        assert_eq!(alice.engine.digest().unwrap(), before, "{id} {what}: nothing was written");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(alice.engine.add_members(&group, &[good], false).is_ok());
}

#[test]
fn the_event_of_a_key_package() {
    unusable(&EVENT);
}

#[test]
fn the_key_package_itself() {
    unusable(&PACKAGE);
}

// rule: A2-12
#[test]
fn a_key_package_that_does_not_fit_the_group() {
    let mut bob = Member::new("bob");
    let package = bob.key_package();
    let mut founder = Foreign::new();
    founder.leaf.extensions.push(0xF2D2);
    let mut context = founder.context();
    context.set_admins(&[founder.key(), bob.key()]);
    context.set(0x8006, agent_stream(1));
    let wrapped = founder.founds_with(&context, &package);
    bob.applies(&wrapped);
    let group = bob.engine.accept(&wrapped.id()).unwrap().id;
    let before = bob.engine.digest().unwrap();
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
        assert_eq!(bob.engine.digest().unwrap(), before, "{what}");
    }
    let fits = Foreign::with_leaf(|l| l.set_list(&LIST)).key_package_event();
    assert!(bob.engine.add_members(&group, &[fits], false).is_ok());
}

#[test]
fn unusual_but_allowed() {
    let mut alice = Member::new("alice");
    let cases: [(&str, Event); 9] = [
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
        ("longest lifetime", with(|f| f.package.lifetime = (now() - 60, now() - 60 + 7_261_200))),
        ("tags reversed", event(|e| e.tags.reverse())),
        ("a tag more", event(|e| e.tags.push(vec!["client".into(), "x".into()]))),
    ];
    for (what, event) in cases {
        let verdict = alice.engine.check_key_package(&event).unwrap();
        assert_eq!(verdict, KeyPackageVerdict::Usable, "{what}");
    }
}
