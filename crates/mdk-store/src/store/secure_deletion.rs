//! Deleted content leaves the write-ahead log, too.
//!
//! SQLite wipes what is deleted from the database file (`PRAGMA secure_delete`). The log keeps earlier copies of its
//! pages: its frames are overwritten one by one as it is used again, and some of them hardly ever. So the log is cut.

use std::cell::Cell;

use rusqlite::Connection;

use super::checkpoint;
use crate::Result;

/// The erased content that is still in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Erased {
    #[default]
    Nothing,
    /// States of epochs that are over; every commit leaves one. They wait for [`Store::forget_erased`], because a log
    /// that was cut is slow until it has its length again.
    ///
    /// [`Store::forget_erased`]: crate::Store::forget_erased
    Epochs,
    /// Content that a user deleted, or that has expired. It is gone when the log is next begun anew.
    Content,
}

/// Cuts the log after all of it was moved, if a user's content is still in it. After a failure the next move tries it
/// again.
pub(super) fn after_move(conn: &Connection, erased: &Cell<Erased>) {
    if erased.get() == Erased::Content {
        let _ = cut_log(conn, erased);
    }
}

/// Cuts a log of which all was moved.
///
/// # Errors
/// The log cannot be cut, or another connection reads it.
pub(super) fn cut_log(conn: &Connection, erased: &Cell<Erased>) -> Result<()> {
    checkpoint::truncate(conn)?;
    erased.take();
    Ok(())
}
