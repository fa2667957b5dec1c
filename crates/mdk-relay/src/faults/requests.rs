//! The faults that change a message of the client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use mdk_wire::Keys;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::bucket::Bucket;
use super::forgery;
use super::rules::Rules;
use crate::filters::Filter;
use crate::options::LocalRelayOptions;

const HUGE: usize = 8 * 1024 * 1024;
const HUGE_TAGS: usize = 380_000;

/// Returns the verb of a message, without reading all of it.
pub(super) fn verb(text: &str) -> &str {
    let begin = text
        .trim_start()
        .strip_prefix('[')
        .map(str::trim_start)
        .and_then(|rest| rest.strip_prefix('"'));
    begin.and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// The fate of a message of the client.
pub(super) enum Fate {
    /// Goes to the relay as it is.
    Pass,
    /// Goes to the relay in another form.
    Instead(String),
    /// Does not reach the relay.
    Stop,
}

/// The answer to an event that is not stored.
enum Answer {
    /// OK false with these words, which may be none.
    Refuse(String),
    /// OK true.
    Lie,
}

/// The memory of one connection for the faults.
pub(super) struct Requests {
    keys: Keys,
    /// Subscriptions that get no EOSE.
    endless: Mutex<HashMap<String, Vec<Filter>>>,
    /// The frame that each of them gets over and over, once it was made.
    huge: Mutex<HashMap<String, Option<Utf8Bytes>>>,
    numbers: AtomicU64,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            keys: Keys::generate(),
            endless: Mutex::default(),
            huge: Mutex::default(),
            numbers: AtomicU64::new(0),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_endless(&self, subscription: &str) -> bool {
        self.endless.lock().unwrap_or_else(PoisonError::into_inner).contains_key(subscription)
    }

    /// Another event for every endless subscription.
    pub(super) fn more(&self) -> Vec<String> {
        let endless = self.endless.lock().unwrap_or_else(PoisonError::into_inner);
        let made = endless.iter().filter_map(|(subscription, filters)| {
            let event =
                filters.iter().find_map(|f| forgery::matching(f, self.number(), &self.keys))?;
            Some(forgery::message(subscription, &event))
        });
        made.collect()
    }

    /// The event with too many tags for every endless subscription.
    pub(super) fn too_many_tags(&self) -> Vec<Utf8Bytes> {
        let endless = self.endless.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut huge = self.huge.lock().unwrap_or_else(PoisonError::into_inner);
        huge.retain(|subscription, _| endless.contains_key(subscription));
        for (subscription, filters) in endless {
            huge.entry(subscription).or_insert_with_key(|subscription| {
                let make = |f| forgery::with_tags(subscription, f, HUGE_TAGS);
                filters.iter().find_map(make).map(Utf8Bytes::from)
            });
        }
        huge.values().flatten().cloned().collect()
    }

    /// Decides about a message of the client; what the relay says by itself goes to `say`.
    pub(super) fn take(
        &self,
        text: &str,
        (options, rules, bucket): (&LocalRelayOptions, &Rules, &Bucket),
        say: &mut Vec<String>,
    ) -> Fate {
        let verb = verb(text);
        if !rules.watches_client() {
            return Fate::Pass;
        }
        let faults = &rules.faults;
        if verb == "EVENT" && faults.drop_silently_over.is_some_and(|limit| text.len() > limit) {
            return Fate::Stop;
        }
        if faults.huge_frames && matches!(verb, "EVENT" | "REQ") {
            say.push(format!("[\"NOTICE\",\"{}\"]", "x".repeat(HUGE)));
        }
        let Ok(message) = serde_json::from_str::<Value>(text) else { return Fate::Pass };
        match verb {
            "EVENT" => {
                let Some(answer) =
                    self.refuses(&message, text.len(), (options, rules, bucket), say)
                else {
                    return Fate::Pass;
                };
                let (taken, words) = match answer {
                    Answer::Lie => (true, String::new()),
                    Answer::Refuse(reason) => (false, reason),
                };
                say.push(json!(["OK", message[1]["id"], taken, words]).to_string());
                Fate::Stop
            }
            "REQ" => self.request(message, rules, say),
            "CLOSE" => {
                let mut endless = self.endless.lock().unwrap_or_else(PoisonError::into_inner);
                endless.remove(message[1].as_str().unwrap_or_default());
                Fate::Pass
            }
            "AUTH" if faults.auth_loop => {
                say.push(json!(["OK", message[1]["id"], true, ""]).to_string());
                say.push(self.challenge());
                Fate::Stop
            }
            _ => Fate::Pass,
        }
    }

    /// `Some`: the event stops here, with this answer.
    fn refuses(
        &self,
        message: &Value,
        size: usize,
        (options, rules, bucket): (&LocalRelayOptions, &Rules, &Bucket),
        say: &mut Vec<String>,
    ) -> Option<Answer> {
        let faults = &rules.faults;
        let refuse = |reason: String| Some(Answer::Refuse(reason));
        if size > options.max_event_bytes {
            return None; // refused anyway
        }
        if faults.auth_loop {
            say.push(self.challenge());
            return refuse("auth-required: you must auth".into());
        }
        if faults.rate_limit.is_some_and(|limit| !bucket.takes(limit, Instant::now())) {
            return refuse("rate-limited: slow down".into());
        }
        let kind = message[1]["kind"].as_u64().and_then(|kind| u16::try_from(kind).ok());
        if let Some(refusal) =
            rules.refusal.as_ref().filter(|r| kind.is_some_and(|kind| r.covers(kind)))
        {
            return refuse(refusal.reason.clone());
        }
        faults.lie_ok.then_some(Answer::Lie)
    }

    fn request(&self, mut message: Value, rules: &Rules, say: &mut Vec<String>) -> Fate {
        let faults = &rules.faults;
        let subscription = message[1].as_str().unwrap_or_default().to_owned();
        if faults.auth_loop {
            say.push(self.challenge());
            say.push(json!(["CLOSED", subscription, "auth-required: you must auth"]).to_string());
            return Fate::Stop;
        }
        let Some(filters) = message.as_array_mut().and_then(|parts| parts.get_mut(2..)) else {
            return Fate::Pass;
        };
        let read = |filters: &[Value]| -> Vec<Filter> {
            filters.iter().filter_map(|filter| Filter::read(filter).ok()).collect()
        };
        if faults.false_events {
            say.extend(forgery::unasked(&subscription, &read(filters), &self.keys));
        }
        if faults.endless || faults.huge_tags {
            let mut endless = self.endless.lock().unwrap_or_else(PoisonError::into_inner);
            endless.insert(subscription, read(filters));
        }
        let Some(most) = faults.page_limit else { return Fate::Pass };
        for filter in filters {
            let asked = filter["limit"].as_u64().unwrap_or(u64::MAX);
            if filter.is_object() {
                filter["limit"] = json!(asked.min(most as u64));
            }
        }
        Fate::Instead(message.to_string())
    }

    fn challenge(&self) -> String {
        json!(["AUTH", format!("challenge-{}", self.number())]).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_found_without_reading_on() {
        assert_eq!(verb(r#"["EVENT",{"id""#), "EVENT");
        assert_eq!(verb(" [ \"REQ\" , \"a\""), "REQ");
        for text in ["", "[", "[1]", "EVENT", "{\"EVENT\":1}"] {
            assert_eq!(verb(text), "");
        }
    }
}
