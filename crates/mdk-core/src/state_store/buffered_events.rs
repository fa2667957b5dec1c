//! Events that cannot be read yet.

use mdk_store::{GroupRow, HeldRow, InputState};
use mdk_wire::budget::group::MAX_NOISE_DROPPED;
use mdk_wire::{Event, GroupId, GroupMessage, kind};
use zeroize::Zeroizing;

use crate::ctx::Ctx;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::model::state_id::Auth;
use crate::state_store::event_keys::Look;
use crate::state_store::history_gaps;

/// Contents, and the state whose key opened them.
pub(crate) type Unsealed = (Zeroizing<Vec<u8>>, Auth);

impl Ctx<'_, '_> {
    /// Events held for a group that goes may be another's that shares its routing id.
    pub(crate) fn rehome_held(&mut self, id: &GroupId) -> Result<()> {
        let mut home = None;
        for route in self.tx.routes(id)? {
            for other in self.tx.route_claims(&route)? {
                let live = |row: GroupRow| row.id != *id && !membership::is_over(row.status);
                if home.is_none() && self.tx.group(&other)?.is_some_and(live) {
                    home = Some(other);
                }
            }
        }
        let Some(home) = home else { return Ok(()) };
        // (it may be older than what is held there)
        self.memory.buffered.looked_for_old.remove(&home);
        self.memory.buffered.dates.remove(&home);
        // (nor are its keys tried on it)
        self.memory.buffered.waits.remove(&home);
        for held in self.tx.held(id)? {
            if is_gift_wrap(&held.event_json) {
                continue;
            }
            self.tx.unhold(&held.event_id)?;
            self.tx.hold(&HeldRow { group: home.clone(), ..held }, self.config.max_held_events)?;
        }
        Ok(())
    }

    /// Nothing waits for this group any more.
    pub(crate) fn drop_held(&mut self, id: &GroupId) -> Result<()> {
        self.rehome_held(id)?;
        for held in self.tx.held(id)? {
            self.tx.unhold(&held.event_id)?;
        }
        self.tx.drop_kept(id)?;
        Ok(())
    }
}

/// Whether a held event is a Welcome that waits, and not an event of the group.
pub(crate) fn is_gift_wrap(json: &str) -> bool {
    // Most are none, which is seen without reading them.
    json.contains("\"kind\":1059")
        && Event::from_stored_json(json.as_bytes())
            .is_ok_and(|event| event.kind() == kind::GIFT_WRAP)
}

impl Ctx<'_, '_> {
    // rule: D1-5 the live epoch's key, then those of the retained states, newest first, and no others
    /// The contents, and the state whose key opened them.
    pub(crate) fn open(
        &mut self,
        row: &GroupRow,
        message: &GroupMessage,
    ) -> Result<Option<Unsealed>, Halt> {
        let id = message.event.id();
        let states = self.tx.states(&row.id)?;
        let live = (!membership::is_out(row.status)).then_some(row.authenticator);
        // rule: F1-2 within a call an event is looked at, sorted, processed and tried again, with each key once
        let looked = self.looked.of(&row.id, &id);
        if let Some(opener) = looked.opener(live, states.newest()) {
            let key = match states.get(&opener) {
                Some(node) => Some(&node.event_key),
                None => (live == Some(opener)).then_some(&row.event_key),
            };
            if let Some(bytes) = key.and_then(|key| self.memory.trials.open(message, key)) {
                return Ok(Some((bytes, opener)));
            }
        }
        let opened = match live.and_then(|_| self.memory.trials.open(message, &row.event_key)) {
            Some(bytes) => Some((bytes, row.authenticator)),
            None => states
                .numbered()
                .filter(|(number, node)| {
                    !node.removed && !looked.was_tried(*number) && live != Some(node.authenticator)
                })
                .find_map(|(_, node)| {
                    let bytes = self.memory.trials.open(message, &node.event_key)?;
                    Some((bytes, node.authenticator))
                }),
        };
        let opener = opened.as_ref().map(|(_, opener)| *opener);
        self.looked.note(&row.id, id, Look::new(live, states.newest(), opener));
        Ok(opened)
    }

    /// Whether a handshake message waits already. One that came under the key of another state than the one it was made
    /// on, as anybody can seal it who has both, must not stand for what its maker sealed.
    pub(crate) fn waits_there(&self, opened: &Opened) -> Result<bool, Halt> {
        let input = self.tx.input(&opened.row.id, &opened.content_id)?;
        Ok(input.is_some_and(|input| {
            input.state != InputState::Waiting
                || input.parent_auth.is_none_or(|parent| parent == opened.opener)
        }))
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
            received_at: self.now(),
            loss: history_gaps::loss_now(row),
            closed: reason == DeferredReason::Undecryptable,
        };
        self.kept_raw = true;
        let kept = self.keep_held(event, &held)?;
        if kept {
            self.note_held(&row.id, event)?;
        }
        self.note_sign(&row.id, event, !kept && reason == DeferredReason::Undecryptable);
        Ok(Verdict::Deferred(if kept { reason } else { DeferredReason::ResourceRefused }))
    }

    fn keep_held(&mut self, event: &Event, held: &HeldRow) -> Result<bool, Halt> {
        // rule: B4-26 a Welcome has room beside what it leads out of
        if event.kind() == kind::GIFT_WRAP {
            self.tx.hold_welcome(held)?;
            return Ok(true);
        }
        if held.closed && self.tx.held_count(&held.group)? == 0 {
            self.note_all_tried(&held.group)?;
        }
        let cap = self.config.max_held_events;
        if self.tx.hold(held, cap)?
            || (self.drop_old_held(&held.group)? && self.tx.hold(held, cap)?)
        {
            return Ok(true);
        }
        // rule: D1-10 what a key has opened goes before what may be anybody's noise
        if held.closed {
            return Ok(false);
        }
        loop {
            let dropped = self.tx.drop_oldest_closed(&held.group, MAX_NOISE_DROPPED)?;
            if dropped.is_empty() {
                return Ok(false);
            }
            let row = self.current_row(&held.group)?;
            self.report_dropped(&row, dropped)?;
            if self.tx.hold(held, cap)? {
                return Ok(true);
            }
        }
    }
}

/// How long an event that nothing opens is kept, in seconds (protocol/events.md D1-8).
const HELD_FOR: u64 = 30 * 86_400;

/// Events that no key has opened that are in memory at a time.
pub(crate) const AT_ONCE: u32 = 256;

/// How long nothing is looked for after events were dropped for their age, in seconds.
const LOOK_FOR_OLD: u64 = 3_600;

impl Ctx<'_, '_> {
    /// Whether it is time to look for what is held for too long.
    pub(crate) fn may_be_old(&self, id: &GroupId) -> bool {
        let now = self.now();
        !self.memory.buffered.looked_for_old.get(id).is_some_and(|idle| idle.contains(&now))
    }

    // rule: D1-8 what nothing has opened for 30 days is dropped without a verdict
    /// Makes room among the events held for a group. True when something went.
    ///
    /// Anybody may seal noise to a routing id, so without this the group's share would stay full for ever.
    pub(crate) fn drop_old_held(&mut self, id: &GroupId) -> Result<bool> {
        // To look reads all that is held, and a flood that is refused would make it look for each event.
        if !self.may_be_old(id) {
            return Ok(false);
        }
        let now = self.now();
        let (before, oldest) = (now.saturating_sub(HELD_FOR), self.tx.oldest_held(id)?);
        let old = match oldest {
            Some(oldest) if oldest <= before => self.tx.held_before(id, before)?,
            _ => Vec::new(),
        };
        let next = match oldest {
            // Of a flood of a month ago one event after the other becomes too old.
            _ if !old.is_empty() => now.saturating_add(LOOK_FOR_OLD),
            oldest => oldest.unwrap_or(now).saturating_add(HELD_FOR),
        };
        self.memory.buffered.looked_for_old.insert(id.clone(), now..next);
        if old.is_empty() {
            return Ok(false);
        }
        for held in &old {
            self.tx.unhold(&held.event_id)?;
        }
        let row = self.current_row(id)?;
        self.report_dropped(&row, old)?;
        Ok(true)
    }

    /// The group, and others that claim one of its routing ids: an event that nobody could open yet is held for the first
    /// of them.
    pub(crate) fn holders(&self, id: &GroupId) -> Result<Vec<GroupId>> {
        let mut holders = vec![id.clone()];
        for route in self.tx.routes(id)? {
            for other in self.tx.route_claims(&route)? {
                if !holders.contains(&other) {
                    holders.push(other);
                }
            }
        }
        Ok(holders)
    }

    pub(crate) fn nothing_is_held(&self, holders: &[GroupId]) -> Result<bool> {
        for holder in holders {
            if self.tx.held_count(holder)? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
