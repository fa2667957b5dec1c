//! The checks of SQLite.

use rusqlite::Connection;

use super::report::MAX_LINES;
use crate::vault::VaultError;
use crate::{OpenError, sqlcipher::connection::Conn};

/// All checks, on one connection. `ask` may stop the work between two checks.
pub(super) fn all(
    conn: &Connection,
    lines: &mut Vec<String>,
    ask: &mut dyn FnMut() -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    ask()?;
    integrity(conn, None, lines);
    ask()?;
    foreign_keys(conn, lines);
    Ok(())
}

/// Checks each table by itself. SQLCipher gives a connection up once it has met a damaged page, so the next table gets
/// a new one. `ask` may stop the work between two tables.
pub(super) fn each_table(
    connect: &dyn Fn() -> Result<Conn, OpenError>,
    lines: &mut Vec<String>,
    ask: &mut dyn FnMut() -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    let mut conn = connect().ok();
    let tables = conn.as_ref().and_then(|conn| tables(conn).ok());
    for table in tables.unwrap_or_default() {
        ask()?;
        let mut found = Vec::new();
        match &conn {
            Some(conn) => integrity(conn, Some(&table), &mut found),
            None => found.push("not readable".to_owned()),
        }
        if !found.is_empty() {
            // The old connection ends first: beside a log it holds an exclusive lock.
            drop(conn.take());
            conn = connect().ok();
        }
        lines.extend(found.into_iter().map(|line| format!("table {table}: {line}")));
    }
    Ok(())
}

/// Tables that hold rows.
pub(crate) fn tables(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence' ORDER BY name",
    )?
    .query_map([], |row| row.get(0))?
    .collect()
}

// The sentences of SQLite name tables, indexes, pages and row numbers. They quote no value.
fn integrity(conn: &Connection, table: Option<&str>, lines: &mut Vec<String>) {
    let sql = match table {
        None => format!("PRAGMA integrity_check({MAX_LINES})"),
        Some(table) => format!("PRAGMA integrity_check(\"{}\")", table.replace('"', "\"\"")),
    };
    let result = conn.prepare(&sql).and_then(|mut check| {
        let mut rows = check.query([])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            if text != "ok" {
                lines.push(text.replace('\n', "; "));
            }
        }
        Ok(())
    });
    if result.is_err() {
        lines.push("not readable to its end".to_owned());
    }
}

fn foreign_keys(conn: &Connection, lines: &mut Vec<String>) {
    let count = conn
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get::<_, i64>(0));
    match count {
        Ok(0) => {}
        Ok(count) => lines.push(format!("{count} rows refer to rows that are not there")),
        Err(_) => lines.push("references between tables could not be checked".to_owned()),
    }
}
