//! From an event that anyone can send to an outcome: open, classify, apply.
//!
//! Each stage consumes the type of the one before, so nothing unverified can be applied. Everything runs in
//! the caller's savepoint: what ends as `Halt` leaves no trace.

pub(crate) mod apply;
pub(crate) mod classify;
pub(crate) mod deliver;
pub(crate) mod open;
pub(crate) mod retry;

use mdk_wire::{Event, kind};

use crate::ctx::{Ctx, Undo};
use crate::error::Error;
use crate::halt::{self, Halt};
use crate::outcome::{RejectCode, Rejection, Verdict};
use crate::values::EngineEvent;

/// One event of a batch.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// JSON, still to be verified.
    Json(&'a [u8]),
    /// Verified already.
    Verified(Event),
}

/// A verdict with the events it brought about and what is to be published.
pub(crate) type Judged = (Result<Verdict, Rejection>, Vec<EngineEvent>, Vec<Event>);

impl Ctx<'_, '_> {
    /// Processes events one after the other; `undo` says how, and afterwards whether that was enough.
    pub(crate) fn batch(
        &mut self,
        events: &[Incoming<'_>],
        undo: &mut Undo,
    ) -> Result<Vec<Judged>, Error> {
        self.undo = *undo;
        self.batching = events.len() > 1;
        let mut judged = Vec::with_capacity(events.len());
        for event in events {
            let event = match event {
                Incoming::Verified(event) => Ok(event.clone()),
                Incoming::Json(json) => Event::from_json(json).map_err(halt::wire("D1-0")),
            };
            let verdict = match event.map(|event| self.attempt(event)) {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(error)) => {
                    *undo = self.undo;
                    return Err(error);
                }
                Err(rejection) => Err(rejection),
            };
            let mut happened = std::mem::take(&mut self.events);
            happened.append(&mut self.late);
            judged.push((verdict, happened, std::mem::take(&mut self.reply)));
        }
        // rule: F1-1 what waited is taken up in the order of epochs, not of arrival
        if std::mem::take(&mut self.batching) {
            self.retry_all()?;
            if let Some((_, happened, reply)) = judged.last_mut() {
                happened.append(&mut self.events);
                happened.append(&mut self.late);
                reply.append(&mut self.reply);
            }
        }
        Ok(judged)
    }

    /// Processes one verified event of any kind.
    pub(crate) fn process_event(&mut self, event: Event) -> Result<Verdict, Halt> {
        match event.kind() {
            kind::GROUP_MESSAGE => self.process_group_message(event),
            kind::GIFT_WRAP => self.process_gift_wrap(&event),
            // Our own KeyPackage coming back from a relay.
            kind::KEY_PACKAGE if event.pubkey() == self.identity.account() => {
                self.promote_key_package(&event.id())?;
                Ok(Verdict::Duplicate)
            }
            _ => Err(Rejection::new(
                RejectCode::TransportRejected,
                "2.4-11", // rule: 2.4-11
                "the engine takes kinds 445 and 1059",
            )
            .into()),
        }
    }
}
