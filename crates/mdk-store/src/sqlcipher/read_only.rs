//! A connection that reads a database and changes neither it nor its log.

use std::{ffi::OsStr, path::Path};

use mdk_wire::Secret;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{SALT, read_at};
use crate::{
    FileRole, OpenError, StoreError,
    files::{self, Place},
    sqlcipher::{connection::Conn, raw_key},
};

/// The file to open, and how.
pub(crate) struct ReadOnly<'a> {
    pub(crate) place: &'a Place,
    pub(crate) name: &'a OsStr,
    /// The key. `None`: the file is plain.
    pub(crate) key: Option<&'a Secret<32>>,
    /// A salt that replaces the one at the beginning of the file, which may be damaged.
    pub(crate) salt: Option<[u8; SALT]>,
    /// The log holds something. Otherwise only the file is read.
    pub(crate) with_log: bool,
    /// A file that ends too early is opened all the same.
    pub(crate) cut: bool,
}

impl<'a> ReadOnly<'a> {
    /// An encrypted file, without its log.
    pub(crate) fn keyed(place: &'a Place, name: &'a OsStr, key: &'a Secret<32>) -> Self {
        Self { key: Some(key), ..Self::plain(place, name) }
    }

    /// A plain file, without its log.
    pub(crate) fn plain(place: &'a Place, name: &'a OsStr) -> Self {
        Self { place, name, key: None, salt: None, with_log: false, cut: false }
    }
}

/// Opens the file. The caller holds the owner lock.
pub(crate) fn open_read_only(what: &ReadOnly<'_>) -> Result<Conn, OpenError> {
    // The flags allow writing for the file that is attached, see `export.rs`. `query_only` and `immutable` refuse it
    // for this file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE
        | OpenFlags::SQLITE_OPEN_URI;
    let salt = match what.salt {
        None if what.key.is_some() => salt_of(what.place, what.name)?,
        salt => salt,
    };
    let conn = match uri(&what.place.path(what.name), "immutable=1") {
        // SQLite is told that the file is immutable: no lock, no log.
        Some(uri) if !what.with_log => Conn::make(|| Connection::open_with_flags(uri, flags))?,
        // Locking a file takes permission to write to it.
        _ if what.place.is_read_only() => return Err(StoreError::ReadOnly.into()),
        // A log is read under an exclusive lock, with its index in memory, and left as it is.
        _ => {
            let conn = Conn::open(what.place, what.name, flags)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            conn
        }
    };
    conn.execute_batch("PRAGMA cipher_log_level = NONE; PRAGMA cipher_memory_security = ON;")?;
    if let Some(key) = what.key {
        raw_key::give_key_and_salt(&conn, key, salt.as_ref())?;
        conn.execute_batch("PRAGMA cipher_compatibility = 4;")?;
    }
    // Nothing here reads the file. The cache size would, and a fault of the file is for the caller to meet.
    conn.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;",
    )?;
    if what.cut {
        conn.execute_batch("PRAGMA writable_schema = ON")?;
    }
    Ok(conn)
}

/// The salt at the beginning of the file. SQLCipher makes one up if it cannot read it, and no page is authentic then.
fn salt_of(place: &Place, name: &OsStr) -> Result<Option<[u8; SALT]>, OpenError> {
    let Some(found) = place.inspect(name, FileRole::Database)? else { return Ok(None) };
    if found.size < SALT as u64 {
        return Ok(None);
    }
    let mut salt = [0; SALT];
    read_at(&found.file, &mut salt, 0)
        .map_err(|e| files::io_error("reading", FileRole::Database, &e))?;
    Ok(Some(salt))
}

/// The path as a URI with this parameter; `None` where that is not known to work.
#[cfg(unix)]
pub(super) fn uri(path: &Path, parameter: &str) -> Option<String> {
    use std::{fmt::Write, os::unix::ffi::OsStrExt};
    let mut uri = String::from("file://");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            write!(uri, "%{byte:02x}").expect("writing to a string cannot fail");
        }
    }
    uri.push('?');
    uri.push_str(parameter);
    Some(uri)
}

#[cfg(not(unix))]
pub(super) fn uri(_: &Path, _: &str) -> Option<String> {
    None
}
