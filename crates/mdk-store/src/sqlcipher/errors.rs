//! Translates errors of SQLite into words of this crate, and remembers the faults of the file since the last question.

use std::cell::Cell;

use rusqlite::ErrorCode;

use crate::{OpenError, StoreError};

/// The worst report of SQLite about the file on this thread since [`forget_faults`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// No fault.
    None,
    /// The file could not be read or written.
    Failed,
    /// The content is damaged, or was not read at all.
    Damage,
}

thread_local! {
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
}

/// Remembers the worst fault. It is called where SQLite's errors are translated.
pub(crate) fn note_fault(fault: Fault) {
    FAULT.set(FAULT.get().max(fault));
}

/// Whether there was a fault.
pub(crate) fn is_faulty() -> bool {
    FAULT.get() != Fault::None
}

/// Starts anew. Returns the fault until now.
pub(crate) fn take_fault() -> Fault {
    FAULT.replace(Fault::None)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // The text of the error may quote SQL and values, so only its code survives.
        match &error {
            rusqlite::Error::SqliteFailure(e, _)
            | rusqlite::Error::SqlInputError { error: e, .. } => {
                let code = e.extended_code;
                note_fault(match e.code {
                    ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::OutOfMemory
                    | ErrorCode::Unknown => Fault::Damage,
                    ErrorCode::ConstraintViolation | ErrorCode::DatabaseBusy => Fault::None,
                    _ => Fault::Failed,
                });
                match e.code {
                    ErrorCode::DiskFull => Self::DiskFull,
                    // The index of the write-ahead log could not be enlarged. SQLite does not say why, but that step
                    // needs only room.
                    _ if code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => Self::DiskFull,
                    // (SQLite says that memory is missing where SQLCipher could not decrypt a page; the caller looks at
                    // the pages again before it is called damage)
                    ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::OutOfMemory => Self::Corrupt,
                    ErrorCode::ReadOnly => Self::ReadOnly,
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
                    ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied => Self::Io { code },
                    ErrorCode::ConstraintViolation => Self::Internal { what: "constraint", code },
                    _ => Self::Internal { what: "SQL", code },
                }
            }
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => Self::Decode { what: "column" },
            rusqlite::Error::ToSqlConversionFailure(_) => {
                Self::Invalid { what: "value out of range" }
            }
            _ => Self::internal("SQL"),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn sqlite_codes_become_what_the_user_can_act_on() {
        let map = |code| {
            let text = Some("SELECT secret FROM mls_rows".to_owned());
            StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), text))
        };
        for (code, error) in [
            (ffi::SQLITE_FULL, StoreError::DiskFull),
            (ffi::SQLITE_IOERR_FSYNC, StoreError::Io { code: ffi::SQLITE_IOERR_FSYNC }),
            (ffi::SQLITE_CANTOPEN, StoreError::Io { code: ffi::SQLITE_CANTOPEN }),
            (ffi::SQLITE_CORRUPT, StoreError::Corrupt),
            (ffi::SQLITE_NOTADB, StoreError::Corrupt),
            (ffi::SQLITE_NOMEM, StoreError::Corrupt),
            (ffi::SQLITE_READONLY_DBMOVED, StoreError::ReadOnly),
            (ffi::SQLITE_BUSY_SNAPSHOT, StoreError::Busy),
            (
                ffi::SQLITE_CONSTRAINT_UNIQUE,
                StoreError::Internal { what: "constraint", code: ffi::SQLITE_CONSTRAINT_UNIQUE },
            ),
        ] {
            assert_eq!(map(code), error);
            assert!(!format!("{error} {error:?}").contains("SELECT"));
        }
    }
}
