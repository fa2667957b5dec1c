//! Events that cannot be read yet, such as a message that came before the commit of its epoch.

use mdk_store::{GroupRow, HeldRow, InputState, Tx, noise_weight};
use mdk_wire::budget::group::{HELD_FOR, MAX_NOISE_DROPPED};
use mdk_wire::{Event, GroupId, kind};

use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::state_store::buffered_memory::{BufferedMemory, Waiting, may_be_old};
use crate::state_store::event_log::EventLog;
use crate::state_store::groups::{GroupRows, Groups};
use crate::state_store::held_times::loss_now;
use crate::state_store::history_gaps::HistoryGaps;

/// Events that cannot be read yet.
pub(crate) struct BufferedEvents<'a> {
    pub(crate) call: Call<'a>,
    pub(crate) rows: &'a GroupRows,
    pub(crate) buffered: &'a mut BufferedMemory,
    pub(crate) log: EventLog<'a>,
    /// Whether the event that is being processed was kept as it came.
    pub(crate) kept_raw: &'a mut bool,
    /// A number for the relay that gave it, 0 if none is known.
    pub(crate) source: i64,
}

impl<'a> BufferedEvents<'a> {
    fn tx(&self) -> &'a Tx<'a> {
        self.log.tx
    }

    fn groups(&self) -> Groups<'a> {
        Groups { tx: self.log.tx, rows: self.rows }
    }

    fn waiting(&mut self) -> Waiting<'_> {
        Waiting { call: self.call, groups: self.groups(), buffered: self.buffered }
    }

    fn gaps(&mut self) -> HistoryGaps<'_> {
        let Self { call, rows, log, .. } = self;
        let log = EventLog { tx: log.tx, me: log.me, effects: log.effects };
        HistoryGaps { call: *call, groups: Groups { tx: log.tx, rows }, log }
    }

    // rule: D1-6 what cannot take effect yet is kept, up to a bound; over it nothing is remembered
    pub(crate) fn hold(
        &mut self,
        row: &GroupRow,
        event: &Event,
        reason: DeferredReason,
    ) -> Result<Verdict, Halt> {
        let held = HeldRow {
            event_id: event.id(),
            group: row.id.clone(),
            event_json: event.to_json(),
            received_at: self.call.now(),
            loss: loss_now(row),
            closed: reason == DeferredReason::Undecryptable,
            source: self.source,
        };
        *self.kept_raw = true;
        let kept = self.keep_held(event, &held)?;
        if kept {
            self.waiting().note_held(&row.id, event)?;
        }
        self.waiting().note_sign(&row.id, event, !kept && reason == DeferredReason::Undecryptable);
        Ok(Verdict::Deferred(if kept { reason } else { DeferredReason::ResourceRefused }))
    }

    fn keep_held(&mut self, event: &Event, held: &HeldRow) -> Result<bool, Halt> {
        // rule: B4-26 a Welcome has room beside what it leads out of
        if event.kind() == kind::GIFT_WRAP {
            self.tx().hold_welcome(held)?;
            return Ok(true);
        }
        if held.closed && self.tx().held_count(&held.group)? == 0 {
            self.waiting().note_all_tried(&held.group)?;
        }
        let cap = self.call.config.max_held_events;
        if self.tx().hold(held, cap)?
            || (self.drop_old_held(&held.group)? && self.tx().hold(held, cap)?)
        {
            return Ok(true);
        }
        if held.closed {
            return Ok(self.take_room_of_noisier(held, cap)?);
        }
        // rule: D1-10 what a key has opened goes before what may be anybody's noise
        loop {
            let Some((source, _)) = self.tx().noisiest(&held.group)? else { return Ok(false) };
            let dropped = self.tx().drop_noise(&held.group, source, MAX_NOISE_DROPPED)?;
            let row = self.groups().current_row(&held.group)?;
            self.gaps().report_dropped(&row, dropped)?;
            if self.tx().hold(held, cap)? {
                return Ok(true);
            }
        }
    }

    // rule: D1-11 one relay's noise takes no room from what others give
    /// Holds an event that no key has opened in the place of the oldest one of the noisiest relay, if that relay has
    /// given more than the event's own relay has with it.
    fn take_room_of_noisier(&mut self, held: &HeldRow, cap: u32) -> Result<bool> {
        let (id, mut dropped) = (&held.group, Vec::new());
        let kept = loop {
            if self.tx().hold(held, cap)? {
                break true;
            }
            let share = self.tx().noise_of(id, held.source)? + noise_weight(held);
            let noisiest = self.tx().noisiest(id)?.filter(|(_, most)| share < *most);
            let Some((source, _)) = noisiest.filter(|(source, _)| *source != held.source) else {
                break false;
            };
            dropped.extend(self.tx().drop_noise(id, source, 1)?);
        };
        let row = self.groups().current_row(id)?;
        self.gaps().report_crowded_out(&row, dropped)?;
        Ok(kept)
    }
}

/// Events that no key has opened that are in memory at a time.
pub(crate) const AT_ONCE: u32 = 256;

/// The time for which no search is made after events were dropped for their age, in seconds.
const LOOK_FOR_OLD: u64 = 3_600;

impl BufferedEvents<'_> {
    // rule: D1-8 what nothing has opened for 30 days is dropped without a verdict
    /// Makes room among the events held for a group. True when something went.
    ///
    /// Anybody may seal noise to a routing id, so without this the group's share would stay full for ever.
    pub(crate) fn drop_old_held(&mut self, id: &GroupId) -> Result<bool> {
        // Each search reads all held events, and a flood that is refused would make it search for each event.
        if !may_be_old(self.buffered, self.call.now(), id) {
            return Ok(false);
        }
        let now = self.call.now();
        let (before, oldest) = (now.saturating_sub(HELD_FOR), self.tx().oldest_held(id)?);
        let old = match oldest {
            Some(oldest) if oldest <= before => self.tx().held_before(id, before)?,
            _ => Vec::new(),
        };
        let next = match oldest {
            // The events of a flood of a month ago become too old one after the other.
            _ if !old.is_empty() => now.saturating_add(LOOK_FOR_OLD),
            oldest => oldest.unwrap_or(now).saturating_add(HELD_FOR),
        };
        self.buffered.looked_for_old.insert(id.clone(), now..next);
        if old.is_empty() {
            return Ok(false);
        }
        for held in &old {
            self.tx().unhold(&held.event_id)?;
        }
        let row = self.groups().current_row(id)?;
        self.gaps().report_dropped(&row, old)?;
        Ok(true)
    }
}

/// Whether a handshake message waits already. A member who has two keys can seal another's message with the wrong one.
/// A message that came so must not stand for the one that its maker sealed.
pub(crate) fn waits_there(tx: &Tx<'_>, opened: &Opened) -> Result<bool, Halt> {
    let input = tx.input(&opened.row.id, &opened.content_id)?;
    Ok(input.is_some_and(|input| {
        input.state != InputState::Waiting
            || input.parent_auth.is_none_or(|parent| parent == opened.opener)
    }))
}

/// The group, and others that claim one of its routing ids: an event that nobody could open yet is held for the first
/// of them.
pub(crate) fn holders(tx: &Tx<'_>, id: &GroupId) -> Result<Vec<GroupId>> {
    let mut holders = vec![id.clone()];
    for route in tx.routes(id)? {
        for other in tx.route_claims(&route)? {
            if !holders.contains(&other) {
                holders.push(other);
            }
        }
    }
    Ok(holders)
}

pub(crate) fn nothing_is_held(tx: &Tx<'_>, holders: &[GroupId]) -> Result<bool> {
    for holder in holders {
        if tx.held_count(holder)? > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
