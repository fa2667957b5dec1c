//! Copies the rows of a damaged database, read through SQL past unreadable pages, into a new one.
//!
//! SQLCipher gives a connection up once it has met a damaged page. So each stretch of rows that ends at one is followed
//! by a new connection. Rows behind the damage are found by row numbers: a search leads past the damaged page, unless
//! that page leads to others.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params_from_iter, types::Value};

use crate::{
    OpenError, StoreError,
    sqlcipher::{connection::Conn, is_sound},
    vault::{Progress, Stage, VaultError, look::Source, rows},
};

/// Rows after which written rows are moved out of the write-ahead log.
const COMMIT_EVERY: u64 = 2000;
/// The most new connections for one table. Each row on a damaged page takes some.
const MOST_TRIES: u32 = 5000;
/// Bytes of a row above which a part of it may lie on pages of its own.
const MAY_OVERFLOW: usize = 400;
/// The farthest distance behind damage at which the next row number is looked for.
const FARTHEST: i64 = 1 << 40;

/// The losses of one table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// Rows that were not saved: an index lists them, or they do not fit the schema.
    pub(super) rows: u64,
    /// The groups of these, where the index has them.
    pub(super) groups: BTreeSet<Vec<u8>>,
    /// Rows may be missing that nothing lists.
    pub(super) unlisted: bool,
}

/// The number of rows, and their groups where these are known.
type Listed = (u64, BTreeSet<Vec<u8>>);

/// The end of a stretch of rows.
enum Stretch {
    /// The end of the rows that were asked for.
    Whole,
    /// Damage, behind the row of this number if there was a row before it.
    Until(Option<i64>),
}

/// Copies tables from one damaged database.
pub(super) struct Copy<'a> {
    source: &'a Source,
    connect: &'a dyn Fn() -> Result<Conn, OpenError>,
    from: Option<Conn>,
    to: &'a Connection,
    pub(super) losses: BTreeMap<String, Loss>,
    written: u64,
    tries: u32,
    /// Damage was met, although the files can be read to their ends.
    doubted: bool,
}

/// A table of the new database.
struct Table {
    name: String,
    columns: Vec<String>,
    /// The key of a table without row numbers.
    key: Vec<String>,
    has_row_numbers: bool,
    /// Row numbers that were saved.
    saved: BTreeSet<i64>,
}

impl<'a> Copy<'a> {
    pub(super) fn new(
        source: &'a Source,
        connect: &'a dyn Fn() -> Result<Conn, OpenError>,
        to: &'a Connection,
    ) -> Self {
        let (losses, doubted) = (BTreeMap::new(), false);
        Self { source, connect, from: None, to, losses, written: 0, tries: 0, doubted }
    }

    /// Reads every table.
    pub(super) fn run(&mut self, progress: &mut Progress<'_>) -> Result<(), VaultError> {
        let to = self.to;
        let batch = |sql| to.execute_batch(sql).map_err(StoreError::from);
        batch("PRAGMA synchronous = OFF; BEGIN")?;
        for name in rows::tables(to)? {
            if name == "sqlite_sequence" {
                self.counters()?;
            } else {
                let mut table = table(to, &name)?;
                self.tries = 0;
                self.table(&mut table, progress)?;
            }
        }
        batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    fn table(&mut self, table: &mut Table, progress: &mut Progress<'_>) -> Result<(), VaultError> {
        let lost = match table.has_row_numbers {
            true => self.by_number(table, progress)?,
            false => {
                let order = table.key.join(", ");
                let back = format!("{} DESC", table.key.join(" DESC, "));
                // The table is read from both ends: a search leads past damage only where it is known what to search
                // for.
                matches!(self.stretch(table, &order, None, progress)?, Stretch::Until(_))
                    && matches!(self.stretch(table, &back, None, progress)?, Stretch::Until(_))
            }
        };
        if lost {
            let listed = self.list(table)?;
            let loss = self.losses.entry(table.name.clone()).or_default();
            match listed {
                Some((rows, groups)) => {
                    loss.rows += rows;
                    loss.groups.extend(groups);
                }
                None => loss.unlisted = true,
            }
        }
        Ok(())
    }

    /// Reads a table with row numbers. Returns whether anything in it could not be read.
    fn by_number(
        &mut self,
        table: &mut Table,
        progress: &mut Progress<'_>,
    ) -> Result<bool, VaultError> {
        // The rows that are written most often have numbers below zero (`store/mls/rows.rs`). They are few, so reading
        // from both ends will do.
        let below = (i64::MIN, -1);
        let mut lost = matches!(self.down(table, below, progress)?, Stretch::Until(_))
            && matches!(self.up(table, below, progress)?, Stretch::Until(_));
        let mut first = 0;
        while let Stretch::Until(last) = self.up(table, (first, i64::MAX), progress)? {
            first = last.map_or(first, |last| last.saturating_add(1));
            // The search goes ever farther away, until there is a row again.
            let mut step = 1;
            let behind = loop {
                let from = first.saturating_add(step);
                if step > FARTHEST || self.tries > MOST_TRIES {
                    break None;
                }
                match self.up(table, (from, i64::MAX), progress)? {
                    Stretch::Until(None) => step *= 2,
                    Stretch::Until(Some(last)) => break Some((from, Some(last))),
                    Stretch::Whole => break Some((from, None)),
                }
            };
            let Some((from, last)) = behind else { return Ok(true) };
            lost |= self.between(table, (first, from - 1), progress)?;
            match last {
                Some(last) => first = last.saturating_add(1),
                None => break,
            }
        }
        Ok(lost)
    }

    /// Reads the readable rows between two numbers. The row of the first number may be damaged. Returns whether any
    /// could not be read.
    fn between(
        &mut self,
        table: &mut Table,
        (mut first, mut last): (i64, i64),
        progress: &mut Progress<'_>,
    ) -> Result<bool, VaultError> {
        if first > last || self.tries > MOST_TRIES {
            return Ok(first <= last);
        }
        match self.down(table, (first, last), progress)? {
            Stretch::Whole => return Ok(false),
            Stretch::Until(found) => last = found.map_or(last, |found| found - 1),
        }
        match self.up(table, (first, last), progress)? {
            Stretch::Whole => return Ok(false),
            Stretch::Until(found) => first = found.map_or(first, |found| found + 1),
        }
        if first >= last {
            return Ok(true);
        }
        let middle = first + (last - first) / 2;
        let lost = self.between(table, (first, middle), progress)?;
        Ok(self.between(table, (middle + 1, last), progress)? || lost)
    }

    fn up(
        &mut self,
        table: &mut Table,
        range: (i64, i64),
        progress: &mut Progress<'_>,
    ) -> Result<Stretch, VaultError> {
        self.stretch(table, "rowid", Some(range), progress)
    }

    fn down(
        &mut self,
        table: &mut Table,
        range: (i64, i64),
        progress: &mut Progress<'_>,
    ) -> Result<Stretch, VaultError> {
        self.stretch(table, "rowid DESC", Some(range), progress)
    }

    /// Reads rows in this order and writes them, until there are none or one cannot be read.
    fn stretch(
        &mut self,
        table: &mut Table,
        order: &str,
        range: Option<(i64, i64)>,
        progress: &mut Progress<'_>,
    ) -> Result<Stretch, VaultError> {
        progress.tell(Stage::Writing, 0, self.source.size)?;
        self.tries += 1;
        let Some(from) = self.take() else { return self.doubt(None) };
        let number = if table.has_row_numbers { "rowid" } else { "0" };
        let within = if range.is_some() { "WHERE rowid BETWEEN ?1 AND ?2" } else { "" };
        let columns = quoted(&table.columns);
        let sql =
            format!("SELECT {number}, {columns} FROM \"{}\" {within} ORDER BY {order}", table.name);
        let mut last = None;
        let read = from.prepare_cached(&sql).map_err(StoreError::from).map(|mut select| {
            let mut found = match range {
                Some(range) => select.query(range).map_err(StoreError::from)?,
                None => select.query([]).map_err(StoreError::from)?,
            };
            loop {
                let row = match found.next().map_err(StoreError::from) {
                    Ok(Some(row)) => row,
                    Ok(None) => return Ok(Stretch::Whole),
                    Err(StoreError::Corrupt | StoreError::Io { .. }) => {
                        return Ok(Stretch::Until(last));
                    }
                    Err(error) => return Err(VaultError::from(error)),
                };
                let number: i64 = row.get(0).map_err(StoreError::from)?;
                let values = (1..=table.columns.len()).map(|n| row.get::<_, Value>(n));
                let values = values.collect::<Result<Vec<_>, _>>().map_err(StoreError::from)?;
                // SQLCipher gives zeros for the last page of a long value if that page is damaged. It says so only to
                // the next query.
                if size(&values) > MAY_OVERFLOW && !is_sound(&from) {
                    return Ok(Stretch::Until(last));
                }
                self.keep(&table.name, &table.columns, values)?;
                table.saved.insert(number);
                last = Some(number);
            }
        });
        match read {
            Ok(Ok(Stretch::Whole)) => {
                self.from = Some(from);
                Ok(Stretch::Whole)
            }
            Ok(Ok(Stretch::Until(last))) => self.doubt(last),
            Ok(Err(error)) => Err(error),
            // The list of tables cannot be read, or the table is not there.
            Err(_) => self.doubt(None),
        }
    }

    /// Fails if the system refuses a read: damage may be only that, and then nothing is said of the file.
    fn doubt(&mut self, last: Option<i64>) -> Result<Stretch, VaultError> {
        if !self.doubted {
            self.source.read_through()?;
            self.doubted = true;
        }
        Ok(Stretch::Until(last))
    }

    /// A connection that has not met damage yet.
    fn take(&mut self) -> Option<Conn> {
        self.from.take().or_else(|| (self.connect)().ok())
    }

    /// Writes a row, unless it is there already.
    fn keep(
        &mut self,
        table: &str,
        columns: &[String],
        values: Vec<Value>,
    ) -> Result<(), VaultError> {
        let sql = rows::insert_sql(table, columns).replacen("INSERT", "INSERT OR IGNORE", 1);
        let inserted = self
            .to
            .prepare_cached(&sql)
            .and_then(|mut insert| insert.execute(params_from_iter(values)));
        match inserted {
            Ok(count) => self.written += count as u64,
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) =>
            {
                self.losses.entry(table.to_owned()).or_default().rows += 1;
            }
            Err(error) => return Err(StoreError::from(error).into()),
        }
        if self.written >= COMMIT_EVERY {
            self.written = 0;
            self.to
                .execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE); BEGIN")
                .map_err(StoreError::from)?;
        }
        Ok(())
    }

    /// Counters never go back.
    fn counters(&mut self) -> Result<(), VaultError> {
        let Some(from) = self.take() else { return Ok(()) };
        let read = || {
            let mut select = from.prepare("SELECT name, seq FROM sqlite_sequence")?;
            let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            found.collect::<rusqlite::Result<Vec<(String, i64)>>>()
        };
        let Ok(counters) = read() else { return Ok(()) };
        self.from = Some(from);
        for (name, seq) in counters {
            let to = self.to;
            let set = |sql: &str| to.execute(sql, (&name, seq)).map_err(StoreError::from);
            if set("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1")? == 0 {
                set("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)")?;
            }
        }
        Ok(())
    }

    /// Rows that an index lists and that were not saved, with their groups. `None`: no index lists all of them.
    fn list(&mut self, table: &Table) -> Result<Option<Listed>, VaultError> {
        for (index, group) in indexes(self.to, table)? {
            let Some(from) = self.take() else { continue };
            let column = group.as_deref().unwrap_or("NULL");
            let sql =
                format!("SELECT rowid, {column} FROM \"{}\" INDEXED BY \"{index}\"", table.name);
            let read = || {
                let mut select = from.prepare(&sql)?;
                let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                found.collect::<rusqlite::Result<Vec<(i64, Option<Vec<u8>>)>>>()
            };
            let Ok(listed) = read() else { continue };
            self.from = Some(from);
            let lost = listed.into_iter().filter(|(number, _)| !table.saved.contains(number));
            let (mut rows, mut groups) = (0, BTreeSet::new());
            for (_, group) in lost {
                rows += 1;
                groups.extend(group);
            }
            return Ok(Some((rows, groups)));
        }
        Ok(None)
    }
}

/// About as many bytes as the values have.
fn size(values: &[Value]) -> usize {
    let size = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 8,
    };
    values.iter().map(size).sum()
}

fn quoted(columns: &[String]) -> String {
    columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn table(conn: &Connection, name: &str) -> Result<Table, StoreError> {
    let has_row_numbers = !conn.query_row(
        "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
        [name],
        |row| row.get::<_, bool>(0),
    )?;
    let mut key =
        conn.prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
    let key = key.query_map([name], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let columns = rows::columns(conn, name)?;
    Ok(Table { name: name.to_owned(), columns, key, has_row_numbers, saved: BTreeSet::new() })
}

/// Indexes that list all rows of a table with row numbers, each with its column of groups. Indexes with such a column
/// come first.
fn indexes(conn: &Connection, table: &Table) -> Result<Vec<(String, Option<String>)>, StoreError> {
    if !table.has_row_numbers {
        return Ok(Vec::new());
    }
    let mut list = conn.prepare(
        "SELECT name, (SELECT i.name FROM pragma_index_info(l.name) AS i WHERE i.name IN ('group_id', 'scope')) AS g \
         FROM pragma_index_list(?1) AS l WHERE partial = 0 ORDER BY g IS NULL",
    )?;
    let found = list.query_map([&table.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}
