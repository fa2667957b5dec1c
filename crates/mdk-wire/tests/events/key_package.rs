//! KeyPackage events (30443). At random, `fuzz` has them: key_package_event.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mdk_wire::key_package_event::build;
use mdk_wire::limits::MAX_KEY_PACKAGE_BYTES;
use mdk_wire::{KeyPackageEvent, KeyPackageRef, KeyPackageTags, WireError};

use crate::kit::{keys, unsigned};

fn tags() -> KeyPackageTags {
    KeyPackageTags {
        slot: "0a".repeat(32),
        reference: KeyPackageRef::from_bytes([3; 32]),
        ciphersuite: 1,
        extensions: [6, 0xf2d1].into(),
        proposals: [10, 8].into(),
        app_components: [0x800c, 0x8009, 0x8001].into(),
    }
}

fn parse(tags: Vec<Vec<String>>, content: &str) -> Result<KeyPackageEvent, WireError> {
    let keys = keys(1);
    let mut event = unsigned(keys.public_key(), 30443, &[], content);
    event.tags = tags;
    KeyPackageEvent::parse(&event.sign(&keys)).map_err(|broken| broken.error)
}

#[test]
fn rule_v2_a2_written_form() {
    let event = build(&tags(), &[0, 1, 0, 5, 9], 7, &keys(1)).unwrap();
    let written: Vec<String> = event.tags().iter().map(|t| t.join(" ")).collect();
    assert_eq!(
        written,
        [
            format!("d {}", "0a".repeat(32)),
            "mls_protocol_version 1.0".to_owned(),
            format!("i {}", "03".repeat(32)),
            "mls_ciphersuite 0x0001".to_owned(),
            "mls_extensions 0x0006 0xf2d1".to_owned(),
            "mls_proposals 0x0008 0x000a".to_owned(),
            "app_components 0x8001 0x8009 0x800c".to_owned(),
        ]
    );
    assert_eq!((event.kind(), event.created_at()), (30443, 7));
    assert_eq!(event.pubkey(), keys(1).public_key());
}

#[test]
fn rule_v2_a2_2_and_8_tags() {
    let good = build(&tags(), &[1], 7, &keys(1)).unwrap().tags().to_vec();
    let with = |name: &str, values: &[&str]| {
        let mut tags = good.clone();
        let tag = tags.iter_mut().find(|t| t[0] == name).unwrap();
        tag.truncate(1);
        tag.extend(values.iter().map(|v| (*v).to_owned()));
        parse(tags, "AQ==")
    };
    let hex = "0b".repeat(32);
    assert_eq!(with("d", &[&hex]).unwrap().slot, hex);
    with("mls_extensions", &["0xf2d1", "0x0006"]).unwrap();
    with("mls_extensions", &[]).unwrap();
    for (name, values) in [
        ("d", &[][..]),
        ("d", &["0b"]),
        ("d", &[&hex.to_uppercase()]),
        ("d", &[&hex, "x"]),
        ("mls_protocol_version", &["1"]),
        ("mls_protocol_version", &["1.0", "1.1"]),
        ("i", &["x"]),
        ("i", &[&hex.to_uppercase()]),
        ("mls_ciphersuite", &["1"]),
        ("mls_ciphersuite", &["0x0001", "0x0002"]),
        ("mls_ciphersuite", &["0x00001"]),
        ("mls_ciphersuite", &["0X0001"]),
        ("mls_extensions", &["0xF2D1"]),
        ("mls_extensions", &["0x0006", "0x0006"]),
        ("mls_extensions", &["0x0006,0xf2d1"]),
        ("mls_proposals", &["8"]),
        ("mls_proposals", &["0x+008"]),
        ("app_components", &["0x8001"]),
        ("app_components", &["0x0001", "0x8009"]),
        ("app_components", &[]),
    ] {
        let error = with(name, values).unwrap_err();
        assert!(matches!(error, WireError::TransportRejected(_)), "{name} {values:?}");
    }
    for i in 0..good.len() {
        let mut missing = good.clone();
        missing.remove(i);
        assert!(parse(missing, "AQ==").is_err());
        let mut twice = good.clone();
        twice.push(good[i].clone());
        assert!(parse(twice, "AQ==").is_err());
    }
    for (extra, accepted) in [("encoding", false), ("client", true), ("relays", true)] {
        let mut tags = good.clone();
        tags.push(vec![extra.to_owned(), "base64".to_owned()]);
        assert_eq!(parse(tags, "AQ==").is_ok(), accepted);
    }
    let mut reversed = good.clone();
    reversed.reverse();
    parse(reversed, "AQ==").unwrap();
}

#[test]
fn rule_v2_a2_1_and_3_kind_and_content() {
    let good = build(&tags(), &[1], 7, &keys(1)).unwrap().tags().to_vec();
    for content in ["", "AQ", "AQ=", "A-_=", "AQ==\n", "é"] {
        let error = parse(good.clone(), content).unwrap_err();
        assert!(matches!(error, WireError::InvalidEncoding(_)), "{content}");
    }
    let mut other = unsigned(keys(1).public_key(), 443, &[], "AQ==");
    other.tags = good.clone();
    assert!(KeyPackageEvent::parse(&other.sign(&keys(1))).is_err());

    let largest = vec![1; MAX_KEY_PACKAGE_BYTES];
    assert_eq!(parse(good.clone(), &STANDARD.encode(&largest)).unwrap().mls_message, largest);
    build(&tags(), &largest, 7, &keys(1)).unwrap();
    for more in 1..5 {
        let larger = vec![1; MAX_KEY_PACKAGE_BYTES + more];
        assert!(matches!(
            parse(good.clone(), &STANDARD.encode(&larger)),
            Err(WireError::KeyPackageTooLarge { .. })
        ));
        assert!(build(&tags(), &larger, 7, &keys(1)).is_err());
    }
}

#[test]
fn building_refuses_what_reading_refuses() {
    let refuses = |change: fn(&mut KeyPackageTags), message: &[u8]| {
        let mut tags = tags();
        change(&mut tags);
        assert!(build(&tags, message, 7, &keys(1)).is_err());
    };
    refuses(|t| t.slot = "x".to_owned(), &[1]);
    refuses(|t| t.app_components = [0x8001].into(), &[1]);
    refuses(|t| t.app_components = [1, 0x8009].into(), &[1]);
    refuses(|_| (), &[]);
}
