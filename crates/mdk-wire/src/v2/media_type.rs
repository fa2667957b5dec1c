//! Canonical form of a media type (protocol/files.md 2.10).

use super::limits;

/// Rules enforced here, for the coverage table.
pub const RULES: &[(&str, &str)] = &[
    ("2.10-1", "parameters after ';' are cut and HTTP whitespace is trimmed"),
    ("2.10-2", "ASCII letters are lower case"),
    ("2.10-3", "exactly one '/', each half 1 to 64 HTTP token bytes"),
    ("2.10-4", "image/jpg is written image/jpeg"),
    ("2.10-5", "the stored form must already be canonical"),
];

/// The canonical form of `input`, or `None` when it is not a media type.
///
/// `" Image/JPG; q=1"` becomes `image/jpeg`.
#[must_use]
pub fn canonical(input: &str) -> Option<String> {
    let essence = essence(input);
    // rule: 2.10-3
    let (kind, subtype) = essence.split_once('/')?;
    if !is_half(kind) || !is_half(subtype) {
        return None;
    }
    // rule: 2.10-2
    let lower = essence.to_ascii_lowercase();
    // rule: 2.10-4
    Some(if lower == "image/jpg" { "image/jpeg".to_owned() } else { lower })
}

/// Bytes of the longer half of a text given as media type, for a caller who has to shorten it.
#[must_use]
pub fn longest_half(input: &str) -> usize {
    essence(input).split('/').map(str::len).max().unwrap_or_default()
}

fn essence(input: &str) -> &str {
    // rule: 2.10-1
    let essence = input.split(';').next().unwrap_or_default();
    essence.trim_matches(['\t', '\n', '\u{c}', '\r', ' '])
}

/// Whether `input` is a media type in canonical form.
#[must_use]
pub fn is_canonical(input: &str) -> bool {
    // rule: 2.10-5
    canonical(input).is_some_and(|form| form == input)
}

fn is_half(half: &str) -> bool {
    (1..=limits::MEDIA_TYPE_HALF_BYTES).contains(&half.len()) && half.bytes().all(is_token_byte)
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
