//! Buffered events, tried until nothing more opens.

use mdk_store::{InputClass, InputState};
use mdk_wire::{Event, GroupId};

use crate::engine::ctx::Ctx;
use crate::engine::follow_ups::Due;
use crate::model::error::Result;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::model::state_id::Auth;
use crate::operations::receive::waiting_handshakes;
use crate::operations::retry_buffered;
use crate::operations::retry_buffered::Openable;
use crate::state_store::{buffered_events, buffered_memory};

impl Ctx<'_> {
    // rule: D5-2 held input is tried again when the state changes
    /// Tries everything that waits for the group until a whole round changes nothing.
    ///
    /// Within a round what was said in an epoch goes before the commit that would leave it (rule: F1-3), because each
    /// round runs against one tip: a commit that applies ends the round.
    pub(crate) fn retry_held(&mut self, id: &GroupId) -> Result<()> {
        if self.work.records.input.batching {
            self.drain.entry(id.clone()).or_default();
            return Ok(());
        }
        let own = self.work.records.effects.told.len();
        let due = std::mem::take(&mut self.work.records.effects.follow_ups);
        self.work.records.buffered().drop_old_held(id)?;
        self.retry_rounds(id)?;
        let effects = &mut self.work.records.effects;
        effects.told_later.extend(effects.told.drain(own.min(effects.told.len())..));
        // The rounds go on until nothing opens, and whoever began them closes: what they have made due is done. (What they
        // have made due in another group is done with its next event, or tick.)
        self.work.records.effects.follow_ups = due;
        Ok(())
    }

    /// As `retry_held`, for whom time passes: mostly nothing has changed since, and nothing is read.
    pub(crate) fn retry_if_moved(&mut self, id: &GroupId) -> Result<()> {
        if self.has_moved(id)? { self.retry_held(id) } else { Ok(()) }
    }

    /// Whether something may have become of what waits since all of it was tried in vain.
    pub(crate) fn has_moved(&self, id: &GroupId) -> Result<bool> {
        let fresh = self.work.records.effects.new_states.iter().any(|(group, _)| group == id);
        Ok(fresh
            || buffered_memory::may_be_old(
                &self.work.records.memory.buffered,
                self.work.records.now(),
                id,
            )
            || !buffered_memory::is_idle(
                self.work.records.groups(),
                &self.work.records.memory.buffered,
                id,
            )?)
    }

    /// As `retry_held`, for every group that a batch has touched.
    pub(crate) fn retry_all(&mut self) -> Result<()> {
        let mut groups: Vec<GroupId> = self.drain.keys().cloned().collect();
        groups.sort_unstable();
        for id in groups {
            self.retry_held(&id)?;
            self.close_due(&id)?;
        }
        Ok(())
    }

    fn retry_rounds(&mut self, id: &GroupId) -> Result<()> {
        loop {
            let mut progress = false;
            let of_group = |(group, _): &(GroupId, Auth)| group == id;
            while let Some(at) = self.work.records.effects.new_states.iter().position(of_group) {
                let (_, auth) = self.work.records.effects.new_states.remove(at);
                progress |= self.try_waiting(id, &auth)?;
            }
            let holders = buffered_events::holders(self.work.records.tx, id)?;
            if !progress && buffered_events::nothing_is_held(self.work.records.tx, &holders)? {
                return Ok(());
            }
            let mut drain = self.drain.remove(id).unwrap_or_default();
            let mut waits = self.work.records.memory.buffered.waits.remove(id).unwrap_or_default();
            let sorted = retry_buffered::sort_waiting(
                &mut self.work.records,
                id,
                &mut drain,
                &mut waits,
                &holders,
            );
            self.drain.insert(id.clone(), drain);
            self.work.records.memory.buffered.waits.insert(id.clone(), waits);
            let Openable { others, commits, welcomes } = sorted?;
            // (there may be room for an invite, whatever became of this group)
            let idle = welcomes.is_empty();
            // rule: B4-15 taken up when the membership that they waited for has ended
            for event in welcomes {
                progress |= self.retry_one(event)?.is_none();
            }
            let (settled, mut listens) = self.retry_said(id, others)?;
            progress |= settled;
            for event in commits {
                if self.retry_one(event)?.is_none() {
                    progress = true;
                    break;
                }
                listens = true;
            }
            if !progress {
                let idle = idle && self.work.records.tx.group(id)?.is_some();
                return if idle {
                    self.work.records.waiting().note_idle(id, listens)
                } else {
                    Ok(())
                };
            }
        }
    }

    /// Tries what waits for a state on a state that is new, or that a proposal was made on. True when something moved.
    fn try_waiting(&mut self, id: &GroupId, auth: &Auth) -> Result<bool> {
        let mut moved = false;
        for class in [InputClass::Proposal, InputClass::Commit] {
            let Some((node, waiting)) =
                waiting_handshakes::waiting_for(&self.work.records, id, auth, class)?
            else {
                return Ok(moved);
            };
            for head in waiting {
                // (what another one has changed meanwhile is tried as it is now)
                let Some(input) = self.work.records.tx.input(id, &head)? else { continue };
                if input.state == InputState::Waiting {
                    moved |= self.try_handshake(&input, &node)?;
                }
            }
        }
        Ok(moved)
    }

    /// Messages and proposals that open now. Gives whether one was settled, and whether one was not.
    fn retry_said(&mut self, id: &GroupId, events: Vec<(u64, Event)>) -> Result<(bool, bool)> {
        let (mut settled, mut listens) = (false, false);
        let mut far: Vec<(u32, u64)> = Vec::new();
        for (event, place) in self.in_order(events)? {
            let event_id = event.id();
            // What comes after what is too far ahead is farther still.
            let beyond = place.as_ref().is_some_and(|place| far.contains(&place.sender()));
            let waits = if beyond { None } else { Some(self.retry_one(event)?) };
            match (waits, place) {
                (Some(None), place) => {
                    settled = true;
                    if let (Some(waits), Some(place)) =
                        (self.work.records.memory.buffered.waits.get_mut(id), place)
                    {
                        waits.heard(&place);
                    }
                }
                (None | Some(Some(DeferredReason::FutureGeneration)), Some(place)) => {
                    far.push(place.sender());
                    self.work
                        .records
                        .memory
                        .buffered
                        .waits
                        .entry(id.clone())
                        .or_default()
                        .is_far(event_id, place);
                }
                _ => listens = true,
            }
        }
        Ok((settled, listens))
    }

    /// One held event in its own savepoint. Gives why it waits on; `None`: it is settled, or kept in another form.
    fn retry_one(&mut self, event: Event) -> Result<Option<DeferredReason>> {
        let id = event.id();
        self.work.records.input.kept_raw = false;
        match self.attempt(event, Due::AtOnce)? {
            Ok(Verdict::Deferred(reason)) if self.work.records.input.kept_raw => Ok(Some(reason)),
            Ok(_) | Err(_) => {
                self.work.records.tx.unhold(&id)?;
                Ok(None)
            }
        }
    }
}
