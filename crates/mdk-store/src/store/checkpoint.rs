//! Moves the write-ahead log into the database file.
//!
//! A commit syncs the log, so it is durable with any outcome here, and nothing here is an error of the commit. SQLite's
//! own checkpoint would sync the log a second time. Without that sync a write costs two syncs even when it moves the
//! log. SQLite then relies on the database file being durable before the log is written from its beginning again. This
//! module takes care of that (<https://sqlite.org/wal.html>, "Checkpointing").

use std::ffi::c_int;

use rusqlite::{Connection, ffi};

use super::schema::SUPPORTED;
use crate::{OpenError, Result, StoreError};

/// Pages in the log above which a write also moves them (about 1 MiB).
pub(super) const CHECKPOINT_PAGES: i32 = 250;
/// Bytes of a page in the log, with its header, and of the log's own header.
const FRAME: i64 = 24 + 4096;
const HEADER: i64 = 32;
/// Bytes of the log after it is opened: its length at the end of a write that moves it.
const RESERVE: i64 = HEADER + (CHECKPOINT_PAGES as i64 + 50) * FRAME;

/// Moves all frames that can be moved. Frames that a reader of an old state, or a failed write, keeps in the log stay
/// good there. `true`: all of the log is in the database file, durably, and the next commit begins the log anew.
///
/// # Errors
/// The database file could not be made durable, but SQLite believes that it is. The connection must not write again,
/// and must not close the log: see [`super::failed_read`].
pub(super) fn move_log(conn: &Connection) -> Result<bool> {
    conn.execute_batch("PRAGMA synchronous = OFF")?;
    let counts = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    let synced = match counts {
        Ok(_) => sync(conn, ffi::SQLITE_FCNTL_FILE_POINTER),
        // SQLite counts only the pages as moved that it has written to the end.
        Err(_) => Ok(()),
    };
    conn.execute_batch("PRAGMA synchronous = FULL")?;
    synced.map(|()| counts.is_ok_and(|(frames, moved)| frames >= 0 && frames == moved))
}

/// Cuts off all of a log that was moved. Whole or empty after a loss of power, the log gives the same database.
///
/// # Errors
/// The log cannot be cut, or another connection reads it.
pub(super) fn truncate(conn: &Connection) -> Result<()> {
    let busy: i32 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 { Ok(()) } else { Err(StoreError::Busy) }
}

/// Starts the write-ahead log, so that the first write does not pay for it. Creating the log costs a sync of its header
/// and one of the directory, which would make three with that of the commit. Both are left to the sync after its room
/// was made. It is not started without room. Returns whether it was.
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
    // The version that is there already is written, which touches only page 1.
    conn.pragma_update(None, "user_version", SUPPORTED)?;
    Ok(())
}

/// Gives the log the room that it will need. Syncing a file that has grown costs twice as much as syncing one that has
/// not, and every write until its first checkpoint would pay for that. SQLite does not read bytes that are no frame of
/// this log.
///
/// A failure costs only speed.
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
        // The log header is left out. A log without one is empty. A log with a header of zeros would be empty too, but
        // never damaged.
        let start = size.max(HEADER);
        if let Ok(missing @ 1..) = usize::try_from(RESERVE - start) {
            let block = vec![0u8; missing];
            write(file, block.as_ptr().cast(), missing as c_int, start);
            // The sync is made also without the room: no transaction may be durable before the header of its log.
            sync(file, ffi::SQLITE_SYNC_NORMAL as c_int);
        }
    }
}

/// Frames of the log up to its last commit, as SQLite counts them. The next transaction is written behind them.
///
/// # Errors
/// SQLite cannot be asked.
pub(crate) fn committed(conn: &Connection) -> Result<i32> {
    let frames: i32 = conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
    // (-1 means unknown, not zero)
    if frames < 0 { Err(StoreError::Busy) } else { Ok(frames) }
}

/// Makes a recovery of the log end after its first `frames` frames, durably. The bytes behind them are no frame any
/// more. Otherwise the leftover of a shorter transaction would look like a stored one.
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

/// Makes it durable that the log was cut off. Without that, new frames may have frames of the old log behind them after
/// a loss of power.
///
/// # Errors
/// [`StoreError::Io`].
pub(crate) fn sync_log(conn: &Connection) -> Result<()> {
    sync(conn, ffi::SQLITE_FCNTL_JOURNAL_POINTER)
}

/// Syncs a file through SQLite's own handle. Closing another handle would drop SQLite's locks.
fn sync(conn: &Connection, which: c_int) -> Result<()> {
    // Only this flag reaches the disk itself on Apple's systems.
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
