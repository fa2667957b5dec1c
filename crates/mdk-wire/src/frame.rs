//! A first look at a message of a relay (NIP-01): its kind, and whether it is small enough to be read.

use crate::budget::relay::{
    EVENT_FRAME_BYTES, FRAME_STRINGS, OTHER_FRAME_BYTES, RECONCILE_FRAME_BYTES,
};
use crate::limits::MAX_TAGS;

/// The depth of the arrays that are an event's tags: message, event, list of tags, tag.
const TAG_DEPTH: usize = 4;

/// The result of one pass over a message. The pass ends where a bound is passed, and nothing is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look<'t> {
    /// The first string of the array, as it is written; empty when there is none.
    pub label: &'t str,
    /// The second one, if it follows: a subscription, as it is written; else empty.
    pub second: &'t str,
    /// The text of what follows the second one in the array, if the text ends with the array; else empty.
    pub rest: &'t str,
    /// Whether it is within the bounds: only then it may be read.
    pub fits: bool,
}

/// Looks at a message before anything is built from it.
#[must_use]
pub fn look(text: &str) -> Look<'_> {
    let rest = text.trim_start().strip_prefix('[').unwrap_or_default();
    let (label, rest) = first_string(rest).unwrap_or_default();
    let second = rest.trim_start().strip_prefix(',').and_then(first_string);
    let (second, rest) = second.unwrap_or_default();
    let rest = rest.trim().strip_prefix(',').and_then(|rest| rest.strip_suffix(']'));
    let rest = rest.unwrap_or_default().trim();
    let most = match label {
        "EVENT" => EVENT_FRAME_BYTES,
        "NEG-MSG" => RECONCILE_FRAME_BYTES,
        _ => OTHER_FRAME_BYTES,
    };
    Look { label, second, rest, fits: text.len() <= most && is_small(text) }
}

/// The string that the text begins with, and the rest.
fn first_string(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix('"')?;
    let end = string_end(text)?;
    Some((&text[..end], &text[end + 1..]))
}

/// The position of the quote that ends a string, whose first quote is not part of `text`.
fn string_end(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('"')?;
        let escapes = text.as_bytes()[from..quote].iter().rev().take_while(|byte| **byte == b'\\');
        if escapes.count() % 2 == 0 {
            return Some(quote);
        }
        from = quote + 1;
    }
}

/// Whether it has as many tags and strings as a message may have.
fn is_small(text: &str) -> bool {
    let (mut depth, mut tags, mut strings) = (0_usize, 0, 0);
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        at += 1;
        match byte {
            b'"' => {
                strings += 1;
                let Some(end) = string_end(&text[at..]) else { return true };
                at += end + 1;
            }
            b'[' | b'{' => {
                depth += 1;
                tags += usize::from(*byte == b'[' && depth == TAG_DEPTH);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if tags > MAX_TAGS || strings > FRAME_STRINGS {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_EVENT_BYTES;

    fn event(tags: &str, content: &str) -> String {
        format!("[\"EVENT\",\"s1\",{{\"kind\":445,\"tags\":[{tags}],\"content\":\"{content}\"}}]")
    }

    #[test]
    fn the_label_and_the_subscription_are_found() {
        let at = |text| {
            let look = look(text);
            (look.label, look.second)
        };
        assert_eq!(at(r#" [ "EOSE" , "a" ] "#), ("EOSE", "a"));
        assert_eq!(at(r#"["OK","x",true,""]"#), ("OK", "x"));
        assert_eq!(at(r#"["NOTICE",7]"#), ("NOTICE", ""));
        for text in ["", "[", "[]", "[1,\"a\"]", "\"EVENT\"", "[\"EVENT", "{\"EVENT\":1}"] {
            assert_eq!(at(text), ("", ""), "{text}");
        }
    }

    #[test]
    fn what_follows_the_subscription_is_found() {
        let rest = |text| look(text).rest;
        assert_eq!(rest(r#" ["EVENT", "s1" , {"content":"a]\"b"} ] "#), r#"{"content":"a]\"b"}"#);
        assert_eq!(rest(r#"["OK","x",true,""]"#), r#"true,"""#);
        for text in ["", r#"["EOSE","a"]"#, r#"["EVENT","a",{}"#, r#"["EVENT","a",{}] x"#] {
            assert_eq!(rest(text), "", "{text}");
        }
    }

    #[test]
    fn as_many_tags_as_an_event_may_have_and_no_more() {
        let tags = |count: usize| vec!["[\"p\"]"; count].join(",");
        assert!(look(&event(&tags(MAX_TAGS), "")).fits);
        let over = event(&tags(MAX_TAGS + 1), "");
        let seen = look(&over);
        assert_eq!((seen.label, seen.second, seen.fits), ("EVENT", "s1", false));
        assert!(!look(&event(&tags(380_000), "")).fits);
        // Text that only looks like tags is content.
        assert!(look(&event("", &"[".repeat(MAX_TAGS + 1))).fits);
        assert!(look(&event("", &"\\\"[[[[".repeat(MAX_TAGS + 1))).fits);
    }

    #[test]
    fn all_strings_of_a_message_count() {
        let tag = |count: usize| format!("[{}]", vec!["\"\""; count].join(","));
        let few = vec![tag(4); FRAME_STRINGS / 4 - 10].join(",");
        assert!(look(&event(&few, "")).fits);
        assert!(!look(&event(&vec![tag(5); FRAME_STRINGS / 4].join(","), "")).fits);
        assert!(!look(&event(&tag(FRAME_STRINGS), "")).fits);
    }

    #[test]
    fn an_event_may_be_as_large_as_one_is_and_other_messages_smaller() {
        let room = |most: usize, text: String| most - text.len();
        let full = room(EVENT_FRAME_BYTES, event("", ""));
        assert!(full >= MAX_EVENT_BYTES);
        assert!(look(&event("", &"x".repeat(full))).fits);
        assert!(!look(&event("", &"x".repeat(full + 1))).fits);
        let notice = |bytes: usize| format!("[\"NOTICE\",\"{}\"]", "x".repeat(bytes));
        let full = room(OTHER_FRAME_BYTES, notice(0));
        assert!(look(&notice(full)).fits && !look(&notice(full + 1)).fits);
        let named = |bytes: usize| format!("[\"NEG-MSG\",\"n1\",\"{}\"]", "6".repeat(bytes));
        let full = room(RECONCILE_FRAME_BYTES, named(0));
        assert!(look(&named(full)).fits && !look(&named(full + 1)).fits);
    }

    #[test]
    fn what_is_cut_off_anywhere_is_looked_at_to_its_end() {
        let whole = event("[\"h\",\"\\\\\\\"\"],[\"é\"]", "\\\\");
        for end in (0..=whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            assert!(look(&whole[..end]).fits);
        }
    }
}
