//! Image, avatar and media policy.

use mdk_wire::v2::component_id as id;

use super::{Case, case};
use crate::kit::{var, vars};

pub(super) const V2: &str = "encrypted-media-v2";
pub(super) const BLOSSOM: &str = "blossom-v1";
pub(super) const SERVER: &str = "https://blossom.example/";

fn image(fields: [usize; 4], media_type: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = fields.iter().flat_map(|length| var(vec![5; *length])).collect();
    bytes.extend(var(media_type));
    bytes
}

pub(super) fn media(format: &str, kinds: &[&str], endpoints: &[&str]) -> Vec<u8> {
    [var(format), var(vars(kinds)), var(vars(endpoints))].concat()
}

pub(super) fn picture_cases() -> Vec<Case> {
    let full = || image([32, 32, 12, 32], "image/png");
    let avatar = |url: &str| vars(&[url, "", ""]);
    let good = || avatar("https://a.example/p.png?x=1");
    let typed =
        |n: usize| image([32, 32, 12, 32], &format!("{}/{}", "a".repeat(64), "b".repeat(n - 65)));
    let sized = |url: usize, dim: usize, thumbhash: usize| {
        let url = format!("{SERVER}{}", "x".repeat(url - SERVER.len()));
        vars(&[&url, &"x".repeat(dim), &"x".repeat(thumbhash)])
    };
    let mut cases = vec![
        case("2.2-26", id::IMAGE, full(), image([32, 32, 12, 32], "image/PNG"), "not canonical"),
        case("2.2-26", id::IMAGE, full(), image([32, 32, 12, 32], ""), "not canonical"),
        case("2.2-27", id::IMAGE, typed(128), typed(129), "129 bytes"),
        case("2.2-55", id::AVATAR, sized(2048, 0, 0), sized(2049, 0, 0), "avatar URL: 2049"),
        case("2.2-56", id::AVATAR, sized(30, 256, 0), sized(30, 257, 0), "avatar dim: 257"),
        case("2.2-56", id::AVATAR, sized(30, 0, 256), sized(30, 0, 257), "avatar thumbhash: 257"),
        case("2.2-57", id::AVATAR, good(), avatar("http://a.example/p.png"), "scheme"),
        case("2.2-57", id::AVATAR, good(), avatar("https://u@a.example/p.png"), "user information"),
        case("2.2-57", id::AVATAR, good(), avatar("https://u:p@a.example/"), "user information"),
        case("2.2-57", id::AVATAR, good(), avatar("https://a.example/p.png#x"), "fragment"),
        case("2.2-57", id::AVATAR, good(), avatar("https://a.example/p.png#"), "fragment"),
        case("2.2-58", id::AVATAR, good(), avatar("https://A.example/p.png"), "normal form"),
        case("2.2-58", id::AVATAR, good(), avatar("https://a.example"), "normal form"),
        case("2.2-58", id::AVATAR, good(), avatar("https://a.example:443/"), "normal form"),
        case("2.2-58", id::AVATAR, good(), avatar("https://a.example/x/../p"), "normal form"),
        case("2.2-58", id::AVATAR, good(), avatar(" https://a.example/p"), "normal form"),
        case("2.2-59", id::AVATAR, vars(&["", "", ""]), vars(&["", "1x1", ""]), "without a URL"),
        case("2.2-59", id::AVATAR, vars(&["", "", ""]), vars(&["", "", "x"]), "without a URL"),
        case("2.2-25", id::IMAGE, vec![0; 5], image([0, 0, 0, 0], "image/png"), "wrong length"),
    ];
    // rule: 2.2-25, one field absent, one byte short, one byte long
    for (field, right) in [32, 32, 12, 32].into_iter().enumerate() {
        for (length, why) in
            [(0, "wrong length"), (right - 1, "wrong length"), (right + 1, "exceed")]
        {
            let mut fields = [32, 32, 12, 32];
            fields[field] = length;
            cases.push(case("2.2-25", id::IMAGE, full(), image(fields, "image/png"), why));
        }
    }
    cases
}

pub(super) fn media_cases() -> Vec<Case> {
    let good = || media(V2, &[BLOSSOM], &[BLOSSOM, SERVER]);
    let kinds = |kinds: &[&str]| media(V2, kinds, &[]);
    let names: Vec<String> = (0..65).map(|n| format!("kind-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let url = |url: &str| media(V2, &[BLOSSOM], &[BLOSSOM, url]);
    let long = |n: usize| format!("{SERVER}{}", "x".repeat(n - SERVER.len()));
    let mut cases = vec![
        case("2.2-60", id::MEDIA, good(), media("encrypted-media-v1", &[BLOSSOM], &[]), "format"),
        case("2.2-60", id::MEDIA, good(), media("encrypted-media-v2 ", &[BLOSSOM], &[]), "format"),
        case("2.2-61", id::MEDIA, kinds(&[BLOSSOM]), kinds(&[]), "no locator kind"),
        case("2.2-61", id::MEDIA, kinds(&names[..64]), kinds(&names), "more than 64"),
        case(
            "2.2-62",
            id::MEDIA,
            kinds(&["abcdefghijklmn-9"]),
            kinds(&["abcdefghijklmn-90"]),
            "17 bytes",
        ),
        case("2.2-62", id::MEDIA, kinds(&["a"]), kinds(&[""]), "empty"),
        case("2.2-62", id::MEDIA, kinds(&["a"]), kinds(&["A"]), "not allowed"),
        case("2.2-62", id::MEDIA, kinds(&["a-b"]), kinds(&["a_b"]), "not allowed"),
        case("2.2-63", id::MEDIA, kinds(&["b", "a"]), kinds(&["b", "a", "b"]), "twice"),
        case("2.2-64", id::MEDIA, good(), media(V2, &[BLOSSOM], &["other", SERVER]), "not listed"),
        case("2.2-65", id::MEDIA, url(&long(2048)), url(&long(2049)), "base URL: 2049"),
        case("2.2-65", id::MEDIA, good(), url(""), "empty"),
    ];
    for (bad, why) in [
        ("ftp://blossom.example/", "scheme"),
        ("https://blossom.example", "normal form"),
        ("https://BLOSSOM.example/", "normal form"),
        ("https://blossom.example/?", "query"),
        ("https://blossom.example/?x", "query"),
        ("https://blossom.example/#x", "fragment"),
        ("https://u@blossom.example/", "user information"),
        ("blossom.example", "parse"),
    ] {
        cases.push(case("2.2-66", id::MEDIA, url("http://blossom.example/"), url(bad), why));
    }
    cases
}
