//! The work that time makes due.

use std::collections::BTreeSet;

use mdk_store::{GroupRow, InputClass, InputRow};
use mdk_wire::{Event, GroupId, NostrGroupId};

use crate::engine::Engine;
use crate::engine::ctx::Ctx;
use crate::engine::follow_ups::Due;
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::membership::is_invited;
use crate::model::outcome::{Outcome, Verdict};
use crate::operations::join::retry_welcomes;
use crate::operations::join::retry_welcomes::Retry;
use crate::operations::key_packages::{forget, rotate};
use crate::operations::receive::retry_handshakes;
use crate::operations::{
    expire_invites, expire_messages, forget_left_group, hold_removals, others_on_another_branch,
    release_welcomes, report_gaps, republish_after_restart,
};
use crate::state_store::buffered_events;

impl Engine {
    /// Makes all open choices between branches now, without waiting for quiet: for use when a fetched history is
    /// complete. Reports the events that turn out to be lost.
    pub fn settle(&mut self) -> Result<Outcome> {
        self.hints.more.clear();
        let (_, effects) = self.write(|ctx| {
            ctx.work.records.input.thorough = true;
            for row in ctx.work.records.tx.groups()? {
                ctx.retry_held(&row.id)?;
                ctx.close_all(&row.id)?;
                let row = ctx.work.records.groups().current_row(&row.id)?;
                report_gaps::report_gaps(&mut ctx.work.records, &row)?;
            }
            Ok(())
        })?;
        let events = [effects.told, effects.told_later].concat();
        Ok(self.outcome(Ok(Verdict::Applied), events, effects.publish))
    }

    /// Routing ids of groups with a waiting event that cannot be read and is not known to be lost: the event that it
    /// waits for has not come.
    pub fn standing_still(&mut self) -> Result<Vec<NostrGroupId>> {
        self.look(|ctx| {
            let mut still = Vec::new();
            for row in ctx.work.records.tx.groups()? {
                if report_gaps::stands_still(ctx.work.records.tx, &row)? {
                    still.push(row.nostr_group_id);
                }
            }
            Ok(still)
        })
    }

    /// Does the work that time has made due: chooses between branches, answers leaves, retries held events, expires
    /// messages and KeyPackages, and tells of events that were dropped unread after thirty days. Messages that any call
    /// has deleted since the last tick are taken out of the file's write-ahead log, too.
    ///
    /// The first call, and the first after [`Engine::hand_out_again`], hands out again all events that may not have
    /// been published: automatic commits, leave proposals, and the Welcomes of confirmed commits. Sending those twice
    /// does no harm.
    pub fn tick(&mut self) -> Result<Outcome> {
        let resumed = self.resumed;
        let mut awake = BTreeSet::new();
        let (_, effects) = self.write(|ctx| {
            if !resumed {
                republish_after_restart::resume(&mut ctx.work.records, ctx.work.identity)?;
            }
            release_welcomes::expire_welcomes(ctx.work.records.tx, ctx.work.records.call)?;
            expire_messages::expire_messages(&mut ctx.work.records)?;
            for row in ctx.awake_groups(resumed)? {
                if expire_invites::expire_invite(&mut ctx.work, &row)? {
                    ctx.work_off(Due::All)?;
                    continue;
                }
                if !resumed {
                    retry_handshakes::look_again(&mut ctx.work.records, &row.id)?;
                }
                ctx.close_due(&row.id)?;
                ctx.retry_if_moved(&row.id)?;
                ctx.close_due(&row.id)?;
                let row = ctx.work.records.groups().current_row(&row.id)?;
                ctx.wake_welcomes(&row.id)?;
                hold_removals::work_off_removals(&mut ctx.work, &row.id)?;
                others_on_another_branch::tell_led_on(&mut ctx.work.records, &row)?;
                let kept = forget_left_group::forget_left(&mut ctx.work.records, &row)?;
                if kept || row.pass.opened != 0 || is_invited(row.status) {
                    awake.insert(row.id);
                }
            }
            ctx.wake_inputs()?;
            rotate::upkeep_key_packages(&mut ctx.work)?;
            forget::expire_key_packages(&mut ctx.work.records)?;
            ctx.work.records.outbox().prune_outbox()?;
            ctx.work_off(Due::All)
        })?;
        self.resumed = true;
        self.memory.awake = Some(awake);
        if let Err(error) = self.store.forget_erased() {
            // The work stands; the next call tries this again.
            tracing::warn!(%error, "what was deleted is still in the log");
        }
        let events = [effects.told, effects.told_later].concat();
        Ok(self.outcome(Ok(Verdict::Applied), events, effects.publish))
    }
}

impl Ctx<'_> {
    /// The groups that time may change, the oldest first: those that the last tick left with an open choice, an invite or
    /// states to forget, those whose row was written since, and those in which something waits. Of what all others have
    /// nothing depends on the time. The first call looks at all.
    fn awake_groups(&mut self, resumed: bool) -> Result<Vec<GroupRow>> {
        let tx = self.work.records.tx;
        let written = tx.take_written_groups();
        // (what was written is kept there until a tick has succeeded)
        let Some(awake) = self.work.records.memory.awake.as_mut().filter(|_| resumed) else {
            self.work.records.memory.awake = None;
            return Ok(tx.groups()?);
        };
        awake.extend(written);
        let mut ids = awake.clone();
        for waiting in tx.groups_with_something_waiting()? {
            ids.extend(buffered_events::holders(tx, &waiting)?);
        }
        let mut rows = Vec::with_capacity(ids.len());
        for id in &ids {
            rows.extend(tx.group(id)?);
        }
        rows.sort_unstable_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(rows)
    }

    // rule: B4-16 who joined on a branch that nobody follows is let go by the invitation of the others
    /// Takes up Welcomes that have waited long enough for a removal that does not come.
    fn wake_welcomes(&mut self, id: &GroupId) -> Result<()> {
        let (row, awaited, waiting) =
            match retry_welcomes::welcomes_to_retry(&mut self.work.records, id)? {
                Retry::Nothing => return Ok(()),
                Retry::All => return self.work_off(Due::AtOnce),
                Retry::Each { row, awaited, waiting } => (row, awaited, waiting),
            };
        for held in waiting {
            if !retry_welcomes::is_to_be_tried(&mut self.work.records, &row, awaited, &held)? {
                continue;
            }
            let Ok(event) = Event::from_stored_json(held.event_json.as_bytes()) else { continue };
            self.work.records.input.wants_sign = None;
            let verdict = self.attempt(event, Due::All)?;
            retry_welcomes::note_tried(&mut self.work.records, &row, &held.event_id, verdict)?;
        }
        Ok(())
    }

    /// Does the work that a timer wakes: leaves to be answered, commits to be judged again.
    fn wake_inputs(&mut self) -> Result<()> {
        let due = self.work.records.tx.due_inputs(self.work.records.call.now_millis)?;
        let (commits, leaves): (Vec<InputRow>, Vec<InputRow>) =
            due.into_iter().partition(|input| input.class == InputClass::Commit);
        for input in commits {
            if let Some(node) = retry_handshakes::parent_of(self.work.records.tx, &input)? {
                self.try_handshake(&input, &node)?;
                self.work_off(Due::All)?;
            }
        }
        let leaves = leaves.into_iter().map(|input| FollowUp::AnswerLeaves(input.group));
        self.work.records.effects.follow_ups.extend(leaves);
        self.work_off(Due::All)
    }
}
