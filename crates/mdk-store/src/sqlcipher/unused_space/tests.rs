use mdk_wire::Secret;
use rusqlite::Connection;

use super::*;

/// A leaf with cells of two bytes at these places.
fn leaf(size: usize, cells: &[u16]) -> Vec<u8> {
    let mut page = vec![0xaa; size];
    let header = if size == USABLE { 0 } else { FILE_HEADER - SALT };
    let start = cells.iter().min().copied().unwrap_or(u16::try_from(USABLE).unwrap());
    page[header] = 13;
    page[header + 1..header + 3].fill(0);
    page[header + 3..header + 5]
        .copy_from_slice(&u16::try_from(cells.len()).unwrap().to_be_bytes());
    page[header + 5..header + 7].copy_from_slice(&start.to_be_bytes());
    page[header + 7] = 0;
    for (n, cell) in cells.iter().enumerate() {
        page[header + 8 + 2 * n..header + 10 + 2 * n].copy_from_slice(&cell.to_be_bytes());
    }
    page
}

#[test]
fn it_lies_between_the_list_of_cells_and_the_first_of_them() {
    assert_eq!(unused(&leaf(USABLE, &[4000, 3000])), Some(12..3000));
    assert_eq!(unused(&leaf(USABLE, &[])), Some(8..USABLE));
    assert_eq!(unused(&leaf(USABLE - SALT, &[4000, 3000])), Some(96..2984));
    let mut inner = leaf(USABLE, &[4000]);
    inner[0] = 5;
    inner.copy_within(8..10, 12);
    assert_eq!(unused(&inner), Some(14..4000));
    // A map of pointers lists free pages, or pages that a free one follows.
    let mut map = vec![0; USABLE];
    for entry in map.chunks_mut(5) {
        entry[0] = 2;
    }
    assert_eq!(unused(&map), None);
    map[0] = 5;
    assert_eq!(unused(&map), None);
    // The page is full to the last byte.
    assert_eq!(unused(&leaf(USABLE, &[10])), Some(10..10));
}

#[test]
fn what_is_no_page_of_a_tree_has_none() {
    for (at, byte) in [(0, 0), (0, 1), (3, 0xff), (5, 0xff), (8, 0xff), (8, 0), (1, 1)] {
        let mut page = leaf(USABLE, &[4000, 3000]);
        page[at] = byte;
        assert_eq!(unused(&page), None, "{at} {byte}");
    }
    for size in [0, 1, 15, 16, 4000 - 1, USABLE - 1, USABLE + 1, 4096] {
        assert_eq!(unused(&vec![13; size]), None, "{size}");
    }
}

/// Every row of every table.
fn dump(conn: &Connection) -> Vec<String> {
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut names = conn.prepare(names).unwrap();
    let names: Vec<String> =
        names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let rows = |name: &String| {
        let sql = format!("SELECT '{name} ' || k || ' ' || hex(v) FROM {name} ORDER BY k");
        let mut rows = conn.prepare(&sql).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<String>>()
    };
    names.iter().flat_map(rows).collect()
}

/// The same statements make the same database with our function on every page and with it on none. They make trees of
/// many pages, content on overflow pages, indexes, a first page that the schema fills, and pages that are free again.
#[test]
fn what_is_written_through_it_is_what_was_meant() {
    for seed in 1..=6 {
        let dir = tempfile::tempdir().unwrap();
        let key = Secret::new([7; 32]);
        let open = || {
            let conn = Connection::open(dir.path().join("db")).unwrap();
            crate::sqlcipher::raw_key::give_key(&conn, &key).unwrap();
            // The cache is small, so most pages that are read were written before.
            conn.execute_batch(
                "PRAGMA cipher_compatibility = 4; PRAGMA cache_size = 5; PRAGMA secure_delete = ON;
                 PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 20",
            )
            .unwrap();
            conn
        };
        let plain = Connection::open_in_memory().unwrap();
        let mut state: u64 = seed;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..6 {
            let conn = open();
            for _ in 0..120 {
                let (table, k) = (draw(12), draw(60));
                let size = [20, 200, 900, 6_000][usize::try_from(draw(4)).unwrap()];
                let sql = match draw(10) {
                    0 => format!(
                        "CREATE TABLE IF NOT EXISTS t{table} (k INTEGER PRIMARY KEY, v BLOB, w TEXT);
                         CREATE INDEX IF NOT EXISTS i{table} ON t{table} (v, w); -- {}",
                        "x".repeat(300)
                    ),
                    1 => format!("DROP TABLE IF EXISTS t{}", draw(40)),
                    2..4 => format!("DELETE FROM t{table} WHERE k BETWEEN {k} AND {}", k + draw(20)),
                    4 => format!("UPDATE t{table} SET v = zeroblob({size}) WHERE k > {k}"),
                    _ => format!(
                        "INSERT OR REPLACE INTO t{table} VALUES ({k}, CAST(printf('%0{size}d', {k}) AS BLOB), 'w{k}')"
                    ),
                };
                assert_eq!(conn.execute_batch(&sql).is_ok(), plain.execute_batch(&sql).is_ok());
            }
            assert_eq!(dump(&conn), dump(&plain));
            drop(conn);
            let conn = open();
            assert_eq!(dump(&conn), dump(&plain), "{seed}");
            let check = "PRAGMA integrity_check";
            let said: String = conn.query_row(check, [], |row| row.get(0)).unwrap();
            assert_eq!(said, "ok");
            assert!(dump(&conn).len() > 5, "something is there");
        }
    }
}
