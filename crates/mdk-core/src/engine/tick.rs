//! What time brings about.

use mdk_wire::{Event, GroupId, NostrGroupId};

use crate::ctx::Ctx;
use crate::engine::Engine;
use crate::engine::follow_ups::Due;
use crate::model::error::Result;
use crate::model::outcome::{Outcome, Verdict};
use crate::operations::join::retry_welcomes::Retry;

impl Engine {
    /// Makes all open choices between branches now, without waiting for quiet: for use when a fetched history is
    /// complete. Reports what turns out to be lost.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn settle(&mut self) -> Result<Outcome> {
        self.hints.more.clear();
        let (_, effects) = self.write(|ctx| {
            ctx.records.input.thorough = true;
            for row in ctx.tx.groups()? {
                ctx.retry_held(&row.id)?;
                ctx.close_all(&row.id)?;
                let row = ctx.groups().current_row(&row.id)?;
                ctx.report_gaps(&row)?;
            }
            Ok(())
        })?;
        let events = [effects.told, effects.told_later].concat();
        Ok(self.outcome(Ok(Verdict::Applied), events, effects.publish))
    }

    /// Routing ids of groups of which something waits that cannot be read, and is not known to be lost: what it waits for
    /// has not come.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn standing_still(&mut self) -> Result<Vec<NostrGroupId>> {
        self.look(|ctx| {
            let mut still = Vec::new();
            for row in ctx.tx.groups()? {
                if ctx.stands_still(&row)? {
                    still.push(row.nostr_group_id);
                }
            }
            Ok(still)
        })
    }

    /// Does what time has made due: chooses between branches, answers leaves, retries held events, expires messages and
    /// KeyPackages, and tells of what was dropped unread after thirty days. What was deleted since the last call, by whatever
    /// call, is taken out of the write-ahead log of the file, too.
    ///
    /// The first call, and the first after [`Engine::hand_out_again`], hands out again what may not have been published:
    /// automatic commits, leave proposals, and the Welcomes of confirmed commits. Sending those twice does no harm.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn tick(&mut self) -> Result<Outcome> {
        let resumed = self.resumed;
        let (_, effects) = self.write(|ctx| {
            if !resumed {
                ctx.resume()?;
            }
            ctx.expire_welcomes()?;
            ctx.expire_messages()?;
            for row in ctx.tx.groups()? {
                if ctx.expire_invite(&row)? {
                    ctx.work_off(Due::All)?;
                    continue;
                }
                if !resumed {
                    ctx.look_again(&row.id)?;
                }
                ctx.close_due(&row.id)?;
                ctx.retry_if_moved(&row.id)?;
                ctx.close_due(&row.id)?;
                let row = ctx.groups().current_row(&row.id)?;
                ctx.wake_welcomes(&row.id)?;
                ctx.work_off_removals(&row.id)?;
                ctx.tell_led_on(&row)?;
                ctx.forget_left(&row)?;
            }
            ctx.wake_inputs()?;
            ctx.upkeep_key_packages()?;
            ctx.expire_key_packages()?;
            ctx.outbox().prune_outbox()?;
            ctx.work_off(Due::All)
        })?;
        self.resumed = true;
        if let Err(error) = self.store.forget_erased() {
            // What was done stands; the next call tries this again.
            tracing::warn!(%error, "what was deleted is still in the log");
        }
        let events = [effects.told, effects.told_later].concat();
        Ok(self.outcome(Ok(Verdict::Applied), events, effects.publish))
    }

    /// Takes away what has had its time, so that nobody reads it between two ticks. (rule: 2.9-5) A read has no outcome:
    /// the next one tells of it.
    pub(crate) fn expire(&mut self) -> Result<()> {
        if self.look(|ctx| Ok(ctx.tx.expired(ctx.now(), 1)?.is_empty()))? {
            return Ok(());
        }
        let ((), effects) = self.write(|ctx| ctx.expire_messages())?;
        self.backlog.told.extend([effects.told, effects.told_later].concat());
        self.backlog.publish.extend(effects.publish);
        Ok(())
    }
}

impl Ctx<'_> {
    // rule: B4-16 who joined on a branch that nobody follows is let go by the invitation of the others
    /// Takes up Welcomes that have waited long enough for a removal that does not come.
    fn wake_welcomes(&mut self, id: &GroupId) -> Result<()> {
        let (row, awaited, waiting) = match self.welcomes_to_retry(id)? {
            Retry::Nothing => return Ok(()),
            Retry::All => return self.work_off(Due::AtOnce),
            Retry::Each { row, awaited, waiting } => (row, awaited, waiting),
        };
        for held in waiting {
            if !self.is_to_be_tried(&row, awaited, &held)? {
                continue;
            }
            let Ok(event) = Event::from_stored_json(held.event_json.as_bytes()) else { continue };
            self.records.input.wants_sign = None;
            let verdict = self.attempt(event, Due::All)?;
            self.note_tried(&row, &held.event_id, verdict)?;
        }
        Ok(())
    }
}
