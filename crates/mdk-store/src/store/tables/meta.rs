//! Small settings and cursors of the account, by name.
use rusqlite::params;

use crate::store::columns::Columns;
use crate::{Result, Tx};

impl Tx<'_> {
    /// The value that was stored under `name`.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.one("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            Columns::new(row, "meta").bytes()
        })
    }

    /// Stores `value` under `name` and replaces the value before.
    pub fn set_meta(&self, name: &str, value: &[u8]) -> Result<()> {
        self.exec(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![name, value],
        )?;
        Ok(())
    }
}
