//! Waiting input: events that no key opens yet, and opened commits and proposals without a decision. The caller bounds
//! both per group, since peers fill them.

use mdk_wire::budget::group::MAX_HELD_BYTES;
use mdk_wire::{ContentId, EventId, GroupId, PublicKey, Timestamp};
use rusqlite::{Params, Row, params};

use crate::store::columns::{Columns, U64, guarded_debug, stored_enum};
use crate::{Result, Tx};

/// An event that could not be opened so far.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldRow {
    /// Id of the event.
    pub event_id: EventId,
    /// MLS group id.
    pub group: GroupId,
    /// The event as it was received.
    pub event_json: String,
    /// The arrival time, Unix seconds.
    pub received_at: Timestamp,
    /// Whether it may be lost.
    pub loss: Loss,
    /// Whether no key has opened it.
    pub closed: bool,
    /// A number for the relay that gave it, 0 if none is known. What no key has opened counts for its relay.
    pub source: i64,
}
guarded_debug!(HeldRow { received_at, loss, closed });

/// A held event that no key has opened, for trying a key on it.
pub struct ClosedRow {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// Id of the event.
    pub event_id: EventId,
    /// The event as it was received.
    pub event_json: String,
}
guarded_debug!(ClosedRow { seq });

stored_enum! {
    /// Whether a held event may be lost.
    pub enum Loss {
        /// It may have come too late, or a key has opened it and it could not be read yet.
        Possible = 0,
        /// The application was told that it is lost.
        Told = 1,
        /// It came before any state of the membership was let go. So it belongs to a time before the membership, or to
        /// a later epoch.
        Unlikely = 2,
        /// It waits for nothing: a Welcome that was taken up, see [`Tx::keep_welcome`].
        Kept = 3,
    }
}

stored_enum! {
    /// The kind of an input.
    pub enum InputClass {
        /// A commit.
        Commit = 0,
        /// A standalone proposal.
        Proposal = 1,
    }
}

stored_enum! {
    /// The stage of an input.
    pub enum InputState {
        /// It belongs to no known state yet.
        Waiting = 0,
        /// Its membership tag fits `parent_auth`.
        Verified = 1,
        /// It is on a branch that lost and may still win.
        Losing = 2,
        /// It led to a rival state, and is kept so that this state can be made again.
        Placed = 3,
    }
}

/// An opened commit or proposal that waits.
#[derive(Clone, PartialEq, Eq)]
pub struct InputRow {
    /// MLS group id.
    pub group: GroupId,
    /// Id of the MLS message.
    pub content_id: ContentId,
    /// The kind.
    pub class: InputClass,
    /// The epoch that it claims.
    pub epoch: u64,
    /// The MLS message.
    pub bytes: Vec<u8>,
    /// The stage.
    pub state: InputState,
    /// The account that sent it, once known.
    pub sender: Option<PublicKey>,
    /// Epoch authenticator of the state that it applies to, once known.
    pub parent_auth: Option<[u8; 32]>,
    /// Id of the event that carried it.
    pub event_id: EventId,
    /// The arrival time, Unix seconds.
    pub received_at: Timestamp,
    /// The time at which a timer is to look at it, in the unit that the engine passes to [`Tx::due_inputs`].
    pub due_at: Option<u64>,
}
guarded_debug!(InputRow { class, epoch, state, received_at, due_at });

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT group_id, content_id, class, epoch, bytes, state, sender, parent_auth, event_id, received_at, \
             due_at, seq FROM inputs ",
            $rest
        )
    };
}
pub(crate) const HELD: &str = "SELECT event_id, group_id, event_json, received_at, reported, closed, source FROM held WHERE group_id = ?1 AND reported <> 3 ORDER BY seq";
pub(crate) const HELD_OPEN: &str = "SELECT event_id FROM held INDEXED BY held_opened WHERE group_id = ?1 AND closed = 0 AND reported <> 3 ORDER BY seq";
pub(crate) const HELD_CLOSED: &str = "SELECT seq, event_id, event_json FROM held INDEXED BY held_by_group \
     WHERE group_id = ?1 AND closed = 1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
pub(crate) const OLDEST_CLOSED: &str = "SELECT event_id, group_id, event_json, received_at, reported, closed, source FROM held \
     INDEXED BY held_closed WHERE group_id = ?1 AND source = ?2 AND closed = 1 ORDER BY seq LIMIT ?3";
pub(crate) const NOISE_OF: &str =
    "SELECT weight FROM temp.held_noise WHERE group_id = ?1 AND source = ?2";
// (a column beside the only maximum is of its row)
pub(crate) const NOISIEST: &str =
    "SELECT source, max(weight) FROM temp.held_noise WHERE group_id = ?1";
const HELD_BEFORE: &str = "SELECT event_id, group_id, event_json, received_at, reported, closed, source FROM held \
     WHERE group_id = ?1 AND received_at <= ?2 AND reported <> 3 ORDER BY seq";
pub(crate) const HELD_SUMS: &str =
    "SELECT events, welcomes, bytes FROM temp.held_sums WHERE group_id = ?1";
pub(crate) const INPUTS: &str = select!("WHERE group_id = ?1");
/// The same as [`INPUTS`], without the messages. That column is the last, so its overflow pages are not read.
pub(crate) const INPUT_HEADS: &str = "SELECT group_id, content_id, class, epoch, X'' AS bytes, state, sender, parent_auth, event_id, \
     received_at, due_at, seq FROM inputs WHERE group_id = ?1";
pub(crate) const INPUTS_ON: &str =
    select!("WHERE group_id = ?1 AND class = ?2 AND state = ?3 AND parent_auth = ?4");
pub(crate) const DUE: &str =
    select!("WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at, seq");

fn read(row: &Row<'_>) -> Result<InputRow> {
    let mut c = Columns::new(row, "inputs");
    Ok(InputRow {
        group: c.group_id()?,
        content_id: c.content_id()?,
        class: c.variant(InputClass::from_stored)?,
        epoch: c.u64()?,
        bytes: c.bytes()?,
        state: c.variant(InputState::from_stored)?,
        sender: c.opt(Columns::public_key)?,
        parent_auth: c.opt(Columns::array)?,
        event_id: c.event_id()?,
        received_at: c.u64()?,
        due_at: c.opt(Columns::u64)?,
    })
}

pub(crate) fn read_held(row: &Row<'_>) -> Result<HeldRow> {
    let mut c = Columns::new(row, "held");
    Ok(HeldRow {
        event_id: c.event_id()?,
        group: c.group_id()?,
        event_json: c.text()?,
        received_at: c.u64()?,
        loss: c.variant(Loss::from_stored)?,
        closed: c.bool()?,
        source: c.i64()?,
    })
}

/// The weight of an event that no key has opened in the share of its relay: its bytes, and 2 KiB, because 16 MiB and 8,192
/// events are the bounds of all.
#[must_use]
pub fn noise_weight(row: &HeldRow) -> u64 {
    2_048 + row.event_json.len() as u64
}

/// The sums of the held events of a group.
struct Sums {
    events: u64,
    welcomes: u64,
    /// Bytes of all events that are no Welcome.
    bytes: u64,
}

impl Tx<'_> {
    /// Holds an event. `false`: the group already holds `cap` events, or [`MAX_HELD_BYTES`] with this one, and it was
    /// not stored. `true`: stored, or already there. Held Welcomes ([`Tx::hold_welcome`]) do not count.
    pub fn hold(&self, row: &HeldRow, cap: u32) -> Result<bool> {
        if self.is_held(&row.event_id)? {
            if row.closed {
                self.lighten(row)?;
            } else {
                self.set_closed(&row.event_id, false)?;
            }
            return Ok(true);
        }
        let held = self.held_sums(&row.group)?;
        if held.events.saturating_sub(held.welcomes) >= u64::from(cap)
            || held.bytes.saturating_add(row.event_json.len() as u64) > MAX_HELD_BYTES
        {
            return Ok(false);
        }
        self.put_held(row)?;
        Ok(true)
    }

    /// Holds a Welcome, a gift wrap of kind 1059, with any number of events in the group. The caller bounds the
    /// Welcomes.
    pub fn hold_welcome(&self, row: &HeldRow) -> Result<()> {
        if self.is_held(&row.event_id)? { Ok(()) } else { self.put_held(row) }
    }

    fn is_held(&self, event_id: &EventId) -> Result<bool> {
        let sql = "SELECT 1 FROM held WHERE event_id = ?1";
        Ok(self.one(sql, [event_id.as_bytes()], |_| Ok(()))?.is_some())
    }

    pub(crate) fn put_held(&self, row: &HeldRow) -> Result<()> {
        self.exec(
            "INSERT INTO held (event_id, group_id, event_json, received_at, reported, closed, source) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                row.event_id.as_bytes(),
                row.group.as_bytes(),
                row.event_json,
                U64(row.received_at),
                row.loss as u8,
                row.closed,
                row.source,
            ],
        )?;
        Ok(())
    }

    /// A held event that no key has opened came from another relay, too: it counts for the one with less noise. Otherwise a relay
    /// could take with it what it has repeated.
    fn lighten(&self, row: &HeldRow) -> Result<()> {
        let sql = "SELECT source FROM held WHERE event_id = ?1 AND group_id = ?2 AND closed = 1";
        let ids = params![row.event_id.as_bytes(), row.group.as_bytes()];
        let known = self.one(sql, ids, |row| Columns::new(row, "held").i64())?;
        let Some(known) = known.filter(|known| row.source != 0 && *known != row.source) else {
            return Ok(());
        };
        let noise = |source| self.noise_of(&row.group, source);
        if known == 0 || noise(row.source)? + noise_weight(row) < noise(known)? {
            self.exec(
                "UPDATE held SET source = ?2 WHERE event_id = ?1",
                params![row.event_id.as_bytes(), row.source],
            )?;
        }
        Ok(())
    }

    /// The weight of what a group holds, no key has opened, and a relay has given ([`noise_weight`]).
    pub fn noise_of(&self, group: &GroupId, source: i64) -> Result<u64> {
        self.held_sums(group)?;
        let weight = self.one(NOISE_OF, params![group.as_bytes(), source], |row| {
            Columns::new(row, "held_noise").i64()
        })?;
        Ok(weight.unwrap_or(0).unsigned_abs())
    }

    /// The relay with the most of what a group holds and no key has opened, and the weight of that.
    pub fn noisiest(&self, group: &GroupId) -> Result<Option<(i64, u64)>> {
        self.held_sums(group)?;
        let most = self.one(NOISIEST, [group.as_bytes()], |row| {
            let mut c = Columns::new(row, "held_noise");
            Ok((c.opt(Columns::i64)?, c.opt(Columns::i64)?))
        })?;
        Ok(most.and_then(|(source, weight)| Some((source?, weight?.unsigned_abs()))))
    }

    /// The sums of a group. They are read by key, except for the first time on a connection.
    fn held_sums(&self, group: &GroupId) -> Result<Sums> {
        let known = self.one(HELD_SUMS, [group.as_bytes()], |row| {
            let sum = |at: usize| row.get::<_, i64>(at).map(i64::unsigned_abs);
            Ok(Sums { events: sum(0)?, welcomes: sum(1)?, bytes: sum(2)? })
        })?;
        if let Some(known) = known {
            return Ok(known);
        }
        self.exec(
            "INSERT INTO temp.held_sums SELECT ?1, count(*), count(*) FILTER (WHERE welcome), \
             coalesce(sum(bytes) FILTER (WHERE NOT welcome), 0) FROM (SELECT octet_length(event_json) AS bytes, \
             instr(event_json, '\"kind\":1059,') > 0 AS welcome FROM main.held WHERE group_id = ?1)",
            [group.as_bytes()],
        )?;
        self.exec("DELETE FROM temp.held_noise WHERE group_id = ?1", [group.as_bytes()])?;
        self.exec(
            "INSERT INTO temp.held_noise SELECT group_id, source, sum(2048 + octet_length(event_json)) \
             FROM main.held WHERE group_id = ?1 AND closed = 1 GROUP BY source",
            [group.as_bytes()],
        )?;
        self.held_sums(group)
    }

    /// The events that a group holds, in the order of arrival.
    pub fn held(&self, group: &GroupId) -> Result<Vec<HeldRow>> {
        self.all(HELD, [group.as_bytes()], read_held)
    }

    /// Ids of the events that a group holds and a key has opened, in the order of arrival.
    pub fn held_ids(&self, group: &GroupId) -> Result<Vec<EventId>> {
        self.all(HELD_OPEN, [group.as_bytes()], |row| Columns::new(row, "held").event_id())
    }

    /// Up to `limit` of the events that a group holds and no key has opened, from before `seq`, the newest first.
    pub fn closed_before(&self, group: &GroupId, seq: i64, limit: u32) -> Result<Vec<ClosedRow>> {
        self.all(HELD_CLOSED, params![group.as_bytes(), seq, limit], |row| {
            let mut c = Columns::new(row, "held");
            Ok(ClosedRow { seq: c.i64()?, event_id: c.event_id()?, event_json: c.text()? })
        })
    }

    /// Sets whether no key has opened a held event. No such event: nothing happens.
    pub fn set_closed(&self, event_id: &EventId, closed: bool) -> Result<()> {
        self.exec(
            "UPDATE held SET closed = ?2 WHERE event_id = ?1 AND closed <> ?2",
            params![event_id.as_bytes(), closed],
        )?;
        Ok(())
    }

    /// Forgets up to `limit` of the events that a group holds, no key has opened, and a relay has given, the oldest first.
    /// Returns them.
    pub fn drop_noise(&self, group: &GroupId, source: i64, limit: u32) -> Result<Vec<HeldRow>> {
        let oldest =
            self.all(OLDEST_CLOSED, params![group.as_bytes(), source, limit], read_held)?;
        for held in &oldest {
            self.unhold(&held.event_id)?;
        }
        Ok(oldest)
    }

    /// A held event as it was received.
    pub fn held_json(&self, event_id: &EventId) -> Result<Option<String>> {
        self.one("SELECT event_json FROM held WHERE event_id = ?1", [event_id.as_bytes()], |row| {
            Columns::new(row, "held").text()
        })
    }

    /// A held event with all its fields.
    pub fn held_event(&self, event_id: &EventId) -> Result<Option<HeldRow>> {
        self.one(
            "SELECT event_id, group_id, event_json, received_at, reported, closed, source FROM held \
             WHERE event_id = ?1 AND reported <> 3",
            [event_id.as_bytes()],
            read_held,
        )
    }

    /// The events that a group has held since `time` or longer, in the order of arrival.
    pub fn held_before(&self, group: &GroupId, time: Timestamp) -> Result<Vec<HeldRow>> {
        self.all(HELD_BEFORE, params![group.as_bytes(), U64(time)], read_held)
    }

    /// The arrival time of the oldest event that a group holds.
    pub fn oldest_held(&self, group: &GroupId) -> Result<Option<Timestamp>> {
        let oldest = self.one(
            "SELECT min(received_at) FROM held WHERE group_id = ?1 AND reported <> 3",
            [group.as_bytes()],
            |row| Columns::new(row, "held").opt(Columns::u64),
        )?;
        Ok(oldest.flatten())
    }

    /// Notes that the loss of a held event was reported.
    pub fn mark_reported(&self, event_id: &EventId) -> Result<()> {
        self.exec("UPDATE held SET reported = 1 WHERE event_id = ?1", [event_id.as_bytes()])?;
        Ok(())
    }

    /// Notes that a held event is of our own time: it is lost if it is never read. An event that was reported as lost
    /// stays so.
    pub fn may_be_lost(&self, event_id: &EventId) -> Result<()> {
        self.exec(
            "UPDATE held SET reported = 0 WHERE event_id = ?1 AND reported = 2",
            [event_id.as_bytes()],
        )?;
        Ok(())
    }

    /// Notes that a membership begins. Events held for the group belong to a time before it, or to a later epoch.
    pub fn forgo_held(&self, group: &GroupId) -> Result<()> {
        self.exec(
            "UPDATE held SET reported = 2 WHERE group_id = ?1 AND reported = 0",
            [group.as_bytes()],
        )?;
        Ok(())
    }

    /// Forgets a held event.
    pub fn unhold(&self, event_id: &EventId) -> Result<()> {
        self.exec("DELETE FROM held WHERE event_id = ?1", [event_id.as_bytes()])?;
        Ok(())
    }

    /// Number of events that a group holds.
    pub fn held_count(&self, group: &GroupId) -> Result<u64> {
        Ok(self.held_sums(group)?.events)
    }

    /// Stores an input, or replaces the one with the same id, which keeps its place in the order. `false`: the group
    /// already has `cap` other inputs, and this one was not stored. Inputs that are [`InputState::Placed`] wait for
    /// nothing, and are counted by themselves.
    pub fn put_input(&self, row: &InputRow, cap: u32) -> Result<bool> {
        let params = params![
            row.group.as_bytes(),
            row.content_id.as_bytes(),
            row.class as u8,
            U64(row.epoch),
            row.bytes,
            row.state as u8,
            row.sender.as_ref().map(PublicKey::as_bytes),
            row.parent_auth.as_ref().map(|auth| &auth[..]),
            row.event_id.as_bytes(),
            U64(row.received_at),
            row.due_at.map(U64),
        ];
        let replaced = self.exec(
            "UPDATE inputs SET class = ?3, epoch = ?4, bytes = ?5, state = ?6, sender = ?7, parent_auth = ?8, \
             event_id = ?9, received_at = ?10, due_at = ?11 WHERE group_id = ?1 AND content_id = ?2",
            params,
        )?;
        if replaced > 0 {
            return Ok(true);
        }
        let same_sort = if row.state == InputState::Placed {
            "SELECT count(*) FROM inputs WHERE group_id = ?1 AND state = 3"
        } else {
            "SELECT count(*) FROM inputs WHERE group_id = ?1 AND state <> 3"
        };
        if self.count(same_sort, &row.group)? >= u64::from(cap) {
            return Ok(false);
        }
        self.exec(
            "INSERT INTO inputs (group_id, content_id, class, epoch, bytes, state, sender, parent_auth, event_id, \
             received_at, due_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params,
        )?;
        Ok(true)
    }

    /// Bytes of the messages of a group that are [`InputState::Placed`].
    pub fn placed_bytes(&self, group: &GroupId) -> Result<u64> {
        self.count(
            "SELECT coalesce(sum(length(bytes)), 0) FROM inputs WHERE group_id = ?1 AND state = 3",
            group,
        )
    }

    fn count(&self, sql: &str, group: &GroupId) -> Result<u64> {
        let count = self.one(sql, [group.as_bytes()], |row| Columns::new(row, "count").u64())?;
        Ok(count.unwrap_or(0))
    }

    /// The input of a group with this id.
    pub fn input(&self, group: &GroupId, id: &ContentId) -> Result<Option<InputRow>> {
        self.one(
            select!("WHERE group_id = ?1 AND content_id = ?2"),
            params![group.as_bytes(), id.as_bytes()],
            read,
        )
    }

    /// The inputs of a group, in the order of arrival.
    pub fn inputs(&self, group: &GroupId) -> Result<Vec<InputRow>> {
        self.inputs_by(INPUTS, [group.as_bytes()])
    }

    /// The same as [`Tx::inputs`], with empty `bytes`: these may be many, and large.
    pub fn input_heads(&self, group: &GroupId) -> Result<Vec<InputRow>> {
        self.inputs_by(INPUT_HEADS, [group.as_bytes()])
    }

    /// The inputs of this class and state that belong to one state of the group, in the order of arrival.
    pub fn inputs_on(
        &self,
        group: &GroupId,
        class: InputClass,
        state: InputState,
        parent_auth: &[u8; 32],
    ) -> Result<Vec<InputRow>> {
        self.inputs_by(
            INPUTS_ON,
            params![group.as_bytes(), class as u8, state as u8, &parent_auth[..]],
        )
    }

    fn inputs_by(&self, sql: &str, params: impl Params) -> Result<Vec<InputRow>> {
        // The rows are sorted here: a sorter in the query would take memory that has to be locked, even for a few rows.
        let mut inputs =
            self.all(sql, params, |row| Ok((read(row)?, row.get::<_, i64>("seq")?)))?;
        inputs.sort_unstable_by_key(|(_, seq)| *seq);
        Ok(inputs.into_iter().map(|(input, _)| input).collect())
    }

    /// Forgets an input.
    pub fn drop_input(&self, group: &GroupId, id: &ContentId) -> Result<()> {
        self.exec(
            "DELETE FROM inputs WHERE group_id = ?1 AND content_id = ?2",
            params![group.as_bytes(), id.as_bytes()],
        )?;
        Ok(())
    }

    /// Forgets the inputs of a group that claim an epoch before `min_epoch`.
    pub fn prune_inputs(&self, group: &GroupId, min_epoch: u64) -> Result<()> {
        self.exec(
            "DELETE FROM inputs WHERE group_id = ?1 AND epoch < ?2",
            params![group.as_bytes(), U64(min_epoch)],
        )?;
        Ok(())
    }

    /// The inputs of all groups whose `due_at` is `now` or earlier, first due first.
    pub fn due_inputs(&self, now: u64) -> Result<Vec<InputRow>> {
        self.all(DUE, [U64(now)], read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
