//! Filters of NIP-01.

use mdk_wire::{Event, EventId, UnverifiedEvent};
use nostr::filter;

use crate::error::{ClientError, Result};

/// The members of an event that a filter asks for.
pub(super) struct Claim<'e> {
    pub(super) id: EventId,
    author: [u8; 32],
    created_at: u64,
    kind: u16,
    tags: &'e [Vec<String>],
}

impl<'e> From<&'e UnverifiedEvent> for Claim<'e> {
    fn from(event: &'e UnverifiedEvent) -> Self {
        let (id, author, created_at) = (event.id(), *event.pubkey(), event.created_at());
        Self { id, author, created_at, kind: event.kind(), tags: event.tags() }
    }
}

impl<'e> From<&'e Event> for Claim<'e> {
    fn from(event: &'e Event) -> Self {
        let (id, author, created_at) = (event.id(), event.pubkey(), event.created_at());
        let author = *author.as_bytes();
        Self { id, author, created_at, kind: event.kind(), tags: event.tags() }
    }
}

/// A filter, and whether an event matches it.
#[derive(Debug, Clone)]
pub(super) struct Filter(filter::Filter);

impl Filter {
    /// Reads one.
    ///
    /// # Errors
    /// [`ClientError::Internal`] when it is none.
    pub(super) fn from_json(json: &str) -> Result<Self> {
        let filter = serde_json::from_str(json);
        filter.map(Self).map_err(|_| ClientError::Internal("a filter that is none"))
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("a filter has only texts and numbers")
    }

    /// The number of events that it asks for at most.
    pub(super) fn limit(&self) -> Option<usize> {
        self.0.limit
    }

    pub(super) fn with_limit(self, limit: usize) -> Self {
        Self(self.0.limit(limit))
    }

    /// Whether the event matches (NIP-01). What a search term matches is the relay's business.
    pub(super) fn matches(&self, event: &Claim<'_>) -> bool {
        let (Self(filter), at) = (self, event.created_at);
        let ids = filter.ids.as_ref().is_none_or(|ids| {
            ids.is_empty() || ids.iter().any(|wanted| wanted.as_bytes() == event.id.as_bytes())
        });
        let authors = filter.authors.as_ref().is_none_or(|authors| {
            authors.is_empty() || authors.iter().any(|author| *author.as_bytes() == event.author)
        });
        let kinds = filter.kinds.as_ref().is_none_or(|kinds| {
            kinds.is_empty() || kinds.iter().any(|kind| kind.as_u16() == event.kind)
        });
        let since = filter.since.is_none_or(|since| at >= since.as_secs());
        let until = filter.until.is_none_or(|until| at <= until.as_secs());
        let tags = || {
            filter.generic_tags.iter().all(|(name, values)| {
                let name = name.to_string();
                event.tags.iter().any(|tag| {
                    tag[0] == name && tag.get(1).is_some_and(|value| values.contains(value))
                })
            })
        };
        ids && authors && kinds && since && until && tags()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::{Keys, UnsignedEvent};

    use super::*;

    #[test]
    fn an_event_matches_when_every_member_does() {
        let keys = Keys::generate();
        let tags = [["h", "aa"], ["t", "x"], ["H", "big"]];
        let event = UnsignedEvent {
            pubkey: keys.public_key(),
            created_at: 50,
            kind: 445,
            tags: tags.iter().map(|tag| tag.map(str::to_owned).to_vec()).collect(),
            content: "a word".to_owned(),
        };
        let event = event.sign(&keys);
        let (id, author) = (event.id().to_hex(), keys.public_key().to_hex());
        let other = "cc".repeat(32);
        let event = UnverifiedEvent::from_json(event.to_json().as_bytes()).unwrap();
        let matches = |filter: &str| Filter::from_json(filter).unwrap().matches(&(&event).into());
        for filter in [
            "{}".to_owned(),
            format!(r#"{{"ids":["{other}","{id}"],"authors":["{author}"],"kinds":[1,445]}}"#),
            r##"{"#h":["bb","aa"],"#t":["x"],"#H":["big"]}"##.to_owned(),
            r#"{"since":50,"until":50,"limit":0}"#.to_owned(),
            r#"{"search":"nothing of it","kinds":[]}"#.to_owned(),
        ] {
            assert!(matches(&filter), "{filter}");
        }
        for filter in [
            format!(r#"{{"ids":["{other}"]}}"#),
            format!(r#"{{"authors":["{other}"],"kinds":[445]}}"#),
            r#"{"kinds":[1,1059]}"#.to_owned(),
            r##"{"#h":["aa"],"#t":["y"]}"##.to_owned(),
            r##"{"#h":["big"]}"##.to_owned(),
            r##"{"#e":["aa"]}"##.to_owned(),
            r#"{"since":51}"#.to_owned(),
            r#"{"until":49}"#.to_owned(),
        ] {
            assert!(!matches(&filter), "{filter}");
        }
    }
}
