//! The rows of all tables, read in one order, copied and compared.

use rusqlite::{
    Connection, Row, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use sha2::{Digest, Sha256};

use super::{Progress, Stage, VaultError};
use crate::StoreError;

/// What the rows of one table come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableSum {
    pub(crate) name: String,
    pub(crate) rows: u64,
    digest: [u8; 32],
}

/// The tables of a database that hold rows, SQLite's list of counters included.
pub(crate) fn tables(conn: &Connection) -> Result<Vec<String>, StoreError> {
    // What ANALYZE writes is no content.
    let mut tables = conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' \
         AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence') ORDER BY name",
    )?;
    Ok(tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
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
    tables(conn)?
        .into_iter()
        .map(|table| sum(conn, table, &mut meter, progress, |_| Ok(())))
        .collect()
}

/// Copies every row of `from` into the new, empty database `to`, which has the same tables. Returns the sums of what was
/// read. Whoever calls this makes the file durable or throws it away, so it is not synced, and it keeps no journal: that
/// would need room beside the two files, for the indexes that rows lie in by chance hundreds of bytes for each of theirs.
pub(crate) fn copy(
    from: &Connection,
    to: &Connection,
    total: u64,
    progress: &mut Progress<'_>,
) -> Result<Vec<TableSum>, VaultError> {
    let names = tables(from)?;
    if names != tables(to)? {
        return Err(VaultError::CopyDiffers);
    }
    to.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; BEGIN")
        .map_err(StoreError::from)?;
    let mut meter = Meter { stage: Stage::Writing, done: 0, told: 0, total };
    progress.tell(Stage::Writing, 0, total)?;
    let mut out = Vec::new();
    // The counters come last: inserting rows moves them.
    let (counters, names): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name == "sqlite_sequence");
    for table in names.into_iter().chain(counters) {
        let columns = columns(from, &table)?;
        if columns != self::columns(to, &table)? {
            return Err(VaultError::CopyDiffers);
        }
        if table == "sqlite_sequence" {
            to.execute("DELETE FROM sqlite_sequence", []).map_err(StoreError::from)?;
        }
        let mut insert = to.prepare(&insert_sql(&table, &columns)).map_err(StoreError::from)?;
        let sum = sum(from, table, &mut meter, progress, |row| {
            let values = (0..columns.len()).map(|n| row.get_ref(n).map(ToSqlOutput::Borrowed));
            let values = values.collect::<Result<Vec<_>, _>>().map_err(StoreError::from)?;
            insert.execute(params_from_iter(values)).map_err(StoreError::from)?;
            Ok(())
        })?;
        out.push(sum);
    }
    to.execute_batch("COMMIT; PRAGMA journal_mode = WAL").map_err(StoreError::from)?;
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
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
    mut each: impl FnMut(&Row<'_>) -> Result<(), VaultError>,
) -> Result<TableSum, VaultError> {
    let mut hash = Sha256::new();
    let mut rows = 0;
    let quoted = name.replace('"', "\"\"");
    // Our tables have a row number or a key of one column that stands first.
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
        each(row)?;
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
        // Rows are smaller than the pages that they lie on, but nothing promises it.
        progress.tell(self.stage, self.done.min(self.total), self.total)
    }
}
