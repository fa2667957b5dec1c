//! Connections to the file that is to be encrypted.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{
    APPLICATION_ID, FileRole, OpenError, StoreError,
    files::{self, Place},
    sqlcipher::{ReadOnly, configure, connection::Conn, open_read_only},
    store::schema,
    vault::{VaultError, look::Source},
};

/// The time in which another program has to let go of the file.
const PATIENCE: Duration = Duration::from_secs(1);

/// Moves the log of a plain database into its file, and opens the file for reading. The log stays, to be wiped. No
/// other program can read or write the file through SQLite as long as the source lives. The owner lock keeps out only
/// our own software.
pub(super) fn settle_plain(source: &Source) -> Result<Conn, VaultError> {
    guard(source, writable(&source.place)?, move_log)?;
    readable(source, false)
}

/// Locks the file for as long as the source lives, and does something under the lock.
fn guard(
    source: &Source,
    mut conn: Conn,
    work: impl Fn(&Connection) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    let try_once = |conn: &Connection| match alone(conn) {
        Ok(()) => (true, doubted(source, work(conn))),
        // The file is locked already when damage is seen.
        Err(VaultError::Damaged) => (true, doubted(source, Err(VaultError::Damaged))),
        Err(error) => (false, Err(error)),
    };
    let (mut locked, mut done) = try_once(&conn);
    if done == Err(VaultError::Damaged) {
        drop(conn);
        conn = writable(&source.place)?;
        (locked, done) = try_once(&conn);
    }
    if !locked {
        return done;
    }
    // The lock is kept also after a failure: SQLite makes an empty log for it, which the source removes. It is not kept
    // on Windows, where files that SQLite has open cannot be removed.
    if cfg!(unix) {
        source.guard_with(conn);
    }
    done
}

fn move_log(conn: &Connection) -> Result<(), VaultError> {
    check_plain(conn)?;
    let busy = conn
        .query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get::<_, i64>(0))
        .map_err(|error| damage(error.into()))?;
    if busy != 0 { Err(StoreError::Busy.into()) } else { Ok(()) }
}

/// Takes SQLite's exclusive lock on the file and keeps it until the connection is closed. Another reader gets a moment
/// to finish.
fn alone(conn: &Connection) -> Result<(), VaultError> {
    conn.busy_timeout(PATIENCE).map_err(OpenError::from)?;
    // Both are needed. The mode makes the lock stay when the transaction is over. The transaction takes it now and not
    // later.
    conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")
        .map_err(|error| damage(error.into()))
}

/// SQLite means the source when it says damaged. That is still to be doubted: see [`twice`].
pub(super) fn damage(error: StoreError) -> VaultError {
    match error {
        StoreError::Corrupt => VaultError::Damaged,
        error => error.into(),
    }
}

/// The result of a connection to the source. Damage counts only if it is found twice, each time in files that can be
/// read to their ends.
fn doubted<T>(source: &Source, found: Result<T, VaultError>) -> Result<T, VaultError> {
    if matches!(found, Err(VaultError::Damaged)) {
        source.read_through()?;
    }
    found
}

/// Opens a plain database for reading, with its log, and leaves it as it is.
pub(super) fn read_plain(source: &Source) -> Result<Conn, VaultError> {
    let place = &source.place;
    if has_journal(place)? {
        // Reading it means undoing what an interrupted transaction has written.
        twice(source, || check_plain(&*writable(place)?))?;
    }
    // With a log the connection that reads takes the lock.
    if !source.has_log() {
        match writable(place) {
            Ok(conn) => guard(source, conn, |_| Ok(()))?,
            // A file that cannot be written to needs no lock, and cannot be locked.
            Err(VaultError::Open(OpenError::Store(StoreError::ReadOnly))) => {}
            Err(error) => return Err(error),
        }
    }
    readable(source, source.has_log())
}

/// A connection to a plain source that is ours and whole.
fn readable(source: &Source, with_log: bool) -> Result<Conn, VaultError> {
    twice(source, || sound(look(&source.place, with_log)?))
}

/// Asks again if the source is said to be damaged. SQLite also says that of a read that failed.
pub(super) fn twice<T>(
    source: &Source,
    ask: impl Fn() -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    match doubted(source, ask()) {
        Err(VaultError::Damaged) => doubted(source, ask()),
        other => other,
    }
}

/// Opens a source for reading. A file that ends too early is damaged.
fn look(place: &Place, with_log: bool) -> Result<Conn, VaultError> {
    let plain = ReadOnly { with_log, ..ReadOnly::plain(place, place.name()) };
    open_read_only(&plain).map_err(|error| match error {
        OpenError::Store(StoreError::Corrupt) => VaultError::Damaged,
        error => error.into(),
    })
}

fn has_journal(place: &Place) -> Result<bool, VaultError> {
    let name = files::with_suffix(place.name(), "-journal");
    Ok(place.inspect(&name, FileRole::Database)?.is_some_and(|found| found.size > 0))
}

/// Returns the connection if its database is ours and whole.
fn sound(conn: Conn) -> Result<Conn, VaultError> {
    check_plain(&conn)?;
    let line = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match line.map_err(StoreError::from) {
        Ok(text) if text == "ok" => Ok(conn),
        Ok(text) => Err(match unread(&text) {
            Some(code) => StoreError::Io { code }.into(),
            None => VaultError::Damaged,
        }),
        Err(error) => Err(damage(error)),
    }
}

/// The code of a read that failed, if one of the lines has one. A page that could not be read is not known to be
/// damaged.
fn unread(text: &str) -> Option<i32> {
    text.split("error code").skip(1).find_map(|rest| {
        let rest = rest.trim_start_matches(['=', ' ']);
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let code: i32 = rest[..end].parse().ok()?;
        (code & 0xff == rusqlite::ffi::SQLITE_IOERR).then_some(code)
    })
}

/// Fails unless the file is ours, and of a schema that this version knows.
fn check_plain(conn: &Connection) -> Result<(), VaultError> {
    let found: i32 = conn
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|error| damage(error.into()))?;
    if found != APPLICATION_ID {
        return Err(OpenError::ForeignDatabase { found }.into());
    }
    Ok(schema::require_known(schema::version(conn).map_err(damage)?)?)
}

/// A connection that leaves the log in place when it is closed.
pub(super) fn writable(place: &Place) -> Result<Conn, VaultError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let conn = Conn::open(place, place.name(), flags)?;
    configure::require_writable(&conn)?;
    configure::keep_log(&conn, true)?;
    // Nothing here may look at the file: it may be encrypted, and has no key yet. SQLite syncs by default.
    conn.execute_batch("PRAGMA cipher_log_level = NONE").map_err(OpenError::from)?;
    Ok(conn)
}
