//! Binary profile, lists, profile, retention, lifecycle, admins, stream policy and routing.

use mdk_wire::v2::component_id as id;

use super::{Case, case};
use crate::kit::{account, unhex, var, vars};

const A: &str = "wss://a.example";
const B: &str = "wss://b.example";

fn routing(relays: &[&str]) -> Vec<u8> {
    [vec![7; 32], var(vars(relays))].concat()
}

fn admins(seeds: &[u64]) -> Vec<u8> {
    let mut keys: Vec<_> = seeds.iter().map(|seed| account(*seed)).collect();
    keys.sort_unstable();
    var(keys.iter().flat_map(|key| *key.as_bytes()).collect::<Vec<u8>>())
}

fn swapped_admins() -> Vec<u8> {
    let mut bytes = admins(&[1, 2]);
    bytes[2..].rotate_left(32);
    bytes
}

fn stream(rule: &'static str, bad: &str, why: &'static str) -> Case {
    case(rule, id::AGENT_STREAM, unhex("010700001000000000000000"), unhex(bad), why)
}

fn list(rule: &'static str, bad: &str, why: &'static str) -> Case {
    case(rule, id::APP_COMPONENTS, unhex("0e80018003800480068009800b800c"), unhex(bad), why)
}

fn profile(rule: &'static str, good: [usize; 2], bad: [usize; 2], why: &'static str) -> Case {
    let of = |sizes: [usize; 2]| sizes.iter().flat_map(|n| var("x".repeat(*n))).collect();
    case(rule, id::PROFILE, of(good), of(bad), why)
}

pub(super) fn format_cases() -> Vec<Case> {
    vec![
        list("2.1-1", "400e80018003800480068009800b800c", "not minimal"),
        list("2.1-1", "8000000e80018003800480068009800b800c", "not minimal"),
        case("2.1-1", id::PROFILE, vars(&["", ""]), unhex("c00000000000000000"), "8 bytes"),
        list("2.1-2", "0e80018003800480068009800b800c00", "after the end"),
        case("2.1-2", id::PROFILE, vars(&["a", "b"]), vars(&["a", "b", ""]), "after the end"),
        case("2.1-2", id::RETENTION, vec![0; 8], vec![0; 9], "after the end"),
        case("2.1-3", id::PROFILE, vars(&["a", "b"]), unhex("016102"), "too early"),
        case("2.1-3", id::ROUTING, routing(&[A]), vec![7; 31], "too early"),
        case("2.1-4", id::PROFILE, vars(&["é", ""]), unhex("01ff00"), "UTF-8"),
        case("2.1-4", id::PROFILE, vars(&["", "é"]), unhex("0001c3"), "UTF-8"),
        case("2.2-5", id::APP_COMPONENTS, unhex("028001"), unhex("03800180"), "too early"),
        case("2.2-6", id::APP_COMPONENTS, unhex("0480018002"), unhex("0480028001"), "ascending"),
        case("2.2-6", id::APP_COMPONENTS, unhex("0480018002"), unhex("0480018001"), "ascending"),
        case("2.2-6", id::SAFE_AAD, unhex("00"), unhex("0480018001"), "ascending"),
        case("2.2-7", id::LAST_RESORT, vec![], vec![0], "has data"),
    ]
}

pub(super) fn settings_cases() -> Vec<Case> {
    vec![
        profile("2.2-20", [256, 0], [257, 0], "group name: 257"),
        profile("2.2-21", [0, 4096], [0, 4097], "group description: 4097"),
        case("2.2-45", id::RETENTION, vec![255; 8], vec![0; 7], "too early"),
        case("2.2-70", id::LIFECYCLE, vec![0], vec![2], "0 or 1"),
        case("2.2-70", id::LIFECYCLE, vec![1], vec![], "0 or 1"),
        case("2.2-70", id::LIFECYCLE, vec![1], vec![1, 0], "0 or 1"),
        case("2.2-30", id::ADMIN_POLICY, admins(&[1]), vec![0], "empty"),
        case("2.2-31", id::ADMIN_POLICY, admins(&[1]), var([7; 33]), "32-byte keys"),
        case("2.2-32", id::ADMIN_POLICY, admins(&[1, 2]), swapped_admins(), "sorted"),
        case("2.2-32", id::ADMIN_POLICY, admins(&[1, 2]), admins(&[1, 1]), "sorted"),
        case("2.2-33", id::ADMIN_POLICY, admins(&[1]), var([0xff; 32]), "curve"),
        stream("2.2-50", "0103000010000000000000", "too early"),
        stream("2.2-50", "01030000100000000000000000", "after the end"),
        stream("2.2-51", "010b00001000000000000000", "unknown role"),
        stream("2.2-52", "000300001000000000000000", "requires no role"),
        stream("2.2-53", "040300001000000000000000", "does not allow"),
    ]
}

pub(super) fn routing_cases() -> Vec<Case> {
    let many: Vec<String> = (0..17).map(|n| format!("wss://{n:02}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = |n: usize| format!("{A}/{}", "x".repeat(n - A.len() - 1));
    let mut cases = vec![
        case("2.2-40", id::ROUTING, routing(&[A]), routing(&[]), "no relay"),
        case("2.2-40", id::ROUTING, routing(&many[..16]), routing(&many), "more than 16"),
        case("2.2-41", id::ROUTING, routing(&[A]), routing(&[""]), "empty"),
        case("2.2-41", id::ROUTING, routing(&[&long(512)]), routing(&[&long(513)]), "513 bytes"),
        case("2.2-43", id::ROUTING, routing(&[A, B]), routing(&[B, A]), "sorted"),
        case("2.2-43", id::ROUTING, routing(&[A, B]), routing(&[A, A]), "sorted"),
    ];
    for (url, why) in [
        ("https://a.example", "not ws"),
        ("wss://u@a.example", "user information"),
        ("wss://a.example/#", "fragment"),
        ("wss://", "parse"),
        ("a.example", "parse"),
    ] {
        cases.push(case("2.2-10", id::ROUTING, routing(&[A]), routing(&[url]), why));
    }
    cases
}
