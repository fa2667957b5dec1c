//! Welcomes that break one rule each: refused with the rule's category, without a trace.

use mdk_core::RejectCode;
use mdk_wire::v2::IdentityProof;
use mdk_wire::{KeyPackageEvent, Keys};
use openmls::prelude::{BasicCredential, SignatureScheme};
use openmls_basic_credential::SignatureKeyPair;

use RejectCode::{
    AuthorizationFailed, InvalidEncoding, InvalidSignature, TransportRejected,
    UnsupportedRequiredFeature, WrongRecipient,
};

use crate::kit::RELAY;
use crate::kit::foreign::{Change, Foreign, read_key_package};
use crate::kit::welcomes::{
    Case, bytes, founder, group, outer, patched, proof, refuses, rumor, tag, third, twice,
};

const ENVELOPE: [Case; 23] = [
    (
        "B3-1",
        "for somebody else",
        |p| outer(p, |e| tag(e, "p")[1] = Keys::generate().public_key().to_hex()),
        "B3-1",
        WrongRecipient,
    ),
    ("B3-1", "no p tag", |p| outer(p, |e| e.tags.clear()), "B3-1", WrongRecipient),
    ("B3-1", "p twice", |p| outer(p, |e| twice(e, "p")), "B3-1", WrongRecipient),
    (
        "B3-1",
        "p of two accounts",
        |p| outer(p, |e| e.tags.push(vec!["p".into(), Keys::generate().public_key().to_hex()])),
        "B3-1",
        WrongRecipient,
    ),
    (
        "B3-1",
        "p in capitals",
        |p| outer(p, |e| tag(e, "p")[1].make_ascii_uppercase()),
        "B3-1",
        WrongRecipient,
    ),
    ("B3-2", "signed by another than encrypted", |p| outer(p, |_| ()), "B3-2", TransportRejected),
    ("B3-2", "no ciphertext", |p| outer(p, |e| e.content.clear()), "B3-2", InvalidEncoding),
    ("B3-2", "garbage", |p| outer(p, |e| e.content = "A".repeat(400_000)), "B3-2", InvalidEncoding),
    ("B3-8", "a chat message", |p| rumor(p, |r| r.kind = 9), "B3-8", TransportRejected),
    ("B3-5", "no e", |p| rumor(p, |r| r.tags.retain(|t| t[0] != "e")), "B3-5", InvalidEncoding),
    ("B3-5", "e twice", |p| rumor(p, |r| twice(r, "e")), "B3-5", InvalidEncoding),
    ("B3-5", "e too short", |p| rumor(p, |r| tag(r, "e")[1].truncate(62)), "B3-5", InvalidEncoding),
    (
        "B3-5",
        "e in capitals",
        |p| rumor(p, |r| tag(r, "e")[1] = "AB".repeat(32)),
        "B3-5",
        InvalidEncoding,
    ),
    (
        "B3-6",
        "no relays",
        |p| rumor(p, |r| r.tags.retain(|t| t[0] != "relays")),
        "B3-6",
        InvalidEncoding,
    ),
    ("B3-6", "relays twice", |p| rumor(p, |r| twice(r, "relays")), "B3-6", InvalidEncoding),
    (
        "B3-6",
        "relays empty",
        |p| rumor(p, |r| tag(r, "relays").truncate(1)),
        "B3-6",
        InvalidEncoding,
    ),
    (
        "B3-6",
        "17 relays",
        |p| rumor(p, |r| tag(r, "relays").extend(vec![RELAY.to_owned(); 16])),
        "B3-6",
        InvalidEncoding,
    ),
    (
        "B3-6",
        "513 bytes",
        |p| rumor(p, |r| tag(r, "relays")[1] = format!("wss://{}", "a".repeat(507))),
        "B3-6",
        InvalidEncoding,
    ),
    (
        "B3-6",
        "not a relay URL",
        |p| rumor(p, |r| tag(r, "relays")[1] = "https://relay.example".into()),
        "B3-6",
        InvalidEncoding,
    ),
    ("B3-7", "no content", |p| rumor(p, |r| r.content.clear()), "B3-7", InvalidEncoding),
    ("B3-7", "not base64", |p| rumor(p, |r| r.content.insert(0, '*')), "B3-7", InvalidEncoding),
    (
        "B3-7",
        "the alphabet of URLs",
        |p| rumor(p, |r| r.content = r.content.replace('+', "-").replace('/', "_")),
        "B3-7",
        InvalidEncoding,
    ),
    (
        "B3-7",
        "broken into lines",
        |p| rumor(p, |r| r.content.insert(76, '\n')),
        "B3-7",
        InvalidEncoding,
    ),
];

#[test]
fn the_envelope_of_a_welcome() {
    refuses(&ENVELOPE);
}

const MLS: [Case; 16] = [
    ("B4-2", "bare", |p| bytes(p, |b| drop(b.drain(..4))), "B4-2", InvalidEncoding),
    ("B4-2", "a byte more", |p| bytes(p, |b| b.push(0)), "B4-2", InvalidEncoding),
    ("B4-2", "a byte less", |p| bytes(p, |b| b.truncate(b.len() - 1)), "B4-2", InvalidEncoding),
    ("B4-2", "another wire format", |p| bytes(p, |b| b[3] = 5), "B4-2", InvalidEncoding),
    (
        "B4-2",
        "a KeyPackage",
        |p| bytes(p, |b| *b = KeyPackageEvent::parse(p).unwrap().mls_message),
        "B4-2",
        InvalidEncoding,
    ),
    ("B4-2", "another ciphersuite", |p| bytes(p, |b| b[5] = 3), "B4-2", UnsupportedRequiredFeature),
    ("B4-2", "garbage", |p| bytes(p, |b| *b = vec![0xff; 300_000]), "B4-2", InvalidEncoding),
    ("B4-2", "zeros", |p| bytes(p, |b| *b = vec![0; 330_000]), "B4-2", InvalidEncoding),
    (
        "B4-3",
        "for another KeyPackage",
        |p| {
            let mut founder = Foreign::new();
            founder.founds(&founder.context());
            let welcome = founder.invites(&[&Foreign::new().key_package_event()]);
            founder.wraps(&welcome, p)
        },
        "B4-3",
        WrongRecipient,
    ),
    ("B4-4", "an empty group id", |p| group(p, |c| c.id.clear()), "B4-4", InvalidEncoding),
    (
        "B4-4",
        "a group id of 256 bytes",
        |p| group(p, |c| c.id = vec![7; 256]),
        "B4-4",
        InvalidEncoding,
    ),
    (
        "B4-6",
        "GroupInfo changed",
        |p| bytes(p, |b| *b.last_mut().unwrap() ^= 1),
        "B4-6",
        InvalidEncoding,
    ),
    ("B4-6", "secrets changed", |p| bytes(p, |b| b[80] ^= 1), "B4-6", InvalidEncoding),
    ("B4-6", "no ratchet tree", |p| group(p, |c| c.ratchet_tree = false), "B4-6", InvalidEncoding),
    (
        "B4-6",
        "GroupInfo signed by another key",
        |p| {
            let mut founder = Foreign::new();
            founder.founds(&founder.context());
            founder.signer = SignatureKeyPair::new(SignatureScheme::ED25519).unwrap();
            let adds = vec![read_key_package(p)];
            let made = founder.commits(Change { adds, ..Change::default() });
            founder.wraps(&made.welcome.unwrap(), p)
        },
        "B4-6",
        InvalidSignature,
    ),
    (
        "B4-9",
        "2.6: the signer is a member but no admin",
        |p| group(p, |c| c.set_admins(&[p.pubkey()])),
        "B4-9",
        AuthorizationFailed,
    ),
];

#[test]
fn the_mls_message_of_a_welcome() {
    refuses(&MLS);
}

const PROOFS: [Case; 13] = [
    (
        "B4-7",
        "a member without proof",
        |p| third(p, |l| drop(l.entries().remove(&0x8009)), |_| ()),
        "B4-7",
        InvalidSignature,
    ),
    (
        "B4-7",
        "a member whose credential is hex",
        |p| third(p, |l| l.credential = BasicCredential::new(b"ab".repeat(32)).into(), |_| ()),
        "B4-7",
        InvalidSignature,
    ),
    (
        "2.3-1",
        "103 bytes",
        |p| proof(p, |f| patched(f, |d| d.truncate(103))),
        "B4-7",
        InvalidSignature,
    ),
    ("2.3-1", "105 bytes", |p| proof(p, |f| patched(f, |d| d.push(0))), "B4-7", InvalidSignature),
    ("2.3-2", "created_at 0", |p| proof(p, |f| raw_proof(f, 0)), "B4-7", InvalidSignature),
    ("2.3-2", "created_at 2^53", |p| proof(p, |f| raw_proof(f, 1 << 53)), "B4-7", InvalidSignature),
    (
        "2.3-3",
        "the signer is no point",
        |p| proof(p, |f| patched(f, |d| d[..32].fill(0xff))),
        "B4-7",
        InvalidSignature,
    ),
    (
        "2.3-4",
        "the signer is another account",
        |p| proof(p, |f| signed(&Keys::generate(), f)),
        "B4-7",
        InvalidSignature,
    ),
    (
        "2.3-5",
        "for another MLS key",
        |p| proof(p, |f| signed(&f.keys, &Foreign::new())),
        "B4-7",
        InvalidSignature,
    ),
    (
        "2.3-5",
        "the signature changed",
        |p| proof(p, |f| patched(f, |d| d[103] ^= 1)),
        "B4-7",
        InvalidSignature,
    ),
    ("2.3-v1", "listed, not there", |p| proof(p, |_| None), "B4-7", InvalidSignature),
    (
        "2.3-v1",
        "there, not listed",
        |p| founder(p, |l| l.set_list(&[0x8001, 0x8003, 0x8004, 0x8006, 0x800b, 0x800c]), |_| ()),
        "B4-7",
        InvalidSignature,
    ),
    (
        "2.3-v2",
        "the transitional extension",
        |p| {
            founder(
                p,
                |l| {
                    l.extensions.push(0xF2F1);
                    l.others.push((0xF2F1, vec![0; 104]));
                },
                |_| (),
            )
        },
        "B4-7",
        InvalidSignature,
    ),
];

/// A proof with a right signature for `created_at`, whatever that is.
fn raw_proof(founder: &Foreign, created_at: u64) -> Option<Vec<u8>> {
    let proof = IdentityProof::sign(&founder.keys, founder.signer.public(), created_at);
    let mut data = proof.signer.as_bytes().to_vec();
    data.extend(created_at.to_be_bytes());
    data.extend(proof.signature);
    Some(data)
}

/// A proof by `keys` for the MLS key of `other`.
fn signed(keys: &Keys, other: &Foreign) -> Option<Vec<u8>> {
    Some(IdentityProof::sign(keys, other.signer.public(), 1).encode().unwrap())
}

#[test]
fn the_identity_proofs_in_a_welcome() {
    refuses(&PROOFS);
}
