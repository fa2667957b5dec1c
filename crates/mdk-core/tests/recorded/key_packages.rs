//! Recorded KeyPackage events, and what another client said about them (protocol/key-packages.md A2).
//!
//! OpenMLS judges lifetimes by the system clock, so these run under the clock of the recording, with
//! `MDK_RECORDED_CLOCK=1`; without it they say so and pass.

use std::sync::Arc;

use mdk_core::{Config, Engine, KeyPackageVerdict, ManualClock};
use mdk_wire::{Event, Keys};
use serde_json::Value;

use crate::kit::recorded::{clock_is_recorded, event, load, number};

/// Where we refuse what the recorded client accepts, and why.
const STRICTER: [(&str, &str, &str); 2] = [
    (
        "event-duplicate-i",
        "A2-2",
        "each tag exactly once is the specification's rule; readers that disagree on which of two `i` counts would disagree on the KeyPackage",
    ),
    (
        "event-encoding-tag",
        "A2-2",
        "the specification forbids the tag: it belongs to the older generation, whose content has another form",
    ),
];

/// The row that refuses each case, which pins that it fails for the reason it was made for.
const REFUSED: [(&str, &str); 27] = [
    ("no-identity-proof", "A2-7"),
    ("proof-signed-by-other-key", "A2-7"),
    ("proof-for-other-mls-key", "A2-7"),
    ("proof-component-not-advertised", "A2-8"),
    ("no-app-components-entry", "A2-7"),
    ("no-dictionary", "A2-7"),
    ("lifetime-one-year", "A2-5"),
    ("lifetime-90-days", "A2-5"),
    ("lifetime-95-days", "A2-5"),
    ("lifetime-expired", "A2-4"),
    ("lifetime-not-yet", "A2-4"),
    ("identity-33-bytes", "A2-6"),
    ("identity-hex-string", "A2-6"),
    ("identity-other-account", "A2-7"),
    ("ciphersuite-0x0003", "A2-12"),
    ("grease-in-capabilities", "A2-8"),
    ("content-bare-keypackage", "A2-3"),
    ("event-wrong-ciphersuite-tag", "A2-8"),
    ("event-no-i", "A2-2"),
    ("event-no-d", "A2-2"),
    ("event-uppercase-lists", "A2-8"),
    ("event-no-app-components-tag", "A2-2"),
    ("event-app-components-with-0x0001", "A2-8"),
    ("event-no-mls-protocol-version", "A2-2"),
    ("event-hex-content", "A2-3"),
    ("event-no-proposals-tag", "A2-2"),
    ("event-decimal-lists", "A2-8"),
];

fn opened(name: &str) -> Option<(Engine, Value)> {
    if !clock_is_recorded() {
        return None;
    }
    let file = load(name);
    let clock = ManualClock::at(number(&file, "recorded_at"));
    let engine = Engine::in_memory(Keys::generate(), Config::default(), Arc::new(clock)).unwrap();
    Some((engine, file))
}

#[test]
fn every_recorded_verdict() {
    let Some((mut engine, file)) = opened("kp-checks.json") else {
        return;
    };
    let checks = file["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 57);
    let mut judged = 0;
    let mut usable = Vec::new();
    for case in checks {
        let name = case["name"].as_str().unwrap();
        if case["build_error"].is_string() {
            continue; // The recorder could not make it.
        }
        let records = case["events"].as_array().unwrap();
        let record = records.iter().find(|event| event["kind"] == 30443).unwrap();
        let verdict = engine.check_key_package(&event(record)).unwrap();
        judged += 1;
        match verdict {
            KeyPackageVerdict::Usable => {
                assert_eq!(case["live_keys_check"], "ok", "{name}");
                assert!(!STRICTER.iter().any(|(stricter, ..)| *stricter == name), "{name}");
                usable.push(event(record));
            }
            KeyPackageVerdict::Unusable { rule, reason, .. } => {
                let stricter = STRICTER.iter().find(|(stricter, ..)| *stricter == name);
                let expected = match stricter {
                    Some((_, rule, why)) => {
                        assert_eq!(
                            case["live_keys_check"], "ok",
                            "{name}: no longer stricter; {why}"
                        );
                        *rule
                    }
                    None => {
                        // Whoever cannot be put into a group is of no use, wherever that shows.
                        assert_ne!(case["live_groups_create"], "ok", "{name}: {rule} {reason}");
                        REFUSED.iter().find(|(refused, _)| *refused == name).unwrap().1
                    }
                };
                assert_eq!(rule, expected, "{name}: {reason}");
            }
        }
    }
    assert_eq!(judged, 55);
    assert_eq!(judged - usable.len(), REFUSED.len() + STRICTER.len());

    // A bad record is passed over: among all of them the search still finds one.
    let all: Vec<Event> =
        checks.iter().filter_map(|case| case["events"].as_array()).flatten().map(event).collect();
    let selected = engine.select_key_package(&all).unwrap().unwrap();
    assert!(usable.iter().any(|event| event.id() == selected.id()));
}
