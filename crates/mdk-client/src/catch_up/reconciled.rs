//! A history of which some is here, by NIP-77: the relay names all of its events, and those that are missing are fetched by id.

use std::future::Future;

use mdk_wire::budget::relay::{PATIENCE, WINDOW_BYTES, WINDOW_EVENTS};
use mdk_wire::{Event, EventId};
use serde_json::{Value, json};

use crate::client::shared::Shared;
use crate::error::Result;
use crate::relay_pool::Page;
use crate::sync::topics::Span;

/// Ids in one request: with a hundred routing ids no more than 20 kB.
const AT_ONCE: usize = 200;
/// Ids that are looked for in the database in one call.
const LOOKED_FOR: usize = 1_000;

/// The ids that the relay has of a span and that are missing here. `None`: it is to be paged through, because the relay does not
/// do it, or because more is missing than is in memory at one time.
pub(super) async fn missing(shared: &Shared, relay: &str, span: &Span) -> Option<Vec<EventId>> {
    let mut filter = span.filter.clone();
    if span.since > 0 {
        filter.insert("since".to_owned(), json!(span.since));
    }
    let filter = Value::Object(filter).to_string();
    let patience = shared.options.request_timeout.min(PATIENCE);
    let ids = match shared.pool.ids_of(relay, &shared.me, &filter, patience).await {
        Ok(ids) => ids,
        Err(error) => {
            tracing::debug!("a history is paged through: {error}");
            return None;
        }
    };
    let mut missing = Vec::new();
    for part in ids.chunks(LOOKED_FOR) {
        let part = part.to_vec();
        missing.extend(shared.engine(move |engine| engine.missing(&part)).await.ok()?);
    }
    (missing.len() <= WINDOW_EVENTS).then_some(missing)
}

/// These events of a span, oldest first. `None`: the relay did not give all that it named, or they are too large for the
/// memory.
pub(super) async fn fetch<A, P>(
    span: &Span,
    ids: &[EventId],
    limit: usize,
    ask: A,
) -> Option<Vec<Event>>
where
    A: Fn(String) -> P,
    P: Future<Output = Result<Page>>,
{
    let (mut events, mut bytes) = (Vec::with_capacity(ids.len()), 0);
    for part in ids.chunks(AT_ONCE.min(limit)) {
        let mut filter = span.filter.clone();
        let named: Vec<String> = part.iter().map(EventId::to_hex).collect();
        filter.insert("ids".to_owned(), json!(named));
        filter.insert("limit".to_owned(), json!(part.len()));
        let page = ask(Value::Object(filter).to_string()).await.ok()?;
        bytes += page.events.iter().map(Event::weight).sum::<usize>();
        // (each of them once, and no other: the pool sees to that)
        if page.events.len() < part.len() || bytes > WINDOW_BYTES {
            return None;
        }
        events.extend(page.events.into_iter().rev());
    }
    events.sort_by_key(Event::created_at);
    Some(events)
}
