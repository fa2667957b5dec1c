//! Events in, outcomes out.

use mdk_wire::{Event, NostrGroupId};

use crate::engine::Engine;
use crate::engine::batch::Incoming;
use crate::engine::ctx::{Ctx, Undo};
use crate::engine::follow_ups::Due;
use crate::model::error::{Error, Result};
use crate::model::halt;
use crate::model::invites::Inviters;
use crate::model::outcome::Outcome;
use crate::model::values::Unpaged;

impl Engine {
    /// Processes one event in its JSON form. A peer's input is never an error.
    ///
    /// # Errors
    /// [`Error::Store`] and faults of this machine; the event may be given again.
    pub fn process(&mut self, json: &[u8]) -> Result<Outcome> {
        match Event::from_json(json) {
            Ok(event) => self.process_event(event),
            // rule: D1-0 (strict JSON; the id and the signature verify)
            Err(error) => Ok(self.outcome(Err(error.into()), Vec::new(), Vec::new())),
        }
    }

    /// Processes one verified event.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub fn process_event(&mut self, event: Event) -> Result<Outcome> {
        // A rejected event rolls the whole transaction back: nothing is written, nothing is synced.
        let mut refused = None;
        let mut lost = None;
        let result = self.write(|ctx| match ctx.process_event(event, Due::All) {
            Ok(verdict) => Ok(verdict),
            Err(halt::Halt::Failed(error)) => Err(error),
            Err(halt::Halt::Rejected(rejection)) => {
                refused = Some(rejection);
                lost = ctx.work.records.input.behind.take();
                Err(Error::Internal("rejected"))
            }
        });
        match (result, refused) {
            (_, Some(rejection)) => {
                let told = match lost {
                    Some((id, at)) => {
                        self.write(|ctx| ctx.work.records.gaps().report_behind(&id, at))?.1.told
                    }
                    None => Vec::new(),
                };
                Ok(self.outcome(Err(rejection), told, Vec::new()))
            }
            (Ok((verdict, effects)), None) => {
                let events = [effects.told, effects.told_later].concat();
                Ok(self.outcome(Ok(verdict), events, effects.publish))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Processes many events in one transaction, a savepoint for each: Welcomes first, then events of groups, the
    /// oldest first. The outcomes are in the order of `events`.
    ///
    /// # Errors
    /// As [`Engine::process`]; then none of them took effect.
    pub fn process_many(&mut self, events: &[&[u8]]) -> Result<Vec<Outcome>> {
        self.process_batch(events.iter().map(|json| Incoming::Json(json)).collect())
    }

    /// Outcomes were lost before anybody read the events that they had to publish. The next [`Engine::tick`] hands
    /// those out again, as after a restart. The lost news is in the log.
    pub fn hand_out_again(&mut self) {
        // Any reader of the outbox publishes its events.
        self.resumed &= self.outbox;
    }

    /// As [`Engine::process_many`], for a batch in which some events are verified already.
    ///
    /// # Errors
    /// As [`Engine::process`]; then none of them took effect.
    pub fn process_batch(&mut self, events: Vec<Incoming<'_>>) -> Result<Vec<Outcome>> {
        let mut undo = Undo::Unneeded;
        let verdicts = match self.write(|ctx| ctx.batch(&events, &mut undo)) {
            Err(_) if undo == Undo::Needed => {
                undo = Undo::Savepoint;
                // Events that were dropped for their age are there again.
                self.memory.buffered.looked_for_old.clear();
                self.write(|ctx| ctx.batch(&events, &mut undo))?.0
            }
            result => result?.0,
        };
        Ok(verdicts.into_iter().map(|(v, events, reply)| self.outcome(v, events, reply)).collect())
    }

    /// Whether [`Engine::interests`] may give something else than when this was asked last: branches that compete have routes
    /// of their own, and come without an event.
    pub fn take_rerouted(&mut self) -> bool {
        std::mem::take(&mut self.memory.for_client.rerouted)
    }

    /// From now on messages of ours wait while branches compete, whatever [`SettlingConfig::speak_undecided`] was: the calls that
    /// make one are [`Error::Settling`](crate::Error::Settling) then. For callers that call again.
    ///
    /// [`SettlingConfig::speak_undecided`]: crate::SettlingConfig::speak_undecided
    pub fn wait_to_speak(&mut self) {
        self.config.settling.speak_undecided = false;
    }

    /// Says whose invites are taken from now on: those of others are refused before a group is opened for them. Kept in
    /// memory; at first those of everybody are.
    pub fn set_inviters(&mut self, inviters: Inviters) {
        self.hints.inviters = inviters;
    }

    /// More events are on their way under these routing ids, or for all groups. The past states that are kept for them
    /// stay for `millis` from now: twenty seconds at most for each group, or until [`Engine::settle`] or another call
    /// of this. Our commits wait meanwhile in groups where others' have come.
    pub fn expect_more(&mut self, of: Option<&[NostrGroupId]>, millis: u64) -> Result<()> {
        let groups = self.look(|ctx| {
            let Some(routes) = of else {
                return Ok(ctx.work.records.tx.groups()?.into_iter().map(|row| row.id).collect());
            };
            let mut groups = Vec::new();
            for route in routes {
                groups.extend(ctx.work.records.tx.route_claims(route)?);
            }
            Ok(groups)
        })?;
        let until = self.clock.now_millis().saturating_add(millis);
        self.hints.more = groups.into_iter().map(|group| (group, until)).collect();
        Ok(())
    }

    /// Reports the times of which a relay has more events than it gives, however it is asked, and the events that it
    /// gives of them. Call this before those are processed: if none of them is new, nothing is taken to be missing.
    /// Returns the number of [`EventBody::HistoryGap`](crate::EventBody::HistoryGap)s that tell of it, each with a
    /// count of 0.
    pub fn report_unpaged(&mut self, gaps: &[Unpaged]) -> Result<usize> {
        let report = |ctx: &mut Ctx<'_>| {
            gaps.iter().try_for_each(|gap| ctx.work.records.gaps().report_unpaged(gap))?;
            Ok(ctx.work.records.effects.told.len())
        };
        self.act(report)
    }
}
