//! What the tables and indexes of our schema look like: by that their records are known again.

use rusqlite::{Connection, types::Value};

use super::btree::{Kind, Record};
use crate::StoreError;

/// What one column may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    kind: String,
    optional: bool,
    /// It is the row number, and its place in the record is empty.
    row_number: bool,
}

/// A table or an index.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) name: String,
    /// The table that holds the rows.
    pub(super) table: String,
    pub(super) columns: Vec<String>,
    /// Its records are rows.
    pub(super) is_table: bool,
    has_row_numbers: bool,
    shape: Vec<Column>,
    /// For an index with an entry for every row: the place of the group id, if it has one.
    pub(super) lists_all_rows: bool,
    pub(super) group: Option<usize>,
    pub(super) root: Option<u32>,
    /// Pages of it that could not be read.
    pub(super) damaged: u64,
}

impl Tree {
    /// Whether a page of this kind can be a page of it.
    pub(super) fn is_of_kind(&self, kind: Kind) -> bool {
        let table = matches!(kind, Kind::TableInner | Kind::TableLeaf);
        table == (self.is_table && self.has_row_numbers)
    }

    /// Whether pages of it may be somewhere that nothing leads to.
    pub(super) fn is_incomplete(&self) -> bool {
        self.root.is_none() || self.damaged > 0
    }

    /// Whether the record can be one of it.
    pub(super) fn fits(&self, record: &Record) -> bool {
        record.values.len() == self.shape.len()
            && record.row.is_some() == (self.is_table && self.has_row_numbers)
            && self.shape.iter().zip(&record.values).all(|(column, value)| column.allows(value))
    }

    /// The values of a row as they are inserted.
    pub(super) fn row(&self, record: Record) -> Vec<Value> {
        let number = record.row.map_or(Value::Null, Value::Integer);
        let values = self.shape.iter().zip(record.values);
        values.map(|(c, value)| if c.row_number { number.clone() } else { value }).collect()
    }
}

impl Column {
    fn allows(&self, value: &Value) -> bool {
        if self.row_number {
            return *value == Value::Null;
        }
        match (self.kind.as_str(), value) {
            (_, Value::Null) => self.optional,
            ("INTEGER", Value::Integer(_))
            | ("BLOB", Value::Blob(_))
            | ("TEXT", Value::Text(_)) => true,
            // Unsigned 64-bit values.
            ("ANY", Value::Integer(n)) => *n >= 0,
            ("ANY", Value::Blob(bytes)) => bytes.len() == 8,
            _ => false,
        }
    }
}

/// All trees of the database that `conn` has open. Their roots are those of the database that is read, so none yet.
pub(super) fn trees(conn: &Connection) -> Result<Vec<Tree>, StoreError> {
    let mut list = conn.prepare(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
         AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence') ORDER BY name",
    )?;
    let tables =
        list.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))?;
    let mut trees = Vec::new();
    for table in tables {
        let (name, without_row_numbers) = table?;
        add(conn, &name, !without_row_numbers, &mut trees)?;
    }
    Ok(trees)
}

fn add(
    conn: &Connection,
    table: &str,
    has_row_numbers: bool,
    trees: &mut Vec<Tree>,
) -> Result<(), StoreError> {
    let mut info =
        conn.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1) ORDER BY cid")?;
    let rows = info.query_map([table], |row| {
        let (kind, key): (String, i64) = (row.get(1)?, row.get(3)?);
        let row_number = has_row_numbers && key > 0 && kind == "INTEGER";
        let optional = !row.get::<_, bool>(2)?;
        let kind = if table == "sqlite_sequence" {
            ["TEXT", "INTEGER"][usize::from(row.get::<_, String>(0)? == "seq")].to_owned()
        } else {
            kind
        };
        Ok((row.get::<_, String>(0)?, Column { kind, optional, row_number }, key > 0))
    })?;
    let all: Vec<(String, Column, bool)> = rows.collect::<Result<_, _>>()?;
    let tree = Tree {
        name: table.to_owned(),
        table: table.to_owned(),
        columns: all.iter().map(|(name, ..)| name.clone()).collect(),
        is_table: true,
        has_row_numbers,
        shape: all.iter().map(|(_, column, _)| column.clone()).collect(),
        lists_all_rows: false,
        group: None,
        root: None,
        damaged: 0,
    };
    trees.push(tree.clone());

    let mut list = conn.prepare("SELECT name, origin, partial FROM pragma_index_list(?1)")?;
    let indexes = list.query_map([table], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?))
    })?;
    for index in indexes {
        let (name, origin, partial) = index?;
        // The primary key of a table without row numbers is the table.
        if origin == "pk" && !has_row_numbers {
            continue;
        }
        let mut info =
            conn.prepare("SELECT cid FROM pragma_index_info(?1) WHERE cid >= 0 ORDER BY seqno")?;
        let mut of_index: Vec<usize> = info
            .query_map([&name], |row| row.get::<_, i64>(0))?
            .map(|cid| cid.map(|cid| usize::try_from(cid).unwrap_or(0)))
            .collect::<Result<_, _>>()?;
        if !has_row_numbers {
            let keys = (0..all.len()).filter(|n| all[*n].2 && !of_index.contains(n));
            of_index.extend(keys.collect::<Vec<_>>());
        }
        let mut shape: Vec<Column> = of_index
            .iter()
            .filter_map(|&n| all.get(n))
            .map(|(_, column, _)| Column { row_number: false, ..column.clone() })
            .collect();
        if has_row_numbers {
            let kind = "INTEGER".to_owned();
            shape.push(Column { kind, optional: false, row_number: false });
        }
        let group = of_index.iter().position(|&n| {
            all.get(n).is_some_and(|(name, ..)| name == "group_id" || name == "scope")
        });
        trees.push(Tree {
            name,
            is_table: false,
            shape,
            lists_all_rows: !partial && has_row_numbers,
            group,
            ..tree.clone()
        });
    }
    Ok(())
}
