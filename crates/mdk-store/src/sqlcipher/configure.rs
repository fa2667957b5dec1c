//! Configures every connection before it is used, in one function.

use std::{ffi::OsStr, time::Duration};

use mdk_wire::Secret;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::{connection::Conn, lookaside, raw_key};
use crate::{
    FileRole, OpenError, StoreError,
    files::{self, Place},
};

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE
    .union(OpenFlags::SQLITE_OPEN_NOFOLLOW)
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX)
    .union(OpenFlags::SQLITE_OPEN_EXRESCODE);

/// `application_id` in the header of our databases: "MDKs".
pub const APPLICATION_ID: i32 = 0x4d44_4b73;

/// Opens a file and configures the connection, which `complete` then gets. `fresh`: the file was created for this call
/// and is still empty.
///
/// A connection that does not come up leaves the file and its write-ahead log as they are. On a full disk the index of
/// the log is kept in memory: the rows can be read there, and written once there is room.
pub(crate) fn open_configured(
    place: &Place,
    name: &OsStr,
    key: &Secret<32>,
    fresh: bool,
    complete: impl Fn(&mut Connection) -> Result<(), OpenError>,
) -> Result<Conn, OpenError> {
    let open = |index| {
        open_with(place, name, index, |conn| {
            configure_connection(conn, Some(key), fresh)?;
            complete(conn)
        })
    };
    match open(Index::File) {
        Err(OpenError::Store(StoreError::DiskFull)) if !fresh => open(Index::Memory),
        opened => opened,
    }
}

/// The place of the index of the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Index {
    File,
    /// SQLite locks the files for itself then (<https://sqlite.org/wal.html>, "Use of WAL Without Shared-Memory").
    Memory,
}

fn open_with(
    place: &Place,
    name: &OsStr,
    at: Index,
    configure: impl FnOnce(&mut Connection) -> Result<(), OpenError>,
) -> Result<Conn, OpenError> {
    let (log, index) = (files::with_suffix(name, "-wal"), files::with_suffix(name, "-shm"));
    let had_index = place.inspect(&index, FileRole::Database)?.is_some();
    let mut conn = Conn::open(place, name, FLAGS)?;
    require_writable(&conn)?;
    keep_log(&conn, true)?;
    if at == Index::Memory {
        conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
    }
    let ready = configure(&mut conn).and_then(|()| {
        // SQLite was given a path. This makes sure that it has the files that were checked.
        place.confirm_opened(name, FileRole::Database)?;
        place.confirm_opened(&log, FileRole::Database)?;
        keep_log(&conn, false)
    });
    conn.locks(place, &index);
    let Err(error) = ready else { return Ok(conn) };
    // SQLite may remove an empty log that it has made: nothing is lost with it.
    let found = place.inspect(&log, FileRole::Database);
    if found.is_ok_and(|found| found.is_none_or(|found| found.size == 0)) {
        let _ = keep_log(&conn, false);
    }
    drop(conn);
    if !had_index {
        place.remove(&index);
    }
    Err(error)
}

/// Fails if SQLite could open the file for reading only, which it does without a word. Going on would make a log and
/// its index with the file's own mode. They would keep the database read-only after the file is no longer.
pub(crate) fn require_writable(conn: &Connection) -> Result<(), OpenError> {
    match conn.is_readonly("main")? {
        true => Err(StoreError::ReadOnly.into()),
        false => Ok(()),
    }
}

/// Sets whether the write-ahead log is left alone when the connection is closed. Otherwise SQLite moves it into the
/// file and removes it. A connection that has not come up must not do that: when the log's index could not be opened
/// for writing, SQLite takes the log for empty and removes it with everything in it.
pub(crate) fn keep_log(conn: &Connection, keep: bool) -> Result<(), OpenError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)?;
    Ok(())
}

/// An empty database in memory: not encrypted, gone when dropped.
pub(crate) fn open_in_memory() -> Result<Conn, OpenError> {
    let conn = Conn::make(Connection::open_in_memory)?;
    configure_connection(&conn, None, true)?;
    Ok(conn)
}

/// Silences SQLCipher, gives it the key and proves that it opens the file.
fn unlock(conn: &Connection, key: &Secret<32>) -> Result<(), OpenError> {
    quiet(conn)?;
    // The key is raw, so there is no key derivation. The file format is pinned next, whatever the library's default
    // becomes.
    raw_key::give_key(conn, key)?;
    conn.execute_batch("PRAGMA cipher_compatibility = 4;")?;
    // This proves the key: the schema can be read only if page 1 authenticates.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(|error| {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::WrongKey,
            _ => error.into(),
        }
    })?;
    require(conn, "cipher_memory_security", "1")
}

fn quiet(conn: &Connection) -> Result<(), OpenError> {
    // SQLCipher must neither write to stderr nor keep freed memory, from before it sees the key.
    conn.execute_batch("PRAGMA cipher_log_level = NONE; PRAGMA cipher_memory_security = ON;")?;
    lookaside::reserve(conn)?;
    // This proves that SQLCipher is linked: plain SQLite would ignore the key and write plain text.
    cipher_version(conn).map(drop)
}

/// Configures a connection before it is used. `key` is `None` in memory only. `fresh`: the file was created for this
/// call and is still empty.
fn configure_connection(
    conn: &Connection,
    key: Option<&Secret<32>>,
    fresh: bool,
) -> Result<(), OpenError> {
    match key {
        Some(key) => unlock(conn, key)?,
        None => quiet(conn)?,
    }

    // This proves that the file is ours.
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    // A file with a map of pointers has gone through another program. A page of that map may look like one of a tree
    // (sqlcipher/unused_space.rs).
    let mapped: i32 = conn.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if (application != APPLICATION_ID && !fresh) || mapped != 0 {
        return Err(OpenError::ForeignDatabase { found: application });
    }

    // Nothing in the schema may run code, deleted content is overwritten, nothing spills to a temporary file.
    conn.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; PRAGMA cache_size = -8192;",
    )?;
    for (setting, value) in [
        ("foreign_keys", "1"),
        ("trusted_schema", "0"),
        ("cell_size_check", "1"),
        ("temp_store", "2"),
        ("secure_delete", "1"),
    ] {
        require(conn, setting, value)?;
    }

    // A commit is durable when it returns. Checkpoints are our own business (see store.rs).
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(128);
    // Plans must not depend on bound values: SQLite would prepare such a statement anew for every new value,
    // and every allocation of that goes through SQLCipher's page locking.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if key.is_some() {
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = FULL;",
        )?;
        if cfg!(target_vendor = "apple") {
            conn.execute_batch("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;")?;
        }
        require(conn, "journal_mode", "wal")?;
        require(conn, "synchronous", "2")?;
    }

    Ok(())
}

/// The version of the linked SQLCipher.
pub(crate) fn cipher_version(conn: &Connection) -> Result<String, OpenError> {
    conn.query_row("PRAGMA cipher_version", [], |row| row.get(0)).map_err(|error| match error {
        // Plain SQLite ignores unknown pragmas.
        rusqlite::Error::QueryReturnedNoRows => OpenError::CipherMissing,
        error => error.into(),
    })
}

/// Fails unless the setting reads back as `value`.
fn require(conn: &Connection, setting: &'static str, value: &str) -> Result<(), OpenError> {
    let found = conn.query_row(&format!("PRAGMA {setting}"), [], |row| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(n) => n.to_string(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        })
    });
    match found {
        Ok(found) if found == value => Ok(()),
        _ => Err(OpenError::SettingRefused { setting }),
    }
}

#[cfg(test)]
mod tests;
