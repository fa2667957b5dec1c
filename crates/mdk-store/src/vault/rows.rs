//! The rows of all tables, read in one order and summed up.

use rusqlite::{Connection, types::ValueRef};
use sha2::{Digest, Sha256};

use super::{Progress, Stage, VaultError};
use crate::{StoreError, sqlcipher};

/// The sum of the rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableSum {
    pub(crate) name: String,
    pub(crate) rows: u64,
    digest: [u8; 32],
}

/// The tables of a database that hold rows, SQLite's list of counters included.
pub(crate) fn tables(conn: &Connection) -> Result<Vec<String>, StoreError> {
    // Rows that ANALYZE writes are no content.
    let mut tables = conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' \
         AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence') ORDER BY name",
    )?;
    Ok(tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The entries of the schema, except those that SQLite makes by itself.
pub(crate) fn schema(conn: &Connection) -> Result<Vec<(String, String)>, StoreError> {
    let mut entries = conn.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY type, name",
    )?;
    let entries = entries.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(entries.collect::<Result<_, _>>()?)
}

/// The columns of a table, in their order.
pub(crate) fn columns(conn: &Connection, table: &str) -> Result<Vec<String>, StoreError> {
    let mut columns = conn.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
    Ok(columns.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Sums up every table.
pub(crate) fn sums(
    conn: &Connection,
    total: u64,
    progress: &mut Progress<'_>,
) -> Result<Vec<TableSum>, VaultError> {
    let mut meter = Meter { stage: Stage::Comparing, done: 0, told: 0, total };
    progress.tell(Stage::Comparing, 0, total)?;
    let mut sums = Vec::new();
    for table in tables(conn)? {
        sums.push(sum(conn, table, &mut meter, progress)?);
    }
    match sqlcipher::is_sound(conn) {
        true => Ok(sums),
        false => Err(StoreError::Corrupt.into()),
    }
}

/// The statement that inserts a row with all columns.
pub(crate) fn insert_sql(table: &str, columns: &[String]) -> String {
    let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let names: Vec<String> = columns.iter().map(quote).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    format!("INSERT INTO {} ({}) VALUES ({marks})", quote(&table.to_owned()), names.join(", "))
}

fn sum(
    conn: &Connection,
    name: String,
    meter: &mut Meter,
    progress: &mut Progress<'_>,
) -> Result<TableSum, VaultError> {
    let mut hash = Sha256::new();
    let mut rows = 0;
    let quoted = name.replace('"', "\"\"");
    // Our tables have a row number or a key of one column that is first.
    let has_row_number = conn.prepare(&format!("SELECT rowid FROM \"{quoted}\"")).is_ok();
    let order = if has_row_number { "rowid" } else { "1" };
    let mut select = conn
        .prepare(&format!("SELECT * FROM \"{quoted}\" ORDER BY {order}"))
        .map_err(StoreError::from)?;
    let columns = select.column_count();
    let mut found = select.query([]).map_err(StoreError::from)?;
    while let Some(row) = found.next().map_err(StoreError::from)? {
        rows += 1;
        hash.update(b"R");
        for column in 0..columns {
            let value = row.get_ref(column).map_err(StoreError::from)?;
            meter.done += size(&value);
            add(&mut hash, value);
        }
        meter.tell(progress)?;
    }
    Ok(TableSum { name, rows, digest: hash.finalize().into() })
}

fn add(hash: &mut Sha256, value: ValueRef<'_>) {
    let mut part = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    match value {
        ValueRef::Null => part(b'N', &[]),
        ValueRef::Integer(n) => part(b'I', &n.to_be_bytes()),
        ValueRef::Real(x) => part(b'F', &x.to_bits().to_be_bytes()),
        ValueRef::Text(text) => part(b'S', text),
        ValueRef::Blob(blob) => part(b'B', blob),
    }
}

fn size(value: &ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
    }
}

struct Meter {
    stage: Stage,
    done: u64,
    told: u64,
    total: u64,
}

impl Meter {
    fn tell(&mut self, progress: &mut Progress<'_>) -> Result<(), VaultError> {
        if self.done - self.told < 1 << 20 {
            return Ok(());
        }
        self.told = self.done;
        // Rows are usually smaller than their pages, but nothing promises it.
        progress.tell(self.stage, self.done.min(self.total), self.total)
    }
}
