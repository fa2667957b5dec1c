//! Group events that break exactly one rule of the envelope, of the payload or of routing, and what follows.

use mdk_core::RejectCode::{
    self, InvalidEncoding as Encoding, InvalidSignature as Signature, StaleEpoch,
    TransportRejected as Transport, UnknownGroup,
};
use mdk_core::{DeferredReason as Wait, Error, Verdict};
use mdk_wire::v2::component_id as id;
use mdk_wire::{Event, UnsignedEvent, kind};
use openmls::prelude::MlsMessageOut;
use openmls::prelude::tls_codec::Serialize as _;
use openmls_traits::OpenMlsProvider as _;

use crate::kit::foreign::update;
use crate::kit::foreign_commits::{
    Handmade, Who, World, base64, by_value, reenveloped, rename, self_update,
};
use crate::kit::{WAITS, received};

fn envelope(change: fn(&mut UnsignedEvent), w: &mut World) -> Event {
    reenveloped(&w.max.says("hello"), change)
}

fn tag(name: &str, value: &str) -> Vec<String> {
    vec![name.into(), value.into()]
}

#[test]
fn envelopes() {
    let mut w = World::new();
    w.breaks("2.4-11", Transport, |w| envelope(|e| e.kind = 1, w));
    w.breaks("2.4-2", Transport, |w| envelope(|e| e.tags.clear(), w));
    w.breaks("2.4-2", Transport, |w| envelope(|e| e.tags.push(e.tags[0].clone()), w));
    w.breaks("2.4-2", Transport, |w| envelope(|e| e.tags[0][1] = e.tags[0][1].to_uppercase(), w));
    w.breaks("2.4-2", Transport, |w| envelope(|e| e.tags[0][1] = "ab".repeat(31), w));
    w.breaks("2.4-2", Transport, |w| envelope(|e| e.tags[0].push("more".into()), w));
    w.breaks("2.4-2", Transport, |w| envelope(|e| drop(e.tags[0].pop()), w));
    w.breaks("2.4-3", Transport, |w| envelope(|e| e.tags.push(tag("t", "x")), w));
    w.breaks("2.4-3", Transport, |w| envelope(|e| e.tags.push(tag("expiration", "-1")), w));
    w.breaks("2.4-3", Transport, |w| envelope(|e| e.tags.push(tag("expiration", "017")), w));
    w.breaks("2.4-3", Transport, |w| {
        envelope(|e| e.tags.push(tag("expiration", "18446744073709551616")), w)
    });
    w.breaks("2.4-3", Transport, |w| {
        envelope(|e| e.tags.extend([tag("expiration", "1"), tag("expiration", "1")]), w)
    });
    w.breaks("2.4-4", Encoding, |w| envelope(|e| e.content = base64(&[7; 27]), w));
    w.breaks("2.4-4", Encoding, |w| envelope(|e| e.content.clear(), w));
    w.breaks("D1-4", Encoding, |w| envelope(|e| e.content.insert(0, '-'), w));
    w.breaks("D1-4", Encoding, |w| envelope(|e| e.content.push('\n'), w));
    w.breaks("D1-2", UnknownGroup, |w| envelope(|e| e.tags[0][1] = "11".repeat(32), w));
    w.goes_on();
}

/// rule: D1-0 and 2.4-1: what is no verified event ends before anything is looked up.
#[test]
fn event_json() {
    let mut w = World::new();
    let good = w.max.says("hello").to_json();
    let other = w.max.says("other").to_json();
    let part = |json: &str, name: &str| {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        value[name].as_str().unwrap().to_owned()
    };
    let swapped = |name: &str| good.replace(&part(&good, name), &part(&other, name));
    let before = w.us.digest();
    let cases: &[(&str, Vec<u8>, RejectCode)] = &[
        ("D1-0", b"".to_vec(), Encoding),
        ("D1-0", b"null".to_vec(), Encoding),
        ("D1-0", b"{".to_vec(), Encoding),
        ("D1-0", b"{}".to_vec(), Encoding),
        ("D1-0", b"[]".to_vec(), Encoding),
        ("D1-0", [b"[".repeat(100_000), b"]".repeat(100_000)].concat(), Encoding),
        ("D1-0", vec![0xff; 40], Encoding),
        ("D1-0", good.as_bytes()[..good.len() - 1].to_vec(), Encoding),
        ("D1-0", format!("{good} {{}}").into_bytes(), Encoding),
        ("D1-0", good.replacen('{', "{\"more\":1,", 1).into_bytes(), Encoding),
        ("D1-0", good.replacen('{', "{\"kind\":445,", 1).into_bytes(), Encoding),
        ("D1-0", good.replace("\"kind\":445", "\"kind\":70000").into_bytes(), Encoding),
        ("D1-0", vec![b'['; 100_000], Encoding),
        ("D1-0", vec![b' '; (1 << 20) + 1], Transport),
        ("2.4-1", swapped("sig").into_bytes(), Signature),
        ("2.4-1", swapped("id").into_bytes(), Signature),
        ("2.4-1", swapped("content").into_bytes(), Signature),
    ];
    for (position, (rule, bytes, code)) in cases.iter().enumerate() {
        let outcome = w.us.engine.process(bytes).unwrap();
        let Verdict::Rejected(rejection) = outcome.verdict else {
            panic!("case {position} ({rule})")
        };
        assert_eq!(rejection.rule, *rule, "case {position}");
        assert!(rejection.code == *code, "case {position} ({rule}): {rejection:?}");
    }
    assert!(w.us.digest() == before);
    assert_eq!(received(&w.us.engine.process(good.as_bytes()).unwrap()), ["hello"]);
}

#[test]
fn payloads() {
    let mut w = World::new();
    fn sends(w: &mut World, change: impl FnOnce(String) -> String) -> Event {
        let json = change(w.max.payload("words").to_json());
        w.max.sends(json.as_bytes())
    }
    w.breaks("2.5-1", Encoding, |w| w.max.sends(b""));
    w.breaks("2.5-1", Encoding, |w| w.max.sends(b"words"));
    w.breaks("2.5-1", Encoding, |w| w.max.sends(&[b'"', 0xff, 0xfe, b'"']));
    w.breaks("2.5-1", Encoding, |w| w.max.sends(&[b'['; 60_000]));
    w.breaks("2.5-1", Encoding, |w| {
        sends(w, |json| {
            let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
            value.as_object_mut().unwrap().remove("id");
            value.to_string()
        })
    });
    w.breaks("2.5-1", Encoding, |w| sends(w, |json| json + "x"));
    w.breaks("2.5-1", Encoding, |w| sends(w, |json| json.replace("\"tags\":[]", "\"tags\":[1]")));
    w.breaks("2.5-1", Encoding, |w| sends(w, |json| json.replace("\"kind\":9", "\"kind\":\"9\"")));
    w.breaks("2.5-2", Encoding, |w| sends(w, |json| json.replacen('{', "{\"more\":1,", 1)));
    w.breaks("2.5-2", Encoding, |w| sends(w, |json| json.replacen('{', "{\"kind\":9,", 1)));
    w.breaks("2.5-3", Encoding, |w| {
        sends(w, |json| json.replacen('{', &format!("{{\"sig\":\"{}\",", "00".repeat(64)), 1))
    });
    w.breaks("2.5-4", Encoding, |w| sends(w, |json| json.replace("words", "other")));
    w.breaks("2.5-1", Encoding, |w| {
        let key = w.max.key().to_hex();
        sends(w, |json| json.replace(&key, &key.to_uppercase()))
    });
    w.breaks("2.5-9", Encoding, |w| {
        let ann = w.ann.key();
        w.max.sends_payload(|p| p.pubkey = ann)
    });
    // More bytes than a payload may have do not fit into a 445 at all; tags have a limit of their own.
    w.breaks("2.5-1", Transport, |w| w.max.sends_payload(|p| p.tags = vec![tag("t", "x"); 4097]));
    w.breaks("2.4-8", Encoding, |w| {
        w.max.sends_payload(|p| (p.kind, p.content) = (kind::REACTION, "é".repeat(65)))
    });
    w.goes_on();
}

/// shows: 2.4-8, 2.4-19 at its limit, any kind, time, JSON order and spacing: delivered, or without effect, never an error.
#[test]
fn payloads_at_the_limit() {
    let mut w = World::with(|context, _| context.set(id::RETENTION, 60u64.to_be_bytes()));
    let group = w.id.clone();
    let target = w.us.utters(&group, "target").message.id;
    let of_target = vec![tag("e", &target.to_hex())];
    let reaction = w.max.sends_payload(|p| {
        (p.kind, p.content, p.tags) = (kind::REACTION, "é".repeat(64), of_target.clone());
    });
    w.us.applies(&reaction);
    let odd = w.max.sends_payload(|p| (p.kind, p.tags) = (31_337, vec![tag("t", "x"); 4096]));
    assert_eq!(received(&w.us.applies(&odd)).len(), 1);
    // Other apps take a tag without a name, so it must not keep a message from being counted here.
    let nameless = vec![vec![], vec!["e".into()], vec!["imeta".into()], vec![String::new()]];
    let odd = w.max.sends_payload(|p| p.tags = nameless.clone());
    assert_eq!(received(&w.us.applies(&odd)).len(), 1);
    assert_eq!(w.us.engine.messages(&group, 1, None, None).unwrap()[0].tags, nameless);
    for (kind, text, tags) in [
        (kind::REACTION, "+", nameless.clone()),
        (kind::EDIT, "?", nameless.clone()),
        (kind::DELETE, "", nameless),
        (kind::REACTION, "+", vec![tag("e", "not hex")]),
        (kind::REACTION, "", of_target),
        (kind::CHAT, "reply to nothing", vec![tag("q", &"2".repeat(64))]),
        (kind::DELETE, "", vec![tag("e", &"3".repeat(64))]),
        (u16::MAX, "\0\u{202e}\u{feff}", Vec::new()),
    ] {
        let odd = w.max.sends_payload(|p| (p.kind, p.content, p.tags) = (kind, text.into(), tags));
        w.us.applies(&odd);
    }
    for created_at in [u64::MAX, i64::MAX as u64 + 1, 0] {
        let odd = w.max.sends_payload(|p| p.created_at = created_at);
        w.us.applies(&odd);
        w.us.texts(&group);
    }
    w.us.engine.search("\0", None, 9).unwrap();
    w.us.engine.events(0, 1_000).unwrap();
    let p = w.max.payload("spaced");
    let json = format!(
        "{{ \"content\" : \"spaced\", \"tags\":[] ,\"kind\":9,\n\"created_at\":{},\"pubkey\":\"{}\",\"id\":\"{}\" }}",
        p.created_at,
        p.pubkey.to_hex(),
        p.id().to_hex()
    );
    let event = w.max.sends(json.as_bytes());
    assert_eq!(received(&w.us.applies(&event)), ["spaced"]);
    w.us.waits(u64::from(u32::MAX));
    assert!(matches!(w.us.engine.message(&group, &target), Err(Error::MessageNotFound)));
    w.goes_on();
}

/// shows: E5-5: nor does such a tag keep its sender from being counted where branches are compared.
#[test]
fn what_is_said_with_a_nameless_tag_is_a_witness() {
    for tags in [vec![vec![]], vec![vec!["e".into()]]] {
        let mut w = World::new();
        let named = w.ann.commit_event(by_value(vec![rename("by an admin")]));
        let other = w.max.commit_event(self_update());
        w.max.merges();
        w.us.applies(&named);
        w.us.takes(&other);
        w.us.waits(1);
        assert_eq!(w.us.info(&w.id).profile.name, "by an admin");
        let said = w.max.sends_payload(|p| p.tags = tags);
        w.us.takes(&said);
        w.us.waits(1);
        assert_ne!(
            w.us.info(&w.id).profile.name,
            "by an admin",
            "somebody speaks on the other branch"
        );
        w.still_follows(Who::Max);
    }
}

/// The MLS bytes inside: exactly one PublicMessage handshake or PrivateMessage application message of this group.
#[test]
fn mls_framing() {
    let mut w = World::new();
    w.breaks("D1-7", Encoding, |w| w.max.seals(b"no MLSMessage"));
    w.breaks("D1-7", Encoding, |w| w.max.seals(b""));
    w.breaks("D1-7", Encoding, |w| {
        let mut bytes = w.max.encrypts(b"{}");
        bytes.push(0);
        w.max.seals(&bytes)
    });
    w.breaks("D1-7", Encoding, |w| {
        let package = MlsMessageOut::from(w.max.key_package()).tls_serialize_detached().unwrap();
        w.max.seals(&package)
    });
    w.breaks("D1-7", Encoding, |w| {
        let info =
            w.max.mls().export_group_info(w.max.provider.crypto(), &w.max.signer, true).unwrap();
        w.max.seals(&info.tls_serialize_detached().unwrap())
    });
    w.breaks("D1-7", Encoding, |w| {
        w.max.frames(true, 0);
        let made = w.max.commit_event(self_update());
        w.max.frames(false, 0);
        made
    });
    w.breaks("D1-7", Encoding, |w| {
        let body = crate::kit::foreign_commits::vlbytes(b"{}");
        let bytes = Handmade { content_type: 1, ..Handmade::proposal(&w.max, body) }.bytes(&w.max);
        w.max.seals(&bytes)
    });
    w.breaks("D1-7", Encoding, |w| {
        // A message of another group, under this group's key.
        let mut other = World::new();
        let bytes = other.max.encrypts(b"{}");
        w.max.seals(&bytes)
    });
    w.breaks("D2-5", Signature, |w| {
        let body = [0, 3, 0, 0, 0, 1].to_vec();
        let bytes =
            Handmade { break_signature: true, ..Handmade::proposal(&w.max, body) }.bytes(&w.max);
        w.max.seals(&bytes)
    });
    w.breaks("D2-6", Encoding, |w| {
        let mut bytes = w.max.encrypts(b"{}");
        *bytes.last_mut().unwrap() ^= 1;
        w.max.seals(&bytes)
    });
    w.goes_on();
}

/// The claimed epoch may park input, and condemns it only outside of the window.
#[test]
fn claimed_epochs() {
    let remove = || [0, 3, 0, 0, 0, 1].to_vec();
    let mut w = World::new();
    for _ in 0..6 {
        w.still_follows(Who::Max);
    }
    assert_eq!(w.epoch(), 7);
    let mut of_epoch = |epoch| {
        let bytes = Handmade { epoch, ..Handmade::proposal(&w.max, remove()) }.bytes(&w.max);
        let event = w.max.seals(&bytes);
        (event.clone(), w.us.takes(&event).verdict)
    };
    let code_and_rule = |verdict| match verdict {
        Verdict::Rejected(r) => (r.code, r.rule),
        other => panic!("{other:?}"),
    };
    assert_eq!(code_and_rule(of_epoch(0).1), (StaleEpoch, "D2-4"), "before we joined");
    assert_eq!(code_and_rule(of_epoch(1).1), (StaleEpoch, "D2-3"), "beyond the window");
    // shows: D2-1
    assert_eq!(of_epoch(8).1, WAITS);
    // A proposal of a retained epoch waits; it is not condemned by a claim that nothing authenticates.
    let (event, verdict) = of_epoch(2);
    assert_eq!(verdict, Verdict::Deferred(Wait::MissingParent));
    assert_eq!(w.us.takes(&event).verdict, Verdict::Duplicate);
    // Nor by a membership tag that another branch's state might make right.
    let bytes = Handmade { break_tag: true, ..Handmade::proposal(&w.max, remove()) }.bytes(&w.max);
    let event = w.max.seals(&bytes);
    assert_eq!(w.us.takes(&event).verdict, Verdict::Deferred(Wait::MissingParent));
    w.still_follows(Who::Max);
}

/// rule: D1-1, D1-9: known by the outer id, and by the content under a new outer event.
#[test]
fn duplicates() {
    let mut w = World::new();
    let payload = w.max.payload("once").to_json();
    let bytes = w.max.encrypts(payload.as_bytes());
    let first = w.max.seals(&bytes);
    assert_eq!(received(&w.us.applies(&first)), ["once"]);
    let before = w.us.digest();
    assert_eq!(w.us.takes(&first).verdict, Verdict::Duplicate, "rule D1-1");
    let again = w.max.seals(&bytes);
    assert_eq!(w.us.takes(&again).verdict, Verdict::Duplicate, "rule D1-9");
    assert!(w.us.digest() == before);
    // A commit likewise.
    let made = w.max.commits(self_update());
    let (one, two) = (w.max.seals(&made.commit), w.max.seals(&made.commit));
    w.us.applies(&one);
    assert_eq!(w.us.takes(&one).verdict, Verdict::Duplicate);
    assert_eq!(w.us.takes(&two).verdict, Verdict::Duplicate);
}

/// D1-3, D6: a removed copy is terminal; its history stays.
#[test]
fn after_our_removal() {
    let mut w = World::new();
    let group = w.id.clone();
    w.us.applies(&w.max.says("kept"));
    let late = w.max.says("late");
    let removal =
        w.ann.commit_event(crate::kit::foreign::Change { removes: vec![3], ..by_value(vec![]) });
    let outcome = w.us.applies(&removal);
    // shows: D6-1
    assert!(
        outcome
            .events
            .iter()
            .any(|e| matches!(e.body, mdk_core::EventBody::Removed { left: false, .. }))
    );
    assert_eq!(w.us.info(&group).state, mdk_core::GroupState::Removed);
    assert_eq!(w.us.texts(&group), ["kept"]);
    // shows: D6-6
    assert_eq!(w.refuses(&late), (UnknownGroup, "D1-3"));
    w.ann.merges();
    let event = w.ann.says("among ourselves");
    assert_eq!(w.refuses(&event).0, UnknownGroup);
    assert!(w.us.engine.self_update(&group).is_err());
}

/// shows: 2.9-1, 2.9-2, 2.9-3: the source epoch's retention counts; the expiration tag decides nothing.
#[test]
fn retention() {
    let hour = 3600u64.to_be_bytes().to_vec();
    let mut w = World::with(|context, _| context.set(id::RETENTION, hour));
    let group = w.id.clone();
    let slow = w.max.says("an hour");
    let shorter = w.commits(Who::Ann, by_value(vec![update(id::RETENTION, &10u64.to_be_bytes())]));
    w.max.follows(&shorter);
    let quick =
        reenveloped(&w.max.says("ten seconds"), |e| e.tags.push(tag("expiration", "99999999999")));
    let slow = reenveloped(&slow, |e| e.tags.push(tag("expiration", "1")));
    w.us.applies(&quick);
    w.us.applies(&slow);
    let ages = w.us.clock.clone();
    ages.advance_millis(5_000);
    w.us.engine.tick().unwrap();
    assert_eq!(w.us.texts(&group), ["ten seconds", "an hour"]);
    ages.advance_millis(60_000);
    w.us.engine.tick().unwrap();
    let left: Vec<_> =
        w.us.engine
            .messages(&group, 9, None, None)
            .unwrap()
            .into_iter()
            .filter(|m| !m.fate.deleted)
            .collect();
    assert_eq!(left.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["an hour"]);
    // The sum does not wrap round to a time that has passed.
    let commit = w.ann.commit_event(by_value(vec![update(id::RETENTION, &u64::MAX.to_be_bytes())]));
    w.us.applies(&commit);
    w.max.follows(&commit);
    let event = w.max.says("for ever");
    w.us.applies(&event);
    ages.advance_millis(4_000_000_000);
    w.us.engine.tick().unwrap();
    assert_eq!(w.us.texts(&group).last().unwrap(), "for ever");
    // MLS state is untouched by all this.
    w.still_follows(Who::Max);
}

/// shows: 2.4-5, 2.4-3: our own events have a key of their own each, and commits no expiration tag.
#[test]
fn our_envelopes() {
    let mut w = World::with(|context, _| context.set(id::RETENTION, 60u64.to_be_bytes()));
    let group = w.id.clone();
    let (a, b) = (w.us.says(&group, "a"), w.us.says(&group, "b"));
    assert!(a.pubkey() != b.pubkey() && a.pubkey() != w.us.key(), "rule 2.4-5");
    assert_eq!(a.tags().len(), 2, "rule 2.9-1");
    assert_eq!(
        a.tags()[1],
        tag(
            "expiration",
            &(w.us.engine.messages(&group, 2, None, None).unwrap()[0].times.created_at + 60)
                .to_string()
        )
    );
    let commit = w.us.engine.self_update(&group).unwrap().event.unwrap();
    assert_eq!(commit.tags().len(), 1);
}
