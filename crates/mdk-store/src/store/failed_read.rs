//! Replaces a connection that an error has made useless.
//!
//! When SQLCipher cannot read a page, it decrypts bytes that it has not read, finds that they do not authenticate and
//! refuses all further work on the connection. A passing fault of the disk would look like damage, and would last until
//! the next start. So the file is opened anew after such an error, and the new connection decides what is reported
//! about it.

use std::sync::atomic::Ordering;

use rusqlite::{Connection, config::DbConfig};

use super::connect::connect;
use crate::{
    FileRole, Result, Store, StoreError,
    sqlcipher::{
        PAGE, bad_pages,
        errors::{Fault, take_fault},
        raw_key,
    },
    store::checkpoint,
};

/// Whether a connection can still read the file. Its cache is emptied, so page 1 is read anew.
pub(crate) fn is_usable(conn: &Connection) -> bool {
    conn.execute_batch("PRAGMA shrink_memory").is_ok()
        && conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).is_ok()
        && conn.is_autocommit()
}

impl Store {
    /// Explains an operation that failed with `error`: returns the true error.
    pub(crate) fn explain<E: From<StoreError>>(&mut self, error: E) -> E {
        let fault = take_fault();
        if fault == Fault::None || self.home.is_none() {
            return error;
        }
        // Another owner may have put another file in its place, and a second look would write.
        if let Err(lost @ StoreError::LockLost) = self.require_owner() {
            return lost.into();
        }
        let usable = self.is_usable();
        if usable && fault == Fault::Failed {
            // If this fails, the next write tries it again before it writes.
            let _ = self.tidy();
            return error;
        }
        self.broken |= !usable;
        if self.mend().is_err() {
            // The file cannot even be opened now, so nothing else is known about it.
            return StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR }.into();
        }
        // A second look reads everything. It takes seconds at worst and never happens to a sound disk.
        match self.is_whole() {
            Ok(true) => {
                self.log_was_emptied();
                StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR_READ }.into()
            }
            _ => error,
        }
    }

    /// Whether every page of the file is there and authentic. The log is moved into the file.
    fn is_whole(&self) -> Result<bool> {
        let conn = self.conn()?;
        checkpoint::truncate(conn)?;
        let pages: u64 =
            conn.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0)).map(u64::from)?;
        let found = self.place().map(|place| place.inspect(place.name(), FileRole::Database));
        let size = found.and_then(|found| found.ok().flatten()).map_or(0, |found| found.size);
        Ok(size == pages * PAGE as u64 && bad_pages(conn)?.is_empty())
    }

    fn is_usable(&self) -> bool {
        self.conn().is_ok_and(is_usable)
    }

    /// Replaces the connection after a page could not be read on it: it may be useless since. If that fails, the next
    /// call tries it again.
    pub(crate) fn renew(&mut self) {
        self.broken = true;
        let _ = self.mend();
    }

    /// Replaces a broken connection; does nothing else.
    ///
    /// # Errors
    /// The file cannot be opened now, and a second call tries again. Or the file is another owner's.
    pub(crate) fn mend(&mut self) -> Result<()> {
        if !self.broken {
            return Ok(());
        }
        // The end of the log as it is known here is not the end of another owner's log.
        self.require_owner()?;
        if let Some(conn) = &self.conn {
            self.spare_key = raw_key::take_key(conn);
            self.forget_what_failed()?;
        }
        if let Some(conn) = self.conn.take() {
            // The old connection must leave the log as it is: the next connection recovers from it, as after a crash.
            let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            conn.flush_prepared_statement_cache();
            drop(conn);
        }
        let (Some(home), Some(key)) = (&self.home, &self.spare_key) else {
            return Err(StoreError::Closed);
        };
        let unreadable = StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR };
        let conn =
            connect(&home.place, home.place.name(), key, false).map_err(|_| unreadable.clone())?;
        self.attach(conn).map_err(|_| unreadable)?;
        self.spare_key = None;
        self.broken = false;
        Ok(())
    }

    /// Makes sure that no recovery finds a transaction whose commit was answered with an error. When only the sync of a
    /// commit fails, SQLite takes the transaction back in memory, but its frames stay in the log, whole.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) fn forget_what_failed(&self) -> Result<()> {
        checkpoint::end_after(self.conn()?, self.log_frames.load(Ordering::Relaxed))
    }

    /// The same, after a write that failed on a connection that goes on. The next transactions leave a part of the
    /// failed one. That part would be taken for a lost transaction, and the file for damaged.
    ///
    /// # Errors
    /// The log cannot be read or written. Nothing may be committed until it can.
    pub(super) fn tidy(&mut self) -> Result<()> {
        if !self.untidy {
            return Ok(());
        }
        // SQLite is asked for the number, because it may still write behind a log that was moved.
        let conn = self.conn()?;
        checkpoint::end_after(conn, checkpoint::committed(conn)?)?;
        self.untidy = false;
        Ok(())
    }
}
