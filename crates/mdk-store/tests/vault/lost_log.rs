//! A write-ahead log that is damaged, and logs that only look like it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mdk_store::*;
use rusqlite::Connection;

use super::salvage::{count, save};
use crate::kit::vault::*;

/// Opens the database in a copy of its directory: `None` if it is called damaged, and then nothing has changed.
fn opened(home: &Home) -> Option<Store> {
    let copy = home.dir.path().join("copy");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir(&copy).unwrap();
    for name in ["a.db", "a.db-wal"] {
        fs::copy(home.beside(name), copy.join(name)).unwrap();
    }
    let before = state(&copy.join("a.db"));
    match Store::open(&copy.join("a.db"), &raw(1), &OpenOptions::default()) {
        Ok(store) => Some(store),
        Err(OpenError::Store(StoreError::Corrupt)) => {
            assert!(before == state(&copy.join("a.db")));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// All files beside a database but its lock.
fn state(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(path).into_iter().filter(|(path, _)| !path.ends_with("a.db.lock")).collect()
}

/// Ways in which a header is not whole: any of its bits, and zeros over it.
fn headers(log: &[u8]) -> Vec<Vec<u8>> {
    let flipped = (0..32).map(|byte| {
        let mut log = log.to_vec();
        log[byte] ^= 1 << (byte % 8);
        log
    });
    let mut logs: Vec<_> = flipped.collect();
    let mut zeros = log.to_vec();
    zeros[..32].fill(0);
    logs.push(zeros);
    logs
}

/// Moves the log into the file and leaves it where it is, as our own checkpoint does. With `next` another one is begun.
fn moved(home: &Home, next: &str) -> Vec<u8> {
    let conn = by_hand(&home.path, 1);
    conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    conn.execute_batch(next).unwrap();
    fs::read(home.beside("a.db-wal")).unwrap()
}

#[test]
fn a_log_whose_header_is_damaged_is_damage_and_is_kept() {
    let (home, log) = with_log();
    for log in headers(&log) {
        put_log(&home, &log);
        assert!(opened(&home).is_none(), "{:?}", &log[..32]);
        let report = verify(&home.path, &raw(1), &mut Progress::none()).unwrap();
        let line = report.structure.iter().find(|line| line.contains("write-ahead log"));
        assert!(line.is_some(), "{report:?}");
        let found = doctor(&home.path, None, &mut Progress::none()).unwrap().findings;
        let named =
            found.iter().any(|f| f.level == Level::Error && f.text.contains("log is damaged"));
        assert!(named, "{found:?}");
    }
    for zeros in [512, 4096, 32 + FRAME] {
        let mut log = log.clone();
        log[..zeros].fill(0);
        put_log(&home, &log);
        assert!(opened(&home).is_none(), "{zeros}");
    }
    put_log(&home, &log);
    assert!(
        doctor(&home.path, None, &mut Progress::none())
            .unwrap()
            .findings
            .iter()
            .all(|f| !f.text.contains("damaged"))
    );
    assert_eq!(opened(&home).unwrap().digest().unwrap(), home.digest);
}

/// Whatever numbers its first bytes happen to be.
#[test]
fn a_log_of_random_bytes_is_damage() {
    let (home, _) = with_log();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    for length in [32 + FRAME, 2 * FRAME + 700, 6 * FRAME] {
        for _ in 0..16 {
            let log: Vec<u8> = (0..length).map(|_| random()).collect();
            put_log(&home, &log);
            assert!(opened(&home).is_none(), "{length}: {:?}", &log[..40]);
        }
    }
}

/// A log with right checksums that SQLite would not have written here, as anybody can make one who may write to the directory.
#[test]
fn a_log_of_another_kind_is_damage_and_what_is_there_is_saved() {
    let (home, log) = with_log();
    let checksum = |bytes: &[u8]| {
        bytes.as_chunks::<8>().0.iter().fold([0u32; 2], |[one, two], pair| {
            let word = |at: usize| u32::from_le_bytes(pair[at..at + 4].try_into().unwrap());
            let one = one.wrapping_add(word(0)).wrapping_add(two);
            [one, two.wrapping_add(word(4)).wrapping_add(one)]
        })
    };
    let whole = |version: u32, size: u32, frames: &[u8]| {
        let mut head = [0x377f_0682, version, size, 0, 7, 9].map(u32::to_be_bytes).concat();
        head.extend(checksum(&head).map(u32::to_be_bytes).concat());
        head.extend(frames);
        head
    };
    for (version, size) in
        [(3_007_000, 512), (3_007_000, 1024), (3_007_000, 65_536), (3_007_001, 4096)]
    {
        for frames in [&log[32..], &[7; 600], &[]] {
            put_log(&home, &whole(version, size, frames));
            assert!(opened(&home).is_none(), "{version} {size}");
            let report = verify(&home.path, &raw(1), &mut Progress::none()).unwrap();
            let line = report.structure.iter().find(|line| line.contains("none of this database"));
            assert!(line.is_some(), "{report:?}");
            let (report, mut store) = save(&home);
            assert_eq!(report.missing.len(), 1, "{report:?}");
            // The frames are those of the database under another header.
            assert_eq!(store.digest().unwrap() == home.digest, frames.len() > 600);
        }
    }
    // Of the kind that it should be, it is one of a transaction that was never finished.
    put_log(&home, &whole(3_007_000, 4096, &[]));
    assert!(opened(&home).is_some());
}

/// Even when the log holds but one transaction, behind the frame that primes it.
#[test]
fn the_only_transaction_of_a_log_is_not_given_up_with_the_header() {
    let (home, log) = with_log();
    // Each of the transactions in the log ends with the number of pages.
    let ends = |frame: &usize| log[32 + frame * FRAME + 4..][..4] != [0; 4];
    let second = (0..).filter(ends).nth(1).unwrap();
    for log in headers(&log[..32 + (second + 1) * FRAME]) {
        put_log(&home, &log);
        assert!(opened(&home).is_none(), "{:?}", &log[..32]);
    }
    // What primes a log is nothing that anybody was told of.
    for log in headers(&log[..32 + FRAME]) {
        put_log(&home, &log);
        drop(opened(&home).unwrap());
    }
}

#[test]
fn a_log_that_was_moved_into_the_file_may_be_torn_anywhere() {
    let (home, _) = with_log();
    let log = moved(&home, "");
    for log in headers(&log) {
        put_log(&home, &log);
        assert_eq!(opened(&home).unwrap().digest().unwrap(), home.digest);
        let report = verify(&home.path, &raw(1), &mut Progress::none()).unwrap();
        assert!(report.is_intact(), "{report:?}");
    }
    for end in [0, 10, 32, 40, 32 + FRAME, log.len() - 5] {
        put_log(&home, &log[..end]);
        assert!(opened(&home).is_some(), "{end}");
    }
}

/// The power fails while the first frames of a new log are written over those of the old one.
#[test]
fn the_first_frames_of_a_new_log_may_be_torn_and_its_header_is_not() {
    let (home, _) = with_log();
    let old = moved(&home, "");
    let file = home.bytes();
    let log = moved(&home, "DELETE FROM meta WHERE name = 'late 3'");
    assert_ne!(old[..32], log[..32]);
    let new = log[32..].chunks(FRAME).take_while(|frame| frame[8..16] == log[16..24]).count();
    assert!((1..20).contains(&new) && log.len() == old.len(), "{new}");
    let end = 32 + new * FRAME;
    for cut in [32, 100, 512, 4096, 32 + FRAME, end - 1] {
        let mut torn = log.clone();
        torn[cut..end].copy_from_slice(&old[cut..end]);
        put_log(&home, &torn);
        assert_eq!(opened(&home).unwrap().digest().unwrap(), home.digest, "{cut}");
        // Out of order: what comes last is there.
        let mut torn = log.clone();
        torn[32..cut].copy_from_slice(&old[32..cut]);
        put_log(&home, &torn);
        let store = opened(&home);
        assert!(cut == 32 || store.unwrap().digest().unwrap() == home.digest, "{cut}");
    }
    // The first frame was written over the old log, and the header was not: it was never synced.
    let mut torn = old.clone();
    torn[32..32 + FRAME].copy_from_slice(&log[32..32 + FRAME]);
    put_log(&home, &torn);
    assert_eq!(opened(&home).unwrap().digest().unwrap(), home.digest);
    // Whole, it says what the file does not.
    for log in headers(&log) {
        put_log(&home, &log);
        assert!(opened(&home).is_none(), "{:?}", &log[..32]);
    }
    assert_eq!(home.bytes(), file);
}

/// Of one that was never synced any frames may be there, over those of several transactions of the old log.
#[test]
fn a_transaction_may_be_torn_over_several_of_the_log_before() {
    let (home, _) = with_log();
    let old = moved(&home, "");
    let log = moved(&home, "UPDATE meta SET value = zeroblob(2000) WHERE name LIKE 'late 1%'");
    let new = log[32..].chunks(FRAME).take_while(|frame| frame[8..16] == log[16..24]).count();
    let ends = |frame: &usize| old[32 + frame * FRAME + 4..][..4] != [0; 4];
    assert!(
        (0..new).filter(ends).count() > 2 && log.len() == old.len(),
        "{new} {} {}",
        log.len(),
        old.len()
    );
    for missing in 1..new {
        let mut torn = log.clone();
        let frames = 32..32 + missing * FRAME;
        torn[frames.clone()].copy_from_slice(&old[frames]);
        put_log(&home, &torn);
        assert_eq!(opened(&home).unwrap().digest().unwrap(), home.digest, "{missing}");
    }
}

#[test]
fn an_empty_file_beside_a_log_is_cut_and_nothing_is_made_over_it() {
    let (home, _) = with_log();
    fs::write(&home.path, b"").unwrap();
    let cut = OpenError::Truncated { size: 0 };
    let before = state(&home.path);
    let opened = || Store::open(&home.path, &raw(1), &OpenOptions::default()).unwrap_err();
    assert_eq!(opened(), cut);
    let mut none = Progress::none();
    assert_eq!(verify(&home.path, &raw(1), &mut none).unwrap_err(), cut.clone().into());
    let to = home.beside("b.db");
    let copied = encrypt_existing(&home.path, Some(&raw(1)), Some(&to), &raw(2), &mut none);
    assert_eq!(copied.unwrap_err(), cut.into());
    let found = doctor(&home.path, None, &mut Progress::none()).unwrap().findings;
    assert!(found.iter().any(|f| f.text.contains("log holds")), "{found:?}");
    assert!(before == state(&home.path));
    // An empty log holds nothing.
    put_log(&home, b"");
    assert_eq!(opened(), OpenError::Empty);
}

/// The last frame of a log: opening gives its transaction up, for a write that was cut off leaves the same.
#[test]
fn a_last_transaction_that_does_not_count_is_spoken_of() {
    let (home, log) = with_log();
    let last = log.len() - FRAME;
    let said = |log: &[u8]| {
        put_log(&home, log);
        let report = verify(&home.path, &raw(1), &mut Progress::none()).unwrap();
        let (saved, _) = save(&home);
        let is_it = |line: &&String| line.contains("last transaction in the write-ahead log");
        assert_eq!(saved.missing.iter().filter(is_it).count(), saved.missing.len());
        assert_eq!(report.structure.iter().filter(is_it).count(), report.structure.len());
        assert_eq!(report.remarks.iter().filter(is_it).count(), report.remarks.len());
        assert_eq!(
            saved.missing.len(),
            report.structure.len() + report.remarks.len(),
            "{report:?}"
        );
        assert!(opened(&home).is_some());
        (report.is_intact(), saved.missing.len())
    };
    assert_eq!(said(&log), (true, 0));
    // A bit of what the frame says of itself: all of it was written.
    for byte in 0..24 {
        let mut hit = log.clone();
        hit[last + byte] ^= 1 << (byte % 8);
        assert_eq!(said(&hit), (false, 1), "{byte}");
    }
    // Of its page that cannot be told from the half of a write.
    for byte in [24, 1000, FRAME - 100] {
        let mut hit = log.clone();
        hit[last + byte] ^= 0x10;
        assert_eq!(said(&hit), (true, 1), "{byte}");
    }
    let mut torn = log.clone();
    torn[last + 24 + 2048..].fill(0);
    assert_eq!(said(&torn), (true, 1));
    // Its end is not there, or nothing of it.
    assert_eq!(said(&log[..last]), (true, 1));
    let ends = (32..last).step_by(FRAME).filter(|&at| log[at + 4..at + 8] != [0; 4]);
    assert_eq!(said(&log[..ends.max().unwrap() + FRAME]), (true, 0));
}

#[test]
fn what_stands_behind_damage_in_a_log_is_saved() {
    let (home, log) = with_log();
    for bad in headers(&log).iter().step_by(9) {
        put_log(&home, bad);
        let (report, mut store) = save(&home);
        assert_eq!(report.missing, ["the write-ahead log is damaged; all its pages were read"]);
        assert!(store.digest().unwrap() == home.digest);
    }
    let count_of = |store: &mut Store| (0..20).filter(|n| late(store, *n).is_some()).count();
    let frames = (log.len() - 32) / FRAME;
    let mut hit = 0;
    for frame in (0..frames - 3).step_by(4) {
        // Of the header of a frame nothing is needed but the number of the page, and that can be found.
        let mut bad = log.clone();
        // (a number that becomes 0 is lost)
        let at = 32 + frame * FRAME + [1, 3, 5, 9, 18][frame % 5];
        bad[at] ^= if bad[at] == 4 { 8 } else { 4 };
        put_log(&home, &bad);
        let (report, mut store) = save(&home);
        assert_eq!(report.missing.len(), 1, "{frame} {report:?}");
        assert!(store.digest().unwrap() == home.digest, "{frame}");
        let mut bad = log.clone();
        bad[32 + frame * FRAME + 24 + 100] ^= 1;
        put_log(&home, &bad);
        let (report, mut store) = save(&home);
        let said = report.missing.join(", ");
        assert!(said.contains("1 of its pages could not be read"), "{said}");
        assert_eq!(report.groups, u64::from(GROUPS));
        // Of the rows at most those of one page are missing.
        let saved = count_of(&mut store);
        assert!(saved >= 12, "{frame} {saved} {report:?}");
        if said.contains("of 1 an older") {
            hit += 1;
        } else {
            assert!(store.digest().unwrap() == home.digest, "{frame} {report:?}");
        }
    }
    assert!(hit > 3, "{hit}");
}

fn late(store: &mut Store, n: u8) -> Option<Vec<u8>> {
    let value = store.read(|tx| tx.meta(&format!("late {n}"))).unwrap();
    assert!(value.as_ref().is_none_or(|value| *value == [n; 2000]), "{n}");
    value
}

/// As it is killed in its first session: the file has but the schema, and may be lost.
#[test]
fn a_first_session_is_saved_from_its_log_whatever_is_hit() {
    let home = Home::new();
    fs::remove_file(&home.path).unwrap();
    let mut store = open(&home.path, &raw(1));
    fill(&mut store);
    for n in 0..6 {
        store.write(|tx| tx.set_meta("late 0", &[n; 2000])).unwrap();
    }
    let (file, log) = (home.bytes(), fs::read(home.beside("a.db-wal")).unwrap());
    store.close().unwrap();
    let all = u64::from(GROUPS) * u64::from(MESSAGES);
    let used =
        log[32..].chunks_exact(FRAME).take_while(|frame| frame[8..16] == log[16..24]).count();
    for frame in (0..used - 8).step_by(11) {
        let mut bad = log.clone();
        bad[32 + frame * FRAME + 24 + 100] ^= 1;
        fs::write(&home.path, &file).unwrap();
        put_log(&home, &bad);
        assert!(opened(&home).is_none(), "{frame}");
        let (report, _) = save(&home);
        assert!(count(&report, "messages") + 12 >= all, "{frame} {report:?}");
        assert_eq!(report.groups, u64::from(GROUPS), "{frame} {report:?}");
        let said = report.missing.join(", ");
        assert!(said.contains("log is damaged: 1 of its pages"), "{said}");
    }
    let mut zeros = log.clone();
    zeros[..32].fill(0);
    for log in [&log, &zeros] {
        fs::write(&home.path, b"").unwrap();
        put_log(&home, log);
        let (report, _) = save(&home);
        assert_eq!(count(&report, "messages"), all, "{report:?}");
        assert_eq!(report.groups, u64::from(GROUPS));
    }
}

/// A row of one time beside MLS state of another: such a group would fail when it is used.
#[test]
fn a_group_of_which_only_an_older_row_is_left_is_given_up_with_its_history_kept() {
    let home = Home::new();
    let conn = by_hand(&home.path, 1);
    for sql in ["UPDATE groups SET name = 'new'", "INSERT INTO meta VALUES ('late', x'00')"] {
        conn.execute_batch(sql).unwrap();
    }
    let (file, log) = (home.bytes(), fs::read(home.beside("a.db-wal")).unwrap());
    drop(conn);
    fs::write(&home.path, file).unwrap();
    let mut hit = log.clone();
    hit[32 + 24 + 100] ^= 1;
    for (log, unrecoverable) in [(log, 0), (hit, u64::from(GROUPS))] {
        put_log(&home, &log);
        let (report, mut store) = save(&home);
        assert_eq!(report.unrecoverable_groups, unrecoverable, "{report:?}");
        assert_eq!(count(&report, "messages"), u64::from(GROUPS) * u64::from(MESSAGES));
        assert_eq!(store.read(|tx| tx.meta("late")).unwrap(), Some(vec![0]));
    }
}

/// A bad block of the disk takes with a page what says which page it was.
#[test]
fn no_group_that_is_kept_is_of_two_times_after_a_bad_block() {
    let home = Home::new();
    let conn = by_hand(&home.path, 1);
    // Long values change at both ends, which stand on different pages.
    conn.execute_batch(
        "BEGIN; UPDATE groups SET name = 'new'; UPDATE nodes SET state = CAST('new' || substr(state, 4) AS BLOB); \
         UPDATE mls_rows SET value = CAST('new' || substr(value, 4, length(value) - 6) || 'new' AS BLOB); COMMIT",
    )
    .unwrap();
    for n in 0..3 {
        conn.execute("INSERT INTO meta VALUES (?1, zeroblob(2000))", [format!("late {n}")])
            .unwrap();
    }
    let log = fs::read(home.beside("a.db-wal")).unwrap();
    drop(conn);
    let (mut given_up, mut kept) = (0, 0);
    for (size, step) in [(PAGE, PAGE), (512, 7 * 512)] {
        for block in (0..log.len()).step_by(step) {
            let mut bad = log.clone();
            bad[block..log.len().min(block + size)].fill(0);
            put_log(&home, &bad);
            let (report, store) = save(&home);
            store.close().unwrap();
            assert_eq!(report.groups, u64::from(GROUPS), "{block} {report:?}");
            assert_eq!(
                of_two_times(&home.dir.path().join("saved").join("b.db")),
                0,
                "{size} {block}"
            );
            given_up += report.unrecoverable_groups;
            // Where the page is known, and holds no state of a group, none is given up.
            kept += report.groups - report.unrecoverable_groups;
        }
    }
    assert!(given_up > 0 && kept > 0, "{given_up} {kept}");
}

/// Groups that may be used and have old rows and new ones.
fn of_two_times(path: &Path) -> i64 {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(&format!("PRAGMA key = \"x'{}'\"", "02".repeat(32))).unwrap();
    conn.query_row(
        "WITH rows (id, new) AS (SELECT group_id, name = 'new' FROM groups \
         UNION ALL SELECT group_id, substr(state, 1, 3) = x'6e6577' FROM nodes \
         UNION ALL SELECT scope, substr(value, 1, 3) = x'6e6577' FROM mls_rows \
         UNION ALL SELECT scope, substr(value, -3) = x'6e6577' FROM mls_rows) \
         SELECT count(*) FROM groups WHERE status <> 8 AND \
         (SELECT count(DISTINCT new) FROM rows WHERE id = group_id) > 1",
        [],
        |row| row.get(0),
    )
    .unwrap()
}
