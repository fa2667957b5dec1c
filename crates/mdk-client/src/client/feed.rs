//! From an event that a relay sent to the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mdk_core::{DeferredReason, Engine, EngineEvent, EventBody, Incoming, Outcome, Verdict};
use mdk_wire::{Event, EventId};

use super::lock::lock;
use super::recent::{closed_of, number};
use super::shared::{Shared, add};
use super::times::{backoff, now};
use crate::error::{ClientError, Result};
use crate::sync::wanted::join_key;

/// A relay, and an event that it gave.
pub(crate) type Heard = (Arc<str>, Event);

/// What became of events that were fed to the engine.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct IngestReport {
    /// Events that the engine had not had before, and has now.
    pub(crate) new: u64,
    /// Of these, those that wait for something.
    pub(crate) waiting: u64,
    /// The newest `created_at`, not later than now.
    pub(crate) newest: u64,
    /// `created_at` of the oldest event that the engine had no room for: it is to come again.
    pub(crate) refused_from: Option<u64>,
}

impl IngestReport {
    pub(crate) fn join(&mut self, other: &Self) {
        self.new += other.new;
        self.waiting += other.waiting;
        self.newest = self.newest.max(other.newest);
        self.refused_from = match (self.refused_from, other.refused_from) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// Whether something changed what is to be listened to.
pub(crate) fn changes_interests(events: &[EngineEvent]) -> bool {
    events.iter().any(|event| {
        matches!(
            event.body,
            EventBody::Joined { .. }
                | EventBody::EpochChanged { .. }
                | EventBody::GroupUpdated { .. }
                | EventBody::Removed { .. }
                | EventBody::Disbanded { .. }
                | EventBody::Unrecoverable { .. }
                | EventBody::ChangeWithdrawn { .. }
        )
    })
}

impl Shared {
    /// Gives events to the engine in this order, in one transaction. A fault of the disk is waited
    /// out: the socket is not read on meanwhile, and nothing is lost.
    pub(crate) async fn feed(self: &Arc<Self>, events: Vec<Heard>) -> Result<IngestReport> {
        let mut fed = IngestReport::default();
        let mut fresh = Vec::with_capacity(events.len());
        {
            let recent = lock(&self.recent);
            let awaited = lock(&self.awaited);
            let mut echoes = lock(&self.echoes);
            for (relay, event) in events {
                let id = event.id();
                let closed = closed_of(id.as_bytes(), number(&relay));
                if !recent.contains(id.as_bytes()) && !recent.contains(&closed) {
                    fresh.push((relay, event));
                    continue;
                }
                fed.newest = fed.newest.max(event.created_at());
                if awaited.contains(id.as_bytes()) {
                    echoes.push((id, relay));
                    self.wake.outbox.notify_one();
                }
            }
        }
        fed.newest = fed.newest.min(now());
        if fresh.is_empty() {
            return Ok(fed);
        }
        let (relays, events): (Vec<Arc<str>>, Vec<Event>) = fresh.into_iter().unzip();
        let sources: Vec<i64> = relays.iter().map(|relay| number(relay)).collect();
        let (sources, events) = (Arc::new(sources), Arc::new(events));
        let newest = events.iter().map(Event::created_at).max().unwrap_or(0).min(now());
        fed.newest = fed.newest.max(newest);
        let mut failures = 0;
        let (outcomes, awaited) = loop {
            let (batch, of) = (events.clone(), sources.clone());
            match self.engine(move |engine| Ok(process(engine, &batch, &of))).await? {
                Ok(processed) => break processed,
                Err(error) => tracing::warn!(events = events.len(), "events wait: {error}"),
            }
            let (least, most) = (self.options.retry_min, self.options.retry_max);
            if !self.pause(backoff(least, most, failures)).await {
                return Err(ClientError::Closed);
            }
            failures += 1;
        };
        if !awaited.is_empty() {
            let came = events.iter().zip(relays);
            let ours = came.filter(|(event, _)| awaited.contains(&event.id()));
            lock(&self.echoes).extend(ours.map(|(event, relay)| (event.id(), relay)));
            self.wake.outbox.notify_one();
        }
        self.note(&events, &sources, &outcomes, &mut fed);
        Ok(fed)
    }

    /// Counts, and wakes whom it concerns.
    fn note(
        &self,
        events: &[Event],
        sources: &[i64],
        outcomes: &[Option<Outcome>],
        fed: &mut IngestReport,
    ) {
        let (mut happened, mut reply, mut interests) = (false, false, false);
        let counters = &self.counters;
        {
            let mut recent = lock(&self.recent);
            for ((event, source), outcome) in events.iter().zip(sources).zip(outcomes) {
                let verdict = outcome.as_ref().map(|outcome| outcome.verdict);
                if verdict == Some(Verdict::Deferred(DeferredReason::ResourceRefused)) {
                    let at = event.created_at();
                    fed.refused_from = Some(fed.refused_from.map_or(at, |from| from.min(at)));
                    add(&counters.deferred, 1);
                    continue;
                }
                let id = *event.id().as_bytes();
                let closed = verdict == Some(Verdict::Deferred(DeferredReason::Undecryptable));
                // Another relay's copy of what waits already is nothing new.
                let waits = closed && recent.contains(&closed_of(&id, 0));
                if closed {
                    recent.insert(closed_of(&id, *source));
                    recent.insert(closed_of(&id, 0));
                } else {
                    recent.insert(id);
                }
                match verdict {
                    Some(Verdict::Duplicate) => {}
                    Some(Verdict::Deferred(_)) if waits => {}
                    Some(Verdict::Applied) => fed.new += 1,
                    Some(Verdict::Deferred(reason)) => {
                        // What comes next on a branch that competes may be under a routing id of its own.
                        interests |= reason == DeferredReason::Rival;
                        fed.new += 1;
                        fed.waiting += 1;
                        add(&counters.deferred, 1);
                    }
                    Some(Verdict::Rejected(_)) | None => add(&counters.rejected, 1),
                }
                if let Some(outcome) = outcome {
                    happened |= !outcome.events.is_empty();
                    reply |= !outcome.reply.is_empty();
                    interests |= changes_interests(&outcome.events);
                }
            }
        }
        add(&counters.received, events.len() as u64);
        counters.last_event_at.store(now(), Ordering::Relaxed);
        if happened || reply {
            self.bump();
            self.active();
        }
        if reply || interests {
            self.wake.outbox.notify_one();
        }
        if interests {
            self.wake.interests.notify_one();
        }
        if fed.new > 0 {
            // What was deferred or opened may become due within seconds.
            self.wake.upkeep.notify_one();
        }
    }
}

/// The outcomes, `None` for an event that the engine cannot take because of a fault of ours: it must not hold up the
/// others. And which of the events are ours and on their way: the relay that gave one has it.
type Processed = (Vec<Option<Outcome>>, Vec<EventId>);

fn process(engine: &mut Engine, events: &[Event], sources: &[i64]) -> mdk_core::Result<Processed> {
    let given = events.iter().cloned().zip(sources);
    let batch = given.map(|(event, source)| Incoming::From(event, *source)).collect();
    let outcomes = match engine.process_batch(batch) {
        Ok(outcomes) => outcomes.into_iter().map(Some).collect(),
        Err(error) if lasting(&error) => one_by_one(engine, events)?,
        Err(error) => return Err(error),
    };
    for (event, outcome) in events.iter().zip(&outcomes) {
        for happened in outcome.iter().flat_map(|outcome| &outcome.events) {
            if let EventBody::Invited { invite } = &happened.body {
                // A gift wrap is dated back, so the group's events that we can read are younger.
                let at = event.created_at().min(now()).to_be_bytes();
                engine.set_state(&join_key(&invite.group_id), Some(&at))?;
            }
        }
    }
    let ids: Vec<EventId> = events.iter().map(Event::id).collect();
    let awaited = engine.outbox_awaits(&ids)?;
    Ok((outcomes, awaited))
}

fn one_by_one(engine: &mut Engine, events: &[Event]) -> mdk_core::Result<Vec<Option<Outcome>>> {
    let mut outcomes = Vec::with_capacity(events.len());
    for event in events {
        match engine.process_event(event.clone()) {
            Ok(outcome) => outcomes.push(Some(outcome)),
            Err(error) if lasting(&error) => {
                tracing::error!("an event cannot be processed: {error}");
                outcomes.push(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcomes)
}

/// Whether the same call would fail again.
fn lasting(error: &mdk_core::Error) -> bool {
    use mdk_core::Error;
    matches!(error, Error::Internal(_) | Error::Unrecoverable(_) | Error::RunsElsewhere)
}
