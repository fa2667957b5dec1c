//! A2: every row refuses what it should, and the unusual but allowed passes.

use mdk_wire::v2::IdentityProof;
use mdk_wire::{Event, Keys, UnsignedEvent};
use openmls::prelude::Ciphersuite;
use openmls_rust_crypto::RustCrypto;
use proptest::prelude::*;

use super::super::{KeyPackageVerdict, MAX_AHEAD, MAX_SPAN, check};
use super::foreign::{Foreign, resigned};
use super::now;
use crate::outcome::{RejectCode, Rejection};

fn judge(event: &Event) -> Result<(), Rejection> {
    check(event, &RustCrypto::default(), now()).map(|_| ())
}

#[track_caller]
fn refused(event: &Event, rule: &str, code: RejectCode) {
    let rejection = judge(event).expect_err(rule);
    assert_eq!((rejection.rule, rejection.code), (rule, code), "{}", rejection.reason);
}

fn tag<'e>(event: &'e mut UnsignedEvent, name: &str) -> &'e mut Vec<String> {
    event.tags.iter_mut().find(|tag| tag[0] == name).unwrap()
}

#[test]
fn accepted() {
    let cases = [
        ("plain", Foreign::new()),
        ("not last resort", Foreign::with(|f| f.last_resort = None)),
        ("list without 0x0001", Foreign::with(|f| f.components.retain(|id| *id != 1))),
        ("unknown component", Foreign::with(|f| f.components.push(0x9abc))),
        (
            "grease",
            Foreign::with(|f| {
                f.extensions.push(0x1a1a);
                f.proposals.push(0x2a2a);
            }),
        ),
        (
            "the longest lifetime",
            Foreign::with(|f| f.lifetime = (now() - 60, now() - 60 + MAX_SPAN)),
        ),
        ("a little ahead", Foreign::with(|f| f.created_at = now() + MAX_AHEAD - 60)),
    ];
    for (name, foreign) in cases {
        assert_eq!(judge(&foreign.event()), Ok(()), "{name}");
    }
    let event = Foreign::new().event_with(|e| {
        e.tags.reverse();
        tag(e, "app_components")[1..].reverse();
        e.tags.push(vec!["client".into(), "other".into()]);
    });
    assert_eq!(judge(&event), Ok(()));
}

#[test]
fn a2_1_kind_and_time() {
    refused(&Foreign::new().event_with(|e| e.kind = 443), "A2-1", RejectCode::TransportRejected);
    let ahead = Foreign::with(|f| f.created_at = now() + MAX_AHEAD + 60).event();
    refused(&ahead, "A2-1", RejectCode::TransportRejected);
}

#[test]
fn a2_2_tags() {
    for name in [
        "d",
        "mls_protocol_version",
        "i",
        "mls_ciphersuite",
        "mls_extensions",
        "mls_proposals",
        "app_components",
    ] {
        let missing = Foreign::new().event_with(|e| e.tags.retain(|tag| tag[0] != name));
        refused(&missing, "A2-2", RejectCode::TransportRejected);
        let twice = Foreign::new().event_with(|e| {
            let again = tag(e, name).clone();
            e.tags.push(again);
        });
        refused(&twice, "A2-2", RejectCode::TransportRejected);
    }
    let changes: [fn(&mut UnsignedEvent); 3] = [
        |e| e.tags.push(vec!["encoding".into(), "base64".into()]),
        |e| tag(e, "d")[1].truncate(62),
        |e| tag(e, "mls_protocol_version")[1] = "1.1".into(),
    ];
    for change in changes {
        let event = Foreign::new().event_with(change);
        refused(&event, "A2-2", RejectCode::TransportRejected);
    }
}

#[test]
fn a2_3_content() {
    let changes: [fn(&mut UnsignedEvent); 2] =
        [|e| e.content.clear(), |e| e.content.insert(0, '*')];
    for change in changes {
        let event = Foreign::new().event_with(change);
        refused(&event, "A2-3", RejectCode::InvalidEncoding);
    }
    let changes: [fn(&mut Vec<u8>); 4] = [
        // A bare KeyPackage.
        |bytes| drop(bytes.drain(..4)),
        |bytes| bytes.push(0),
        |bytes| bytes.truncate(bytes.len() - 1),
        // Another kind of MLSMessage.
        |bytes| bytes[3] = 3,
    ];
    for change in changes {
        let event = Foreign::new().event_around(change);
        refused(&event, "A2-3", RejectCode::InvalidEncoding);
    }
}

#[test]
fn a2_4_signatures_and_time() {
    let forged = Foreign::new().event_around(|bytes| *bytes.last_mut().unwrap() ^= 1);
    refused(&forged, "A2-4", RejectCode::InvalidSignature);
    for lifetime in [(now() - 600, now() - 60), (now() + 600, now() + 6000)] {
        let event = Foreign::with(|f| f.lifetime = lifetime).event();
        refused(&event, "A2-4", RejectCode::TransportRejected);
    }
}

#[test]
fn a2_4_our_clock_counts_too() {
    let event = Foreign::with(|f| f.created_at = 1).event();
    let crypto = RustCrypto::default();
    for (at, usable) in [
        (now(), true),
        (now() - 600, false),
        (now() + 86_400 - 60, true),
        (now() + 86_400 + 60, false),
    ] {
        let verdict = check(&event, &crypto, at).map(|_| ());
        assert_eq!(verdict.is_ok(), usable, "{verdict:?}");
        if let Err(rejection) = verdict {
            assert_eq!(rejection.rule, "A2-4");
        }
    }
}

#[test]
fn a2_5_span() {
    let event = Foreign::with(|f| f.lifetime = (now() - 60, now() - 59 + MAX_SPAN)).event();
    refused(&event, "A2-5", RejectCode::TransportRejected);
    // A span that wraps is no short one.
    let event = Foreign::with(|f| f.lifetime = (0, u64::MAX)).event();
    refused(&event, "A2-5", RejectCode::TransportRejected);
}

// rule: 2.1-11
#[test]
fn a2_6_identity() {
    for identity in [vec![], vec![2; 33], vec![0xFF; 32], b"0123456789abcdef".repeat(4)] {
        let event = Foreign::with(|f| f.identity = identity).event();
        refused(&event, "A2-6", RejectCode::InvalidEncoding);
    }
}

#[test]
fn a2_7_proof() {
    let cases = [
        // No data, though listed.
        Foreign::with(|f| f.proof = Some(Vec::new())),
        // Data, though not listed.
        Foreign::with(|f| f.components.retain(|id| *id != 0x8009)),
        // Not 104 bytes.
        Foreign::with(|f| f.proof = Some(vec![1; 103])),
        // For another leaf key.
        Foreign::with(|f| {
            f.proof = Some(IdentityProof::sign(&f.keys, &[7; 32], 1).encode().unwrap());
        }),
        // By another account.
        Foreign::with(|f| {
            f.proof = Some(IdentityProof::sign(&Keys::generate(), &[7; 32], 1).encode().unwrap());
        }),
    ];
    for (i, foreign) in cases.iter().enumerate() {
        let rejection = judge(&foreign.event()).expect_err("A2-7");
        assert_eq!(rejection.rule, "A2-7", "{i}: {}", rejection.reason);
    }
}

#[test]
fn a2_8_tags_against_the_key_package() {
    let changes: [fn(&mut UnsignedEvent); 13] = [
        // In another form than the lists have.
        |e| tag(e, "mls_extensions")[2] = "0xF2D1".into(),
        |e| tag(e, "mls_extensions").push("0x0006".into()),
        |e| tag(e, "mls_ciphersuite")[1] = "1".into(),
        |e| tag(e, "app_components").retain(|id| id != "0x8009"),
        |e| tag(e, "app_components").push("0x0001".into()),
        // Not what the KeyPackage has.
        |e| tag(e, "mls_ciphersuite")[1] = "0x0003".into(),
        |e| tag(e, "mls_extensions").push("0x0003".into()),
        |e| drop(tag(e, "mls_extensions").pop()),
        |e| tag(e, "mls_extensions").push("0x1a1a".into()),
        |e| tag(e, "mls_proposals").push("0x0009".into()),
        |e| drop(tag(e, "mls_proposals").pop()),
        |e| tag(e, "app_components").push("0x9abc".into()),
        |e| drop(tag(e, "app_components").pop()),
    ];
    for change in changes {
        let event = Foreign::new().event_with(change);
        refused(&event, "A2-8", RejectCode::TransportRejected);
    }
    // GREASE among the proposals is listed, unlike GREASE among the extensions.
    let unlisted = Foreign::with(|f| f.proposals.push(0x1a1a))
        .event_with(|e| tag(e, "mls_proposals").retain(|id| id != "0x1a1a"));
    refused(&unlisted, "A2-8", RejectCode::TransportRejected);
}

#[test]
fn a2_9_author() {
    let event = resigned(&Foreign::new().event(), &Keys::generate(), |_| ());
    refused(&event, "A2-9", RejectCode::AuthorizationFailed);
}

#[test]
fn a2_10_reference() {
    let event = Foreign::new().event_with(|e| tag(e, "i")[1] = "ab".repeat(32));
    refused(&event, "A2-10", RejectCode::TransportRejected);
}

#[test]
fn a2_11_last_resort_data() {
    let event = Foreign::with(|f| f.last_resort = Some(vec![0])).event();
    refused(&event, "A2-11", RejectCode::InvalidEncoding);
}

// rule: 2.1-10
#[test]
fn a2_12_ciphersuite() {
    let event = Foreign::with(|f| {
        f.ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
    })
    .event();
    refused(&event, "A2-12", RejectCode::UnsupportedRequiredFeature);
}

#[test]
fn rows_are_judged_in_order() {
    // Wrong in rows 5, 8 and 10.
    let event = Foreign::with(|f| f.lifetime = (0, u64::MAX)).event_with(|e| {
        tag(e, "i")[1] = "ab".repeat(32);
        tag(e, "mls_proposals").pop();
    });
    refused(&event, "A2-5", RejectCode::TransportRejected);
}

// coverage: no case
#[test]
fn the_verdict_says_why() {
    let rejection = Rejection::new(RejectCode::InvalidEncoding, "A2-3", "reason");
    assert_eq!(
        KeyPackageVerdict::from(rejection),
        KeyPackageVerdict::Unusable {
            rule: "A2-3",
            code: RejectCode::InvalidEncoding,
            reason: "reason"
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a publisher changes in the content, it is refused and nothing panics: the reference and
    /// two signatures cover every byte.
    #[test]
    fn any_other_content_is_refused(at in 0..600_usize, flip in 1..=255_u8) {
        let event = Foreign::new().event_around(|bytes| {
            let at = at % bytes.len();
            bytes[at] ^= flip;
        });
        prop_assert!(judge(&event).is_err());
    }
}
