//! One durable SQLCipher write, with the settings of the engine's database.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::Failure;

/// An encrypted database in WAL mode that reaches the disk with every commit.
pub(crate) struct Disk {
    path: PathBuf,
    connection: Connection,
    next: i64,
}

impl Disk {
    /// Opens or creates the database under a fixed raw key.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let connection = Connection::open(path)?;
        connection.execute_batch(&format!(
            "PRAGMA key = \"x'{}'\"; PRAGMA cipher_compatibility = 4; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
             CREATE TABLE IF NOT EXISTS seen (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
             CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, value BLOB NOT NULL);",
            "2a".repeat(32)
        ))?;
        connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(Self { path: path.to_owned(), connection, next: 0 })
    }

    /// Where the database lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// One transaction of `rows` rows: state replaced, an id remembered, a message kept.
    pub(crate) fn write(&mut self, rows: usize) -> Result<(), Failure> {
        let transaction =
            self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut state =
                transaction.prepare_cached("INSERT OR REPLACE INTO state VALUES (1, ?1)")?;
            let mut seen =
                transaction.prepare_cached("INSERT OR REPLACE INTO seen VALUES (?1, ?2)")?;
            let mut history =
                transaction.prepare_cached("INSERT OR REPLACE INTO history VALUES (?1, ?2)")?;
            for _ in 0..rows / 3 {
                self.next += 1;
                state.execute([&[1u8; 1000][..]])?;
                seen.execute((self.next, &[2u8; 32][..]))?;
                history.execute((self.next, &[3u8; 300][..]))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
