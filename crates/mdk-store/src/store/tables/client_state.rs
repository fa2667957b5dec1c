//! The rows that belong to the account beside its groups: small values of the code that moves its events, and, if the
//! user leaves it here, the account's secret key.

use mdk_wire::Secret;
use rusqlite::params;

use crate::store::columns::Columns;
use crate::{Result, Tx};

/// Name of the row of `meta` with the account's secret key.
const ACCOUNT_SECRET: &str = "account_secret";

pub(crate) const STATE: &str = "SELECT value FROM client_state WHERE key = ?1";
pub(crate) const STATES: &str = "SELECT key, value FROM client_state WHERE key >= ?1 ORDER BY key";

impl Tx<'_> {
    /// The value that was stored under `key`.
    pub fn client_state(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.one(STATE, [key], |row| Columns::new(row, "client_state").bytes())
    }

    /// The values whose keys begin with `prefix`, by key.
    pub fn client_states(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut statement = self.conn.prepare_cached(STATES)?;
        let mut rows = statement.query([prefix])?;
        let mut found = Vec::new();
        // Keys with one prefix are neighbours.
        while let Some(row) = rows.next()? {
            let mut c = Columns::new(row, "client_state");
            let key = c.text()?;
            if !key.starts_with(prefix) {
                break;
            }
            found.push((key, c.bytes()?));
        }
        Ok(found)
    }

    /// Stores `value` under `key` and replaces the value before; `None` removes it.
    pub fn set_client_state(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        match value {
            Some(value) => self.exec(
                "INSERT INTO client_state (key, value) VALUES (?1, ?2) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                params![key, value],
            )?,
            None => self.exec("DELETE FROM client_state WHERE key = ?1", [key])?,
        };
        Ok(())
    }

    /// The account's secret key, if it was left here.
    pub fn account_secret(&self) -> Result<Option<Secret<32>>> {
        self.one("SELECT value FROM meta WHERE name = ?1", [ACCOUNT_SECRET], |row| {
            Columns::new(row, "meta").secret()
        })
    }

    /// Stores the account's secret key here. Pages are encrypted, and SQLite wipes its own copies.
    pub fn keep_account_secret(&self, secret: &Secret<32>) -> Result<()> {
        self.set_meta(ACCOUNT_SECRET, secret.expose())
    }
}
