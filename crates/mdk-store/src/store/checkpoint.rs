//! Moving the write-ahead log into the database file.
//!
//! A commit syncs the log, so it is durable whatever happens here, and nothing here is an error of the commit. SQLite's
//! own checkpoint would sync the log a second time; with that left out a write costs two syncs even when it moves the
//! log. What SQLite then relies on, that the database file is durable before the log is written from its beginning
//! again, is seen to here (<https://sqlite.org/wal.html>, "Checkpointing").

use std::ffi::c_int;

use rusqlite::{Connection, ffi};

use super::schema::SUPPORTED;
use crate::{OpenError, Result, StoreError};

/// Pages in the log above which a write also moves them (about 1 MiB).
pub(super) const CHECKPOINT_PAGES: i32 = 250;
/// Bytes of a page in the log, with its header, and of the log's own header.
const FRAME: i64 = 24 + 4096;
const HEADER: i64 = 32;
/// Bytes that the log is given when it is opened: what it has when a write ends that moves it.
const RESERVE: i64 = HEADER + (CHECKPOINT_PAGES as i64 + 50) * FRAME;

/// Moves what can be moved. What a reader of an old state, or a failed write, keeps in the log stays good there. `true`:
/// all of it is in the database file, durably, and the next commit begins the log anew.
///
/// # Errors
/// The database file could not be made durable, but SQLite believes that it is. The connection must not write again,
/// and must not close the log: see [`super::reconnect`].
pub(super) fn move_log(conn: &Connection) -> Result<bool> {
    conn.execute_batch("PRAGMA synchronous = OFF")?;
    let counts = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    let synced = match counts {
        Ok(_) => sync(conn, ffi::SQLITE_FCNTL_FILE_POINTER),
        // SQLite counts as moved only what it has written to the end.
        Err(_) => Ok(()),
    };
    conn.execute_batch("PRAGMA synchronous = FULL")?;
    synced.map(|()| counts.is_ok_and(|(frames, moved)| frames >= 0 && frames == moved))
}

/// Cuts off all of a log that was moved. Whole or empty after a loss of power, it says the same.
///
/// # Errors
/// The log cannot be cut, or somebody reads it.
pub(super) fn truncate(conn: &Connection) -> Result<()> {
    let busy: i32 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 { Ok(()) } else { Err(StoreError::Busy) }
}

/// Starts the write-ahead log, so that the first write does not pay for it: creating it costs a sync of its header
/// and one of the directory, which would make three with that of the commit. Both are left to the sync after its room was
/// made. Without room it is not started: whether it was.
pub(crate) fn prime_log(conn: &Connection) -> Result<bool, OpenError> {
    let primed = start_log(conn);
    conn.execute_batch("PRAGMA synchronous = FULL")?;
    match primed {
        Ok(()) => {
            reserve(conn);
            Ok(true)
        }
        Err(OpenError::Store(StoreError::DiskFull)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn start_log(conn: &Connection) -> Result<(), OpenError> {
    let used = committed(conn)? > 0;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    if used {
        sync_log(conn)?;
    }
    conn.execute_batch("PRAGMA synchronous = OFF")?;
    // Writing the version that is there already touches page 1 only.
    conn.pragma_update(None, "user_version", SUPPORTED)?;
    Ok(())
}

/// Gives the log the room that it will need. To sync a file that has grown costs twice as much as one that has not, and
/// until its first checkpoint every write would pay for that. What is not a frame of this log SQLite does not read.
///
/// Without success nothing is lost but speed.
pub(crate) fn reserve(conn: &Connection) {
    let Some(file) = file(conn, ffi::SQLITE_FCNTL_JOURNAL_POINTER) else { return };
    // SAFETY: the file is that of an open connection, used by this thread only; its methods are static, and the block
    // has as many bytes as are written.
    unsafe {
        let Some(methods) = (*file).pMethods.as_ref() else { return };
        let (Some(size_of), Some(write), Some(sync)) =
            (methods.xFileSize, methods.xWrite, methods.xSync)
        else {
            return;
        };
        let mut size: ffi::sqlite3_int64 = 0;
        if size_of(file, &raw mut size) != ffi::SQLITE_OK {
            return;
        }
        // Not the log header: without one the log is empty, with one of zeros it would be too, but never damaged.
        let start = size.max(HEADER);
        if let Ok(missing @ 1..) = usize::try_from(RESERVE - start) {
            let block = vec![0u8; missing];
            write(file, block.as_ptr().cast(), missing as c_int, start);
            // Also without the room: no transaction may be durable before the header of its log.
            sync(file, ffi::SQLITE_SYNC_NORMAL as c_int);
        }
    }
}

/// Frames of the log up to its last commit, as SQLite counts them: the next transaction is written behind them.
///
/// # Errors
/// SQLite cannot be asked.
pub(crate) fn committed(conn: &Connection) -> Result<i32> {
    let frames: i32 = conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
    // (-1 is not known, which is not none)
    if frames < 0 { Err(StoreError::Busy) } else { Ok(frames) }
}

/// Makes a recovery of the log end after its first `frames` frames, durably. What stands behind them is no frame any more:
/// what a shorter transaction left of it would look like one that was stored.
///
/// # Errors
/// [`StoreError::Io`]: the log cannot be written.
pub(super) fn end_after(conn: &Connection, frames: i32) -> Result<()> {
    let failed = Err(StoreError::Io { code: ffi::SQLITE_IOERR_WRITE });
    let Some(file) = file(conn, ffi::SQLITE_FCNTL_JOURNAL_POINTER) else { return failed };
    let nothing = [0u8; 24];
    let start = HEADER + i64::from(frames) * FRAME;
    // SAFETY: the file is that of an open connection, used by this thread only; its methods are static, and the block
    // has as many bytes as are written.
    unsafe {
        let Some(methods) = (*file).pMethods.as_ref() else { return failed };
        let (Some(size_of), Some(write), Some(sync)) =
            (methods.xFileSize, methods.xWrite, methods.xSync)
        else {
            return failed;
        };
        let mut size: ffi::sqlite3_int64 = 0;
        if size_of(file, &raw mut size) != ffi::SQLITE_OK {
            return failed;
        }
        let mut at = start;
        while at + FRAME <= size {
            if write(file, nothing.as_ptr().cast(), nothing.len() as c_int, at) != ffi::SQLITE_OK {
                return failed;
            }
            at += FRAME;
        }
        match sync(file, ffi::SQLITE_SYNC_NORMAL as c_int) {
            ffi::SQLITE_OK => Ok(()),
            _ => failed,
        }
    }
}

/// Makes it durable that the log was cut off. What is written to it without that may find frames of the old one behind it
/// after a loss of power.
///
/// # Errors
/// [`StoreError::Io`].
pub(crate) fn sync_log(conn: &Connection) -> Result<()> {
    sync(conn, ffi::SQLITE_FCNTL_JOURNAL_POINTER)
}

/// Syncs a file through SQLite's own handle: closing another one would drop SQLite's locks.
fn sync(conn: &Connection, which: c_int) -> Result<()> {
    // On Apple's systems only this flag reaches the disk itself.
    let flags =
        if cfg!(target_vendor = "apple") { ffi::SQLITE_SYNC_FULL } else { ffi::SQLITE_SYNC_NORMAL };
    let code = file(conn, which).map_or(ffi::SQLITE_IOERR_FSYNC, |file| {
        // SAFETY: the file is that of an open connection, used by this thread only; its methods are static.
        unsafe {
            match (*file).pMethods.as_ref().and_then(|methods| methods.xSync) {
                Some(sync) => sync(file, flags as c_int),
                None => ffi::SQLITE_IOERR_FSYNC,
            }
        }
    });
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(StoreError::Io { code }) }
}

/// SQLite's handle of the database file or of the log. It lives as long as the connection.
fn file(conn: &Connection, which: c_int) -> Option<*mut ffi::sqlite3_file> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the handle is that of an open connection, used by this thread only, and `main` exists. Both operations
    // write one pointer.
    let code = unsafe {
        ffi::sqlite3_file_control(conn.handle(), c"main".as_ptr(), which, (&raw mut file).cast())
    };
    (code == ffi::SQLITE_OK && !file.is_null()).then_some(file)
}
