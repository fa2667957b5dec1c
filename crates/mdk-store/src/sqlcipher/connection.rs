//! A connection to a file: opened, and closed, together with the note that SQLite locks the file.

use std::{
    ffi::OsStr,
    ops::{Deref, DerefMut},
    sync::Once,
};

use rusqlite::{Connection, OpenFlags, ffi};

use crate::{
    OpenError,
    files::{self, InProcess, InUse, Place},
    sqlcipher::undumped,
};

/// A connection. No other part of this process ends its locks while it lives: see `files/open_databases.rs`.
pub(crate) struct Conn {
    /// `None` while closing.
    conn: Option<Connection>,
    /// Dropped after the connection.
    in_use: InUse,
    _in_process: InProcess,
}

/// Starts SQLite and SQLCipher, once. SQLite calls itself started before SQLCipher is, so a second thread that opens
/// its first database at that moment would get one without a cipher.
fn start_library() {
    static STARTED: Once = Once::new();
    // SAFETY: it may be called at any time, from any thread. A failure is that of the opening that follows.
    STARTED.call_once(|| {
        let _ = unsafe { ffi::sqlite3_initialize() };
    });
}

impl Conn {
    /// Opens the file `name`.
    pub(crate) fn open(place: &Place, name: &OsStr, flags: OpenFlags) -> Result<Self, OpenError> {
        let mut in_use = InUse::default();
        in_use.note_open(place.id(name));
        let conn = Self::make(|| Connection::open_with_flags(place.path(name), flags))?;
        Ok(Self { in_use, ..conn })
    }

    /// A connection that locks nothing: in memory, or to a file that is opened as immutable.
    pub(crate) fn make(
        open: impl FnOnce() -> rusqlite::Result<Connection>,
    ) -> Result<Self, OpenError> {
        files::refuse_forked()?;
        undumped::begin();
        let in_process = InProcess::begin();
        start_library();
        Ok(Self { conn: Some(open()?), in_use: InUse::default(), _in_process: in_process })
    }

    /// Notes that the connection locks this file, too: the index of a log has locks of its own.
    pub(crate) fn locks(&mut self, place: &Place, name: &OsStr) {
        self.in_use.note_open(place.id(name));
    }

    /// Closes the connection. On failure it is still open.
    #[allow(clippy::result_large_err)] // As rusqlite's is.
    pub(crate) fn close(mut self) -> Result<(), (Self, rusqlite::Error)> {
        let Some(conn) = self.conn.take() else { return Ok(()) };
        conn.close().map_err(|(conn, error)| {
            self.conn = Some(conn);
            (self, error)
        })
    }
}

impl Deref for Conn {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn.as_ref().expect("it is there until it is closed")
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut Connection {
        self.conn.as_mut().expect("it is there until it is closed")
    }
}
