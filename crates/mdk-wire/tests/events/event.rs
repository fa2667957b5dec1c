//! Reading and writing Nostr events and payloads. At random, `fuzz` has them: event_json, event_members, payload.

use mdk_wire::limits::{MAX_EVENT_BYTES, MAX_PAYLOAD_BYTES, MAX_TAG_VALUES, MAX_TAGS};
use mdk_wire::{Category, Event, Payload, UnsignedEvent, WireError};
use sha2::{Digest, Sha256};

use crate::kit::{keys, unsigned};

fn every_control_character() -> String {
    (0u8..=0x20).map(char::from).collect::<String>() + "\"\\/\u{7f}\u{80}\u{2028}\u{2029}\u{1f980}é"
}

/// The id as another JSON library and the nostr crate compute it.
fn reference_ids(event: &UnsignedEvent) -> [[u8; 32]; 2] {
    let json = serde_json::to_vec(&(
        0,
        event.pubkey.to_hex(),
        event.created_at,
        event.kind,
        &event.tags,
        &event.content,
    ))
    .unwrap();
    let tags = event.tags.iter().map(|tag| nostr::event::Tag::parse(tag.clone()).unwrap());
    let id = nostr::event::EventId::compute(
        &nostr::key::PublicKey::from_byte_array(*event.pubkey.as_bytes()),
        &nostr::types::Timestamp::from(event.created_at),
        &nostr::event::Kind::from(event.kind),
        &nostr::event::Tags::from_list(tags.collect()),
        &event.content,
    );
    [Sha256::digest(json).into(), *id.as_bytes()]
}

#[test]
fn ids_agree_with_peers_on_every_escape() {
    let text = every_control_character();
    let event = unsigned(keys(1).public_key(), 9, &[&["t", &text], &[&text, ""]], &text);
    let [json, nostr] = reference_ids(&event);
    assert_eq!(event.id().as_bytes(), &json);
    assert_eq!(event.id().as_bytes(), &nostr);
    // Across the writer's block size.
    for length in 1018..1028 {
        let text = format!("{}\"\u{1}{}\\", "a".repeat(length), "b".repeat(5000));
        let event = unsigned(keys(1).public_key(), 9, &[], &text);
        assert_eq!(event.id().as_bytes(), &reference_ids(&event)[0]);
    }
}

#[test]
fn signing_and_reading_back() {
    let keys = keys(1);
    let event = unsigned(keys.public_key(), 9, &[&["a", "b"]], &every_control_character());
    let id = event.id();
    let signed = event.sign(&keys);
    assert_eq!(signed.id(), id);
    assert_eq!(signed.pubkey(), keys.public_key());
    let read = Event::from_json(signed.to_json().as_bytes()).unwrap();
    assert_eq!(read, signed);
    assert_eq!(read.sig(), signed.sig());
    assert_eq!(read.created_at(), 1_795_604_561);
    assert_eq!(format!("{read:?}"), "Event { kind: 9, .. }");
}

/// Other apps take tags of any length inside the encryption (phones.md F12); NIP-01 wants a name.
#[test]
fn a_tag_without_a_name_is_taken_in_a_payload_alone() {
    let keys = keys(1);
    let mut nameless = unsigned(keys.public_key(), 9, &[&[], &["a"], &[""]], "hi");
    let read = Payload::parse(nameless.to_json().as_bytes()).unwrap();
    assert_eq!(read.tags, nameless.tags);
    assert!(Event::from_json(nameless.clone().sign(&keys).to_json().as_bytes()).is_err());
    nameless.tags.remove(0);
    assert!(Event::from_json(nameless.sign(&keys).to_json().as_bytes()).is_ok());
}

#[test]
fn rule_v2_2_5_strict_members() {
    let keys = keys(1);
    let unsigned = unsigned(keys.public_key(), 9, &[&["a"]], "hi");
    let payload = unsigned.to_json();
    let event = unsigned.sign(&keys).to_json();
    Payload::parse(payload.as_bytes()).unwrap();
    Event::from_json(event.as_bytes()).unwrap();
    let spaced = format!(" {} \n", payload.replace(',', " ,\t"));
    Payload::parse(spaced.as_bytes()).unwrap();
    let reordered = payload.replacen("{", "{\"content\":\"hi\",", 1);
    let reordered = reordered.replace(",\"content\":\"hi\"}", "}");
    Payload::parse(reordered.as_bytes()).unwrap();
    assert!(Payload::parse(event.as_bytes()).is_err(), "sig");
    assert!(Event::from_json(payload.as_bytes()).is_err(), "no sig");

    for (from, to) in [
        ("{\"id\"", "{\"x\":1,\"id\""),
        ("\"kind\":9", "\"kind\":9,\"kind\":9"),
        ("\"kind\":9,", ""),
        ("\"kind\":9", "\"kind\":\"9\""),
        ("\"kind\":9", "\"kind\":9.0"),
        ("\"kind\":9", "\"kind\":65545"),
        ("\"kind\":9", "\"kind\":-9"),
        ("\"kind\":9", "\"kind\":null"),
        ("\"created_at\":", "\"created_at\":-"),
        ("\"created_at\":", "\"created_at\":99999999999"),
        ("[[\"a\"]]", "[\"a\"]"),
        ("[[\"a\"]]", "[[1]]"),
        ("[[\"a\"]]", "[[[\"a\"]]]"),
        ("[[\"a\"]]", "{}"),
        ("[[\"a\"]]", "null"),
        ("\"hi\"", "null"),
        ("\"hi\"", "\"ho\""),
        ("\"hi\"", "\"\\ud800\""),
        ("\"hi\"}", "\"hi\"},"),
        ("\"hi\"}", "\"hi\"}{}"),
        ("\"hi\"}", "\"hi\",}"),
        ("\"hi\"}", "\"hi\""),
        ("\"id\":\"", "\"id\":\"A"),
        ("\"pubkey\":\"", "\"pubkey\":\"0"),
    ] {
        let broken = payload.replacen(from, to, 1);
        assert_ne!(broken, payload);
        assert!(Payload::parse(broken.as_bytes()).is_err(), "{from} {to}");
        let broken = event.replacen(from, to, 1);
        if broken != event {
            assert!(Event::from_json(broken.as_bytes()).is_err(), "{from} {to}");
        }
    }
    let upper =
        payload.replace(&keys.public_key().to_hex(), &keys.public_key().to_hex().to_uppercase());
    assert!(Payload::parse(upper.as_bytes()).is_err());
    let no_id = format!("{{{}", &payload[payload.find("\"pubkey\"").unwrap()..]);
    assert!(Payload::parse(no_id.as_bytes()).is_err());
    for junk in ["", "[]", "1", "null", "{}", "\u{feff}{}", "[[[[[[[["] {
        assert!(Payload::parse(junk.as_bytes()).is_err());
        assert!(Event::from_json(junk.as_bytes()).is_err());
    }
    assert!(Payload::parse(&vec![b'['; 100_000]).is_err());
    let mut latin = payload.into_bytes();
    let at = latin.len() - 3;
    latin[at] = 0xff;
    assert!(Payload::parse(&latin).is_err());
}

fn payload_error(json: &str) -> WireError {
    Payload::parse(json.as_bytes()).unwrap_err().error
}

#[test]
fn public_keys_off_the_curve_are_refused() {
    let payload = unsigned(keys(1).public_key(), 9, &[], "").to_json();
    let off = payload.replace(&keys(1).public_key().to_hex(), &"f".repeat(64));
    assert!(matches!(payload_error(&off), WireError::InvalidKey(_)));
    let signed = format!("{},\"sig\":\"{}\"}}", &off[..off.len() - 1], "0".repeat(128));
    let error = Event::from_json(signed.as_bytes()).unwrap_err().error;
    assert!(matches!(error, WireError::InvalidKey(_)));
}

#[test]
fn limits_at_and_beyond() {
    let keys = keys(1);
    let with_size = |size: usize| {
        let empty = unsigned(keys.public_key(), 9, &[], "").sign(&keys).to_json().len();
        let content = "a".repeat(size - empty);
        unsigned(keys.public_key(), 9, &[], &content).sign(&keys).to_json()
    };
    Event::from_json(with_size(MAX_EVENT_BYTES).as_bytes()).unwrap();
    let error = Event::from_json(with_size(MAX_EVENT_BYTES + 1).as_bytes()).unwrap_err().error;
    assert!(matches!(error, WireError::EventTooLarge { .. }));
    assert_eq!(error.category(), Category::TooLarge);

    let mut event = unsigned(keys.public_key(), 9, &[], "");
    event.tags = vec![vec!["a".to_owned()]; MAX_TAGS];
    Payload::parse(event.to_json().as_bytes()).unwrap();
    event.tags.push(vec!["a".to_owned()]);
    event.tags.push(vec!["b".to_owned(), "c".to_owned()]);
    let actual = MAX_TAGS + 2;
    assert_eq!(payload_error(&event.to_json()), WireError::TooManyTags { limit: MAX_TAGS, actual });
    event.tags = vec![vec!["a".to_owned(); MAX_TAG_VALUES]];
    Payload::parse(event.to_json().as_bytes()).unwrap();
    event.tags[0].extend(["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    assert_eq!(
        payload_error(&event.to_json()),
        WireError::TooManyTagValues { limit: MAX_TAG_VALUES, actual: MAX_TAG_VALUES + 3 }
    );

    let mut event = unsigned(keys.public_key(), 9, &[], "");
    event.content = "a".repeat(MAX_PAYLOAD_BYTES - event.to_json().len());
    Payload::parse(event.to_json().as_bytes()).unwrap();
    event.content.push('a');
    assert!(matches!(payload_error(&event.to_json()), WireError::PayloadTooLarge { .. }));
}

#[test]
fn errors_name_no_content() {
    for json in ["{\"secret-member\":1}", "{\"id\":\"secret\"}", "secret"] {
        let error = Event::from_json(json.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
