//! Welcome rumors and the framing of MLSMessage(Welcome). At random, `fuzz` has them: welcome_rumor, welcome_for_recipient.

use mdk_wire::gift_wrap::Unwrapped;
use mdk_wire::limits::{MAX_RELAYS, MAX_WELCOME_BYTES};
use mdk_wire::varint::Writer;
use mdk_wire::{EventId, KeyPackageRef, OsRandom, WelcomeRumor, WireError, gift_wrap, welcome};

use crate::kit::{keys, unsigned};

const MAX: usize = 1 << 20;

fn framed(references: &[&[u8]], kem: &[u8], info: &[u8]) -> Vec<u8> {
    let mut secrets = Writer::new();
    for reference in references {
        secrets.vector("", MAX, reference).unwrap();
        secrets.vector("", MAX, kem).unwrap();
        secrets.vector("", MAX, &[5; 80]).unwrap();
    }
    let mut message = Writer::new();
    message.u16(1).u16(3).u16(1);
    message.vector("", MAX, &secrets.into_vec()).unwrap();
    message.vector("", MAX, info).unwrap();
    message.into_vec()
}

fn relays(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("wss://r{i}.example")).collect()
}

fn parse(tags: &[&[&str]], content: &str) -> Result<WelcomeRumor, WireError> {
    let sender = keys(1).public_key();
    let rumor = unsigned(sender, 444, tags, content);
    Ok(welcome::parse(Unwrapped { sender, rumor })?)
}

#[test]
fn rule_v2_b3_tags_and_content() {
    let e = "0a".repeat(32);
    let (e, r): (&[&str], &[&str]) = (&["e", &e], &["relays", "wss://a.example", "ws://b.example"]);
    let read = parse(&[&["client", "x"], r, e, &["encoding", "base64"]], "AAEC").unwrap();
    assert_eq!(read.mls_message, [0, 1, 2]);
    assert_eq!(read.relays, ["wss://a.example", "ws://b.example"]);
    assert_eq!(read.key_package_event, EventId::from_bytes([10; 32]));
    let upper = "0A".repeat(32);
    for (tags, content) in [
        (&[e][..], "AAEC"),
        (&[r], "AAEC"),
        (&[e, e, r], "AAEC"),
        (&[e, r, r], "AAEC"),
        (&[&["e"], r], "AAEC"),
        (&[&["e", &upper], r], "AAEC"),
        (&[&["e", "0a"], r], "AAEC"),
        (&[e, &["relays"]], "AAEC"),
        (&[e, &["relays", ""]], "AAEC"),
        (&[e, &["relays", "https://a.example"]], "AAEC"),
        (&[e, &["relays", "wss://a.example", "wss://u@b.example"]], "AAEC"),
        (&[e, r], ""),
        (&[e, r], "AAE"),
        (&[e, r], "AA=="[..3].trim_end_matches('=')),
        (&[e, r], "A-_C"),
        (&[e, r], "000100"),
    ] {
        assert!(parse(tags, content).is_err(), "{tags:?} {content}");
    }
    let sender = keys(1).public_key();
    let rumor = unsigned(sender, 445, &[e, r], "AAEC");
    assert!(welcome::parse(Unwrapped { sender, rumor }).is_err());
    let rumor = unsigned(sender, 444, &[e, r], "AAEC");
    let sender = keys(2).public_key();
    assert!(welcome::parse(Unwrapped { sender, rumor }).is_err());
}

#[test]
fn building_refuses_what_reading_refuses() {
    let sender = keys(1).public_key();
    let id = EventId::from_bytes([1; 32]);
    let build = |message: &[u8], relays: &[String]| welcome::rumor(sender, message, &id, relays, 5);
    for good in [build(&[1], &relays(1)), build(&vec![1; MAX_WELCOME_BYTES], &relays(MAX_RELAYS))] {
        let read = welcome::parse(Unwrapped { sender, rumor: good.unwrap() }).unwrap();
        assert_eq!((read.sender, read.key_package_event, read.created_at), (sender, id, 5));
    }
    assert!(matches!(
        build(&vec![1; MAX_WELCOME_BYTES + 1], &relays(1)),
        Err(WireError::WelcomeTooLarge { .. })
    ));
    assert!(matches!(
        build(&[1], &relays(MAX_RELAYS + 1)),
        Err(WireError::TooManyRelays { limit: 16, actual: 17 })
    ));
    assert!(build(&[], &relays(1)).is_err());
    assert!(build(&[1], &[]).is_err());
    assert!(build(&[1], &["http://a.example".to_owned()]).is_err());

    let e = "0a".repeat(32);
    let many = relays(MAX_RELAYS + 1);
    let mut tag = vec!["relays"];
    tag.extend(many.iter().map(String::as_str));
    assert!(matches!(parse(&[&["e", &e], &tag], "AAEC"), Err(WireError::TooManyRelays { .. })));
    let too_large = "AAAA".repeat(MAX_WELCOME_BYTES / 3 + 1);
    assert!(matches!(
        parse(&[&["e", &e], &tag[..2]], &too_large),
        Err(WireError::WelcomeTooLarge { .. })
    ));
}

#[test]
fn a_large_welcome_travels_and_a_larger_one_is_refused() {
    let (alice, bob) = (keys(1), keys(2));
    let id = EventId::from_bytes([1; 32]);
    let wrap = |size: usize| {
        let rumor =
            welcome::rumor(alice.public_key(), &vec![1; size], &id, &relays(16), 5).unwrap();
        gift_wrap::wrap(rumor, &alice, &bob.public_key(), 5, &mut OsRandom)
    };
    let event = wrap(300 * 1024).unwrap();
    let read = mdk_wire::Event::from_json(event.to_json().as_bytes()).unwrap();
    let unwrapped = gift_wrap::unwrap(&read, &bob).unwrap();
    assert_eq!(welcome::parse(unwrapped).unwrap().mls_message.len(), 300 * 1024);
    assert!(matches!(wrap(MAX_WELCOME_BYTES), Err(WireError::EventTooLarge { .. })));
}

#[test]
fn framing_of_a_welcome() {
    let [a, b] = [[1u8; 32], [2u8; 32]];
    let both = framed(&[&a, &b], &[4; 32], &[6; 300]);
    let refs = [a, b].map(KeyPackageRef::from_bytes);
    assert_eq!(welcome::recipients(&both).unwrap(), refs);
    for (reference, bytes) in refs.iter().zip([a, b]) {
        let cut = welcome::for_recipient(&both, reference).unwrap();
        assert_eq!(cut, framed(&[&bytes], &[4; 32], &[6; 300]));
    }
    assert!(welcome::for_recipient(&both, &KeyPackageRef::from_bytes([3; 32])).is_err());
    // Whom it is for does not change what it is.
    let known_by = welcome::content_id(&both).unwrap();
    for same in [framed(&[&a], &[4; 32], &[6; 300]), framed(&[&b, &a], &[5; 32], &[6; 300])] {
        assert_eq!(welcome::content_id(&same).unwrap(), known_by);
    }
    assert_ne!(welcome::content_id(&framed(&[&a], &[4; 32], &[7; 300])).unwrap(), known_by);
    let twice = framed(&[&a, &a], &[4; 32], &[6; 300]);
    assert!(welcome::for_recipient(&twice, &refs[0]).is_err());

    let mut rest = both.clone();
    rest.push(0);
    let mut version = both.clone();
    version[1] = 2;
    let mut format = both.clone();
    format[3] = 5;
    for broken in [
        rest,
        version,
        format,
        framed(&[], &[4; 32], &[6; 300]),
        framed(&[&a], &[4; 32], &[]),
        framed(&[&a[1..]], &[4; 32], &[6; 300]),
        framed(&[&[1; 33]], &[4; 32], &[6; 300]),
        vec![0; MAX_WELCOME_BYTES + 1],
    ] {
        assert!(welcome::recipients(&broken).is_err());
    }
    for cut in 0..both.len() {
        assert!(welcome::recipients(&both[..cut]).is_err(), "cut {cut}");
    }
}
