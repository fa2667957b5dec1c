//! Events that no honest relay sends.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nostr_relay_builder::prelude::{
    Event, EventBuilder, Filter, JsonUtil as _, Keys, Kind, MatchEventOptions, Tag, Timestamp,
};
use serde_json::{Value, json};

type Tags = Vec<Vec<String>>;

/// Copies of a passing event with its id: other content, then a wrong signature; and its content under a made-up id.
pub(super) fn copies(message: &str) -> Vec<String> {
    let Ok(message) = serde_json::from_str::<Value>(message) else { return Vec::new() };
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let forge = |name: &str, change: fn(String) -> String| {
        let mut copy = message.clone();
        let event = copy.get_mut(2)?;
        let changed = change(text(event, name));
        event[name] = Value::String(changed);
        Some(copy.to_string())
    };
    let changes = [
        forge("content", |content| content + "!"),
        forge("sig", other_hex),
        forge("id", other_hex),
    ];
    changes.into_iter().flatten().collect()
}

fn other_hex(hex: String) -> String {
    hex.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect()
}

/// An event that matches none of the filters, for the subscription; and one for a subscription that nobody opened.
pub(super) fn unasked(subscription: &str, filters: &[Filter], keys: &Keys) -> Vec<String> {
    let made = [1, 7, 445, 1059, 30_023].into_iter().filter_map(|kind| {
        EventBuilder::new(Kind::from(kind), "nobody asked").sign_with_keys(keys).ok()
    });
    let matches =
        |event: &Event| filters.iter().any(|f| f.match_event(event, MatchEventOptions::new()));
    let mut messages = Vec::new();
    if let Some(event) = made.into_iter().find(|event| !matches(event)) {
        messages.push(event_message(subscription, &event));
        messages.push(event_message("nobody-opened-this", &event));
    }
    messages
}

/// A new, well signed event that matches the filter, unless that asks for ids or authors.
pub(super) fn matching(filter: &Filter, number: u64, keys: &Keys) -> Option<Event> {
    if filter.ids.is_some() || filter.authors.is_some() || filter.search.is_some() {
        return None;
    }
    let kind = match &filter.kinds {
        Some(kinds) => *kinds.first()?,
        None => Kind::TextNote,
    };
    let tags = filter
        .generic_tags
        .iter()
        .filter_map(|(name, values)| Tag::parse([name.to_string(), values.first()?.clone()]).ok());
    let now = Timestamp::now();
    let time =
        now.min(filter.until.unwrap_or(now)).max(filter.since.unwrap_or(Timestamp::from_secs(0)));
    let builder = EventBuilder::new(kind, format!("endless {number}"));
    builder.tags(tags).allow_self_tagging().custom_created_at(time).sign_with_keys(keys).ok()
}

/// The same with so many tags beside those that the filter asks for, as a message for the subscription.
pub(super) fn with_tags(
    subscription: &str,
    filter: &Filter,
    keys: &Keys,
    more: usize,
) -> Option<String> {
    /// Those that were made, by kind and first tags: one takes most of a second.
    static MADE: Mutex<BTreeMap<(u16, Tags), String>> = Mutex::new(BTreeMap::new());
    let event = matching(filter, 0, keys)?;
    let tags: Tags = event.tags.iter().map(|tag| tag.clone().to_vec()).collect();
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let json = made.entry((event.kind.as_u16(), tags)).or_insert_with_key(|(kind, tags)| {
        let more = std::iter::repeat_n(vec![String::new()], more);
        let keys = mdk_wire::Keys::generate();
        let event = mdk_wire::UnsignedEvent {
            pubkey: keys.public_key(),
            created_at: event.created_at.as_secs(),
            kind: *kind,
            tags: tags.iter().cloned().chain(more).collect(),
            content: String::new(),
        };
        event.sign(&keys).to_json()
    });
    Some(format!("[\"EVENT\",{},{json}]", json!(subscription)))
}

pub(super) fn event_message(subscription: &str, event: &Event) -> String {
    // Put together by hand: parsing the event again would cost more than its signature.
    format!("[\"EVENT\",{},{}]", json!(subscription), event.as_json())
}
