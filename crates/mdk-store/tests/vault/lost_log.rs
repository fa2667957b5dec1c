//! A write-ahead log that is damaged, and logs that only look like it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mdk_store::*;

use super::salvage::save;
use crate::kit::{findings, vault::*};

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
        let report = verify(&home.path, &raw(1), &mut none()).unwrap();
        let line = report.structure.iter().find(|line| line.contains("write-ahead log"));
        assert!(line.is_some(), "{report:?}");
        let found = findings(&home.path);
        let named = |f: &Finding| f.level == Level::Error && f.text.contains("log is damaged");
        assert!(found.iter().any(named), "{found:?}");
    }
    for zeros in [512, 4096, 32 + FRAME] {
        let mut log = log.clone();
        log[..zeros].fill(0);
        put_log(&home, &log);
        assert!(opened(&home).is_none(), "{zeros}");
    }
    put_log(&home, &log);
    assert!(findings(&home.path).iter().all(|f| !f.text.contains("damaged")));
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
            let report = verify(&home.path, &raw(1), &mut none()).unwrap();
            let line = report.structure.iter().find(|line| line.contains("none of this database"));
            assert!(line.is_some(), "{report:?}");
            let (report, mut store) = save(&home);
            assert_eq!(report.missing.len(), 1, "{report:?}");
            assert_ne!(store.digest().unwrap(), home.digest, "what stands in the log is lost");
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
        let report = verify(&home.path, &raw(1), &mut none()).unwrap();
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

/// The last frame of a log: opening gives its transaction up, for a write that was cut off leaves the same.
#[test]
fn a_last_transaction_that_does_not_count_is_spoken_of() {
    let (home, log) = with_log();
    let last = log.len() - FRAME;
    let said = |log: &[u8]| {
        put_log(&home, log);
        let report = verify(&home.path, &raw(1), &mut none()).unwrap();
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
        let mut store = opened(&home).unwrap();
        assert!(late(&mut store, 18).is_some());
        assert_eq!(late(&mut store, 19).is_some(), saved.missing.is_empty() && log.len() > last);
        (report.is_intact(), saved.missing.len())
    };
    assert_eq!(said(&log), (true, 0));
    for byte in (0..24).chain([24, 1000, FRAME - 100]) {
        let mut hit = log.clone();
        hit[last + byte] ^= 1 << (byte % 8);
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

/// What was acknowledged is not given up in silence; what stands before the damage is saved.
#[test]
fn damage_in_a_log_is_an_error_and_costs_what_stands_behind_it() {
    let (home, log) = with_log();
    let count_of = |store: &mut Store| (0..20).filter(|n| late(store, *n).is_some()).count();
    let frames = (log.len() - 32) / FRAME;
    assert!(frames > 20);
    // The last transaction may be one that was never finished.
    let ends = |frame: &usize| log[32 + frame * FRAME + 4..][..4] != [0; 4];
    let stored = 1 + (0..frames - 1).rev().find(ends).unwrap();
    let mut before = 0;
    for frame in (0..frames - 1).step_by(2).chain(stored..frames - 1) {
        for at in [2, 9, 18, 24 + 100] {
            let mut bad = log.clone();
            bad[32 + frame * FRAME + at] ^= 4;
            put_log(&home, &bad);
            assert_eq!(opened(&home).is_none(), frame < stored, "{frame} {at}");
            let report = verify(&home.path, &raw(1), &mut none()).unwrap();
            let lines = if frame < stored { &report.structure } else { &report.remarks };
            assert!(lines.iter().any(|line| line.contains("write-ahead log")), "{report:?}");
        }
        if frame % 6 == 0 && frame < stored {
            let (report, mut store) = save(&home);
            assert_eq!(report.missing.len(), 1, "{frame} {report:?}");
            assert!(report.missing[0].contains("write-ahead log is damaged"), "{report:?}");
            assert_eq!((report.groups, report.unrecoverable_groups), (u64::from(GROUPS), 0));
            let saved = count_of(&mut store);
            assert!(saved >= before && saved < 20, "{frame} {saved} {before}");
            before = saved;
        }
    }
    assert!(before > 5, "{before}");
}

fn late(store: &mut Store, n: u8) -> Option<Vec<u8>> {
    let value = store.read(|tx| tx.meta(&format!("late {n}"))).unwrap();
    assert!(value.as_ref().is_none_or(|value| *value == [n; 2000]), "{n}");
    value
}
