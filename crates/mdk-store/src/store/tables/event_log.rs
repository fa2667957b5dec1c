//! The durable log of events for the application; `seq` is its cursor.

use mdk_wire::GroupId;
use rusqlite::{Row, params};

use crate::store::columns::{Columns, guarded_debug};
use crate::{Result, Tx};

/// One entry of the log.
#[derive(Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Position in the log. It grows, never comes back, and may have gaps.
    pub seq: i64,
    /// Hash of the subject of the event; the log holds each once.
    pub stable_id: Option<[u8; 32]>,
    /// The group that it is about.
    pub group: Option<GroupId>,
    /// The kind of the event; numbered by the engine.
    pub kind: u8,
    /// Its content, encoded by the engine.
    pub body: Vec<u8>,
}
guarded_debug!(EventRow { seq, kind });

pub(crate) const AFTER: &str =
    "SELECT seq, stable_id, group_id, kind, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
pub(crate) const SURPLUS: &str = "SELECT seq, stable_id, group_id, kind, body FROM events INDEXED BY events_of_epochs \
     WHERE group_id = ?1 AND kind = 10 ORDER BY seq DESC LIMIT 2 OFFSET ?2";
pub(crate) const LAST: &str = "SELECT max(seq) FROM events";

/// The kind of the changes of a group's epoch, see [`Tx::surplus_epochs`].
pub const EPOCH_EVENT: u8 = 10;

fn read(row: &Row<'_>) -> Result<EventRow> {
    let mut c = Columns::new(row, "events");
    Ok(EventRow {
        seq: c.i64()?,
        stable_id: c.opt(Columns::array)?,
        group: c.opt(Columns::group_id)?,
        kind: c.u8()?,
        body: c.bytes()?,
    })
}

/// The jump of the event numbers where the newest may be missing.
const EVENT_GAP: i64 = 1 << 32;

impl Tx<'_> {
    /// Appends an event and returns its position, or `None` when the log already holds `stable_id`.
    pub fn append_event(
        &self,
        stable_id: Option<&[u8; 32]>,
        group: Option<&GroupId>,
        kind: u8,
        body: &[u8],
    ) -> Result<Option<i64>> {
        let added = self.exec(
            "INSERT INTO events (stable_id, group_id, kind, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (stable_id) WHERE stable_id IS NOT NULL DO NOTHING",
            params![stable_id.map(|id| &id[..]), group.map(GroupId::as_bytes), kind, body],
        )?;
        Ok((added == 1).then(|| self.last_id()))
    }

    /// The oldest `limit` events above the cursor `seq`, ascending.
    pub fn events_after(&self, seq: i64, limit: u32) -> Result<Vec<EventRow>> {
        self.all(AFTER, params![seq, limit], read)
    }

    /// Of the group's events of [`EPOCH_EVENT`] the oldest of the newest `keep`, and the one before it; `None` if there are no
    /// more than `keep`.
    pub fn surplus_epochs(
        &self,
        group: &GroupId,
        keep: u32,
    ) -> Result<Option<(EventRow, EventRow)>> {
        let keep = params![group.as_bytes(), keep.saturating_sub(1)];
        let mut rows = self.all(SURPLUS, keep, read)?.into_iter();
        Ok(rows.next().zip(rows.next()))
    }

    /// Puts one event in the place of two: `later` stays where it is, with another content, and `former` goes.
    pub fn fold_events(&self, former: i64, later: i64, body: &[u8]) -> Result<()> {
        self.exec("DELETE FROM events WHERE seq = ?1", [former])?;
        self.exec("UPDATE events SET body = ?2 WHERE seq = ?1", params![later, body])?;
        Ok(())
    }

    /// Position of the newest event in the log, 0 when it is empty.
    pub fn last_event_seq(&self) -> Result<i64> {
        let last = self.one(LAST, [], |row| Columns::new(row, "events").opt(Columns::i64))?;
        Ok(last.flatten().unwrap_or(0))
    }

    /// Makes the numbers of events jump. An application may remember a number that this file does not have, because the
    /// file is older than the one that the application knew. Later events get numbers above that.
    pub(crate) fn skip_event_numbers(&self) -> Result<()> {
        self.exec(
            "INSERT INTO events (seq, stable_id, group_id, kind, body) \
             SELECT coalesce(max(seq), 0) + ?1, NULL, NULL, 255, x'' FROM events",
            [EVENT_GAP],
        )?;
        Ok(())
    }

    /// The position in the log of the event with this stable id, if it is there.
    pub fn event_at(&self, stable_id: &[u8; 32]) -> Result<Option<i64>> {
        self.one("SELECT seq FROM events WHERE stable_id = ?1", [&stable_id[..]], |row| {
            Columns::new(row, "events").i64()
        })
    }

    /// Empties the newest event if it is the group's, so that its number is not given out again.
    pub(crate) fn empty_newest_event(&self, group: &GroupId) -> Result<()> {
        self.exec(
            "UPDATE events SET group_id = NULL, stable_id = NULL, kind = 255, body = x'' \
             WHERE seq = (SELECT max(seq) FROM events) AND group_id = ?1",
            [group.as_bytes()],
        )?;
        Ok(())
    }
}
