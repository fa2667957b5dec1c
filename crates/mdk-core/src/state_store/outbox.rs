//! The outbox: events to publish, on disk with the rows that they belong to, until relays have them.
//!
//! The rows are written by the transaction that makes the event, so the two always exist together. The mover of the
//! events takes them from [`Engine::outbox`](crate::Engine::outbox), keeps their order, and reports the answer of each
//! relay. The consequences are decided here.

use mdk_store::{OutgoingEnd, OutgoingPurpose, OutgoingRow, PendingRow, SendState, TargetRow, Tx};
use mdk_wire::{Event, EventId, GroupId};

use crate::model::effects::Effects;
use crate::model::error::{Error, Result};
use crate::model::outbox::OutboxPurpose;
use crate::model::relay_urls;

/// The rows of the outbox.
#[derive(Clone, Copy)]
pub(crate) struct Outbox<'a> {
    pub(crate) tx: &'a Tx<'a>,
    /// Unix seconds.
    pub(crate) now: u64,
    /// It is in use.
    pub(crate) on: bool,
}

impl Outbox<'_> {
    /// Writes a finished row in short form, or takes it out when nothing in it will be asked for.
    pub(crate) fn finish(&self, row: &mut OutgoingRow) -> Result<()> {
        row.finished_at = Some(self.now);
        let message = row.purpose == OutgoingPurpose::Message;
        let failed = row.end == Some(OutgoingEnd::Refused);
        if message && !failed && errors(row).is_empty() {
            return Ok(self.tx.drop_outgoing(row.seq)?);
        }
        // rule: OB-8 a failed message can be sent again with the same bytes
        if !(message && failed) {
            row.event_json = None;
        }
        Ok(self.tx.put_outgoing(row)?)
    }
}

/// Most rows, finished ones included. Events that the engine makes by itself are put in all the same.
pub(crate) const MAX_OUTBOX: u64 = 100_000;
/// Finished rows that go at once when it is full.
const ROOM: u32 = 1_000;
/// Most relays of one event.
pub(crate) const MAX_TARGETS: usize = 64;
/// The time for which a finished row is remembered, in seconds.
const REMEMBERED_FOR: u64 = 30 * 86_400;
/// Longest key of a small durable value, in bytes.
pub(crate) const MAX_STATE_KEY: usize = 256;
/// Largest such value, in bytes.
pub(crate) const MAX_STATE_BYTES: usize = 1 << 20;

/// An event to be published.
pub(crate) struct Letter<'a> {
    pub(crate) purpose: OutboxPurpose,
    pub(crate) group: Option<&'a GroupId>,
    pub(crate) event: &'a Event,
    /// Empty when the client is to find them.
    pub(crate) relays: &'a [String],
}

impl Outbox<'_> {
    // rule: OB-1 the event is on disk in the transaction that makes it
    /// Puts an event in, if the outbox is in use. One that is there already, or was, is left as it is.
    pub(crate) fn post(&self, letter: &Letter<'_>) -> Result<()> {
        if !self.on {
            return Ok(());
        }
        let pending = match letter.purpose {
            OutboxPurpose::Commit { pending } => Some(pending),
            _ => None,
        };
        self.put_in(letter, pending, self.now)
    }

    pub(crate) fn put_in(
        &self,
        letter: &Letter<'_>,
        pending: Option<i64>,
        created_at: u64,
    ) -> Result<()> {
        let (purpose, message, recipient) = match letter.purpose {
            OutboxPurpose::Message { message_id } => {
                (OutgoingPurpose::Message, Some(message_id), None)
            }
            OutboxPurpose::Commit { .. } => (OutgoingPurpose::Commit, None, None),
            OutboxPurpose::Welcome { recipient } => {
                (OutgoingPurpose::Welcome, None, Some(recipient))
            }
            OutboxPurpose::Proposal => (OutgoingPurpose::Proposal, None, None),
            OutboxPurpose::KeyPackage => (OutgoingPurpose::KeyPackage, None, None),
            OutboxPurpose::PushTokens => (OutgoingPurpose::PushTokens, None, None),
            OutboxPurpose::List => (OutgoingPurpose::List, None, None),
        };
        let mut targets: Vec<TargetRow> = Vec::new();
        for relay in letter.relays {
            add_target(&mut targets, relay);
        }
        let row = OutgoingRow {
            seq: 0,
            event_id: letter.event.id(),
            purpose,
            group: letter.group.cloned(),
            message,
            recipient,
            pending,
            created_at,
            attempts: 0,
            end: None,
            finished_at: None,
            targets,
            event_json: Some(letter.event.to_json()),
        };
        // rule: OB-2 an event is put in once: neither a restart nor a second call makes it go out again
        if self.tx.post(&row)?.is_some() {
            return Ok(());
        }
        // An event that is made for the relays alone may ask again after all of them have refused.
        if !matches!(purpose, OutgoingPurpose::KeyPackage | OutgoingPurpose::List) {
            return Ok(());
        }
        let old = self.tx.outgoing_event(&row.event_id)?;
        if let Some(old) = old.filter(|old| old.end == Some(OutgoingEnd::Refused)) {
            self.tx.put_outgoing(&OutgoingRow { seq: old.seq, attempts: old.attempts, ..row })?;
        }
        Ok(())
    }

    // rule: OB-3 over the bound nothing of the user's is taken that could not be kept
    /// Refuses an event that the user wants to publish when the outbox is full.
    pub(crate) fn require_outbox_room(&self) -> Result<()> {
        if self.on { self.make_room() } else { Ok(()) }
    }

    fn make_room(&self) -> Result<()> {
        let count = self.tx.outgoing_count(MAX_OUTBOX - 1)?;
        if count < MAX_OUTBOX {
            return Ok(());
        }
        let freed = self.tx.prune_oldest_outgoing(ROOM)?;
        if count.saturating_sub(freed as u64) < MAX_OUTBOX {
            return Ok(());
        }
        Err(Error::OutboxFull { limit: MAX_OUTBOX })
    }

    pub(crate) fn post_welcome(
        &self,
        commit: &PendingRow,
        event: &Event,
        recipient: mdk_wire::PublicKey,
    ) -> Result<()> {
        if !self.on {
            return Ok(());
        }
        let letter = Letter {
            purpose: OutboxPurpose::Welcome { recipient },
            group: Some(&commit.group),
            event,
            relays: &[],
        };
        self.put_in(&letter, Some(commit.id), self.now)
    }

    /// A commit is given up, or was true and is not: unsent events of the commit and its Welcomes stay here. The
    /// Welcomes can be put in again by `invite_again`.
    pub(crate) fn withdraw_commit(&self, effects: &mut Effects, pending: i64) -> Result<()> {
        self.tx.withhold_welcomes(pending)?;
        // rule: C2-9 what has given way is not handed out, whichever call has made it ready
        let commit = self.tx.pending(pending)?.and_then(|commit| commit.event_id);
        let welcomes = self.tx.welcomes_of(pending)?.into_iter().map(|welcome| welcome.event_id);
        let gone: Vec<EventId> = welcomes.chain(commit).collect();
        effects.publish.retain(|event| !gone.contains(&event.id()));
        effects.withheld.extend(gone);
        for row in self.tx.outgoing_of_commit(pending)? {
            let confirmed = row.purpose == OutgoingPurpose::Commit && accepted(&row);
            if row.finished_at.is_none() && !confirmed {
                self.tx.drop_outgoing(row.seq)?;
            }
        }
        Ok(())
    }

    /// A request to leave takes the place of an earlier one, which is of no use in another epoch.
    pub(crate) fn withdraw_proposals(&self, group: &GroupId) -> Result<()> {
        for row in self.tx.outgoing_of_group(group)? {
            if row.purpose == OutgoingPurpose::Proposal {
                self.tx.drop_outgoing(row.seq)?;
            }
        }
        Ok(())
    }

    /// An event that nobody is to have any more.
    pub(crate) fn withdraw_event(&self, event: &EventId) -> Result<()> {
        if let Some(row) = self.tx.outgoing_event(event)? {
            self.tx.drop_outgoing(row.seq)?;
        }
        Ok(())
    }

    pub(crate) fn enqueue(&self, event: &Event, relays: &[String]) -> Result<()> {
        let relays = &relay_urls::checked(relays, MAX_TARGETS)?;
        self.make_room()?;
        let letter = Letter { purpose: OutboxPurpose::List, group: None, event, relays };
        self.put_in(&letter, None, self.now)
    }

    /// Forgets rows that were finished long ago. Called by `tick`.
    pub(crate) fn prune_outbox(&self) -> Result<()> {
        self.tx.prune_outgoing(self.now.saturating_sub(REMEMBERED_FOR))?;
        Ok(())
    }

    /// Whether this event is in and not finished.
    pub(crate) fn outbox_has(&self, event: &EventId) -> Result<bool> {
        Ok(self.tx.outgoing_event(event)?.is_some_and(|row| row.finished_at.is_none()))
    }

    /// The first unfinished event from this place on that no relay has, and that is worth waiting for.
    pub(crate) fn outbox_next(&self, from: i64, group: Option<&GroupId>) -> Result<Option<i64>> {
        /// Rows at one time.
        const PAGE: u32 = 64;
        let mut after = from.saturating_sub(1);
        loop {
            let rows = self.tx.outgoing(after, PAGE)?;
            let of_group = |row: &OutgoingRow| group.is_none() || row.group.as_ref() == group;
            let waits = |row: &&OutgoingRow| of_group(row) && !accepted(row) && !refused(row);
            if let Some(row) = rows.iter().find(waits) {
                return Ok(Some(row.seq));
            }
            match rows.last() {
                Some(last) => after = last.seq,
                None => return Ok(None),
            }
        }
    }
}

pub(crate) fn add_target(targets: &mut Vec<TargetRow>, relay: &str) {
    if targets.iter().all(|target| target.relay != relay) {
        targets.push(TargetRow {
            relay: relay.to_owned(),
            state: SendState::Waiting,
            attempts: 0,
            next_at: 0,
            reason: None,
        });
    }
}

/// Whether a relay has it.
pub(crate) fn accepted(row: &OutgoingRow) -> bool {
    row.targets.iter().any(|target| target.state == SendState::Accepted)
}

/// The words of relays against it.
pub(crate) fn errors(row: &OutgoingRow) -> Vec<(String, String)> {
    let failed = row.targets.iter().filter(|target| target.state != SendState::Accepted);
    failed.filter_map(|target| Some((target.relay.clone(), target.reason.clone()?))).collect()
}

/// Whether every relay that an invite is for has refused it: it is tried again, but nobody need wait for that.
pub(crate) fn refused(row: &OutgoingRow) -> bool {
    let against = |target: &TargetRow| target.state == SendState::Refused;
    let invite = row.purpose == OutgoingPurpose::Welcome;
    invite && !accepted(row) && !row.targets.is_empty() && row.targets.iter().all(against)
}
