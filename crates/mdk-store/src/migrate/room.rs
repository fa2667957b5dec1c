//! How much room a migration needs on its disk. It is added up from what each step does to the pages, before anything is
//! written: a disk that is full half-way is an error too, but one without a number, and after all the work.
//!
//! All steps are one transaction. What it changes goes to the write-ahead log, every page once however often it is
//! changed, for SQLite overwrites in the log what the same transaction has written there. Then the log is moved into the
//! file, which grows by the pages that are new while the log still has its size.

use rusqlite::Connection;

use super::MIGRATIONS;
use crate::{OpenError, Result, StoreError, files::Place, store::log};

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Pages of the log that each further part of its index is for, and the bytes of such a part.
const INDEXED: u64 = 4096;
const INDEX: u64 = 32 << 10;

/// Pages that any step changes besides its rows: the first one, those of the schema, the list of free ones.
const CHANGED: u64 = 16;
/// Pages that any step makes besides its rows: the roots of its tables and indexes, and of the schema's own growth.
const MADE: u64 = 12;
/// Pages that one changed row of `messages` is in: its own, and in each of four indexes the old place and the new one,
/// with what a full page is divided into.
const PER_ROW: u64 = 16;
/// Bytes of an index's entry, at most, with its share of what its pages leave free.
const ENTRY: u64 = 160;

/// Where a row of `messages` is, and what goes with it.
const MESSAGES: [&str; 8] = [
    "messages",
    "messages_by_id",
    "messages_shown",
    "messages_by_target",
    "messages_by_expiry",
    "file_keys",
    "file_keys_by_file",
    "file_keys_by_message",
];

/// What a step does that grows with the database.
struct Step {
    /// Tables and indexes of which every page is written anew, and that may be there twice meanwhile.
    rebuilt: &'static [&'static str],
    /// Rows of `messages` that are changed where they stand, and the bytes of content that they lose.
    changed: &'static [&'static str],
    /// Entries of new indexes.
    entries: &'static [&'static str],
}

/// The steps of `MIGRATIONS`, without the first: there is nothing before it.
const STEPS: [Step; MIGRATIONS.len() - 1] = [
    Step {
        rebuilt: &["groups", "nodes", "sqlite_autoindex_nodes_1"],
        changed: &[],
        entries: &["SELECT count(*) FROM messages WHERE status >= 3"],
    },
    Step { rebuilt: &["commits_open"], changed: &[], entries: &[] },
    Step { rebuilt: &[], changed: &[], entries: &[] },
    Step {
        rebuilt: &[],
        changed: &[DOUBLES, EDITS_OF_DELETED],
        entries: &["SELECT count(*) FROM messages WHERE kind = 1009"],
    },
];

/// Messages that are there already: all but one of each. That some of them are hidden is not taken off.
const DOUBLES: &str = "
    SELECT count(*), total(length(CAST(content AS BLOB)) + length(tags)) FROM messages AS one WHERE EXISTS (
      SELECT 1 FROM messages AS other INDEXED BY messages_by_id
      WHERE other.group_id = one.group_id AND other.id = one.id AND other.seq < one.seq)";

const EDITS_OF_DELETED: &str = "
    SELECT count(*), total(length(CAST(content AS BLOB)) + length(tags)) FROM messages
    WHERE kind = 1009 AND status <> 1 AND EXISTS (
      SELECT 1 FROM messages AS edited INDEXED BY messages_by_id WHERE edited.group_id = messages.group_id
      AND edited.id = messages.target AND edited.status = 1)";

/// Fails unless the disk has the room that migrating from version `found` needs.
pub(super) fn require(conn: &Connection, found: u32, place: &Place) -> Result<(), OpenError> {
    let (needed, available) = (needed(conn, found)?, place.free_bytes()?);
    if available >= needed {
        return Ok(());
    }
    Err(OpenError::NoSpace { directory: place.directory(), needed, available })
}

/// Bytes that log and file will grow by.
pub(super) fn needed(conn: &Connection, found: u32) -> Result<u64> {
    let (mut changed, mut made) = (0, 0);
    for step in STEPS.iter().skip(found.saturating_sub(1) as usize) {
        let rebuilt = step.rebuilt.iter().map(|name| pages_of(conn, name)).sum::<Result<u64>>()?;
        // A row with new columns is a little longer.
        made += MADE + rebuilt + rebuilt / 8;
        changed += CHANGED + rebuilt;
        let (mut rows, mut bytes) = (0, 0);
        for sql in step.changed {
            let more: (i64, f64) = conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            (rows, bytes) = (rows + unsigned(more.0), bytes + whole(more.1));
        }
        if rows > 0 {
            let all = MESSAGES.iter().map(|name| pages_of(conn, name)).sum::<Result<u64>>()?;
            changed += (rows * PER_ROW + bytes / PAGE).min(all);
            // Only in this index an entry comes to another place; each place may be in a full page.
            made += rows.min(pages_of(conn, "messages_by_id")?);
        }
        for sql in step.entries {
            let entries = conn.query_row(sql, [], |row| row.get(0))?;
            made += (unsigned(entries) * ENTRY).div_ceil(PAGE);
        }
    }
    let (pages, free) = (pragma(conn, "page_count")?, pragma(conn, "freelist_count")?);
    // (and the last page of a transaction is written once more, to end it)
    let frames = changed.min(pages) + made + 1;
    let before = u64::try_from(log::committed(conn)?).unwrap_or(0);
    let log = log::bytes_with(before + frames).saturating_sub(log::size(conn));
    let index = ((before + frames) / INDEXED) * INDEX;
    let file = (pages + made.saturating_sub(free)) * PAGE;
    Ok(log + index + file.saturating_sub(log::database_size(conn)))
}

/// Pages of a table or an index, with those that its long rows go on in. None if it is not there.
fn pages_of(conn: &Connection, name: &str) -> Result<u64> {
    let sql = "SELECT total(pageno) FROM dbstat WHERE name = ?1 AND aggregate = TRUE";
    let pages: f64 = conn.query_row(sql, [name], |row| row.get(0))?;
    Ok(whole(pages))
}

fn pragma(conn: &Connection, name: &str) -> Result<u64, StoreError> {
    Ok(unsigned(conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?))
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A sum, which SQLite gives as a float: exact as far as a file can be large, and never negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(total: f64) -> u64 {
    total as u64
}

#[cfg(test)]
mod tests;
