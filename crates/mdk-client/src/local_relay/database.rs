//! The relay's memory, and the log of what was published.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use nostr_relay_builder::prelude::{
    Backend, BoxedFuture, DatabaseError, DatabaseEventStatus, Event, EventId, Events, Filter,
    JsonUtil as _, Kind, MemoryDatabase, MemoryDatabaseOptions, NostrDatabase, SaveEventStatus,
};
use tokio::sync::watch;

/// A memory database that can be exchanged for an empty one, and a list of all that ever entered it.
#[derive(Debug)]
pub(super) struct Recorder {
    max_events: usize,
    stored: RwLock<Arc<MemoryDatabase>>,
    log: Mutex<VecDeque<Event>>,
    changes: watch::Sender<u64>,
}

impl Recorder {
    pub(super) fn new(max_events: usize, changes: watch::Sender<u64>) -> Self {
        let stored = RwLock::new(empty(max_events));
        Self { max_events, stored, log: Mutex::default(), changes }
    }

    pub(super) fn wipe(&self) {
        *self.stored.write().unwrap_or_else(PoisonError::into_inner) = empty(self.max_events);
        self.changes.send_modify(|n| *n += 1);
    }

    pub(super) async fn count(&self, kind: u16) -> usize {
        let counted = self.stored().count(Filter::new().kind(Kind::from(kind))).await;
        counted.unwrap_or_default() // a memory database has no errors
    }

    pub(super) fn log(&self, kind: u16) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter()
            .filter(|event| event.kind.as_u16() == kind)
            .map(|event| event.as_json())
            .collect()
    }

    fn stored(&self) -> Arc<MemoryDatabase> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, event: &Event) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= self.max_events {
            log.pop_front();
        }
        log.push_back(event.clone());
        drop(log);
        self.changes.send_modify(|n| *n += 1);
    }
}

fn empty(max_events: usize) -> Arc<MemoryDatabase> {
    let options = MemoryDatabaseOptions { events: true, max_events: Some(max_events.max(1)) };
    Arc::new(MemoryDatabase::with_opts(options))
}

impl NostrDatabase for Recorder {
    fn backend(&self) -> Backend {
        Backend::Memory
    }

    fn save_event<'a>(
        &'a self,
        event: &'a Event,
    ) -> BoxedFuture<'a, Result<SaveEventStatus, DatabaseError>> {
        Box::pin(async move {
            let status = self.stored().save_event(event).await?;
            if status.is_success() {
                self.record(event);
            }
            Ok(status)
        })
    }

    fn check_id<'a>(
        &'a self,
        id: &'a EventId,
    ) -> BoxedFuture<'a, Result<DatabaseEventStatus, DatabaseError>> {
        Box::pin(async move { self.stored().check_id(id).await })
    }

    fn event_by_id<'a>(
        &'a self,
        id: &'a EventId,
    ) -> BoxedFuture<'a, Result<Option<Event>, DatabaseError>> {
        Box::pin(async move { self.stored().event_by_id(id).await })
    }

    fn count(&self, filter: Filter) -> BoxedFuture<'_, Result<usize, DatabaseError>> {
        Box::pin(async move { self.stored().count(filter).await })
    }

    fn query(&self, filter: Filter) -> BoxedFuture<'_, Result<Events, DatabaseError>> {
        Box::pin(async move { self.stored().query(filter).await })
    }

    fn delete(&self, filter: Filter) -> BoxedFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move { self.stored().delete(filter).await })
    }

    fn wipe(&self) -> BoxedFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move { self.stored().wipe().await })
    }
}
