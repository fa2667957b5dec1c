//! What a relay says about itself (NIP-11).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::dial::{Dialer, date_of};
use crate::relay_pool::types::Origin;

/// Largest document that is read.
const MAX_BYTES: usize = 128 * 1024;
/// How long a document, and the lack of one, are believed.
const FRESH: Duration = Duration::from_secs(3_600);
const FRESH_NOTHING: Duration = Duration::from_secs(300);
/// Longest wait for it.
const WAIT: Duration = Duration::from_secs(10);
/// Around an event that is published: `["EVENT",` and `]`.
const FRAME: u64 = 10;
/// A gift wrap without its content: three times 32 bytes and a signature in hex, and what is the same in each.
const AROUND_CONTENT: u64 = 3 * 64
    + 128
    + r#"{"id":"","pubkey":"","created_at":1700000000,"kind":1059,"tags":[["p",""]],"content":"","sig":""}"#.len() as u64;

/// The limits of a relay's information document (NIP-11). Everything is optional, and everything is the relay's own claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayInfo {
    /// Longest WebSocket message it takes, bytes.
    pub max_message_length: Option<u64>,
    /// Longest content of an event, Unicode characters.
    pub max_content_length: Option<u64>,
    /// Most events of one request; larger `limit`s are clamped.
    pub max_limit: Option<u64>,
    /// Most open subscriptions of one connection.
    pub max_subscriptions: Option<u64>,
    /// Most filters of one request.
    pub max_filters: Option<u64>,
    /// Most tags of an event.
    pub max_event_tags: Option<u64>,
    /// Longest subscription id, characters.
    pub max_subid_length: Option<u64>,
    /// `limit` of a request that names none.
    pub default_limit: Option<u64>,
    /// Whether it wants NIP-42 before anything else.
    pub auth_required: Option<bool>,
    /// Whether it wants to be paid before anything else.
    pub payment_required: Option<bool>,
    /// Whether it restricts who may write.
    pub restricted_writes: Option<bool>,
    /// Proof of work it wants, leading zero bits.
    pub min_pow_difficulty: Option<u64>,
    /// Oldest `created_at` it takes, seconds before now.
    pub created_at_lower_limit: Option<u64>,
    /// Furthest `created_at` in the future it takes, seconds after now.
    pub created_at_upper_limit: Option<u64>,
    /// NIPs it says it supports, at most 256.
    pub supported_nips: Vec<u16>,
    /// Its software, at most 200 characters.
    pub software: Option<String>,
    /// Version of its software, at most 200 characters.
    pub version: Option<String>,
}

impl RelayInfo {
    /// Reads a document; what has another type than NIP-11 says counts as not said.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let object = value.as_object()?;
        let limits = object.get("limitation");
        let number =
            |name: &str| limits.and_then(|limits| limits.get(name)).and_then(Value::as_u64);
        let flag = |name: &str| limits.and_then(|limits| limits.get(name)).and_then(Value::as_bool);
        let text = |name: &str| {
            let text = object.get(name).and_then(Value::as_str)?;
            Some(text.chars().filter(|c| !c.is_control()).take(200).collect())
        };
        let nips = object.get("supported_nips").and_then(Value::as_array);
        let nips = nips.into_iter().flatten().filter_map(Value::as_u64);
        Some(Self {
            max_message_length: number("max_message_length"),
            max_content_length: number("max_content_length"),
            max_limit: number("max_limit"),
            max_subscriptions: number("max_subscriptions"),
            max_filters: number("max_filters"),
            max_event_tags: number("max_event_tags"),
            max_subid_length: number("max_subid_length"),
            default_limit: number("default_limit"),
            auth_required: flag("auth_required"),
            payment_required: flag("payment_required"),
            restricted_writes: flag("restricted_writes"),
            min_pow_difficulty: number("min_pow_difficulty"),
            created_at_lower_limit: number("created_at_lower_limit"),
            created_at_upper_limit: number("created_at_upper_limit"),
            supported_nips: nips.filter_map(|nip| u16::try_from(nip).ok()).take(256).collect(),
            software: text("software"),
            version: text("version"),
        })
    }

    /// The largest invite that is taken, a gift wrap, in bytes of the event; `None` when nothing is said about that. It is as
    /// long as its content, which is base64, and what stands around that, which is of one length.
    #[must_use]
    pub fn largest_invite(&self) -> Option<u64> {
        let said = |limit: Option<u64>| limit.filter(|limit| *limit > 0);
        let by_message = said(self.max_message_length).map(|limit| limit.saturating_sub(FRAME));
        let by_content =
            said(self.max_content_length).map(|limit| limit.saturating_add(AROUND_CONTENT));
        by_message.into_iter().chain(by_content).min()
    }

    /// Why an event of this size can never be taken, with the sizes; `None` when it can.
    pub(crate) fn refuses(&self, message_bytes: usize, content_chars: usize) -> Option<String> {
        let over = |limit: Option<u64>, actual: usize| {
            limit.filter(|limit| *limit > 0 && actual as u64 > *limit)
        };
        if let Some(limit) = over(self.max_message_length, message_bytes) {
            return Some(format!(
                "too large: {message_bytes} bytes, the relay takes messages up to {limit} bytes"
            ));
        }
        let limit = over(self.max_content_length, content_chars)?;
        Some(format!(
            "too large: content of {content_chars} characters, the relay takes up to {limit}"
        ))
    }
}

/// The document of one relay: asked for at most once at a time, over the same checks as the relay itself.
pub(crate) struct InfoCell {
    dialer: Dialer,
    url: Url,
    origin: Origin,
    known: Mutex<Option<(Instant, Option<Arc<RelayInfo>>)>>,
    /// The relay's time and ours when it was asked, seconds since 1970.
    date: Mutex<Option<(u64, u64)>>,
    asking: tokio::sync::Mutex<()>,
}

impl InfoCell {
    pub(crate) fn new(dialer: Dialer, url: Url, origin: Origin) -> Self {
        let (known, date) = (Mutex::new(None), Mutex::new(None));
        Self { dialer, url, origin, known, date, asking: tokio::sync::Mutex::new(()) }
    }

    /// What is known now, however old.
    pub(crate) fn known(&self) -> Option<Arc<RelayInfo>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().and_then(|(_, info)| info.clone())
    }

    /// The relay's time and ours when it was asked; given once.
    pub(crate) fn take_date(&self) -> Option<(u64, u64)> {
        self.date.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it has been asked for.
    pub(crate) fn is_fresh(&self) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|(at, info)| {
            at.elapsed() < if info.is_some() { FRESH } else { FRESH_NOTHING }
        })
    }

    /// From the cache, or from the relay.
    pub(crate) async fn get(&self) -> Option<Arc<RelayInfo>> {
        if self.is_fresh() {
            return self.known();
        }
        let _alone = self.asking.lock().await;
        if self.is_fresh() {
            return self.known();
        }
        let asked = timeout(WAIT, self.fetch()).await.ok().flatten();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.take().and_then(|(_, info)| info);
        // A relay that is not reachable for a moment has not lost its limits.
        let info = asked.map(Arc::new).or(before);
        *known = Some((Instant::now(), info.clone()));
        info
    }

    /// One HTTP/1.1 request. A redirect is not followed; only status 200 counts.
    async fn fetch(&self) -> Option<RelayInfo> {
        let stream = self.dialer.stream(&self.url, self.origin).await.ok()?;
        let (mut send, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .ok()?;
        let path = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        let request = Request::get(path)
            .header(HOST, host)
            .header(ACCEPT, "application/nostr+json")
            .header(USER_AGENT, "mdk")
            .body(Empty::<Bytes>::new())
            .ok()?;
        let exchange = async {
            let response = send.send_request(request).await.ok()?;
            if let Some(theirs) = date_of(response.headers())
                && let Ok(ours) = SystemTime::now().duration_since(UNIX_EPOCH)
            {
                let mut date = self.date.lock().unwrap_or_else(PoisonError::into_inner);
                *date = Some((theirs, ours.as_secs()));
            }
            if response.status() != 200 {
                return None;
            }
            let body = Limited::new(response.into_body(), MAX_BYTES).collect().await.ok()?;
            RelayInfo::parse(&body.to_bytes())
        };
        // The connection ends with this future: no task is left behind.
        tokio::pin!(connection);
        tokio::pin!(exchange);
        tokio::select! {
            info = &mut exchange => info,
            _ = &mut connection => exchange.await,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::{Event, Keys, UnsignedEvent, kind};

    use super::*;

    fn wrap(content: &str) -> Event {
        let keys = Keys::generate();
        let tags = vec![vec!["p".to_owned(), keys.public_key().to_hex()]];
        let (pubkey, content) = (keys.public_key(), content.to_owned());
        let created_at = 1_764_000_000;
        UnsignedEvent { pubkey, created_at, kind: kind::GIFT_WRAP, tags, content }.sign(&keys)
    }

    /// What is told before a commit is made is what holds when its invite is published.
    #[test]
    fn the_largest_invite_is_the_one_that_is_just_not_refused() {
        for (message, content) in
            [(None, Some(700)), (Some(900), None), (Some(900), Some(700)), (Some(2_000), Some(700))]
        {
            let info = RelayInfo {
                max_message_length: message,
                max_content_length: content,
                ..RelayInfo::default()
            };
            let largest = usize::try_from(info.largest_invite().unwrap()).unwrap();
            let around = wrap("").to_json().len();
            for (size, refused) in [(largest, false), (largest + 1, true)] {
                let event = wrap(&"c".repeat(size - around));
                let frame = format!(r#"["EVENT",{}]"#, event.to_json());
                let why = info.refuses(frame.len(), event.content().chars().count());
                assert_eq!(why.is_some(), refused, "{message:?} {content:?} {why:?}");
            }
        }
    }

    #[test]
    fn nothing_said_is_no_limit_and_neither_is_zero() {
        let zero = RelayInfo {
            max_message_length: Some(0),
            max_content_length: Some(0),
            ..RelayInfo::default()
        };
        for info in [RelayInfo::default(), zero] {
            assert_eq!(info.largest_invite(), None);
            assert_eq!(info.refuses(usize::MAX, usize::MAX), None);
        }
    }
}
