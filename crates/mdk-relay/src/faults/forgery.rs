//! Events that no honest relay sends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use mdk_wire::{Event, Keys, UnsignedEvent};
use serde_json::{Value, json};

use crate::clock::now;
use crate::filters::Filter;

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
    let made = [1, 7, 445, 1059, 30_023]
        .map(|kind| sign(keys, kind, now(), Vec::new(), "nobody asked".to_owned()));
    let matches = |event: &Event| filters.iter().any(|filter| filter.matches(event));
    let mut messages = Vec::new();
    if let Some(event) = made.into_iter().find(|event| !matches(event)) {
        messages.push(message(subscription, &event));
        messages.push(message("nobody-opened-this", &event));
    }
    messages
}

/// A new, well signed event that matches the filter, unless that asks for ids or authors.
pub(super) fn matching(filter: &Filter, number: u64, keys: &Keys) -> Option<Event> {
    let (kind, time, tags) = asked_for(filter)?;
    Some(sign(keys, kind, time, tags, format!("endless {number}")))
}

/// The same with so many tags beside those that the filter asks for, as a message for the subscription.
pub(super) fn with_tags(subscription: &str, filter: &Filter, more: usize) -> Option<String> {
    /// Those that were made, by kind and first tags: one takes most of a second.
    static MADE: Mutex<BTreeMap<(u16, Tags), String>> = Mutex::new(BTreeMap::new());
    let (kind, time, tags) = asked_for(filter)?;
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let json = made.entry((kind, tags)).or_insert_with_key(|(kind, tags)| {
        let more = std::iter::repeat_n(vec![String::new()], more);
        let tags = tags.iter().cloned().chain(more).collect();
        sign(&Keys::generate(), *kind, time, tags, String::new()).to_json()
    });
    Some(format!("[\"EVENT\",{},{json}]", json!(subscription)))
}

/// Kind, time and tags of an event that the filter lets through whoever its author is.
fn asked_for(filter: &Filter) -> Option<(u16, u64, Tags)> {
    if filter.ids.is_some() || filter.authors.is_some() {
        return None;
    }
    let kind = match &filter.kinds {
        Some(kinds) => *kinds.first()?,
        None => 1,
    };
    let first = |(name, values): &(String, BTreeSet<String>)| {
        Some(vec![name.clone(), values.first()?.clone()])
    };
    let tags = filter.tags.iter().filter_map(first).collect();
    let now = now();
    let time = now.min(filter.until.unwrap_or(now)).max(filter.since.unwrap_or(0));
    Some((kind, time, tags))
}

fn sign(keys: &Keys, kind: u16, created_at: u64, tags: Tags, content: String) -> Event {
    UnsignedEvent { pubkey: keys.public_key(), created_at, kind, tags, content }.sign(keys)
}

pub(super) fn message(subscription: &str, event: &Event) -> String {
    // Put together by hand: parsing the event again would cost more than its signature.
    format!("[\"EVENT\",{},{}]", json!(subscription), event.to_json())
}
