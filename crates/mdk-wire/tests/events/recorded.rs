//! Traffic recorded from another implementation opens to the recorded bytes.

use mdk_wire::{
    ContentId, Event, GroupMessage, KeyPackageEvent, KeyPackageTags, Keys, Payload, gift_wrap,
    key_package_event, kind, welcome,
};
use serde_json::Value;

use crate::kit::{bytes, list, recorded, secret, text};

const STORIES: [&str; 2] = ["story-main.json", "story-simple.json"];

fn event(value: &Value) -> Event {
    Event::from_json(value.to_string().as_bytes()).unwrap()
}

fn events() -> Vec<Value> {
    let mut all = Vec::new();
    for story in STORIES {
        for entry in list(&recorded(story), "events") {
            all.push(entry["event"].clone());
        }
    }
    for entry in list(&recorded("story-live.json"), "events") {
        all.push(entry["event"].clone());
    }
    all
}

#[test]
fn rule_v2_2_4_1_every_event_verifies_and_no_altered_one_does() {
    let all = events();
    assert!(all.len() > 80);
    for value in all {
        let parsed = event(&value);
        let again: Value = serde_json::from_str(&parsed.to_json()).unwrap();
        assert_eq!(again, value);
        assert_eq!(Event::from_json(parsed.to_json().as_bytes()).unwrap(), parsed);
        for member in ["id", "sig", "pubkey", "content"] {
            let mut altered = value.clone();
            let old = text(&altered, member).to_owned();
            let new = match old.chars().last() {
                Some('0') => format!("{}1", &old[..old.len() - 1]),
                Some(_) => format!("{}0", &old[..old.len() - 1]),
                None => "0".to_owned(),
            };
            altered[member] = Value::String(new);
            assert!(Event::from_json(altered.to_string().as_bytes()).is_err());
        }
        for member in ["created_at", "kind"] {
            let mut altered = value.clone();
            altered[member] = (altered[member].as_u64().unwrap() ^ 1).into();
            assert!(Event::from_json(altered.to_string().as_bytes()).is_err());
        }
    }
}

#[test]
fn group_messages_open_under_the_recorded_keys() {
    let mut opened = 0;
    for story in STORIES {
        for entry in list(&recorded(story), "events") {
            if entry["kind"] != 445 {
                continue;
            }
            let message = GroupMessage::parse(event(&entry["event"])).unwrap();
            let mls = &entry["mls"];
            let plain = message.open(&secret(mls, "key_hex")).unwrap();
            assert_eq!(*plain, bytes(mls, "mls_message_hex"));
            assert_eq!(ContentId::of(&plain).to_hex(), text(mls, "mls_message_sha256"));
            assert_eq!(message.sealed[..12], bytes(mls, "nonce_hex"));
            assert!(message.open(&mdk_wire::Secret::new([1; 32])).is_none());
            opened += 1;
        }
    }
    assert!(opened > 30);
}

#[test]
fn gift_wraps_open_to_the_recorded_welcomes() {
    let mut opened = 0;
    for story in STORIES {
        let story = recorded(story);
        for entry in list(&story, "events") {
            if entry["kind"] != 1059 {
                continue;
            }
            let member = &story["members"][text(entry, "recipient")];
            let keys = Keys::from_secret(secret(member, "nostr_secret_key_hex")).unwrap();
            let unwrapped = gift_wrap::unwrap(&event(&entry["event"]), &keys).unwrap();
            let rumor: Value = serde_json::from_str(&unwrapped.rumor.to_json()).unwrap();
            assert_eq!(rumor, entry["rumor"]);
            assert_eq!(unwrapped.sender, event(&entry["seal"]).pubkey());
            let welcome = welcome::parse(unwrapped).unwrap();
            assert_eq!(welcome.mls_message, bytes(entry, "welcome_message_hex"));
            assert_eq!(welcome.rumor_id.to_hex(), text(&entry["rumor"], "id"));
            assert_eq!(welcome.relays, ["ws://127.0.0.1:7777"]);

            let rebuilt = welcome::rumor(
                welcome.sender,
                &welcome.mls_message,
                &welcome.key_package_event,
                &welcome.relays,
                welcome.created_at,
            );
            assert_eq!(rebuilt.unwrap().id(), welcome.rumor_id);

            let reference = text(&member["key_package"], "key_package_ref_hex");
            let recipients = welcome::recipients(&welcome.mls_message).unwrap();
            let own = recipients.iter().find(|r| r.to_hex() == reference).unwrap();
            let cut = welcome::for_recipient(&welcome.mls_message, own).unwrap();
            assert_eq!(welcome::recipients(&cut).unwrap(), [*own]);
            assert_eq!(welcome::for_recipient(&cut, own).unwrap(), cut);
            if recipients.len() == 1 {
                assert_eq!(cut, welcome.mls_message);
            } else {
                assert!(cut.len() < welcome.mls_message.len());
            }

            let stranger = crate::kit::keys(1);
            let broken = gift_wrap::unwrap(&event(&entry["event"]), &stranger).unwrap_err();
            assert_eq!(broken.error, mdk_wire::WireError::WrongRecipient);
            opened += 1;
        }
    }
    assert!(opened >= 4);
}

#[test]
fn rule_v2_2_5_payloads_parse() {
    let mut parsed = 0;
    for story in STORIES {
        for step in list(&recorded(story), "steps") {
            for member in step["members"].as_object().unwrap().values() {
                for seen in member["seen"].as_array().into_iter().flatten() {
                    let Some(json) = seen["payload_utf8"].as_str() else {
                        continue;
                    };
                    let payload = Payload::parse(json.as_bytes()).unwrap();
                    let rebuilt = mdk_wire::UnsignedEvent {
                        pubkey: payload.pubkey,
                        created_at: payload.created_at,
                        kind: payload.kind,
                        tags: payload.tags,
                        content: payload.content,
                    };
                    assert_eq!(rebuilt.to_json(), json, "same bytes");
                    parsed += 1;
                }
            }
        }
    }
    assert!(parsed > 30);
}

/// Parses, compares with the tags of the event, rebuilds, compares again.
fn check_key_package(value: &Value, keys: &Keys) {
    let event = event(value);
    let parsed = KeyPackageEvent::parse(&event).unwrap();
    let tags = KeyPackageTags {
        slot: parsed.slot.clone(),
        reference: parsed.reference,
        ciphersuite: parsed.ciphersuite,
        extensions: parsed.extensions.clone(),
        proposals: parsed.proposals.clone(),
        app_components: parsed.app_components.clone(),
    };
    let rebuilt =
        key_package_event::build(&tags, &parsed.mls_message, event.created_at(), keys).unwrap();
    assert_eq!(rebuilt.tags(), event.tags());
    assert_eq!(rebuilt.content(), event.content());
    assert_eq!(rebuilt.id(), event.id());
}

#[test]
fn rule_v2_a2_key_packages_parse_and_rebuild() {
    for entry in list(&recorded("key-packages.json"), "key_packages") {
        let keys = Keys::from_secret(secret(entry, "nostr_secret_key_hex")).unwrap();
        check_key_package(&entry["event"], &keys);
        let parsed = KeyPackageEvent::parse(&event(&entry["event"])).unwrap();
        assert_eq!(parsed.mls_message, bytes(entry, "key_package_message_hex"));
        assert_eq!(parsed.reference.to_hex(), text(entry, "key_package_ref_hex"));
    }
    for story in STORIES {
        for member in recorded(story)["members"].as_object().unwrap().values() {
            let keys = Keys::from_secret(secret(member, "nostr_secret_key_hex")).unwrap();
            check_key_package(&member["key_package"]["event"], &keys);
        }
    }
}

#[test]
fn rule_v2_a2_form_of_foreign_key_packages() {
    let mut refused = Vec::new();
    for check in list(&recorded("kp-checks.json"), "checks") {
        for value in check["events"].as_array().into_iter().flatten() {
            if value["kind"] != 30443 {
                continue;
            }
            if KeyPackageEvent::parse(&event(value)).is_err() {
                refused.push(text(check, "name").to_owned());
            }
        }
    }
    // The peer accepts a second `i` and an `encoding` tag; we refuse them on purpose.
    assert_eq!(
        refused,
        [
            "proof-component-not-advertised",
            "event-no-i",
            "event-no-d",
            "event-uppercase-lists",
            "event-duplicate-i",
            "event-no-app-components-tag",
            "event-app-components-with-0x0001",
            "event-no-mls-protocol-version",
            "event-no-proposals-tag",
            "event-decimal-lists",
            "event-encoding-tag",
        ]
    );
}

#[test]
fn kinds_of_the_recording() {
    for value in events() {
        let known = [
            kind::RELAY_LIST,
            kind::INBOX_RELAYS,
            kind::KEY_PACKAGE,
            kind::GIFT_WRAP,
            kind::GROUP_MESSAGE,
        ];
        assert!(known.contains(&event(&value).kind()));
    }
}
