//! Losses of a group's history, told once.

use mdk_store::{GroupRow, HeldRow, Loss, Tx, skipped_messages};
use mdk_wire::{EventId, GroupId, PublicKey, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::limits::{CLOCKS, HOUR, PATIENCE};
use crate::model::membership;
use crate::model::values::Unpaged;
use crate::state_store::event_log::EventLog;
use crate::state_store::groups::Groups;
use crate::state_store::held_times::{created_at, ours_from};
use crate::state_store::log_entry::Stored;

/// The reports of losses.
pub(crate) struct HistoryGaps<'a> {
    pub(crate) call: Call<'a>,
    pub(crate) groups: Groups<'a>,
    pub(crate) log: EventLog<'a>,
}

impl HistoryGaps<'_> {
    // rule: F1-6 what is dropped was lost, and that is never passed over
    /// Reports events that were held for the longest time, or until the group ended, and are not held any more.
    pub(crate) fn report_dropped(&mut self, row: &GroupRow, dropped: Vec<HeldRow>) -> Result<()> {
        let lost = self.lost_of(row, dropped)?;
        self.report_lost(row, &lost)
    }

    /// Reports events that went for those of another relay. Most are noise, so the number is not known. It is told once
    /// an hour, since two relays must not be able to fill the log.
    pub(crate) fn report_crowded_out(
        &mut self,
        row: &GroupRow,
        dropped: Vec<HeldRow>,
    ) -> Result<()> {
        let lost = self.lost_of(row, dropped)?;
        let times = || lost.iter().map(|(_, at)| *at);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
        let subject = [&b"crowded out"[..], &(self.call.now() / HOUR).to_be_bytes()].concat();
        self.log.emit(&row.id, &subject, &Stored::HistoryGap { count: 0, first, last })
    }

    /// Those of `dropped` that may have been of our own time, with their times.
    fn lost_of(&self, row: &GroupRow, dropped: Vec<HeldRow>) -> Result<Vec<(HeldRow, Timestamp)>> {
        let dated = |held: HeldRow| created_at(&held).map(|at| (held, at));
        let mut dropped: Vec<_> = dropped.into_iter().filter_map(dated).collect();
        let unlikely = dropped.iter().any(|(held, _)| held.loss == Loss::Unlikely);
        let heard = if unlikely { last_heard(self.log.tx, self.log.me, &row.id)? } else { 0 };
        dropped.retain(|(held, at)| match held.loss {
            Loss::Told | Loss::Kept => false,
            Loss::Possible => *at >= ours_from(row).saturating_sub(CLOCKS),
            // rule: F1-7 Of an epoch to come it would have been only if we had been left behind, and heard no more.
            Loss::Unlikely => *at >= ours_from(row) && heard <= held.received_at,
        });
        Ok(dropped)
    }

    // rule: F1-14 what was said too far behind a later message of its sender is lost, and that is told
    /// Reports a message whose key is gone since a much later one of its sender came first. It is not remembered and
    /// may come again, in anybody's envelope. So it is told once in an hour, and the number is not known. (No key of a
    /// group that has ended is left: its members' messages cannot be told from a stranger's noise.)
    pub(crate) fn report_behind(&mut self, id: &GroupId, sent_at: Timestamp) -> Result<()> {
        let now = self.call.now();
        let at = sent_at.max(ours_from(&self.groups.current_row(id)?)).min(now);
        let subject = [&b"overtaken"[..], &(now / HOUR).to_be_bytes()].concat();
        self.log.emit(id, &subject, &Stored::HistoryGap { count: 0, first: at, last: at })
    }

    // rule: F1-11 what a relay has and cannot give is told, unless all that it gives of that time was there before
    /// Reports times of a group of which a relay does not give everything. The number of missing events is not known.
    ///
    /// A member who was there then has the events; it is no loss that a relay gives fewer of them now. Events from
    /// before we joined were not ours. Within an hour it is told once: a relay must not be able to fill the log.
    pub(crate) fn report_unpaged(&mut self, gap: &Unpaged) -> Result<()> {
        let last = gap.last.min(self.call.now());
        for id in self.log.tx.route_claims(&gap.route)? {
            let row = self.groups.current_row(&id)?;
            let first = gap.first.max(ours_from(&row)).min(last);
            if last < ours_from(&row) || membership::is_over(row.status) {
                continue;
            }
            if !gap.events.is_empty() && self.all_known(&gap.events)? {
                continue;
            }
            let subject = [&b"unpaged"[..], &(last / HOUR).to_be_bytes()].concat();
            self.log.emit(&id, &subject, &Stored::HistoryGap { count: 0, first, last })?;
        }
        Ok(())
    }

    // rule: F1-13 who is led to others that it could not follow is told from when to when something may be missing
    /// Reports the time between the last event that was heard in a membership and the Welcome that takes its place.
    /// Messages of that time, while we were a member, are read by no key of ours any more, and their number is not
    /// known. Events of that time that come later are not told.
    pub(crate) fn report_left_behind(
        &mut self,
        row: &GroupRow,
        welcome: &EventId,
        made: Timestamp,
    ) -> Result<()> {
        let me = self.log.me;
        let nodes = self.log.tx.nodes(&row.id)?;
        let others = nodes.iter().filter(|n| n.canonical && n.committer != Some(me));
        let commit = others.map(|n| n.sent_at.min(n.made_at / 1000)).max();
        let heard = commit.max(self.log.tx.heard_until(&row.id, &me)?).unwrap_or(0);
        let last = made.min(self.call.now());
        let first = heard.max(ours_from(row)).min(last);
        let subject = [&b"behind"[..], welcome.as_bytes()].concat();
        self.log.emit(&row.id, &subject, &Stored::HistoryGap { count: 0, first, last })
    }

    /// Whether all of these events came before.
    fn all_known(&self, events: &[EventId]) -> Result<bool> {
        for event in events {
            let known = self.log.tx.seen(event.as_bytes())?.is_some();
            if !known && self.log.tx.held_event(event)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    // rule: F1-15 a message that its sender's ratchet has passed over is lost when its epoch is let go
    /// Reports the messages that never came, of each epoch before `floor`. Others came that their senders encrypted
    /// later in that epoch, which tells how many are missing.
    pub(crate) fn report_skipped(&mut self, row: &GroupRow, floor: u64) -> Result<()> {
        let states = self.log.tx.states(&row.id)?;
        let followed = |epoch| states.iter().find(|n| n.canonical && n.epoch == epoch);
        for node in states.iter().filter(|n| n.canonical && !n.removed && n.epoch < floor) {
            let Some(state) = self.log.tx.node_state(&row.id, &node.authenticator)? else {
                continue;
            };
            // (a count that cannot be read must not stop a commit)
            let count = skipped_messages(state.expose()).unwrap_or(0);
            if count > 0 {
                let first = node.sent_at;
                let last = followed(node.epoch + 1).map_or(first, |next| next.sent_at.max(first));
                let subject = [&b"skipped"[..], &node.authenticator].concat();
                let lost = Stored::HistoryGap { count, first, last };
                self.log.emit(&row.id, &subject, &lost)?;
            }
        }
        Ok(())
    }

    /// One event for all that was lost.
    pub(crate) fn report_lost(
        &mut self,
        row: &GroupRow,
        lost: &[(HeldRow, Timestamp)],
    ) -> Result<()> {
        let times = || lost.iter().map(|(_, at)| *at);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
        let mut subject = Sha256::new();
        lost.iter().for_each(|(held, _)| subject.update(held.event_id.as_bytes()));
        let count = lost.len() as u64;
        self.log.emit(&row.id, &subject.finalize(), &Stored::HistoryGap { count, first, last })
    }
}

/// The time of the newest waiting event that no state of ours can read and that was made since we joined, as far as
/// that time is not later than its arrival.
pub(crate) fn last_unread(tx: &Tx<'_>, row: &GroupRow) -> Result<Option<Timestamp>> {
    if row.status.is_stuck() || membership::is_over(row.status) {
        return Ok(None);
    }
    let held = tx.held(&row.id)?;
    let waits = held.iter().filter(|held| held.loss != Loss::Told).filter_map(|held| {
        let at = created_at(held).filter(|at| *at >= ours_from(row))?;
        Some(at.min(held.received_at))
    });
    Ok(waits.max())
}

/// The time at which another member was last read.
pub(crate) fn last_heard(tx: &Tx<'_>, me: PublicKey, id: &GroupId) -> Result<Timestamp> {
    let me = Some(me);
    let nodes = tx.nodes(id)?;
    let others = nodes.iter().filter(|n| n.canonical && n.parent.is_some() && n.committer != me);
    let commit = others.map(|n| n.made_at / 1000).max();
    Ok(commit.max(tx.last_heard(id)?).unwrap_or(0))
}

/// Whether nothing of others has come for as long as a Welcome waits. (A clock that was ahead says nothing about it.)
pub(crate) fn is_quiet(tx: &Tx<'_>, call: Call<'_>, row: &GroupRow) -> Result<bool> {
    let (heard, now) = (last_heard(tx, call.me(), &row.id)?, call.now());
    Ok(heard > now || heard.saturating_add(PATIENCE) <= now)
}
