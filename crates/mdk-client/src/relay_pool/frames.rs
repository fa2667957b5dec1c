//! What goes over the socket, NIP-01 and NIP-42.

use nostr_sdk::filter::MatchEventOptions;
use nostr_sdk::{Event, Filter, JsonUtil};

/// Longest text of a relay that is passed on, characters.
const MAX_REASON: usize = 500;
/// Longest challenge that is answered, bytes.
const MAX_CHALLENGE: usize = 1_024;

/// A message of a relay.
pub(super) enum Frame {
    /// Not verified yet.
    Event {
        subscription: String,
        event: Box<Event>,
    },
    Ok {
        id: String,
        accepted: bool,
        reason: String,
    },
    EndOfStored(String),
    Closed {
        subscription: String,
        reason: String,
    },
    Challenge(String),
    Notice,
    /// Not JSON, another shape, or a label that nobody asked for.
    Unknown,
}

impl Frame {
    /// Reads a message straight into its type: nothing larger than the text itself is built from it on the way.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let label = text.strip_prefix('[').map(str::trim_start).and_then(|t| t.strip_prefix('"'));
        let label = label.and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let parsed = match label {
            "EVENT" => serde_json::from_str::<(String, String, Event)>(text)
                .map(|(_, subscription, event)| Self::Event { subscription, event: event.into() }),
            "OK" => serde_json::from_str::<(String, String, bool, String)>(text)
                .or_else(|_| {
                    let short = serde_json::from_str::<(String, String, bool)>(text);
                    short.map(|(label, id, accepted)| (label, id, accepted, String::new()))
                })
                .map(|(_, id, accepted, reason)| Self::Ok { id, accepted, reason: cut(&reason) }),
            "EOSE" => serde_json::from_str::<(String, String)>(text)
                .map(|(_, subscription)| Self::EndOfStored(subscription)),
            "CLOSED" => serde_json::from_str::<(String, String, String)>(text)
                .or_else(|_| {
                    let short = serde_json::from_str::<(String, String)>(text);
                    short.map(|(label, subscription)| (label, subscription, String::new()))
                })
                .map(|(_, subscription, reason)| Self::Closed {
                    subscription,
                    reason: cut(&reason),
                }),
            "AUTH" => {
                serde_json::from_str::<(String, String)>(text).map(|(_, text)| match text.len() {
                    1..=MAX_CHALLENGE => Self::Challenge(text),
                    _ => Self::Unknown,
                })
            }
            "NOTICE" => Ok(Self::Notice),
            _ => Ok(Self::Unknown),
        };
        parsed.unwrap_or(Self::Unknown)
    }
}

/// A relay's text, without control characters, at most 500 characters.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

/// Whether the relay wants an authentication (NIP-42) for this.
pub(crate) fn wants_auth(reason: &str) -> bool {
    reason.starts_with("auth-required:") || reason.starts_with("restricted:")
}

/// Whether a refusal is no matter of time. `restricted:` says that an authentication does not help (NIP-42), so it is final once
/// there was one, or none was asked for.
pub(super) fn is_final(reason: &str) -> bool {
    ["blocked:", "invalid:", "pow:", "restricted:"].iter().any(|prefix| reason.starts_with(prefix))
}

/// Whether the event matches one of the filters (NIP-01).
pub(super) fn matches(filters: &[Filter], event: &Event) -> bool {
    // What a search term matches is the relay's business.
    const RULES: MatchEventOptions = MatchEventOptions::new().nip50(false);
    filters.iter().any(|filter| filter.match_event(event, RULES))
}

/// A `REQ`.
pub(super) fn request(subscription: &str, filters: &[Filter]) -> String {
    let mut text = format!("[\"REQ\",\"{subscription}\"");
    for filter in filters {
        text.push(',');
        text.push_str(&filter.as_json());
    }
    text.push(']');
    text
}

/// A `CLOSE`.
pub(super) fn close(subscription: &str) -> String {
    format!("[\"CLOSE\",\"{subscription}\"]")
}

/// An `EVENT`; the event's bytes stay as they are.
pub(super) fn publish(event_json: &str) -> String {
    format!("[\"EVENT\",{event_json}]")
}

/// An `AUTH`.
pub(super) fn authenticate(event_json: &str) -> String {
    format!("[\"AUTH\",{event_json}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_garbage_is_unknown() {
        assert!(matches!(Frame::parse(r#" [ "EOSE" , "a" ] "#), Frame::EndOfStored(s) if s == "a"));
        assert!(matches!(Frame::parse(r#"["OK","x",false,"blocked: no"]"#),
            Frame::Ok { accepted: false, reason, .. } if reason == "blocked: no"));
        assert!(matches!(Frame::parse(r#"["OK","x",true]"#), Frame::Ok { accepted: true, .. }));
        assert!(matches!(Frame::parse(r#"["CLOSED","a"]"#), Frame::Closed { .. }));
        assert!(matches!(Frame::parse(r#"["AUTH","c"]"#), Frame::Challenge(c) if c == "c"));
        assert!(matches!(Frame::parse(r#"["NOTICE",7]"#), Frame::Notice));
        let long = "x".repeat(MAX_CHALLENGE + 1);
        for bad in [
            "",
            "[",
            "[]",
            "{}",
            "null",
            "not json",
            "[\"EVENT\"]",
            "[\"EVENT\",\"a\",{}]",
            "[\"OK\",1,true,\"\"]",
            "[\"EOSE\",\"a\"",
            "[\"EOSE\"]",
            "[\"AUTH\",\"\"]",
            "[\"COUNT\",\"a\",{}]",
            &"[".repeat(100_000),
            &format!("[\"AUTH\",\"{long}\"]"),
        ] {
            assert!(matches!(Frame::parse(bad), Frame::Unknown));
        }
    }

    #[test]
    fn a_reason_is_cut_and_cleaned() {
        let text = format!("[\"CLOSED\",\"a\",\"\\u001b[2J{}\"]", "é".repeat(10_000));
        let Frame::Closed { reason, .. } = Frame::parse(&text) else { panic!("CLOSED") };
        assert_eq!(reason.chars().count(), MAX_REASON);
        assert!(!reason.contains('\u{1b}'));
    }
}
