//! A connection that an error has made useless is replaced.
//!
//! When a page cannot be read, SQLCipher decrypts what is not there, finds that it does not authenticate and refuses all
//! further work on the connection: a passing fault of the disk would look like damage, and would last until the next
//! start. So after such an error the file is opened anew, and what is said of it is what the new connection finds.

use std::cell::Cell;

use rusqlite::config::DbConfig;

use crate::{
    Result, Store, StoreError, cipher, ritual,
    vault::{Progress, VerifyReport, bad_pages},
};

thread_local! {
    /// An error of the file was seen on this thread since [`forget_faults`].
    static FAULT: Cell<bool> = const { Cell::new(false) };
}

/// Remembers that SQLite could not read or write. Called where its errors are translated.
pub(crate) fn note_fault() {
    FAULT.set(true);
}

/// Starts anew.
pub(super) fn forget_faults() {
    FAULT.set(false);
}

impl Store {
    /// After an operation failed with `error`: what is really to be said.
    pub(super) fn explain<E: From<StoreError>>(&mut self, error: E) -> E {
        if !FAULT.replace(false) || self.home.is_none() || self.is_usable() {
            return error;
        }
        self.broken = true;
        if self.mend().is_err() {
            return error;
        }
        // A second look at everything, which takes seconds at worst and never happens to a sound disk.
        let mut report = VerifyReport::default();
        let looked = self.conn().map(|conn| bad_pages(conn, &mut report, &mut Progress::none()));
        match looked {
            Ok(Ok(bad)) if bad.is_empty() => {
                StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR_READ }.into()
            }
            _ => error,
        }
    }

    /// Whether the connection can still read the file: with its cache emptied, page 1 is read anew.
    fn is_usable(&self) -> bool {
        self.conn().is_ok_and(|conn| {
            conn.execute_batch("PRAGMA shrink_memory").is_ok()
                && conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).is_ok()
                && conn.is_autocommit()
        })
    }

    /// Replaces a broken connection; does nothing else.
    ///
    /// # Errors
    /// The file cannot be opened now. Calling again tries again.
    pub(super) fn mend(&mut self) -> Result<()> {
        if !self.broken {
            return Ok(());
        }
        if let Some(conn) = self.conn.take() {
            self.spare_key = cipher::take_key(&conn);
            // It must leave the log as it is: the next connection recovers from it, as after a crash.
            let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            conn.flush_prepared_statement_cache();
            drop(conn);
        }
        let (Some(home), Some(key)) = (&self.home, &self.spare_key) else {
            return Err(StoreError::Closed);
        };
        let unreadable = StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR };
        let conn = ritual::connect(&home.place, home.place.name(), key, false)
            .map_err(|_| unreadable.clone())?;
        self.attach(conn).map_err(|_| unreadable)?;
        self.spare_key = None;
        self.broken = false;
        Ok(())
    }
}
