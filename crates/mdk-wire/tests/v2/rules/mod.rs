//! One case per rule: an input that is fine, and the same input with exactly that rule broken.

mod pictures;
mod settings;

use std::collections::BTreeSet;

use mdk_wire::v2::components::{self, component_id as id};
use mdk_wire::v2::{attachment, decode_known, group_image, identity_proof, media_type};

use pictures::{BLOSSOM, V2, media, media_cases, picture_cases};
use settings::{format_cases, routing_cases, settings_cases};

struct Case {
    rule: &'static str,
    id: u16,
    good: Vec<u8>,
    bad: Vec<u8>,
    /// Part of the error's text.
    why: &'static str,
}

fn case(rule: &'static str, id: u16, good: Vec<u8>, bad: Vec<u8>, why: &'static str) -> Case {
    Case { rule, id, good, bad, why }
}

fn all_cases() -> Vec<Case> {
    [format_cases(), settings_cases(), routing_cases(), picture_cases(), media_cases()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_rule_separates_its_good_from_its_bad_input() {
    for Case { rule, id, good, bad, why } in all_cases() {
        let decoded = decode_known(id, &good).unwrap();
        let component = decoded.unwrap_or_else(|error| panic!("{rule} {id:#06x} good: {error}"));
        assert_eq!(component.id(), id, "{rule}");
        assert_eq!(component.encode().unwrap(), good, "{rule} {id:#06x}");
        let error = decode_known(id, &bad).unwrap().expect_err(rule).to_string();
        assert!(error.contains(why), "{rule} {id:#06x}: {error}");
    }
}

// coverage: no case
/// Rules that have their own tests instead of a row above.
const ELSEWHERE: &[&str] = &["2.2-8", "2.2-12", "2.2-13", "2.2-14", "2.2-15"];

// coverage: no case
#[test]
fn every_rule_has_a_case() {
    let cases = all_cases();
    let tested: BTreeSet<&str> =
        cases.iter().map(|case| case.rule).chain(ELSEWHERE.iter().copied()).collect();
    let listed: Vec<&str> =
        components::RULES.iter().copied().flatten().map(|(rule, _)| *rule).collect();
    let unique: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(unique.len(), listed.len(), "a rule id stands twice");
    assert_eq!(tested, unique);
    for rules in [identity_proof::RULES, media_type::RULES, attachment::RULES, group_image::RULES] {
        let text = concat!(
            include_str!("../identity_proof.rs"),
            include_str!("../media_type.rs"),
            include_str!("../attachment.rs"),
            include_str!("../group_image.rs"),
        );
        let comments: Vec<&str> =
            text.lines().filter(|l| l.contains("// rule: ") || l.contains("// shows: ")).collect();
        for (rule, _) in rules {
            let named =
                comments.iter().any(|line| line.split([' ', ',']).any(|word| word == *rule));
            assert!(named, "no test for {rule}");
        }
    }
}

// rule: 2.2-8
#[test]
fn the_frozen_media_component_is_known_and_never_valid() {
    for data in [&[][..], &[0], &media(V2, &[BLOSSOM], &[])] {
        let error = decode_known(id::MEDIA_V1, data).unwrap().unwrap_err();
        assert!(error.to_string().contains("frozen"));
    }
}

// rule: 2.2-12
#[test]
fn what_may_stand_in_the_group_context() {
    for forbidden in [id::SAFE_AAD, id::LAST_RESORT, id::MEDIA_V1, id::IDENTITY_PROOF] {
        assert!(!components::allowed_in_group_context(forbidden));
    }
    for allowed in [
        id::APP_COMPONENTS,
        id::PROFILE,
        id::ADMIN_POLICY,
        id::MEDIA,
        id::LIFECYCLE,
        0x8999,
        0xF000,
    ] {
        assert!(components::allowed_in_group_context(allowed));
    }
}

#[test]
fn unknown_ids_are_left_alone() {
    for unknown in [0, 3, 5, 0x8000, 0x800a, 0x800d, 0x800f, 0xEFFF, 0xF000, 0xFFFF] {
        assert!(decode_known(unknown, &[1, 2, 3]).is_none());
    }
}
