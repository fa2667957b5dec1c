//! Pages in the log that are lost: `salvage` neither takes back what came after them, nor what other pages are now.

use std::{collections::BTreeSet, fs, ops::ControlFlow};

use mdk_store::*;
use rusqlite::Connection;

use super::salvage::{count, save};
use crate::kit::vault::*;

fn numbers(conn: &Connection, sql: &str) -> BTreeSet<u32> {
    let mut found = conn.prepare(sql).unwrap();
    let found = found.query_map([], |row| row.get(0)).unwrap();
    found.collect::<Result<_, _>>().unwrap()
}

fn root(conn: &Connection, tree: &str) -> u32 {
    let sql = format!("SELECT rootpage FROM sqlite_schema WHERE name = '{tree}'");
    conn.query_row(&sql, [], |row| row.get(0)).unwrap()
}

fn leaves(conn: &Connection, tree: &str) -> BTreeSet<u32> {
    let sql = format!("SELECT pageno FROM dbstat WHERE name = '{tree}' AND pagetype = 'leaf'");
    numbers(conn, &sql)
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[..4].try_into().unwrap())
}

/// The last frame of a page.
fn frame(log: &mut [u8], page: u32) -> &mut [u8] {
    log[32..].chunks_exact_mut(FRAME).rfind(|frame| number(frame) == page).unwrap()
}

/// No page above those of the file is asked for because a number in the log says that there is one.
#[test]
fn a_wrong_key_is_found_wrong_soon_and_the_search_can_be_ended() {
    let (home, log) = with_log();
    let to = home.beside("b.db");
    for at in [32, 32 + 3 * FRAME] {
        let mut bad = log.clone();
        bad[at] ^= 0x80;
        put_log(&home, &bad);
        let error = salvage(&home.path, &raw(7), &to, &raw(2), &mut Progress::none()).unwrap_err();
        assert_eq!(error, OpenError::WrongKey.into());
    }
    // A file that is long enough to take some time.
    put_log(&home, &log);
    fs::File::options().write(true).open(&home.path).unwrap().set_len(2 << 20).unwrap();
    let mut stop = |_| ControlFlow::Break(());
    let error = salvage(&home.path, &raw(7), &to, &raw(2), &mut Progress::new(&mut stop));
    assert_eq!(error.unwrap_err(), VaultError::Cancelled);
}

/// Its length is not what a damaged frame says.
#[test]
fn a_database_lacks_no_pages_because_a_damaged_frame_says_so() {
    let (home, log) = with_log();
    let frames: Vec<&[u8]> = log[32..].chunks_exact(FRAME).collect();
    let ends = |n: usize| frames[n][4..8] != [0; 4];
    // It ends a transaction, and the first frame of another one, which was not finished, follows.
    let last = (1..frames.len() - 1).rfind(|&n| ends(n) && !ends(n + 1)).unwrap();
    let good = &log[..32 + (last + 2) * FRAME];
    for bit in [0x80, 0x01] {
        let mut bad = good.to_vec();
        bad[32 + last * FRAME + if bit == 1 { 7 } else { 4 }] ^= bit;
        put_log(&home, &bad);
        let (report, _) = save(&home);
        assert_eq!(report.bad_pages, 0, "{report:?}");
        assert!(report.missing.iter().all(|line| !line.contains("lacks")), "{report:?}");
    }
}

/// What was saved of the messages.
fn contents(home: &Home) -> Vec<(i64, String)> {
    let _ = save(home);
    let conn = by_hand(&home.dir.path().join("saved").join("b.db"), 2);
    let mut all = conn.prepare("SELECT seq, content FROM messages ORDER BY seq").unwrap();
    let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    all.collect::<Result<_, _>>().unwrap()
}

/// A message that is edited makes a page too full, and goes to another one. That is newer than the page it was on.
#[test]
fn an_old_page_does_not_bring_back_what_has_gone_to_another_one() {
    let home = Home::new();
    let conn = by_hand(&home.path, 1);
    let before = leaves(&conn, "messages");
    conn.execute_batch(
        "UPDATE messages SET content = printf('edited %.1500c', 'x') WHERE seq BETWEEN 70 AND 82; \
         INSERT INTO meta VALUES ('late', x'00')",
    )
    .unwrap();
    let root = root(&conn, "messages");
    drop(conn);
    let (file, log) = (home.bytes(), fs::read(home.beside("a.db-wal")).unwrap());
    let in_log: BTreeSet<u32> = log[32..].chunks_exact(FRAME).map(number).collect();
    assert!(in_log.contains(&root));
    let is_new = |(_, content): &&(i64, String)| content.starts_with("edited");
    let mut moved = 0;
    for &page in in_log.intersection(&before) {
        let mut hit = log.clone();
        frame(&mut hit, page)[24 + 100] ^= 1;
        put_log(&home, &hit);
        // Read through the tree, of which this page is known to be old.
        let right = contents(&home);
        let new = right.iter().filter(is_new).count();
        moved += usize::from(0 < new && new < 13);
        // It is not known which page is old.
        let mut lost = log.clone();
        frame(&mut lost, page).fill(0);
        put_log(&home, &lost);
        assert!(contents(&home) == right, "{page}: {new} were new");
        // Nothing leads to it any more.
        for (log, what) in [(&mut hit, "known"), (&mut lost, "unknown")] {
            let mut bad = file.clone();
            bad[(root as usize - 1) * PAGE + 100] ^= 1;
            fs::write(&home.path, &bad).unwrap();
            frame(log, root)[24 + 100] ^= 1;
            put_log(&home, log);
            assert!(contents(&home) == right, "{page} {what}: {new} were new");
            fs::write(&home.path, &file).unwrap();
        }
    }
    assert!(moved > 0);
}

/// A page that has left the list of what was seen, and is now one of an index that looks like it.
#[test]
fn what_an_old_page_led_to_is_not_taken_for_a_part_of_its_table() {
    const ROWS: u64 = 2000;
    let home = Home::new();
    let conn = by_hand(&home.path, 1);
    let rows =
        format!("WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})");
    conn.execute_batch(&format!(
        "{rows} INSERT INTO seen SELECT CAST(printf('seen%028d', n) AS BLOB), 1 FROM n; \
         PRAGMA wal_checkpoint(TRUNCATE)",
    ))
    .unwrap();
    let before = leaves(&conn, "seen");
    conn.execute_batch(&format!(
        "BEGIN; DELETE FROM seen WHERE id > CAST(printf('seen%028d', 50) AS BLOB); \
         {rows} INSERT INTO held (event_id, group_id, received_at, reported, closed, event_json) \
         SELECT CAST(printf('held%028d', n) AS BLOB), x'{}', 5, 0, 1, '{{}}' FROM n; COMMIT; \
         INSERT INTO meta VALUES ('late', x'00')",
        "01".repeat(16)
    ))
    .unwrap();
    let index = "sqlite_autoindex_held_1";
    assert!(!before.is_disjoint(&leaves(&conn, index)));
    let (seen, index) = (root(&conn, "seen"), root(&conn, index));
    drop(conn);
    let log = fs::read(home.beside("a.db-wal")).unwrap();
    // The index is whole, or it is not known either what it led to.
    for pages in [&[seen][..], &[seen, index]] {
        let mut hit = log.clone();
        for &page in pages {
            frame(&mut hit, page)[24 + 100] ^= 1;
        }
        put_log(&home, &hit);
        let (report, store) = save(&home);
        store.close().unwrap();
        assert_eq!(count(&report, "held"), ROWS + u64::from(GROUPS), "{report:?}");
        let conn = by_hand(&home.dir.path().join("saved").join("b.db"), 2);
        let found = numbers(&conn, "SELECT count(*) FROM seen JOIN held ON id = event_id");
        assert_eq!(found, BTreeSet::from([0]), "{report:?}");
        let left_out = report.missing.iter().any(|line| line.contains("not known what"));
        assert_eq!(left_out, pages.len() == 2, "{report:?}");
    }
}
