//! Dedup: what already has a final result, by the id of the outer event or of the MLS message.

use rusqlite::params;

use crate::meta::row::{Columns, stored_enum};
use crate::{Result, Tx};

stored_enum! {
    /// The final result that an id has.
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
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or the row cannot be decoded.
    pub fn seen(&self, id: &[u8; 32]) -> Result<Option<Seen>> {
        self.one("SELECT what FROM seen WHERE id = ?1", [&id[..]], |row| {
            Columns::new(row, "seen").variant(Seen::from_stored)
        })
    }

    /// Records a result. The first one stays: a later one for the same id is ignored.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails.
    pub fn mark_seen(&self, id: &[u8; 32], what: Seen) -> Result<()> {
        self.exec(
            "INSERT INTO seen (id, what) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
            params![&id[..], what as u8],
        )?;
        Ok(())
    }

    /// Forgets a result: what has this id may be processed once more.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails.
    pub fn forget_seen(&self, id: &[u8; 32]) -> Result<()> {
        self.exec("DELETE FROM seen WHERE id = ?1", [&id[..]])?;
        Ok(())
    }
}
