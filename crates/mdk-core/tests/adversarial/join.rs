//! Welcomes that break one rule each: refused with the rule's category, without a trace.

use mdk_core::RejectCode::{
    AuthorizationFailed as Forbidden, InvalidEncoding as Encoding, InvalidSignature as Signature,
    TransportRejected as Transport, UnsupportedRequiredFeature as Unsupported, WrongRecipient,
};
use mdk_wire::{KeyPackageEvent, Keys};
use openmls::prelude::{BasicCredential, SignatureScheme};
use openmls_basic_credential::SignatureKeyPair;

use crate::kit::RELAY;
use crate::kit::foreign::{Change, Foreign, read_key_package};
use crate::kit::welcomes::{
    Invited, bytes, group, outer, patched, proof, rumor, tag, third, twice,
};

#[test]
fn the_envelope_of_a_welcome() {
    let mut bob = Invited::bob();
    bob.breaks("B3-1", WrongRecipient)
        .by("for somebody else", |p| {
            outer(p, |e| tag(e, "p")[1] = Keys::generate().public_key().to_hex())
        })
        .by("no p tag", |p| outer(p, |e| e.tags.clear()))
        .by("p twice", |p| outer(p, |e| twice(e, "p")))
        .by("p of two accounts", |p| {
            outer(p, |e| e.tags.push(vec!["p".into(), Keys::generate().public_key().to_hex()]))
        })
        .by("p in capitals", |p| outer(p, |e| tag(e, "p")[1].make_ascii_uppercase()));
    bob.breaks("B3-2", Transport).by("signed by another than encrypted", |p| outer(p, |_| ()));
    bob.breaks("B3-2", Encoding)
        .by("no ciphertext", |p| outer(p, |e| e.content.clear()))
        .by("garbage", |p| outer(p, |e| e.content = "A".repeat(400_000)));
    bob.breaks("B3-8", Transport).by("a chat message", |p| rumor(p, |r| r.kind = 9));
    bob.breaks("B3-5", Encoding)
        .by("no e", |p| rumor(p, |r| r.tags.retain(|t| t[0] != "e")))
        .by("e twice", |p| rumor(p, |r| twice(r, "e")))
        .by("e too short", |p| rumor(p, |r| tag(r, "e")[1].truncate(62)))
        .by("e in capitals", |p| rumor(p, |r| tag(r, "e")[1] = "AB".repeat(32)));
    bob.breaks("B3-6", Encoding)
        .by("no relays", |p| rumor(p, |r| r.tags.retain(|t| t[0] != "relays")))
        .by("relays twice", |p| rumor(p, |r| twice(r, "relays")))
        .by("relays empty", |p| rumor(p, |r| tag(r, "relays").truncate(1)))
        .by("17 relays", |p| rumor(p, |r| tag(r, "relays").extend(vec![RELAY.to_owned(); 16])))
        .by("513 bytes", |p| {
            rumor(p, |r| tag(r, "relays")[1] = format!("wss://{}", "a".repeat(507)))
        })
        .by("not a relay URL", |p| {
            rumor(p, |r| tag(r, "relays")[1] = "https://relay.example".into())
        });
    bob.breaks("B3-7", Encoding)
        .by("no content", |p| rumor(p, |r| r.content.clear()))
        .by("not base64", |p| rumor(p, |r| r.content.insert(0, '*')))
        .by("the alphabet of URLs", |p| {
            rumor(p, |r| r.content = r.content.replace('+', "-").replace('/', "_"))
        })
        .by("broken into lines", |p| rumor(p, |r| r.content.insert(76, '\n')));
    bob.still_joins();
}

#[test]
fn the_mls_message_of_a_welcome() {
    let mut bob = Invited::bob();
    bob.breaks("B4-2", Encoding)
        .by("bare", |p| bytes(p, |b| drop(b.drain(..4))))
        .by("a byte more", |p| bytes(p, |b| b.push(0)))
        .by("a byte less", |p| bytes(p, |b| b.truncate(b.len() - 1)))
        .by("another wire format", |p| bytes(p, |b| b[3] = 5))
        .by("a KeyPackage", |p| bytes(p, |b| *b = KeyPackageEvent::parse(p).unwrap().mls_message));
    bob.breaks("B4-2", Unsupported).by("another ciphersuite", |p| bytes(p, |b| b[5] = 3));
    bob.breaks("B4-2", Encoding)
        .by("garbage", |p| bytes(p, |b| *b = vec![0xff; 300_000]))
        .by("zeros", |p| bytes(p, |b| *b = vec![0; 330_000]));
    bob.breaks("B4-3", WrongRecipient).by("for another KeyPackage", |p| {
        let mut founder = Foreign::new();
        founder.founds(&founder.context());
        let welcome = founder.invites(&[&Foreign::new().key_package_event()]);
        founder.wraps(&welcome, p)
    });
    bob.breaks("B4-4", Encoding)
        .by("an empty group id", |p| group(p, |c| c.id.clear()))
        .by("a group id of 256 bytes", |p| group(p, |c| c.id = vec![7; 256]));
    bob.breaks("B4-6", Encoding)
        .by("GroupInfo changed", |p| bytes(p, |b| *b.last_mut().unwrap() ^= 1))
        .by("secrets changed", |p| bytes(p, |b| b[80] ^= 1))
        .by("no ratchet tree", |p| group(p, |c| c.ratchet_tree = false));
    bob.breaks("B4-6", Signature).by("GroupInfo signed by another key", |p| {
        let mut founder = Foreign::new();
        founder.founds(&founder.context());
        founder.signer = SignatureKeyPair::new(SignatureScheme::ED25519).unwrap();
        let adds = vec![read_key_package(p)];
        let made = founder.commits(Change { adds, ..Change::default() });
        founder.wraps(&made.welcome.unwrap(), p)
    });
    bob.breaks("B4-9", Forbidden).by("2.6: the signer is a member but no admin", |p| {
        group(p, |c| c.set_admins(&[p.pubkey()]))
    });
    bob.still_joins();
}

/// Other faults of a proof are tried on KeyPackages; a leaf is judged by the same function.
#[test]
fn the_identity_proofs_in_a_welcome() {
    let mut bob = Invited::bob();
    bob.breaks("B4-7", Signature)
        .by("a member without proof", |p| third(p, |l| drop(l.entries().remove(&0x8009)), |_| ()))
        .by("a member whose credential is hex", |p| {
            third(p, |l| l.credential = BasicCredential::new(b"ab".repeat(32)).into(), |_| ())
        })
        .by("a founder without one", |p| proof(p, |_| None))
        .by("a founder's signature changed", |p| proof(p, |f| patched(f, |d| d[103] ^= 1)));
    bob.still_joins();
}
