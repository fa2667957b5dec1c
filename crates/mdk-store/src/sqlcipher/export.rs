//! Writes the whole content of a database into a new file under another key: `sqlcipher_export`.

use std::{ffi::OsStr, fs, panic::resume_unwind, sync::mpsc, thread};

use mdk_wire::{Secret, secret::apart};
use rusqlite::{Connection, ffi};

use super::{integrity::is_sound, read_only::uri};
use crate::{
    OpenError, StoreError,
    files::Place,
    sqlcipher::{connection::Conn, raw_key},
};

/// Steps of SQLite's machine between two questions whether to go on: some hundred rows.
const STEPS: i32 = 400;

/// Writes everything that `from` reads into the file `name`, which is empty and private, encrypted under `key`. Rows,
/// tables and indexes are the same. Free pages do not go along. The file is not synced: the caller makes it durable or
/// throws it away. `go_on` is told the size of the file, and is not called while a page is worked on. Returns the
/// connection.
///
/// # Errors
/// The error of `go_on`, or a [`StoreError`] of the two files.
pub(crate) fn export<E: From<OpenError> + From<StoreError>>(
    mut from: Conn,
    place: &Place,
    name: &OsStr,
    key: &Secret<32>,
    mut go_on: impl FnMut(u64) -> Result<(), E>,
) -> Result<Conn, E> {
    from.locks(place, name);
    let path = place.path(name);
    let size = || fs::metadata(&path).map_or(0, |meta| meta.len());
    let text = uri(&path, "mode=rw").unwrap_or_else(|| path.to_string_lossy().into_owned());
    watched(from, || go_on(size()), |conn| copy(conn, &text, key))
}

fn copy(conn: &Connection, path: &str, key: &Secret<32>) -> Result<(), StoreError> {
    let field =
        |name: &str| conn.query_row(&format!("PRAGMA main.{name}"), [], |row| row.get::<_, i32>(0));
    conn.execute_batch("PRAGMA query_only = OFF")?;
    raw_key::with_key_text(key, |text| {
        conn.execute("ATTACH ?1 AS fresh KEY ?2", (path, text)).map(drop)
    })?;
    // The new file has no journal, which would need room beside the two files.
    conn.execute_batch("PRAGMA fresh.journal_mode = OFF; PRAGMA fresh.synchronous = OFF; BEGIN")?;
    conn.query_row("SELECT sqlcipher_export('fresh')", [], |_| Ok(())).map_err(error_of)?;
    if !is_sound(conn) {
        return Err(StoreError::Corrupt);
    }
    // The export copies rows, and no fields of the header.
    for name in ["application_id", "user_version"] {
        conn.pragma_update(Some("fresh"), name, field(name)?)?;
    }
    conn.execute_batch(
        "COMMIT; PRAGMA fresh.journal_mode = WAL; DETACH fresh; PRAGMA query_only = ON",
    )?;
    Ok(())
}

/// The error of an export. An export gives only SQLite's words (<https://sqlite.org/c3ref/errcode.html>).
fn error_of(error: rusqlite::Error) -> StoreError {
    let rusqlite::Error::SqliteFailure(_, Some(words)) = &error else { return error.into() };
    match words.as_str() {
        "database or disk is full" => StoreError::DiskFull,
        "disk I/O error" => StoreError::Io { code: ffi::SQLITE_IOERR },
        _ => StoreError::Corrupt,
    }
}

/// Works with a connection on a thread of its own. That thread waits while this one asks whether to go on.
fn watched<E: From<OpenError> + From<StoreError>>(
    mut conn: Conn,
    mut go_on: impl FnMut() -> Result<(), E>,
    work: impl FnOnce(&Connection) -> Result<(), StoreError> + Send,
) -> Result<Conn, E> {
    go_on()?;
    let (ask, asked) = mpsc::sync_channel(0);
    let (answer, answered) = mpsc::sync_channel(0);
    conn.progress_handler(
        STEPS,
        Some(move || ask.send(()).is_err() || answered.recv().unwrap_or(true)),
    )
    .map_err(StoreError::from)?;
    thread::scope(move |scope| {
        let worker = scope.spawn(move || {
            let done = apart(|| work(&conn));
            // This drops the handler, and with it the end of the channel that asks.
            let unwatched = conn.progress_handler(0, None::<fn() -> bool>);
            (conn, done.and(unwatched.map_err(StoreError::from)))
        });
        let mut told = Ok(());
        while asked.recv().is_ok() {
            told = go_on();
            if answer.send(told.is_err()).is_err() {
                break;
            }
        }
        let (conn, done) = worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        told?;
        done?;
        Ok(conn)
    })
}
