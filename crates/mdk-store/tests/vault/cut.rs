//! A database file that was cut inside its first page, with and without its log.

use std::fs;

use mdk_store::*;
use mdk_wire::SecretVec;

use crate::kit::vault::*;

/// SQLite itself takes a file of one byte for an empty one, whose log is none of it, and removes that.
const SIZES: [usize; 7] = [1, 2, 15, 16, 100, 2048, 4095];

/// Each of them, as the only file of its directory or with a log beside it.
fn each(check: impl Fn(&Home, VaultError)) {
    for beside in [true, false] {
        let (home, _) = with_log();
        let good = home.bytes();
        if !beside {
            fs::remove_file(home.beside("a.db-wal")).unwrap();
        }
        for size in SIZES {
            fs::write(&home.path, &good[..size]).unwrap();
            let before = files(&home.path);
            check(&home, OpenError::Truncated { size: size as u64 }.into());
            assert_eq!(files(&home.path), before, "{size} bytes");
        }
    }
}

#[test]
fn it_is_not_opened_and_not_copied_and_its_log_stays() {
    each(|home, error| {
        let (new, words) = (home.beside("new"), SecretVec::new(b"words".to_vec()));
        let none = &mut Progress::none();
        let opened = Store::open(&home.path, &raw(1), &OpenOptions::default()).map(drop);
        assert_eq!(opened.map_err(VaultError::from), Err(error.clone()));
        let copied = encrypt_existing(&home.path, Some(&raw(1)), Some(&new), &raw(2), none);
        assert_eq!(copied.map(drop), Err(error.clone()));
        let encrypted = encrypt_existing(&home.path, None, None, &raw(2), none);
        assert_eq!(encrypted.map(drop), Err(error.clone()));
        let saved = backup(&home.path, &raw(1), &new, &words, none);
        assert_eq!(saved.map(drop), Err(error));
    });
}

#[test]
fn whatever_else_reads_it_says_the_same() {
    each(|home, error| {
        let none = &mut Progress::none();
        assert_eq!(verify(&home.path, &raw(1), none).map(drop), Err(error.clone()));
        for key in [None, Some(&raw(1))] {
            let told = doctor(&home.path, key, &mut Progress::none()).unwrap().findings;
            let cut = |finding: &&Finding| {
                finding.level == Level::Error && finding.text.contains("truncated")
            };
            assert_eq!(told.iter().filter(cut).count(), 1, "{told:?}");
        }
        if !home.beside("a.db-wal").exists() {
            let saved = salvage(&home.path, &raw(1), &home.beside("new"), &raw(2), none);
            assert_eq!(saved.map(drop), Err(error));
        }
    });
}

/// A file cut at the end of a page is as long as some database: only its header tells, and what its log has.
#[test]
fn the_doctor_misses_the_pages_that_opening_misses() {
    let (home, log) = with_log();
    let (good, beside) = (home.bytes(), home.beside("a.db-wal"));
    let found = |key: Option<&DatabaseKey>| {
        let report = doctor(&home.path, key, &mut Progress::none()).unwrap();
        let mut about = report.findings.iter().filter(|finding| finding.topic == "database");
        let finding = about.next().expect("it says something about the file");
        assert!(about.next().is_none(), "{report:?}");
        (finding.level, finding.text.clone())
    };
    let opened = || Store::open(&home.path, &raw(1), &OpenOptions::default()).map(drop);
    // Whole, with what is in its log and without.
    assert_eq!(found(Some(&raw(1))).0, Level::Ok);
    fs::remove_file(&beside).unwrap();
    assert_eq!(found(Some(&raw(1))).0, Level::Ok);
    let pages = good.len() / PAGE;
    for left in [1, 2, pages - 1] {
        let size = (left * PAGE) as u64;
        fs::write(&home.path, &good[..left * PAGE]).unwrap();
        let error = OpenError::Truncated { size };
        let text = format!("{error}; pages are missing at its end");
        assert_eq!(found(Some(&raw(1))), (Level::Error, text));
        // Its header needs the key.
        assert_eq!(found(None).0, Level::Ok);
        assert_eq!(opened(), Err(error));
    }
    // A log that has some of them does not make up for the others.
    fs::write(&home.path, &good[..2 * PAGE]).unwrap();
    fs::write(&beside, &log).unwrap();
    let (level, text) = found(Some(&raw(1)));
    assert!(level == Level::Error && text.contains("are missing"), "{text}");
}

/// What a checkpoint that was cut off has not brought into the file yet is no damage.
#[test]
fn the_doctor_minds_the_pages_that_are_in_the_log_still() {
    let home = Home::new();
    let before = home.bytes().len();
    let mut store = open(&home.path, &raw(1));
    store.write(|tx| tx.set_meta("large", &vec![7; 20 * PAGE])).unwrap();
    let (file, log) = (home.bytes(), fs::read(home.beside("a.db-wal")).unwrap());
    store.close().unwrap();
    assert!(home.bytes().len() > before + 19 * PAGE && file.len() == before);
    fs::write(&home.path, &file).unwrap();
    fs::write(home.beside("a.db-wal"), log).unwrap();
    let report = doctor(&home.path, Some(&raw(1)), &mut Progress::none()).unwrap();
    let about = report.findings.iter().find(|finding| finding.topic == "database");
    assert_eq!(about.map(|finding| finding.level), Some(Level::Ok), "{report:?}");
    assert!(Store::open(&home.path, &raw(1), &OpenOptions::default()).is_ok());
}
