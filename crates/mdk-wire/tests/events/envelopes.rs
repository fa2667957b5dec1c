//! Group messages (445) and gift wraps (1059). At random, `fuzz` has them: group_message, gift_wrap_inner, gift_wrap_unwrap.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mdk_wire::limits::MAX_GROUP_MESSAGE_BYTES;
use mdk_wire::{Event, GroupMessage, NostrGroupId, OsRandom, Secret, WireError};
use mdk_wire::{gift_wrap, group_message, kind};
use nostr::nips::nip44::v2::{ConversationKey, encrypt_to_bytes_with_nonce};

use crate::kit::{Repeatable, keys, unsigned};

const NOW: u64 = 1_795_604_561;

fn seal(message: &[u8], expiration: Option<u64>) -> Result<Event, WireError> {
    group_message::seal(
        message,
        &Secret::new([7; 32]),
        &NostrGroupId::from_bytes([9; 32]),
        NOW,
        expiration,
        &mut OsRandom,
    )
}

fn parse_445(tags: &[&[&str]], content: &str) -> Result<GroupMessage, WireError> {
    let keys = keys(1);
    Ok(GroupMessage::parse(unsigned(keys.public_key(), 445, tags, content).sign(&keys))?)
}

#[test]
fn rule_v2_2_4_5_fresh_key_and_nonce() {
    let [a, b] = [seal(b"x", None).unwrap(), seal(b"x", None).unwrap()];
    assert_ne!(a.pubkey(), b.pubkey());
    assert_ne!(a.content(), b.content());
    assert_eq!(a.kind(), kind::GROUP_MESSAGE);
    assert_eq!(a.created_at(), NOW);
    Event::from_json(a.to_json().as_bytes()).unwrap();
}

#[test]
fn the_random_source_decides_every_byte() {
    let make = || {
        group_message::seal(
            b"x",
            &Secret::new([7; 32]),
            &NostrGroupId::from_bytes([9; 32]),
            NOW,
            None,
            &mut Repeatable(5),
        )
        .unwrap()
    };
    assert_eq!(make(), make());
}

#[test]
fn rule_v2_2_4_tags_of_445() {
    let h = "09".repeat(32);
    let content = STANDARD.encode([0; 28]);
    let ok = parse_445(&[&["h", &h]], &content).unwrap();
    assert_eq!((ok.group.to_hex(), ok.expiration), (h.clone(), None));
    for (text, value) in [("0", 0), ("18446744073709551615", u64::MAX)] {
        let ok = parse_445(&[&["expiration", text], &["h", &h]], &content).unwrap();
        assert_eq!(ok.expiration, Some(value));
    }
    let upper = "AB".repeat(32);
    for tags in [
        &[][..],
        &[&["h"][..]],
        &[&["h", &upper]],
        &[&["h", &h[1..]]],
        &[&["h", &h, "x"]],
        &[&["h", &h], &["h", &h]],
        &[&["h", &h], &["encoding", "base64"]],
        &[&["h", &h], &["expiration"]],
        &[&["h", &h], &["expiration", ""]],
        &[&["h", &h], &["expiration", "01"]],
        &[&["h", &h], &["expiration", "+1"]],
        &[&["h", &h], &["expiration", "-1"]],
        &[&["h", &h], &["expiration", " 1"]],
        &[&["h", &h], &["expiration", "1.0"]],
        &[&["h", &h], &["expiration", "18446744073709551616"]],
        &[&["h", &h], &["expiration", "1", "2"]],
        &[&["h", &h], &["expiration", "1"], &["expiration", "1"]],
        &[&["h", &h], &["expiration", "1"], &["x", "1"]],
        &[&["expiration", "1"], &["expiration", "1"]],
    ] {
        let error = parse_445(tags, &content).unwrap_err();
        assert!(matches!(error, WireError::TransportRejected(_)), "{tags:?}");
    }
    let keys = keys(1);
    let other = unsigned(keys.public_key(), 444, &[&["h", &h]], &content).sign(&keys);
    assert!(GroupMessage::parse(other).is_err());
}

#[test]
fn rule_v2_2_4_4_content_of_445() {
    let h = "09".repeat(32);
    for content in [
        String::new(),
        STANDARD.encode([0; 27]),
        STANDARD.encode([0; 28]).replace('=', ""),
        format!("{}\n", STANDARD.encode([0; 30])),
        format!("{}-_", &STANDARD.encode([0; 30])[2..]),
        "é".repeat(40),
    ] {
        let error = parse_445(&[&["h", &h]], &content).unwrap_err();
        assert!(matches!(error, WireError::InvalidEncoding(_)));
    }
}

#[test]
fn size_limit_of_445() {
    let largest = vec![1; MAX_GROUP_MESSAGE_BYTES];
    let event = seal(&largest, Some(1)).unwrap();
    let read = Event::from_json(event.to_json().as_bytes()).unwrap();
    let read = GroupMessage::parse(read).unwrap();
    assert_eq!(*read.open(&Secret::new([7; 32])).unwrap(), largest);
    assert!(matches!(
        seal(&vec![1; MAX_GROUP_MESSAGE_BYTES + 1], None),
        Err(WireError::GroupMessageTooLarge { .. })
    ));
    let h = "09".repeat(32);
    for more in 1..8 {
        let content = STANDARD.encode(vec![0; MAX_GROUP_MESSAGE_BYTES + 28 + more]);
        assert!(matches!(
            parse_445(&[&["h", &h]], &content),
            Err(WireError::GroupMessageTooLarge { .. })
        ));
    }
}

#[test]
fn rule_v2_b3_wrap_and_unwrap() {
    let (alice, bob) = (keys(1), keys(2));
    let rumor = unsigned(alice.public_key(), 444, &[&["e", "x"]], "hello");
    let mut dates = Vec::new();
    for seed in 0..64 {
        let mut rng = Repeatable(seed);
        let wrap =
            gift_wrap::wrap(rumor.clone(), &alice, &bob.public_key(), NOW, &mut rng).unwrap();
        assert_eq!(wrap.tags(), [["p".to_owned(), bob.public_key().to_hex()]]);
        assert_eq!(wrap.kind(), 1059);
        assert_ne!(wrap.pubkey(), alice.public_key());
        let age = NOW - wrap.created_at();
        assert!(age <= u64::from(gift_wrap::MAX_BACKDATE));
        dates.push(age);
        let read = Event::from_json(wrap.to_json().as_bytes()).unwrap();
        let unwrapped = gift_wrap::unwrap(&read, &bob).unwrap();
        assert_eq!(unwrapped.sender, alice.public_key());
        assert_eq!(unwrapped.rumor, rumor);
        let broken = gift_wrap::unwrap(&read, &alice).unwrap_err();
        assert_eq!((broken.rule, broken.error), ("B3-1", WireError::WrongRecipient));
    }
    let day = 24 * 60 * 60;
    assert!(dates.iter().any(|age| *age < day) && dates.iter().any(|age| *age > day));
    assert!(gift_wrap::wrap(rumor, &bob, &bob.public_key(), NOW, &mut OsRandom).is_err());
}

fn encrypt(from: &mdk_wire::Keys, to: &mdk_wire::Keys, plain: &str) -> String {
    let key = ConversationKey::derive(
        &nostr::key::SecretKey::from_slice(from.secret().expose()).unwrap(),
        &nostr::key::PublicKey::from_byte_array(*to.public_key().as_bytes()),
    )
    .unwrap();
    STANDARD.encode(encrypt_to_bytes_with_nonce(&key, plain.as_bytes(), [3; 32]).unwrap())
}

/// A gift wrap with any seal text inside.
fn wrap_text(seal: &str) -> Event {
    let (outer, bob) = (keys(7), keys(2));
    let p = bob.public_key().to_hex();
    let content = encrypt(&outer, &bob, seal);
    unsigned(outer.public_key(), 1059, &[&["p", &p]], &content).sign(&outer)
}

fn seal_text(kind: u16, rumor: &str) -> String {
    let (alice, bob) = (keys(1), keys(2));
    let content = encrypt(&alice, &bob, rumor);
    unsigned(alice.public_key(), kind, &[], &content).sign(&alice).to_json()
}

#[test]
// rules: B3-2, B3-3, B3-4
fn rule_v2_b3_broken_wraps() {
    let (alice, bob) = (keys(1), keys(2));
    let rumor = unsigned(alice.public_key(), 444, &[], "x");
    let good = seal_text(13, &rumor.to_json());
    gift_wrap::unwrap(&wrap_text(&good), &bob).unwrap();
    // NIP-59 rumors may come without id.
    let json = rumor.to_json();
    let no_id = format!("{{{}", &json[json.find("\"pubkey\"").unwrap()..]);
    gift_wrap::unwrap(&wrap_text(&seal_text(13, &no_id)), &bob).unwrap();

    let forged_author = unsigned(bob.public_key(), 444, &[], "x").to_json();
    // Another first digit: the form stays right, only the value is wrong.
    let altered = |json: &str, member: &str| {
        let at = json.find(&format!("\"{member}\":\"")).unwrap() + member.len() + 4;
        let digit = if &json[at..=at] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &json[..at], &json[at + 1..])
    };
    for (rule, what, seal) in [
        ("B3-2", "seal kind", seal_text(14, &json)),
        ("B3-4", "rumor author", seal_text(13, &forged_author)),
        ("B3-3", "rumor id", seal_text(13, &altered(&json, "id"))),
        ("B3-3", "rumor content", seal_text(13, &json.replace("\"x\"", "\"y\""))),
        ("B3-3", "rumor with sig", seal_text(13, &rumor.clone().sign(&alice).to_json())),
        ("B3-3", "rumor is no JSON", seal_text(13, "hello")),
        ("B3-2", "seal signature", altered(&good, "sig")),
        ("B3-2", "seal id", altered(&good, "id")),
        ("B3-2", "seal date", good.replacen("1795604561", "1795604562", 1)),
        ("B3-2", "seal is the rumor", json.clone()),
        ("B3-2", "seal is no JSON", "hello".to_owned()),
    ] {
        let broken = gift_wrap::unwrap(&wrap_text(&seal), &bob).unwrap_err();
        assert_eq!(broken.rule, rule, "{what}");
    }

    let wrap = wrap_text(&good);
    let outer = keys(7);
    let p = bob.public_key().to_hex();
    let again = |kind, tags: &[&[&str]], content: &str| {
        gift_wrap::unwrap(&unsigned(outer.public_key(), kind, tags, content).sign(&outer), &bob)
    };
    again(1059, &[&["p", &p]], wrap.content()).unwrap();
    assert!(again(1058, &[&["p", &p]], wrap.content()).is_err());
    assert!(again(1059, &[], wrap.content()).is_err());
    assert!(again(1059, &[&["p"]], wrap.content()).is_err());
    assert!(again(1059, &[&["p", "x"]], wrap.content()).is_err());
    assert!(again(1059, &[&["p", &p], &["p", &p]], wrap.content()).is_err());
    assert!(again(1059, &[&["p", &p]], "").is_err());
    assert!(again(1059, &[&["p", &p]], "AQ==").is_err());
    assert!(again(1059, &[&["p", &p]], &wrap.content()[4..]).is_err());
}

#[test]
fn altered_ciphertext_does_not_open() {
    let key = Secret::new([7; 32]);
    let good = GroupMessage::parse(seal(b"a message", None).unwrap()).unwrap();
    assert_eq!(*good.open(&key).unwrap(), b"a message");
    assert!(good.open(&Secret::new([8; 32])).is_none());
    for at in 0..good.sealed.len() {
        let mut altered = GroupMessage::parse(seal(b"a message", None).unwrap()).unwrap();
        altered.sealed[at] ^= 1 << (at % 8);
        assert!(altered.open(&key).is_none(), "{at}");
        altered.sealed.truncate(at);
        assert!(altered.open(&key).is_none(), "{at}");
    }
}
