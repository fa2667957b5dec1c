//! Filters of NIP-01, read and matched here alone: the client of the other end has its own.

use std::collections::BTreeSet;

use mdk_wire::{Event, EventId, PublicKey, Timestamp};
use serde_json::Value;

/// A filter of NIP-01. A member that is absent matches everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) ids: Option<BTreeSet<EventId>>,
    pub(crate) authors: Option<BTreeSet<[u8; 32]>>,
    pub(crate) kinds: Option<BTreeSet<u16>>,
    /// By the letter of the tag.
    pub(crate) tags: Vec<(String, BTreeSet<String>)>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) limit: Option<usize>,
}

impl Filter {
    /// Reads one; members that it does not know are passed over. An error says what is wrong.
    pub(crate) fn read(value: &Value) -> Result<Self, &'static str> {
        let members = value.as_object().ok_or("a filter is no object")?;
        let mut filter = Self::default();
        for (name, value) in members {
            match name.as_str() {
                "ids" => {
                    filter.ids = Some(set(value, |value| EventId::from_hex(value.as_str()?).ok())?);
                }
                "authors" => {
                    // Any 32 bytes: what is no key has written nothing.
                    filter.authors = Some(set(value, |value| {
                        EventId::from_hex(value.as_str()?).ok().map(|key| *key.as_bytes())
                    })?);
                }
                "kinds" => filter.kinds = Some(set(value, |v| v.as_u64()?.try_into().ok())?),
                "since" => filter.since = Some(number(value)?),
                "until" => filter.until = Some(number(value)?),
                "limit" => {
                    filter.limit = Some(usize::try_from(number(value)?).unwrap_or(usize::MAX));
                }
                name => {
                    let Some(letter) = name.strip_prefix('#').filter(|tag| is_letter(tag)) else {
                        continue;
                    };
                    let values = set(value, |value| value.as_str().map(str::to_owned))?;
                    filter.tags.push((letter.to_owned(), values));
                }
            }
        }
        Ok(filter)
    }

    /// Reads all of a request's filters, of which there has to be one.
    pub(crate) fn read_all(values: &[Value]) -> Result<Vec<Self>, &'static str> {
        if values.is_empty() {
            return Err("there is no filter");
        }
        values.iter().map(Self::read).collect()
    }

    /// Whether this event is asked for; `limit` does not count.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind()))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&event.id()))
            && self.authors.as_ref().is_none_or(|keys| keys.contains(&author(event.pubkey())))
            && self.since.is_none_or(|since| event.created_at() >= since)
            && self.until.is_none_or(|until| event.created_at() <= until)
            && self.tags.iter().all(|(letter, values)| has(event, letter, values))
    }
}

fn is_letter(tag: &str) -> bool {
    tag.len() == 1 && tag.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn author(key: PublicKey) -> [u8; 32] {
    *key.as_bytes()
}

/// Whether a tag of that name has one of the values, as its first.
fn has(event: &Event, letter: &str, values: &BTreeSet<String>) -> bool {
    event.tags().iter().any(|tag| {
        tag.first().is_some_and(|name| name == letter)
            && tag.get(1).is_some_and(|value| values.contains(value))
    })
}

fn set<T: Ord>(
    value: &Value,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeSet<T>, &'static str> {
    let values = value.as_array().ok_or("a list of a filter is none")?;
    values.iter().map(read).collect::<Option<_>>().ok_or("a list of a filter has a wrong value")
}

fn number(value: &Value) -> Result<u64, &'static str> {
    value.as_u64().ok_or("a number of a filter is none")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::{Keys, UnsignedEvent};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_member_is_matched() {
        let keys = Keys::generate();
        let tag = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        let event = UnsignedEvent {
            pubkey: keys.public_key(),
            created_at: 100,
            kind: 9,
            tags: vec![tag(&["t", "one", "second"]), tag(&["p"]), tag(&["long", "x"])],
            content: String::new(),
        }
        .sign(&keys);
        let (id, key) = (event.id().to_hex(), keys.public_key().to_hex());
        let other = "00".repeat(32);
        let matches = |filter: Value| Filter::read(&filter).unwrap().matches(&event);
        for filter in [
            json!({}),
            json!({"ids": [id], "authors": [other, key], "kinds": [1, 9], "limit": 0}),
            json!({"since": 100, "until": 100}),
            json!({"#t": ["one", "two"]}),
            json!({"#long": ["nothing"], "search": "unknown", "##": 5}),
        ] {
            assert!(matches(filter.clone()), "{filter}");
        }
        for filter in [
            json!({"ids": [other]}),
            json!({"ids": []}),
            json!({"authors": [other]}),
            json!({"kinds": [1]}),
            json!({"since": 101}),
            json!({"until": 99}),
            json!({"#t": ["second"]}),
            json!({"#T": ["one"]}),
            json!({"#p": [""]}),
            json!({"#t": ["one"], "#h": ["one"]}),
        ] {
            assert!(!matches(filter.clone()), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for filter in [
            json!(null),
            json!([]),
            json!({"ids": "00"}),
            json!({"ids": ["0"]}),
            json!({"authors": [1]}),
            json!({"kinds": [65_536]}),
            json!({"kinds": [-1]}),
            json!({"since": "1"}),
            json!({"limit": -1}),
            json!({"#t": [1]}),
        ] {
            assert!(Filter::read(&filter).is_err(), "{filter}");
        }
        assert!(Filter::read_all(&[]).is_err());
    }
}
