//! From an event that anyone can send to an outcome: open, classify, apply.
//!
//! Each stage consumes the type of the one before, so nothing unverified can be applied. Everything runs in
//! the caller's savepoint: an event that ends as `Halt` leaves no trace.

use mdk_wire::{Event, GroupId};

use crate::engine::ctx::{Ctx, Undo};
use crate::engine::follow_ups::Due;
use crate::engine::sending_order;
use crate::model::error::Error;
use crate::model::outcome::{DeferredReason, Rejection, Verdict};
use crate::model::values::EngineEvent;

/// One event of a batch.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// JSON, still to be verified.
    Json(&'a [u8]),
    /// Verified already.
    Verified(Event),
    /// Verified already, and given by a relay, for which the caller has a number that is not 0. An event that no key
    /// opens counts for its relay: the relay with the most of them loses some first.
    From(Event, i64),
}

/// A verdict with the events that it brought about, and the events to publish.
pub(crate) type Judged = (Result<Verdict, Rejection>, Vec<EngineEvent>, Vec<Event>);

impl Ctx<'_> {
    /// Processes events in their order; `undo` says how, and afterwards whether that was enough.
    pub(crate) fn batch(
        &mut self,
        events: &[Incoming<'_>],
        undo: &mut Undo,
    ) -> Result<Vec<Judged>, Error> {
        self.undo = *undo;
        self.work.records.input.batching = events.len() > 1;
        let (events, sources): (Vec<Result<Event, Rejection>>, Vec<i64>) = events
            .iter()
            .map(|event| match event {
                Incoming::Verified(event) => (Ok(event.clone()), 0),
                Incoming::From(event, source) => (Ok(event.clone()), *source),
                Incoming::Json(json) => (Event::from_json(json).map_err(Rejection::from), 0),
            })
            .unzip();
        let mut judged: Vec<Option<Judged>> = events.iter().map(|_| None).collect();
        let result = self.judge_all(events, &sources, &mut judged);
        self.work.records.input.source = 0;
        if result.is_err() {
            *undo = self.undo;
        }
        result?;
        let mut judged: Vec<Judged> = judged.into_iter().flatten().collect();
        // rule: F1-1 what waited is taken up in the order of epochs, not of arrival
        if std::mem::take(&mut self.work.records.input.batching) {
            self.retry_all()?;
            if let Some((_, happened, reply)) = judged.last_mut() {
                happened.append(&mut self.work.records.effects.told);
                happened.append(&mut self.work.records.effects.told_later);
                reply.append(&mut self.work.records.effects.publish);
            }
        }
        // rule: C2-9
        for (_, _, reply) in &mut judged {
            reply.retain(|event| !self.work.records.effects.withheld.contains(&event.id()));
        }
        Ok(judged)
    }

    fn judge_all(
        &mut self,
        events: Vec<Result<Event, Rejection>>,
        sources: &[i64],
        judged: &mut [Option<Judged>],
    ) -> Result<(), Error> {
        let events = sending_order::oldest_first(events);
        let (mut seconds, mut at) = (Vec::new(), 0);
        while at < events.len() {
            let count = sending_order::same_second(&events[at..]);
            seconds.push(count);
            at += count;
        }
        let mut events = events.into_iter();
        for count in seconds {
            let mut second = Vec::with_capacity(count);
            for (at, event) in events.by_ref().take(count) {
                match event {
                    Ok(event) => second.push((at, event)),
                    Err(rejection) => judged[at] = Some((Err(rejection), Vec::new(), Vec::new())),
                }
            }
            self.judge_second(second, |ctx, at, event| {
                ctx.work.records.input.source = sources[at];
                let verdict = ctx.attempt_with_room(event)?;
                ctx.retry_between(verdict.ok())?;
                let mut happened = std::mem::take(&mut ctx.work.records.effects.told);
                happened.append(&mut ctx.work.records.effects.told_later);
                judged[at] = Some((
                    verdict,
                    happened,
                    std::mem::take(&mut ctx.work.records.effects.publish),
                ));
                Ok(verdict.ok())
            })?;
        }
        Ok(())
    }

    /// Earlier events of a batch may wait for a commit of it: they come before the events after it.
    fn retry_between(&mut self, verdict: Option<Verdict>) -> Result<(), Error> {
        if !self.work.records.input.batching
            || verdict != Some(Verdict::Applied)
            || self.drain.is_empty()
        {
            return Ok(());
        }
        // (a message moves nothing, however much is held)
        let mut moved = false;
        for id in self.drain.keys() {
            moved |= self.work.records.tx.held_count(id)? > 0 && self.has_moved(id)?;
        }
        if moved { self.retry_now() } else { Ok(()) }
    }

    /// Tries held events as if the batch were at its end.
    fn retry_now(&mut self) -> Result<(), Error> {
        self.work.records.input.parked = false;
        self.work.records.input.batching = false;
        let result = self.retry_all();
        self.work.records.input.batching = true;
        result
    }

    /// As `retry_held`, for every group that a batch has touched.
    fn retry_all(&mut self) -> Result<(), Error> {
        let mut groups: Vec<GroupId> = self.drain.keys().cloned().collect();
        groups.sort_unstable();
        for id in groups {
            self.retry_held(&id)?;
            self.close_due(&id)?;
        }
        Ok(())
    }

    /// Processes one event of a batch. If there is no room for it, commits that were left for the end of the batch are
    /// tried now: the event may need the states that they lead to.
    fn attempt_with_room(&mut self, event: Event) -> Result<Result<Verdict, Rejection>, Error> {
        let again = self.work.records.input.parked.then(|| event.clone());
        let verdict = self.attempt(event, Due::All)?;
        match (again, &verdict) {
            (Some(event), Ok(Verdict::Deferred(DeferredReason::ResourceRefused))) => {
                self.retry_now()?;
                // (the effects of this retry come before those of the event)
                let effects = &mut self.work.records.effects;
                effects.told.append(&mut effects.told_later);
                self.attempt(event, Due::All)
            }
            _ => Ok(verdict),
        }
    }
}
