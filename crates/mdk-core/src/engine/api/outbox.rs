//! The outbox and the small durable values, for the caller that moves the events.

use std::collections::HashSet;

use mdk_wire::{Event, EventId, GroupId, PublicKey};

use crate::engine::Engine;
use crate::model::error::Result;
use crate::model::outbox::{CommitState, OutboxChange, OutboxItem, RelayVerdict};
use crate::model::values::Message;
use crate::operations::record_relay_answer::echo;
use crate::operations::{cancel_message, list_outbox, record_relay_answer, renew_waiting_messages};
use crate::state_store::deliveries;
use crate::state_store::records::Records;

/// The outbox. One call is one transaction.
impl Engine {
    /// From now on the transaction that makes an event to publish also puts it into the outbox. The outbox is off when
    /// an engine is opened; events that an earlier process put in are there all the same.
    pub fn enable_outbox(&mut self) {
        self.outbox = true;
    }

    /// Says how large an event the relays take that an account's invites go to (NIP-11), bytes; `None` when they do not
    /// say. Kept in memory. An invite that is larger is [`Error::GroupTooLarge`], and its commit is not made.
    pub fn set_invite_limit(&mut self, account: PublicKey, limit: Option<u64>) {
        /// Accounts; those before are forgotten then, and may be asked for again.
        const MOST: usize = 10_000;
        if self.hints.invite_limits.len() >= MOST {
            self.hints.invite_limits.clear();
        }
        match limit {
            Some(limit) => self.hints.invite_limits.insert(account, limit),
            None => self.hints.invite_limits.remove(&account),
        };
    }

    /// The events to publish, in their order. A message that waited until nobody could read it any more, and that no
    /// relay is known to have, is encrypted again: as another event with the same message id. A message that waited for
    /// a day goes out as another event around the same encrypted bytes, dated now.
    pub fn outbox(&mut self, limit: u32) -> Result<Vec<OutboxItem>> {
        self.outbox_but(&HashSet::new(), limit)
    }

    /// [`Engine::outbox`] without the events at the places `aside`: those that nothing can be done with for now.
    pub fn outbox_but(&mut self, aside: &HashSet<i64>, limit: u32) -> Result<Vec<OutboxItem>> {
        let list = |records: &Records<'_>| {
            list_outbox::list_outbox(records.groups(), records.call, aside, limit)
        };
        let (items, late) = self.look_now(|ctx| list(&ctx.work.records))?;
        if late.is_empty() {
            return Ok(items);
        }
        self.act(|ctx| {
            late.stale.iter().try_for_each(|group| ctx.close_to_speak(group))?;
            renew_waiting_messages::renew_late(&mut ctx.work, &late)
        })?;
        Ok(self.look(|ctx| list(&ctx.work.records))?.0)
    }

    /// Whether an event is in the outbox and not finished.
    pub fn outbox_has(&mut self, event: &EventId) -> Result<bool> {
        self.look(|ctx| ctx.work.records.outbox().outbox_has(event))
    }

    /// Place of the first unfinished event at `from` or behind it that no relay has, of all groups or of one: to see an
    /// outbox empty without reading all of it each time.
    pub fn outbox_next(&mut self, from: i64, group: Option<&GroupId>) -> Result<Option<i64>> {
        self.look(|ctx| ctx.work.records.outbox().outbox_next(from, group))
    }

    /// The last place that was taken: what is put in from now on stands behind it.
    pub fn outbox_end(&mut self) -> Result<i64> {
        self.look(|ctx| Ok(ctx.work.records.tx.outgoing_end()?))
    }

    /// Sets the relays for an event. Relays that were named before keep their answers; those that are not named any
    /// more are given up, unless they have the event.
    ///
    /// # Errors
    /// [`Error::InvalidRelayUrl`], [`Error::InvalidInput`] for more than 64. An event that is not there any more is no
    /// error.
    pub fn set_outbox_relays(&mut self, seq: i64, relays: &[String]) -> Result<()> {
        self.act(|ctx| {
            let noted = record_relay_answer::set_outbox_relays(ctx.work.records.tx, seq, relays)?;
            ctx.follow_answer(noted).map(|_| ())
        })
    }

    /// Notes the answer of one relay. The first relay that accepts makes a message delivered and a commit true. When
    /// all have refused, a message has failed and a commit is discarded. An event that is not there any more is no
    /// error.
    ///
    /// # Errors
    /// [`Error::Store`] and faults of this machine: nothing was changed, and the answer may be given again.
    pub fn outbox_result(
        &mut self,
        seq: i64,
        relay: &str,
        verdict: RelayVerdict,
    ) -> Result<OutboxChange> {
        self.act(|ctx| {
            let noted =
                record_relay_answer::outbox_result(ctx.work.records.tx, seq, relay, verdict)?;
            ctx.follow_answer(noted)
        })
    }

    /// Those of `events` that came back from a relay and for which that says something new: see
    /// [`Engine::outbox_echo`].
    pub fn outbox_awaits(&mut self, events: &[EventId]) -> Result<Vec<EventId>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        self.look(|ctx| echo::outbox_awaits(ctx.work.records.tx, events))
    }

    /// Those of `events` that would change something if a relay gave them: they have no final result yet, or
    /// [`Engine::outbox_awaits`] them.
    ///
    /// # Errors
    /// As [`Engine::outbox_result`].
    pub fn missing(&mut self, events: &[EventId]) -> Result<Vec<EventId>> {
        let mut missing = self.outbox_awaits(events)?;
        let awaited: HashSet<EventId> = missing.iter().copied().collect();
        self.look(|ctx| {
            for event in events.iter().filter(|event| !awaited.contains(event)) {
                if ctx.work.records.tx.seen(event.as_bytes())?.is_none() {
                    missing.push(*event);
                }
            }
            Ok(missing)
        })
    }

    /// An event of ours came back from `relay`, which therefore has it: the same as an answer that accepts, also for a
    /// message that has failed. `same` says whether a target is that relay, for addresses that are spelled differently.
    ///
    /// # Errors
    /// As [`Engine::outbox_result`].
    pub fn outbox_echo(
        &mut self,
        event: &EventId,
        relay: &str,
        same: impl Fn(&str) -> bool,
    ) -> Result<OutboxChange> {
        self.act(|ctx| {
            let noted = echo::outbox_echo(ctx.work.records.tx, event, relay, &same)?;
            ctx.follow_answer(noted)
        })
    }

    /// Messages of ours that no relay has yet, and that have not failed, in the order of sending.
    pub fn outbox_messages(&mut self) -> Result<Vec<Message>> {
        self.look_now(|ctx| deliveries::outbox_messages(ctx.work.records.tx))
    }

    /// Tries a failed message again, at all its relays and with the same bytes; returns it as it waits now.
    ///
    /// # Errors
    /// [`Error::MessageNotFound`] when the outbox does not have it; [`Error::NotAllowed`] when it has not failed;
    /// [`Error::NotMember`] when we are no longer in its group.
    pub fn outbox_retry(&mut self, message: &EventId) -> Result<Message> {
        self.act(|ctx| cancel_message::outbox_retry(&mut ctx.work.records, message))
    }

    /// Takes back a message that no relay is known to have; false when one has it, or the outbox does not know it. An
    /// attempt under way may reach a relay all the same.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] for a deletion: here it has happened.
    pub fn outbox_cancel(&mut self, message: &EventId) -> Result<bool> {
        self.act(|ctx| cancel_message::outbox_cancel(&mut ctx.work.records, message))
    }

    /// The words of relays against a message: URL and words. Remembered for 30 days.
    pub fn delivery_errors(&mut self, message: &EventId) -> Result<Vec<(String, String)>> {
        self.look(|ctx| deliveries::delivery_errors(ctx.work.records.tx, message))
    }

    /// The state of a commit of ours.
    pub fn commit_state(&mut self, pending: i64) -> Result<CommitState> {
        self.look(|ctx| record_relay_answer::commit_state(&ctx.work.records, pending))
    }

    /// Puts an event of the caller's own making in: relay lists, a profile. Does so whether the outbox is enabled or
    /// not; an event that is there already is left as it is.
    ///
    /// # Errors
    /// [`Error::OutboxFull`], [`Error::InvalidRelayUrl`].
    pub fn enqueue(&mut self, event: &Event, relays: &[String]) -> Result<()> {
        self.act(|ctx| ctx.work.records.outbox().enqueue(event, relays))
    }
}
