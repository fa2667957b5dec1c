//! A connection to a file: opened, and closed, together with the note that SQLite locks the file.

use std::{
    ffi::{CStr, OsStr},
    ops::{Deref, DerefMut},
};

use rusqlite::{Connection, OpenFlags};

use crate::{
    OpenError,
    files::{self, InUse, Place},
    undumped,
};

/// A connection. While it lives no other part of this process ends its locks: see `files/in_use.rs`.
pub(crate) struct Conn {
    /// `None` while closing.
    conn: Option<Connection>,
    /// Dropped after the connection.
    in_use: InUse,
}

impl Conn {
    /// Opens the file `name`, with the default VFS or with another one. Not one that was open when this process was forked.
    pub(crate) fn open(
        place: &Place,
        name: &OsStr,
        flags: OpenFlags,
        vfs: Option<&CStr>,
    ) -> Result<Self, OpenError> {
        files::refuse_inherited(place, name)?;
        undumped::begin();
        let mut in_use = InUse::default();
        in_use.add(place, name);
        let path = place.path(name);
        let conn = match vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
            None => Connection::open_with_flags(path, flags),
        };
        Ok(Self { conn: Some(conn?), in_use })
    }

    /// It locks this file, too: the index of a log has locks of its own.
    pub(crate) fn locks(&mut self, place: &Place, name: &OsStr) {
        self.in_use.add(place, name);
    }

    /// Closes it. On failure it is still there.
    #[allow(clippy::result_large_err)] // As rusqlite's is.
    pub(crate) fn close(mut self) -> Result<(), (Self, rusqlite::Error)> {
        let Some(conn) = self.conn.take() else { return Ok(()) };
        conn.close().map_err(|(conn, error)| {
            self.conn = Some(conn);
            (self, error)
        })
    }
}

/// One that locks nothing: in memory, or to a file that is called immutable.
impl From<Connection> for Conn {
    fn from(conn: Connection) -> Self {
        Self { conn: Some(conn), in_use: InUse::default() }
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
