//! Moving the write-ahead log into the database file.
//!
//! A commit syncs the log, so it is durable whatever happens here, and nothing here is an error of the commit. SQLite's
//! own checkpoint would sync the log a second time; with that left out a write costs two syncs even when it moves the
//! log. What SQLite then relies on, that the database file is durable before the log is written from its beginning
//! again, is seen to here (<https://sqlite.org/wal.html>, "Checkpointing").

use std::ffi::c_int;

use rusqlite::{Connection, ffi};

use crate::{Result, StoreError};

/// Pages in the log above which the next write also moves them (about 4 MiB).
pub(super) const CHECKPOINT_PAGES: i32 = 1000;

/// What became of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is in the database file, durably.
    All,
    /// A reader of an old state, or a failed write, kept some of it. The log is as good as before.
    Part,
}

/// Moves what can be moved.
///
/// # Errors
/// The database file could not be made durable, but SQLite believes that it is. The connection must not write again,
/// and must not close the log: see [`super::mend`].
pub(super) fn move_log(conn: &Connection) -> Result<Moved> {
    conn.execute_batch("PRAGMA synchronous = OFF")?;
    let moved = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (busy, in_log, moved): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(busy == 0 && in_log == moved)
    });
    let synced = sync(conn);
    conn.execute_batch("PRAGMA synchronous = FULL")?;
    synced?;
    Ok(if matches!(moved, Ok(true)) { Moved::All } else { Moved::Part })
}

/// Syncs the database file through SQLite's own handle: closing another one would drop SQLite's locks.
fn sync(conn: &Connection) -> Result<()> {
    // On Apple's systems only this flag reaches the disk itself.
    let flags =
        if cfg!(target_vendor = "apple") { ffi::SQLITE_SYNC_FULL } else { ffi::SQLITE_SYNC_NORMAL };
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the handle is that of an open connection, used by this thread only, and `main` exists. The operation
    // writes one pointer. The file that it names lives as long as the connection, and its methods are static.
    let code = unsafe {
        let found = ffi::sqlite3_file_control(
            conn.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        );
        match file.as_ref().and_then(|file| file.pMethods.as_ref()).and_then(|m| m.xSync) {
            Some(sync) if found == ffi::SQLITE_OK => sync(file, flags as c_int),
            _ => ffi::SQLITE_IOERR_FSYNC,
        }
    };
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(StoreError::Io { code }) }
}
