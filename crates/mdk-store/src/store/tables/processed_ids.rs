//! Ids with a final result: of the outer event or of the MLS message. They keep anything from being processed twice.

use mdk_wire::EventId;
use rusqlite::params;

use crate::store::columns::{Columns, stored_enum};
use crate::{Result, Tx};

stored_enum! {
    /// The final result of an id.
    pub enum Seen {
        /// Processed or rejected for good.
        Done = 0,
        /// Our own message.
        OwnEcho = 1,
        /// Too old to be processed.
        Stale = 2,
    }
}

impl Tx<'_> {
    /// The result recorded for the id of an outer event or of an MLS message.
    pub fn seen(&self, id: &[u8; 32]) -> Result<Option<Seen>> {
        self.one("SELECT iif(what < 256, what, 0) FROM seen WHERE id = ?1", [&id[..]], |row| {
            Columns::new(row, "seen").variant(Seen::from_stored)
        })
    }

    /// Records a result. The first one stays, and a later one for the same id is ignored.
    pub fn mark_seen(&self, id: &[u8; 32], what: Seen) -> Result<()> {
        self.exec(
            "INSERT INTO seen (id, what) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
            params![&id[..], what as u8],
        )?;
        Ok(())
    }

    /// Records that an id is done, but only for an invitation that has no answer yet.
    pub fn mark_done_for(&self, invite: &EventId, id: &[u8; 32]) -> Result<()> {
        self.exec(
            "INSERT INTO seen (id, what) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
            params![&id[..], done_for(invite)],
        )?;
        Ok(())
    }

    /// Forgets the ids that were done for an invitation. Reads all results.
    pub fn forget_done_for(&self, invite: &EventId) -> Result<()> {
        self.exec("DELETE FROM seen WHERE what = ?1", [done_for(invite)])?;
        Ok(())
    }

    /// Forgets a result: an event or message with this id may be processed once more.
    pub fn forget_seen(&self, id: &[u8; 32]) -> Result<()> {
        self.exec("DELETE FROM seen WHERE id = ?1", [&id[..]])?;
        Ok(())
    }
}

/// [`Seen::Done`] for one invitation only: a number above all of [`Seen`].
fn done_for(invite: &EventId) -> i64 {
    let [a, b, c, d, e, f, g, ..] = *invite.as_bytes();
    i64::from_be_bytes([1, a, b, c, d, e, f, g])
}
