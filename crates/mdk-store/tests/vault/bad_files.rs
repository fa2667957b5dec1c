//! A file that is no database of ours, or not all of one: each kind has its own error, whoever reads it, and stays.

use std::fs;

use mdk_store::*;

use crate::kit::vault::*;

/// What is at the place of the database.
struct Bad {
    what: &'static str,
    bytes: Vec<u8>,
    key: u8,
    error: OpenError,
    /// Its intact pages can be verified and salvaged.
    read_on: bool,
    /// What the doctor says of it.
    doctor: &'static str,
}

fn bad(what: &'static str, bytes: Vec<u8>, error: OpenError, doctor: &'static str) -> Bad {
    Bad { what, bytes, key: 1, error, read_on: false, doctor }
}

/// A database under `raw(1)` that another program has given other numbers.
fn numbered(home: &Home, pragma: &str) -> Vec<u8> {
    let good = home.bytes();
    sql(&home.path, &format!("PRAGMA {pragma}; PRAGMA wal_checkpoint(TRUNCATE)"));
    let changed = home.bytes();
    fs::write(&home.path, good).unwrap();
    changed
}

fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

fn cases(home: &Home) -> Vec<Bad> {
    let good = home.bytes();
    let pages = good.len() / PAGE;
    let plain = [&b"SQLite format 3\0"[..], &[0; PAGE]].concat();
    let too_old = || OpenError::SchemaTooOld { found: 0, oldest: 1 };
    let mut all = vec![
        bad("empty", Vec::new(), OpenError::Empty, "empty"),
        bad("plain", plain, OpenError::NotEncrypted, "unencrypted"),
        bad("noise", vec![0x5a; 2 * PAGE], OpenError::NotADatabase, "does not open"),
        bad(
            "another application",
            numbered(home, "application_id = 7"),
            OpenError::ForeignDatabase { found: 7 },
            "another application (id 0x00000007)",
        ),
        bad(
            "newer",
            numbered(home, "user_version = 99"),
            OpenError::SchemaTooNew { found: 99, supported: 1 },
            "schema 99; this version reads up to 1",
        ),
        bad("older", numbered(home, "user_version = 0"), too_old(), "no schema"),
        // A number with a sign, for SQLite.
        bad("signed", numbered(home, "user_version = -1"), too_old(), ""),
        Bad {
            read_on: true,
            ..bad(
                "first page",
                flipped(good.clone(), 200),
                OpenError::NotADatabase,
                "does not open",
            )
        },
    ];
    for what in ["first page", "whole", "noise"] {
        let bytes = match what {
            "whole" => good.clone(),
            "noise" => vec![0x5a; 2 * PAGE],
            _ => flipped(good.clone(), 200),
        };
        all.push(Bad { key: 2, ..bad(what, bytes, OpenError::WrongKey, "does not open") });
    }
    // SQLite itself takes a file of one byte for an empty one, whose log is none of it, and removes that.
    for size in [1, 2, 15, 16, 100, 2048, 4095] {
        let error = OpenError::Truncated { size: size as u64 };
        all.push(bad("cut in its first page", good[..size].to_vec(), error, "truncated"));
    }
    // Cut at the end of a page it is as long as some database: only its header tells.
    for size in [PAGE, 2 * PAGE, (pages - 1) * PAGE, good.len() - 1000] {
        let error = OpenError::Truncated { size: size as u64 };
        let cut = bad("cut behind it", good[..size].to_vec(), error, "truncated");
        all.push(Bad { read_on: true, ..cut });
    }
    all
}

/// Everything that reads a database under this key, and what it says.
fn calls(home: &Home, key: u8, read_on: bool) -> Vec<(&'static str, VaultError)> {
    let (path, key, new) = (&home.path, &raw(key), &home.beside("new.db"));
    let mut said = vec![
        ("open", try_open(path, key).map(drop).map_err(VaultError::from)),
        ("backup", backup(path, key, new, &words(), &mut none()).map(drop)),
        ("copy", encrypt_existing(path, Some(key), Some(new), &raw(3), &mut none()).map(drop)),
    ];
    if !read_on {
        said.push(("verify", verify(path, key, &mut none()).map(drop)));
        said.push(("salvage", salvage(path, key, new, &raw(3), &mut none()).map(drop)));
    }
    said.into_iter().map(|(call, found)| (call, found.expect_err(call))).collect()
}

#[test]
fn each_bad_file_has_its_own_error_whoever_reads_it_and_stays() {
    let home = Home::new();
    // With it the record knows its key and its salt.
    open(&home.path, &raw(1)).close().unwrap();
    for Bad { what, bytes, key, error, read_on, doctor: says } in cases(&home) {
        fs::write(&home.path, &bytes).unwrap();
        let before = files(&home.path);
        let told = doctor(&home.path, Some(&raw(key)), &mut none()).unwrap().findings;
        let tells = |f: &Finding| f.level == Level::Error && f.text.contains(says);
        assert!(told.iter().any(tells), "{what}: {told:?}");
        for (call, found) in calls(&home, key, read_on) {
            let expected = match error.clone() {
                // What is there of it is not enough for a copy.
                OpenError::Truncated { .. } if read_on && call == "copy" => VaultError::Damaged,
                error => error.into(),
            };
            assert_eq!(found, expected, "{what} {call}");
            let text = format!("{found} {found:?}");
            assert!(!text.contains("a.db") && !text.contains("PRAGMA key"), "{text}");
        }
        let after = files(&home.path);
        let kept = |files: &[(std::path::PathBuf, Vec<u8>)]| {
            files
                .iter()
                .filter(|(path, _)| !path.ends_with("a.db.lock"))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert!(kept(&before) == kept(&after), "{what}");
    }
}

/// What is lost with the end of the file may be in the log, which stays.
#[test]
fn a_cut_file_beside_its_log_is_cut_and_its_log_stays() {
    let (home, log) = with_log();
    let good = home.bytes();
    for size in [0, 1, 2, 15, 16, 100, 2048, 4095] {
        fs::write(&home.path, &good[..size]).unwrap();
        let error = VaultError::from(OpenError::Truncated { size: size as u64 });
        for (call, found) in calls(&home, 1, false) {
            assert_eq!(found, error, "{call} {size}");
        }
        let in_place = encrypt_existing(&home.path, None, None, &raw(2), &mut none());
        assert_eq!(in_place.map(drop), Err(error));
        for key in [None, Some(&raw(1))] {
            let told = doctor(&home.path, key, &mut none()).unwrap().findings;
            let cut =
                told.iter().filter(|f| f.level == Level::Error && f.text.contains("truncated"));
            assert_eq!(cut.count(), 1, "{told:?}");
        }
        assert_eq!(home.bytes(), good[..size]);
        assert_eq!(fs::read(home.beside("a.db-wal")).unwrap(), log);
    }
    // An empty log holds nothing.
    fs::write(&home.path, b"").unwrap();
    put_log(&home, b"");
    assert_eq!(try_open(&home.path, &raw(1)).unwrap_err(), OpenError::Empty);
}

/// A log that has some of the missing pages does not make up for the others; one that has them all does.
#[test]
fn the_doctor_misses_the_pages_that_are_not_in_the_log_either() {
    let (home, log) = with_log();
    let good = home.bytes();
    let found = |key: Option<&DatabaseKey>| {
        let report = doctor(&home.path, key, &mut none()).unwrap();
        let about: Vec<_> = report.findings.iter().filter(|f| f.topic == "database").collect();
        assert_eq!(about.len(), 1, "{report:?}");
        (about[0].level, about[0].text.clone())
    };
    assert_eq!(found(Some(&raw(1))).0, Level::Ok);
    fs::write(&home.path, &good[..2 * PAGE]).unwrap();
    let (level, text) = found(Some(&raw(1)));
    assert!(level == Level::Error && text.contains("are missing"), "{text}");
    fs::remove_file(home.beside("a.db-wal")).unwrap();
    let cut = OpenError::Truncated { size: 2 * PAGE as u64 };
    let text = format!("{cut}; pages are missing at its end");
    assert_eq!(found(Some(&raw(1))), (Level::Error, text));
    // Its header needs the key.
    assert_eq!(found(None).0, Level::Ok);
    drop(log);

    let home = Home::new();
    let before = home.bytes().len();
    let mut store = open(&home.path, &raw(1));
    store.write(|tx| tx.set_meta("large", &vec![7; 20 * PAGE])).unwrap();
    let (file, log) = (home.bytes(), fs::read(home.beside("a.db-wal")).unwrap());
    store.close().unwrap();
    assert!(home.bytes().len() > before + 19 * PAGE && file.len() == before);
    fs::write(&home.path, &file).unwrap();
    put_log(&home, &log);
    let report = doctor(&home.path, Some(&raw(1)), &mut none()).unwrap();
    let about = report.findings.iter().find(|f| f.topic == "database").unwrap();
    assert_eq!(about.level, Level::Ok, "{report:?}");
    try_open(&home.path, &raw(1)).unwrap();
}

#[test]
fn a_database_that_is_not_there_is_missing_and_nothing_is_made() {
    let home = Home::new();
    let far = home.dir.path().join("no/where/b.db");
    for path in [&home.beside("b.db"), &far] {
        let (key, new, none) = (&raw(1), &home.beside("new.db"), &mut none());
        for (role, found) in [
            (FileRole::Database, verify(path, key, none).map(drop)),
            (FileRole::Database, salvage(path, key, new, &raw(2), none).map(drop)),
            (FileRole::Database, backup(path, key, new, &words(), none).map(drop)),
            (FileRole::Database, encrypt_existing(path, None, None, key, none).map(drop)),
            (FileRole::Database, encrypt_existing(path, Some(key), Some(new), key, none).map(drop)),
            (FileRole::Backup, restore(path, new, &words(), key, none).map(drop)),
        ] {
            assert_eq!(found, Err(VaultError::SourceMissing { role }));
        }
    }
    assert_eq!(files(&home.path).len(), 1);
    assert!(!home.dir.path().join("no").exists());
}

/// No record says that the key was the right one.
#[test]
fn noise_without_a_record_is_a_wrong_key() {
    let home = Home::new();
    fs::write(&home.path, [5; 3 * PAGE]).unwrap();
    for (call, found) in calls(&home, 1, false) {
        assert_eq!(found, OpenError::WrongKey.into(), "{call}");
    }
    let linked = home.beside("link.db");
    std::os::unix::fs::symlink(home.beside("gone.db"), &linked).unwrap();
    let found = backup(&linked, &raw(1), &home.beside("new"), &words(), &mut none());
    assert_eq!(found.unwrap_err(), OpenError::Symlink { role: FileRole::Database }.into());
}
