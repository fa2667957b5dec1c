//! Opens a database. Decides which files may be there, and handles interrupted operations.

use std::{ffi::OsStr, fs::File, io::Read, path::Path, time::Duration};

use crate::{
    DatabaseKey, FileRole, OpenError, StoreError,
    files::{self, OwnerLock, Place, names},
    keys::{key_metadata, location},
    recovery::{
        error_of, explain_refusal, find_key, of_wrong_key, plain_copy, put_in_order,
        state::{FileState, Intent, LogState, Metadata, Seen},
        what_to_do::{Next, before_keys},
    },
    sqlcipher::{MAGIC, PAGE, connection::Conn, log_is_damaged, log_is_empty},
    store::create::{self, Created, Making},
};

pub(crate) use super::connect::connect;
use crate::files::names::SIDE_CARS;

/// The options of opening a database.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The time to wait for another owner to close the database. Zero, the default, fails at once.
    pub busy_wait: Duration,
}

impl OpenOptions {
    /// The defaults with another `busy_wait`.
    #[must_use]
    pub fn with_busy_wait(mut self, wait: Duration) -> Self {
        self.busy_wait = wait;
        self
    }
}

/// An open connection, the place of its file and the lock that makes it the only one.
pub(crate) struct Opened {
    pub(crate) conn: Conn,
    pub(crate) place: Place,
    pub(crate) lock: OwnerLock,
    pub(crate) rekeyed_at: Option<u64>,
    /// The database that this call made. It is undone if the opening still fails.
    pub(crate) created: Option<Created>,
    pub(crate) before: Before,
}

/// Opens or creates the database at `path`. A failure leaves no new file and no new directory.
pub(crate) fn open(
    path: &Path,
    key: &DatabaseKey,
    options: &OpenOptions,
) -> Result<Opened, OpenError> {
    location::check_open(key)?;
    names::check(path, FileRole::Database)?;
    let place = Place::of(path, FileRole::Database)?;
    let opened = secure(&place, key).and_then(|()| {
        let lock = lock(&place, options.busy_wait)?;
        let before = Before::of(&place);
        match open_locked(&place, &lock, key) {
            Ok(opened) => Ok((opened, lock, before)),
            Err(error) => {
                before.restore(&place, &lock);
                lock.undo(&place);
                Err(error)
            }
        }
    });
    match opened {
        Ok(((conn, rekeyed_at, created), lock, before)) => {
            Ok(Opened { conn, place, lock, rekeyed_at, created, before })
        }
        Err(error) => {
            place.remove_made_dirs();
            Err(error)
        }
    }
}

/// The files of SQLite that were beside a database before it was opened. The files that a failed opening has made are
/// removed again.
pub(crate) struct Before {
    log: bool,
    index: bool,
}

impl Before {
    fn of(place: &Place) -> Self {
        // A file whose presence cannot be told counts as present.
        let is_there = |suffix| !matches!(find(place, suffix), Ok(None));
        Self { log: is_there("-wal"), index: is_there("-shm") }
    }

    /// Restores the files. The caller has closed the connection and still has the lock. A log that was there, or holds
    /// anything, stays.
    pub(crate) fn restore(&self, place: &Place, lock: &OwnerLock) {
        if lock.require().is_err() {
            return;
        }
        let is_new_and_empty = match find(place, "-wal") {
            Ok(Some(_)) if self.log => false,
            Ok(Some(found)) if found.size > 0 => log_is_empty(place),
            Ok(_) => true,
            Err(_) => false,
        };
        if is_new_and_empty {
            place.remove(&files::with_suffix(place.name(), "-wal"));
        }
        // An index is made anew from its log, so one that was not there is not missed.
        if !self.index && (is_new_and_empty || self.log) {
            place.remove(&files::with_suffix(place.name(), "-shm"));
        }
    }
}

fn find(place: &Place, suffix: &str) -> Result<Option<files::Found>, OpenError> {
    place.inspect(&files::with_suffix(place.name(), suffix), FileRole::Database)
}

/// Makes the directory private, if it holds nothing but files of this database.
pub(crate) fn secure(place: &Place, key: &DatabaseKey) -> Result<(), OpenError> {
    place.secure(FileRole::Database, |name| is_ours(place, key, name))
}

/// Whether a file in the directory of the database belongs to it.
fn is_ours(place: &Place, key: &DatabaseKey, name: &OsStr) -> bool {
    let is_key = |base: &OsStr| location::is_of_key(base, name);
    let own = place.name();
    names::is_of_database(own, name)
        || is_key(&files::with_suffix(own, ".key"))
        || matches!(key, DatabaseKey::File(path) if path.file_name().is_some_and(is_key))
}

/// Takes the owner lock. The lock file is emptied and written to, so it must not be somebody's.
pub(crate) fn lock(place: &Place, wait: Duration) -> Result<OwnerLock, OpenError> {
    names::refuse_foreign(place, ".lock")?;
    OwnerLock::take(place, wait)
}

fn open_locked(
    place: &Place,
    lock: &OwnerLock,
    source: &DatabaseKey,
) -> Result<(Conn, Option<u64>, Option<Created>), OpenError> {
    names::refuse_foreign_beside(place)?;
    let (seen, size) = look(place)?;
    let next = before_keys(seen, Intent::Open);
    match next.map_err(|why| error_of(why, size, source.source()))? {
        Next::Make => {
            let created = create::create(place, lock, source, Making::Empty, |temp, key| {
                let conn = connect(place, temp, key, true)?;
                // Closing moves the log too, but does not report a failure of that.
                conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
                conn.close().map_err(|(_, error)| OpenError::from(error))
            })
            .map_err(of_new)?;
            match connect(place, place.name(), &created.key, false) {
                Ok(conn) => Ok((conn, None, Some(created))),
                Err(error) => {
                    lock.require()?;
                    created.undo(place);
                    Err(of_new(error))
                }
            }
        }
        Next::Connect | Next::Export | Next::Finish => {
            let (conn, rekeyed_at) = open_existing(place, lock, source)?;
            // The leftover of an interrupted encryption is a plain copy of the database. It is wiped only after the
            // encrypted one is proven.
            let encrypting =
                matches!(seen.metadata, Metadata::Encrypting | Metadata::ReadyWithPlainCopy);
            if encrypting && plain_copy::recover(place).is_err() {
                tracing::warn!("the plain file of an interrupted encryption could not be removed");
            }
            Ok((conn, rekeyed_at, None))
        }
    }
}

/// Opens a database that is known to exist, under its lock. The leftover of an interrupted encryption stays.
pub(crate) fn open_again(
    place: &Place,
    lock: &OwnerLock,
    source: &DatabaseKey,
) -> Result<Conn, OpenError> {
    names::refuse_foreign_beside(place)?;
    let (seen, size) = look(place)?;
    let next = before_keys(seen, Intent::Open);
    match next.map_err(|why| error_of(why, size, source.source()))? {
        Next::Connect => open_existing(place, lock, source).map(|(conn, _)| conn),
        Next::Make | Next::Export | Next::Finish => {
            Err(OpenError::PathChanged { role: FileRole::Database })
        }
    }
}

/// The findings in the words of the table, and the size of the file. Files that the table does not ask for are not
/// looked at.
fn look(place: &Place) -> Result<(Seen, u64), OpenError> {
    let log_size = side_cars(place, place.name())?;
    let found = place.inspect_and_narrow(place.name(), FileRole::Database)?;
    let size = found.as_ref().map_or(0, |found| found.size);
    let page = PAGE as u64;
    let file = match found {
        None => FileState::Absent,
        // An empty file with a log beside it has content to be saved. It counts as cut, like a file that ends inside
        // its first page.
        Some(_) if size == 0 && log_size == 0 => FileState::Empty,
        Some(ref found) if is_plain(&found.file)? => FileState::Plain,
        // A log beside the file may repair a half-written page at its end. It does not repair the first page, which is
        // whole before there is a log. SQLite takes a file of one byte for empty, and removes its log.
        Some(_) if size < page || (!size.is_multiple_of(page) && log_size == 0) => FileState::Cut,
        Some(_) => FileState::Whole,
    };
    let metadata = match file {
        FileState::Absent | FileState::Whole => metadata(place)?,
        FileState::Empty | FileState::Plain | FileState::Cut => Metadata::Missing,
    };
    let log = match file {
        _ if log_size == 0 => LogState::Missing,
        FileState::Whole if metadata != Metadata::Unreadable && log_is_damaged(place)? => {
            LogState::Damaged
        }
        _ => LogState::Sound,
    };
    Ok((Seen { file, log, metadata }, size))
}

/// The stage of a database in the key metadata.
pub(crate) fn metadata(place: &Place) -> Result<Metadata, OpenError> {
    match key_metadata::read(place) {
        Ok(record) => Ok(record.map_or(Metadata::Missing, |record| record.stage.into())),
        Err(OpenError::KeyRecordMalformed) => Ok(Metadata::Unreadable),
        Err(error) => Err(error),
    }
}

/// An error about a file that was written just now. A file that cannot be read back is a fault of the disk, not damage.
pub(crate) fn of_new(error: OpenError) -> OpenError {
    match error {
        OpenError::Store(StoreError::Corrupt) | OpenError::WrongKey => {
            StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR_READ }.into()
        }
        error => error,
    }
}

/// The connection, and the time of the last re-key.
fn open_existing(
    place: &Place,
    lock: &OwnerLock,
    source: &DatabaseKey,
) -> Result<(Conn, Option<u64>), OpenError> {
    let record = key_metadata::read(place)?;
    let found = find_key(place, source, record.as_ref())?;
    // A keyring may have waited for a user.
    lock.require()?;
    let conn = connect(place, place.name(), &found.key, false)
        .map_err(|error| explain_refusal(place, &found.key, error))
        .map_err(|error| of_wrong_key(record.as_ref(), &found.key, error))?;
    let record = put_in_order(place, lock, record, found);
    key_metadata::remove_leftover(place);
    Ok((conn, record.rekeyed_at))
}

/// Checks the side-cars of `name` and narrows their modes. Returns the size of the write-ahead log.
fn side_cars(place: &Place, name: &OsStr) -> Result<u64, OpenError> {
    let mut log_size = 0;
    for suffix in SIDE_CARS {
        let found =
            place.inspect_and_narrow(&files::with_suffix(name, suffix), FileRole::Database)?;
        if let (Some(found), "-wal") = (found, suffix) {
            log_size = found.size;
        }
    }
    Ok(log_size)
}

fn is_plain(mut file: &File) -> Result<bool, OpenError> {
    let mut head = Vec::with_capacity(MAGIC.len());
    file.by_ref()
        .take(MAGIC.len() as u64)
        .read_to_end(&mut head)
        .map_err(|e| files::io_error("reading", FileRole::Database, &e))?;
    Ok(head == MAGIC)
}
