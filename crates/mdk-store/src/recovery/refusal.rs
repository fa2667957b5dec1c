//! The reasons why a database was not opened.

use mdk_wire::Secret;

use super::what_to_do::Refusal;
use crate::{
    FileRole, OpenError, StoreError,
    files::{self, Place},
    sqlcipher::{PAGE, ReadOnly, bad_pages, is_cut, key_fits, open_read_only},
};

/// The error for a refusal of the table. `size` is the size of the file.
pub(crate) fn error_of(why: Refusal, size: u64, source: &'static str) -> OpenError {
    match why {
        Refusal::SourceMissing | Refusal::DestinationExists | Refusal::AlreadyEncrypted => {
            OpenError::PathChanged { role: FileRole::Database }
        }
        Refusal::LogWithoutDatabase => OpenError::DatabaseMissingButLogPresent,
        Refusal::MetadataUnreadable => OpenError::KeyRecordMalformed,
        Refusal::KeyWithoutDatabase => OpenError::DatabaseMissingButKeyPresent,
        Refusal::RestoreInterrupted => OpenError::RestoreInterrupted,
        Refusal::Empty => OpenError::Empty,
        Refusal::NotEncrypted => OpenError::NotEncrypted,
        Refusal::Cut => OpenError::Truncated { size },
        Refusal::LogDamaged => StoreError::Corrupt.into(),
        Refusal::KeyMissing => OpenError::KeyMissing { source },
    }
}

/// Explains an error "damaged" or "wrong key" of an opening: it is true, or the file could only not be read just now.
/// SQLCipher takes an unreadable page for one that does not authenticate.
pub(crate) fn explain_refusal(place: &Place, key: &Secret<32>, error: OpenError) -> OpenError {
    if !matches!(error, OpenError::WrongKey | OpenError::Store(StoreError::Corrupt)) {
        return error;
    }
    let looked = || {
        let found = place.inspect(place.name(), FileRole::Database)?;
        let size = found.ok_or_else(|| error.clone())?.size;
        if !key_fits(place, place.name(), key)? || !size.is_multiple_of(PAGE as u64) {
            return Ok(error.clone());
        }
        let unread = StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR_READ };
        let connect = || open_read_only(&ReadOnly::keyed(place, place.name(), key));
        let bad = bad_pages(&*connect()?);
        if bad.as_ref().is_ok_and(Vec::is_empty) && is_cut(connect)? {
            // The missing end of the file may be in the log.
            let log = files::with_suffix(place.name(), "-wal");
            let log = place.inspect(&log, FileRole::Database)?;
            return Ok(match log.is_none_or(|log| log.size == 0) {
                true => OpenError::Truncated { size },
                false => error.clone(),
            });
        }
        Ok(match bad {
            Ok(bad) if !bad.is_empty() => error.clone(),
            _ => unread.into(),
        })
    };
    looked().unwrap_or_else(|error| error)
}
