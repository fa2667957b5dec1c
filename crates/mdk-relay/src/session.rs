//! The messages of one client, and the answers to them.

use std::sync::Arc;

use mdk_wire::budget::client::SUBSCRIPTION_CHARS;
use mdk_wire::{Event, EventId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Auth, is_protected};
use crate::clock::now;
use crate::filters::Filter;
use crate::hub::Hub;
use crate::negentropy::Reconciliations;
use crate::store::Saved;
use crate::voice::{Ear, Voice, line};

const WHO: &str = "auth-required: you must auth";

/// The message is none of Nostr; the connection ends.
pub(crate) struct NoMessage;

/// One connection as the relay knows it. It leaves the hub when it is dropped.
pub(crate) struct Session {
    hub: Arc<Hub>,
    number: u64,
    voice: Voice,
    auth: Auth,
    reconciliations: Reconciliations,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.leave(self.number);
    }
}

impl Session {
    /// Of a client that names the relay so in its handshake. What it is told is heard at the other end.
    pub(crate) fn new(hub: &Arc<Hub>, host: String) -> (Self, Ear) {
        let (voice, ear) = line();
        let session = Self {
            hub: hub.clone(),
            number: hub.join(voice.clone()),
            voice,
            auth: Auth::new(host),
            reconciliations: Reconciliations::default(),
        };
        (session, ear)
    }

    pub(crate) fn voice(&self) -> &Voice {
        &self.voice
    }

    /// Takes a text message of the client.
    pub(crate) fn take(&mut self, text: &str) -> Result<(), NoMessage> {
        if let Some(event) = body(text, "EVENT") {
            return self.event(event, text.len());
        }
        if let Some(event) = body(text, "AUTH") {
            return self.prove(event);
        }
        let message: Vec<Value> = serde_json::from_str(text).map_err(|_| NoMessage)?;
        let [verb, subscription, rest @ ..] = &message[..] else { return Err(NoMessage) };
        let verb = verb.as_str().ok_or(NoMessage)?;
        let subscription = subscription.as_str().ok_or(NoMessage)?;
        match verb {
            "REQ" => self.request(subscription, rest),
            "COUNT" => self.count(subscription, rest),
            "CLOSE" => self.hub.close(self.number, subscription),
            "NEG-OPEN" if self.hub.options.reconciles => self.answer(subscription, |session| {
                let [filter, message, ..] = rest else { return Err("invalid: too short".into()) };
                let message = message.as_str().ok_or("invalid: the message is not hex")?;
                let filter = Filter::read(filter).map_err(|why| format!("invalid: {why}"))?;
                let items = session.hub.items(filter);
                session.reconciliations.open(subscription, items, message)
            }),
            "NEG-MSG" => self.answer(subscription, |session| {
                let message = rest.first().and_then(Value::as_str);
                let message = message.ok_or("invalid: the message is not hex")?;
                session.reconciliations.go_on(subscription, message)
            }),
            "NEG-CLOSE" => self.reconciliations.close(subscription),
            _ => self.voice.say(&json!(["NOTICE", "unsupported: this message is not known"])),
        }
        Ok(())
    }

    /// Takes a binary message.
    pub(crate) fn take_bytes(&self) {
        self.voice.say(&json!(["NOTICE", "unsupported: binary messages are not read"]));
    }

    fn event(&mut self, json: &str, size: usize) -> Result<(), NoMessage> {
        let limit = self.hub.options.max_event_bytes;
        if size > limit {
            let id = claimed_id(json)?;
            let reason = format!("invalid: event too large: {size} bytes, at most {limit}");
            self.ok(&id, false, &reason);
            return Ok(());
        }
        let event = match Event::from_json(json.as_bytes()) {
            Ok(event) => event,
            Err(why) => {
                let id = claimed_id(json)?;
                self.ok(&id, false, &format!("invalid: {why}"));
                return Ok(());
            }
        };
        let id = event.id().to_hex();
        let is_protected = is_protected(&event);
        if (self.hub.options.require_auth || is_protected) && !self.auth.is_known() {
            self.ask_who();
            self.ok(&id, false, WHO);
        } else if is_protected && !self.auth.is(event.pubkey()) {
            self.ok(&id, false, "blocked: this event may only be published by its author");
        } else {
            self.hub.publish(event, |saved| {
                let (taken, words) = words(saved);
                self.ok(&id, taken, words);
            });
        }
        Ok(())
    }

    fn ok(&self, id: &str, taken: bool, words: &str) {
        self.voice.say(&json!(["OK", id, taken, words]));
    }

    fn prove(&mut self, json: &str) -> Result<(), NoMessage> {
        let id = claimed_id(json)?;
        let event = Event::from_json(json.as_bytes()).map_err(|why| why.to_string());
        match event.and_then(|event| Ok(self.auth.prove(&event, now())?)) {
            Ok(()) => self.ok(&id, true, ""),
            Err(why) => self.ok(&id, false, &format!("invalid: {why}")),
        }
        Ok(())
    }

    fn ask_who(&self) {
        self.voice.say(&json!(["AUTH", self.auth.challenge()]));
    }

    /// Whether nothing is read before AUTH, and there was none.
    fn is_stranger(&self) -> bool {
        self.hub.options.require_auth && !self.auth.is_known()
    }

    /// The filters of a request; `None`: it was refused.
    fn filters(&self, subscription: &str, filters: &[Value]) -> Option<Vec<Filter>> {
        if self.is_stranger() {
            self.ask_who();
            self.closed(subscription, WHO);
            return None;
        }
        if !(1..=SUBSCRIPTION_CHARS).contains(&subscription.chars().count()) {
            let reason =
                format!("invalid: a subscription has 1 to {SUBSCRIPTION_CHARS} characters");
            self.closed(subscription, &reason);
            return None;
        }
        match Filter::read_all(filters) {
            Ok(filters) => Some(filters),
            Err(why) => {
                self.closed(subscription, &format!("invalid: {why}"));
                None
            }
        }
    }

    fn closed(&self, subscription: &str, reason: &str) {
        self.voice.say(&json!(["CLOSED", subscription, reason]));
    }

    fn request(&self, subscription: &str, filters: &[Value]) {
        let Some(filters) = self.filters(subscription, filters) else { return };
        if let Err(reason) = self.hub.open(self.number, subscription, filters) {
            self.closed(subscription, &reason);
        }
    }

    fn count(&self, subscription: &str, filters: &[Value]) {
        let Some(filters) = self.filters(subscription, filters) else { return };
        let count = self.hub.count_matching(&filters);
        self.voice.say(&json!(["COUNT", subscription, {"count": count}]));
    }

    fn answer(
        &mut self,
        subscription: &str,
        answer: impl FnOnce(&mut Self) -> Result<String, String>,
    ) {
        if self.is_stranger() {
            self.ask_who();
            self.voice.say(&json!(["NEG-ERR", subscription, WHO]));
            return;
        }
        match answer(self) {
            Ok(message) => self.voice.say(&json!(["NEG-MSG", subscription, message])),
            Err(reason) => self.voice.say(&json!(["NEG-ERR", subscription, reason])),
        }
    }
}

/// Returns the answer to an author.
fn words(saved: Saved) -> (bool, &'static str) {
    match saved {
        Saved::New | Saved::Ephemeral => (true, ""),
        Saved::Duplicate => (true, "duplicate: already have this event"),
        Saved::Outdated => (false, "duplicate: have one that replaces it"),
        Saved::Deleted => (false, "blocked: this event is deleted"),
        Saved::Expired => (false, "invalid: it has expired"),
    }
}

/// The one member of a message that begins with this verb, as it stands: an event is read by its own bounded reader.
fn body<'t>(text: &'t str, verb: &str) -> Option<&'t str> {
    let rest = text.trim_start().strip_prefix('[')?.trim_start();
    let rest = rest.strip_prefix('"')?.strip_prefix(verb)?.strip_prefix('"')?;
    let rest = rest.trim_start().strip_prefix(',')?;
    rest.trim_end().strip_suffix(']').map(str::trim)
}

/// The id that what is no right event claims to have.
fn claimed_id(json: &str) -> Result<String, NoMessage> {
    #[derive(Deserialize)]
    struct Claim {
        id: String,
    }
    let claim: Claim = serde_json::from_str(json).map_err(|_| NoMessage)?;
    EventId::from_hex(&claim.id).map(|_| claim.id).map_err(|_| NoMessage)
}
