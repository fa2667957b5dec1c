//! What goes over the socket, NIP-01, NIP-42 and NIP-77.

use mdk_wire::budget::relay::{LARGE_FRAME_BYTES, LARGE_FRAMES_AT_ONCE};
use mdk_wire::{Event, UnverifiedEvent, frame};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::filters::{Claim, Filter};

/// Longest text of a relay that is passed on, characters.
const MAX_REASON: usize = 500;
/// Longest challenge that is answered, bytes.
const MAX_CHALLENGE: usize = 1_024;

/// A message of a relay.
pub(super) enum Frame {
    Event {
        subscription: String,
        offer: Box<Offer>,
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
    /// The next message of a reconciliation (hex), or why there is none.
    Reconciled {
        name: String,
        message: Result<String, String>,
    },
    Notice,
    /// Larger than it may be, or with more in it; not read. With the subscription, if it is for one.
    TooMuch(String),
    /// Not JSON, another shape, or a label that nobody asked for.
    Unknown,
}

/// An event that a relay gave: read, and a large one verified where it was read.
pub(super) enum Offer {
    Claimed(UnverifiedEvent),
    Verified(Event),
    Forged,
}

/// Why an event of a relay is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It matches no filter.
    Unasked,
    /// It has come before.
    Repeated,
    /// Its key, id or signature is wrong.
    Forged,
}

impl Offer {
    fn verify(self) -> Self {
        match self {
            Self::Claimed(event) => event.verify().map_or(Self::Forged, Self::Verified),
            verified => verified,
        }
    }

    /// The event, if it was asked for, has not come before, and is genuine, in this order: a signature costs most.
    pub(super) fn accept(
        self,
        filters: &[Filter],
        has_come: impl Fn(&[u8; 32]) -> bool,
    ) -> Result<Event, Fault> {
        let claim = match &self {
            Self::Claimed(event) => Claim::from(event),
            Self::Verified(event) => Claim::from(event),
            Self::Forged => return Err(Fault::Forged),
        };
        if !filters.iter().any(|filter| filter.matches(&claim)) {
            return Err(Fault::Unasked);
        }
        if has_come(claim.id.as_bytes()) {
            return Err(Fault::Repeated);
        }
        match self.verify() {
            Self::Verified(event) => Ok(event),
            _ => Err(Fault::Forged),
        }
    }
}

impl Frame {
    /// As [`Frame::parse`]; a large message is read, and its event verified, on a thread that may block.
    pub(super) async fn read(text: Utf8Bytes) -> Self {
        static READERS: Semaphore = Semaphore::const_new(LARGE_FRAMES_AT_ONCE);
        if text.len() < LARGE_FRAME_BYTES {
            return Self::parse(&text);
        }
        let look = frame::look(&text);
        if !look.fits {
            return Self::TooMuch(id_of(look.second));
        }
        let _reads = READERS.acquire().await;
        let read = tokio::task::spawn_blocking(move || match Self::parse(&text) {
            Self::Event { subscription, offer } => {
                Self::Event { subscription, offer: offer.verify().into() }
            }
            frame => frame,
        });
        read.await.unwrap_or(Self::Unknown)
    }

    /// Reads a message straight into its type, if it is within the bounds: nothing larger than the text itself is built
    /// from it on the way.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let look = frame::look(text);
        if !look.fits {
            return Self::TooMuch(id_of(look.second));
        }
        let parsed = match look.label {
            "EVENT" => {
                let event = UnverifiedEvent::from_json(look.rest.as_bytes());
                return event.map_or(Self::Unknown, |event| Self::Event {
                    subscription: id_of(look.second),
                    offer: Offer::Claimed(event).into(),
                });
            }
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
            "NEG-MSG" => serde_json::from_str::<(String, String, String)>(text)
                .map(|(_, name, message)| Self::Reconciled { name, message: Ok(message) }),
            "NEG-ERR" => serde_json::from_str::<(String, String, String)>(text)
                .map(|(_, name, reason)| Self::Reconciled { name, message: Err(cut(&reason)) }),
            "NOTICE" => Ok(Self::Notice),
            _ => Ok(Self::Unknown),
        };
        parsed.unwrap_or(Self::Unknown)
    }
}

/// A subscription's name: none of ours is as long.
fn id_of(second: &str) -> String {
    const LONGEST: usize = 64;
    if second.len() > LONGEST { String::new() } else { second.to_owned() }
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

/// A `REQ`.
pub(super) fn request(subscription: &str, filters: &[Filter]) -> String {
    let mut text = format!("[\"REQ\",\"{subscription}\"");
    for filter in filters {
        text.push(',');
        text.push_str(&filter.to_json());
    }
    text.push(']');
    text
}

/// A `CLOSE`.
pub(super) fn close(subscription: &str) -> String {
    format!("[\"CLOSE\",\"{subscription}\"]")
}

/// A `NEG-OPEN`.
pub(super) fn reconcile_open(name: &str, filter: &Filter, message: &str) -> String {
    format!("[\"NEG-OPEN\",\"{name}\",{},\"{message}\"]", filter.to_json())
}

/// A `NEG-MSG`.
pub(super) fn reconcile(name: &str, message: &str) -> String {
    format!("[\"NEG-MSG\",\"{name}\",\"{message}\"]")
}

/// A `NEG-CLOSE`.
pub(super) fn reconcile_close(name: &str) -> String {
    format!("[\"NEG-CLOSE\",\"{name}\"]")
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
        assert!(matches!(Frame::parse(r#"["NEG-MSG","n1","61"]"#),
            Frame::Reconciled { name, message: Ok(message) } if name == "n1" && message == "61"));
        assert!(matches!(Frame::parse(r#"["NEG-ERR","n1","blocked: no"]"#),
            Frame::Reconciled { message: Err(reason), .. } if reason == "blocked: no"));
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
            "[\"NEG-MSG\",\"n1\"]",
            "[\"NEG-ERR\",\"n1\",7]",
            &"[".repeat(1_000),
            &format!("[\"AUTH\",\"{long}\"]"),
        ] {
            assert!(matches!(Frame::parse(bad), Frame::Unknown));
        }
    }

    #[test]
    fn what_is_over_a_bound_is_not_read() {
        let tags = vec!["[\"p\"]"; 380_000].join(",");
        let text = format!("[\"EVENT\",\"s7\",{{\"tags\":[{tags}]}}]");
        assert!(matches!(Frame::parse(&text), Frame::TooMuch(s) if s == "s7"));
        let text = format!("[\"CLOSED\",\"s7\",\"{}\"]", "x".repeat(70_000));
        assert!(matches!(Frame::parse(&text), Frame::TooMuch(s) if s == "s7"));
    }

    #[tokio::test]
    async fn a_large_event_is_verified_where_it_is_read() {
        let all = [Filter::from_json("{}").expect("a filter")];
        for (content, large) in [("small".to_owned(), false), ("x".repeat(LARGE_FRAME_BYTES), true)]
        {
            let keys = mdk_wire::Keys::generate();
            let event = mdk_wire::UnsignedEvent {
                pubkey: keys.public_key(),
                created_at: 1,
                kind: 1,
                tags: Vec::new(),
                content: content.clone(),
            };
            let event = event.sign(&keys);
            let text = format!("[\"EVENT\",\"s1\",{}]", event.to_json());
            let Frame::Event { offer, subscription } = Frame::read(text.clone().into()).await
            else {
                panic!("EVENT")
            };
            assert_eq!((matches!(*offer, Offer::Verified(_)), &*subscription), (large, "s1"));
            assert_eq!(offer.accept(&all, |_| false), Ok(event.clone()));
            let read = || Frame::parse(&text);
            let Frame::Event { offer, .. } = read() else { panic!("EVENT") };
            assert_eq!(offer.accept(&all, |id| id == event.id().as_bytes()), Err(Fault::Repeated));
            let Frame::Event { offer, .. } = read() else { panic!("EVENT") };
            assert_eq!(offer.accept(&[], |_| false), Err(Fault::Unasked));
            let forged = text.replace(&content, &format!("{content}!"));
            let Frame::Event { offer, .. } = Frame::read(forged.into()).await else {
                panic!("EVENT")
            };
            assert_eq!(offer.accept(&all, |_| false), Err(Fault::Forged));
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
