//! Tells whether a key opens a file. Only page 1 is asked, so that a log that is half moved does not matter.

use std::ffi::OsStr;

use mdk_wire::Secret;
use rusqlite::ErrorCode;

use super::{PAGE, ReadOnly, open_read_only, read_at};
use crate::{
    FileRole, OpenError,
    files::{self, Place},
};

/// Whether this key authenticates page 1 of the encrypted file `name`, in any state of its other pages.
///
/// # Errors
/// [`OpenError::Io`], or another reason why page 1 cannot be read now. The result is then unknown.
pub(crate) fn key_fits(place: &Place, name: &OsStr, key: &Secret<32>) -> Result<bool, OpenError> {
    let look = || {
        let found = place.inspect(name, FileRole::Database)?;
        found.ok_or(OpenError::DatabaseMissingButKeyPresent)
    };
    if look()?.size < PAGE as u64 {
        return Ok(false);
    }
    let ask = || {
        let conn = open_read_only(&ReadOnly::keyed(place, name, key))?;
        let asked = conn.query_row("PRAGMA application_id", [], |_| Ok(()));
        match asked.as_ref().map_err(rusqlite::Error::sqlite_error_code) {
            Ok(()) => Ok(true),
            // (SQLite says that memory is missing where SQLCipher could not decrypt a page)
            Err(Some(ErrorCode::NotADatabase | ErrorCode::OutOfMemory)) => Ok(false),
            // Page 1 is authentic, and says that the file is longer than it is.
            Err(Some(ErrorCode::DatabaseCorrupt)) => Ok(true),
            Err(_) => asked.map(|()| false).map_err(OpenError::from),
        }
    };
    // SQLCipher says of an unreadable page that it does not authenticate. If page 1 can be read, it is asked once more.
    Ok(ask()? || {
        read_at(&look()?.file, &mut [0u8; PAGE], 0)
            .map_err(|e| files::io_error("reading", FileRole::Database, &e))?;
        ask()?
    })
}
