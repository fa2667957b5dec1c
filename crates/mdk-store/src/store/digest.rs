//! A digest of the logical state: the content of the rows, independent of their pages.

use rusqlite::{Connection, types::ValueRef};
use sha2::{Digest, Sha256};

use crate::Result;

/// The one table whose row number is only a place: its rows may be written anew with the same meaning.
const MLS_ROWS: (&str, &str) = ("mls_rows", "scope, label, key, value");

/// SHA-256 over every table in name order and every row in the order of its columns, each value with type and length.
pub(crate) fn digest(conn: &Connection) -> Result<[u8; 32]> {
    let mut tables = conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut hash = Sha256::new();
    for table in tables {
        add(&mut hash, b'T', table.as_bytes());
        let quoted = table.replace('"', "\"\"");
        let wanted = if table == MLS_ROWS.0 { MLS_ROWS.1 } else { "*" };
        let columns = conn.prepare(&format!("SELECT {wanted} FROM \"{quoted}\""))?.column_count();
        // Ordering by every column needs no knowledge of the keys. Equal rows are interchangeable.
        let order: Vec<String> = (1..=columns).map(|n| n.to_string()).collect();
        let mut rows = conn
            .prepare(&format!("SELECT {wanted} FROM \"{quoted}\" ORDER BY {}", order.join(", ")))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            hash.update(b"R");
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => add(&mut hash, b'N', &[]),
                    ValueRef::Integer(n) => add(&mut hash, b'I', &n.to_be_bytes()),
                    ValueRef::Real(x) => add(&mut hash, b'F', &x.to_bits().to_be_bytes()),
                    ValueRef::Text(text) => add(&mut hash, b'S', text),
                    ValueRef::Blob(blob) => add(&mut hash, b'B', blob),
                }
            }
        }
    }
    Ok(hash.finalize().into())
}

fn add(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
