//! `encrypt_existing`: plain to encrypted, in place and as a copy, and encrypted to another key.

use std::{
    fs::{self, File},
    io::Read,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use mdk_store::*;
use memchr::memmem;
use rusqlite::Connection;

use crate::kit::{private, vault::*};

pub fn encrypt(
    source: &Path,
    from: Option<&DatabaseKey>,
    to: Option<&Path>,
    key: &DatabaseKey,
) -> Result<EncryptReport, VaultError> {
    encrypt_existing(source, from, to, key, &mut Progress::none())
}

pub fn digest(path: &Path, key: &DatabaseKey) -> [u8; 32] {
    open(path, key).digest().unwrap()
}

pub fn names(path: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files(path).into_iter().map(|(path, _)| name(path)).collect()
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    memmem::find(bytes, text).is_some()
}

/// A plain database alone in its directory.
pub fn alone() -> (Home, PathBuf) {
    let home = Home::new();
    let path = plain(&home);
    for name in names(&path) {
        if name != "plain.db" {
            fs::remove_file(home.beside(&name)).unwrap();
        }
    }
    (home, path)
}

#[test]
fn a_plain_database_is_encrypted_in_place_with_nothing_plain_left() {
    let (home, path) = alone();
    assert!(has(&fs::read(&path).unwrap(), b"text 2 3"));
    let mut original = File::open(&path).unwrap();
    let key = DatabaseKey::File(home.beside("plain.key-file"));
    let mut stages = Vec::new();
    let mut note = |step: Step| {
        stages.push(step.stage);
        ControlFlow::Continue(())
    };
    let report = encrypt_existing(&path, None, None, &key, &mut Progress::new(&mut note)).unwrap();
    assert!(report.tables >= 14 && report.rows > 180, "{report:?}");
    assert_eq!(report.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(names(&path), ["plain.db", "plain.db.keyinfo", "plain.key-file"]);
    for (_, bytes) in files(&path) {
        assert!(!has(&bytes, b"text 2 3") && !has(&bytes, b"SQLite format"));
    }
    // The original was overwritten before it lost its name.
    let mut old = Vec::new();
    original.read_to_end(&mut old).unwrap();
    assert!(!old.is_empty() && !has(&old, b"text 2 3"));
    assert_eq!(digest(&path, &key), home.digest);
    assert!(verify(&path, &key, &mut Progress::none()).unwrap().is_intact());
    for stage in [Stage::Writing, Stage::Checking, Stage::Comparing, Stage::Wiping] {
        assert!(stages.contains(&stage), "{stage:?}");
    }
}

#[test]
fn what_stands_in_the_log_of_a_plain_database_is_included_and_wiped() {
    let (home, path) = alone();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA wal_autocheckpoint = 0; INSERT INTO meta VALUES ('late', x'6c617465206d61726b6572')")
        .unwrap();
    let log = home.beside("plain.db-wal");
    assert!(has(&fs::read(&log).unwrap(), b"late marker"));
    // As a crash leaves it.
    let (file, log_bytes) = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    drop(conn);
    fs::write(&path, file).unwrap();
    fs::write(&log, log_bytes).unwrap();
    let mut original = File::open(&log).unwrap();
    encrypt(&path, None, None, &raw(9)).unwrap();
    let mut old = Vec::new();
    original.read_to_end(&mut old).unwrap();
    assert!(!old.is_empty() && !has(&old, b"late marker"));
    assert_eq!(names(&path), ["plain.db", "plain.db.keyinfo"]);
    let mut store = open(&path, &raw(9));
    assert_eq!(store.read(|tx| tx.meta("late")).unwrap().unwrap(), b"late marker");
}

#[test]
fn a_plain_database_is_copied_into_a_new_encrypted_file() {
    let (home, path) = alone();
    let before = fs::read(&path).unwrap();
    let to = home.dir.path().join("new").join("b.db");
    let key = DatabaseKey::File(home.dir.path().join("new").join("b.key-file"));
    encrypt(&path, None, Some(&to), &key).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(&path), ["plain.db"]);
    assert_eq!(digest(&to, &key), home.digest);
}

#[test]
fn an_encrypted_database_is_copied_to_another_key() {
    let (home, _) = with_log();
    let to = home.dir.path().join("new").join("b.db");
    encrypt(&home.path, Some(&raw(1)), Some(&to), &raw(2)).unwrap();
    // Whoever has the original has the ratchet keys of the copy.
    assert!(open(&to, &raw(2)).read(|tx| tx.must_update_after_restore(&group_id(1))).unwrap());
    assert!(
        !open(&home.path, &raw(1)).read(|tx| tx.must_update_after_restore(&group_id(1))).unwrap()
    );
    without_mark(&to, 2);
    assert_eq!(digest(&to, &raw(2)), home.digest);
    assert_eq!(digest(&home.path, &raw(1)), home.digest);
    let wrong = Store::open(&to, &raw(1), &OpenOptions::default()).unwrap_err();
    assert_eq!(wrong, OpenError::WrongKey);
    assert_ne!(home.bytes()[..16], fs::read(&to).unwrap()[..16]);
}

/// As many bytes as the files in the directory of `path` have, and those of them that are logs or journals.
fn room(path: &Path) -> (u64, u64) {
    let (mut all, mut logs) = (0, 0);
    for entry in fs::read_dir(path.parent().unwrap()).unwrap().map(Result::unwrap) {
        let (size, name) = (entry.metadata().unwrap().len(), entry.file_name());
        let is_log = ["-wal", "-journal"].iter().any(|end| name.to_str().unwrap().ends_with(end));
        all += size;
        logs += if is_log { size } else { 0 };
    }
    (all, logs)
}

#[test]
fn source_and_copy_together_never_take_more_than_2_1_times_the_source() {
    let (home, path) = alone();
    // Ids are random, so that their index is written everywhere at once.
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) \
             INSERT INTO messages SELECT 1000 + i, (SELECT group_id FROM groups), randomblob(32), 9, 0, 0, 0, NULL, \
             NULL, randomblob(32), randomblob(32), randomblob(32), i, i, 1, randomblob(32), x'', hex(randomblob(40)) FROM n; \
             PRAGMA wal_checkpoint(TRUNCATE); VACUUM;",
        )
        .unwrap();
    let size = fs::metadata(&path).unwrap().len();
    assert!(size > 10 << 20, "{size}");
    let (copy, key) =
        (home.beside("copied/b.db"), DatabaseKey::File(home.beside("plain.key-file")));
    for to in [Some(&*copy), None] {
        let (mut most, mut told) = (0, 0);
        let mut note = |_: Step| {
            let beside = to.filter(|to| to.parent().unwrap().exists()).map_or((0, 0), room);
            let here = room(&path);
            // What stands in a log is written once more when nothing is reported.
            assert_eq!(here.1 + beside.1, 0, "bytes in logs");
            (most, told) = (most.max(here.0 + beside.0), told + 1);
            ControlFlow::Continue(())
        };
        let key = if to.is_some() { &raw(2) } else { &key };
        encrypt_existing(&path, None, to, key, &mut Progress::new(&mut note)).unwrap();
        assert!(told > 20 && most > size * 19 / 10, "{told} reports, {most} of {size}");
        assert!(most <= size / 10 * 21, "{most} of {size}");
        if to.is_some() {
            fs::remove_dir_all(copy.parent().unwrap()).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_encrypted_says_why_and_changes_nothing() {
    let (home, path) = alone();
    let encrypted = Home::new();
    let to = home.beside("to.db");
    let refused = |source: &Path, from: Option<&DatabaseKey>, to: Option<&Path>| {
        let before = files(source);
        let error = encrypt(source, from, to, &raw(9)).unwrap_err();
        assert_eq!(files(source), before, "{error}");
        error
    };
    let not_encrypted = VaultError::Open(OpenError::NotEncrypted);
    let already = VaultError::AlreadyEncrypted;
    assert_eq!(refused(&encrypted.path, None, None), already);
    assert_eq!(refused(&encrypted.path, None, Some(&encrypted.beside("b"))), already);
    assert_eq!(refused(&encrypted.path, Some(&raw(1)), None), already);
    assert_eq!(refused(&path, Some(&raw(1)), Some(&to)), not_encrypted);
    let wrong = refused(&encrypted.path, Some(&raw(3)), Some(&encrypted.beside("b")));
    assert_eq!(wrong, VaultError::Open(OpenError::WrongKey));
    let same = encrypt(&encrypted.path, Some(&raw(1)), Some(&encrypted.beside("b")), &raw(1));
    assert_eq!(same.unwrap_err(), VaultError::SameKey);
    let exists = VaultError::DestinationExists { role: FileRole::Database };
    assert_eq!(refused(&path, None, Some(&path)), exists);
    let missing = VaultError::SourceMissing { role: FileRole::Database };
    assert_eq!(refused(&home.beside("no"), None, None), missing);
    fs::write(&to, "").unwrap();
    assert_eq!(refused(&to, None, None), VaultError::Open(OpenError::Empty));
    fs::remove_file(&to).unwrap();

    let good = fs::read(&path).unwrap();
    let hurt = |statement: &str| Connection::open(&path).unwrap().execute_batch(statement).unwrap();
    hurt("PRAGMA user_version = 99");
    assert!(matches!(refused(&path, None, None), VaultError::Open(OpenError::SchemaTooNew { .. })));
    hurt("PRAGMA user_version = 0");
    assert!(matches!(refused(&path, None, None), VaultError::Open(OpenError::SchemaTooOld { .. })));
    hurt("PRAGMA application_id = 5");
    let foreign = VaultError::Open(OpenError::ForeignDatabase { found: 5 });
    assert_eq!(refused(&path, None, None), foreign);
    fs::write(&path, &good).unwrap();
    hurt("CREATE TABLE extra (x)");
    assert_eq!(refused(&path, None, None), VaultError::CopyDiffers);
    fs::write(&path, &good[..good.len() / PAGE / 2 * PAGE]).unwrap();
    assert_eq!(refused(&path, None, None), VaultError::Damaged);
    let mut bad = good.clone();
    bad[20 * PAGE..40 * PAGE].fill(0x5a);
    fs::write(&path, &bad).unwrap();
    assert_eq!(refused(&path, None, None), VaultError::Damaged);
    // A damaged page of an encrypted source is not carried on.
    let mut bad = encrypted.bytes();
    bad[50 * PAGE + 7] ^= 1;
    fs::write(&encrypted.path, bad).unwrap();
    let damaged = encrypt(&encrypted.path, Some(&raw(1)), Some(&encrypted.beside("b")), &raw(2));
    assert_eq!(damaged.unwrap_err(), VaultError::Damaged);
    assert!(!encrypted.beside("b").exists());
}

#[test]
fn cancelling_at_any_report_before_the_swap_changes_nothing() {
    let (home, path) = alone();
    let before = files(&path);
    for at in 0.. {
        let mut count = 0;
        let mut stop = |step: Step| {
            count += 1;
            if step.stage == Stage::Wiping || count <= at {
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(())
        };
        let key = DatabaseKey::File(home.beside("plain.key-file"));
        match encrypt_existing(&path, None, None, &key, &mut Progress::new(&mut stop)) {
            Err(error) => assert_eq!(error, VaultError::Cancelled),
            Ok(_) => {
                assert!(at > 0);
                break;
            }
        }
        assert!(files(&path) == before, "after {at} reports: {:?}", names(&path));
    }
    assert_ne!(files(&path), before);
}

/// The files beside `path` as they are when the first report of this stage comes.
pub fn stopped_at(path: &Path, key: &DatabaseKey, stage: Stage) -> Vec<(PathBuf, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut see = |step: Step| {
        if step.stage == stage && seen.is_empty() {
            seen = files(path);
            // A new call makes and removes it.
            seen.retain(|(path, _)| path.extension().is_none_or(|end| end != "lock"));
        }
        ControlFlow::Continue(())
    };
    encrypt_existing(path, None, None, key, &mut Progress::new(&mut see)).unwrap();
    assert!(!seen.is_empty());
    seen
}

/// Makes the directory hold exactly these files.
pub fn put(path: &Path, wanted: &[(PathBuf, Vec<u8>)]) {
    files(path).iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
    for (path, bytes) in wanted {
        private(path, bytes);
    }
}

#[test]
fn what_a_kill_leaves_is_settled_by_the_next_call_or_opening() {
    let (home, path) = alone();
    let before = files(&path);
    let plain_bytes = fs::read(&path).unwrap();
    let left = home.beside("plain.db.encrypt");
    // Before the swap: a part of the copy beside the plain file.
    let during = stopped_at(&path, &raw(9), Stage::Comparing);
    put(&path, &during);
    assert_eq!(fs::read(&path).unwrap(), plain_bytes);
    for half in [None, Some(&b"half of a copy"[..]), Some(&[])] {
        put(&path, &during);
        half.iter().for_each(|half| fs::write(&left, half).unwrap());
        fs::write(home.beside("plain.db.encrypt-wal"), b"half of a log").unwrap();
        encrypt(&path, None, None, &raw(9)).unwrap();
        assert_eq!(names(&path), ["plain.db", "plain.db.keyinfo"]);
        assert_eq!(digest(&path, &raw(9)), home.digest);
    }
    // After the swap: the plain file under the temporary name, whole or overwritten in part, with a record that was
    // completed or not.
    put(&path, &before);
    let during = stopped_at(&path, &raw(9), Stage::Wiping);
    let record = home.beside("plain.db.keyinfo");
    for (ready, overwritten) in [(true, 0), (false, 0), (true, 5000), (true, plain_bytes.len())] {
        put(&path, &during);
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.contains("ready_with_plain_copy"));
        if !ready {
            fs::write(&record, text.replace("ready_with_plain_copy", "encrypting")).unwrap();
        }
        let mut bytes = fs::read(&left).unwrap();
        assert_eq!(bytes, plain_bytes);
        bytes[..overwritten].fill(0x5a);
        fs::write(&left, bytes).unwrap();
        let mut original = File::open(&left).unwrap();
        assert_eq!(digest(&path, &raw(9)), home.digest);
        assert!(!left.exists());
        let mut old = Vec::new();
        original.read_to_end(&mut old).unwrap();
        assert!(!has(&old, b"text 2 3"));
        assert!(fs::read_to_string(&record).unwrap().contains("\"ready\""));
        // From now on it is somebody else's.
        private(&left, &plain_bytes);
        assert_eq!(digest(&path, &raw(9)), home.digest);
        assert_eq!(fs::read(&left).unwrap(), plain_bytes);
    }
    // Alone, it may be the only copy.
    put(&path, &during);
    fs::remove_file(&path).unwrap();
    let _ = Store::open(&path, &raw(9), &OpenOptions::default());
    assert_eq!(fs::read(&left).unwrap(), plain_bytes);
}

#[test]
fn nothing_is_done_while_another_program_reads_or_writes_the_plain_database() {
    for mode in ["WAL", "DELETE"] {
        for begun in ["BEGIN IMMEDIATE", "BEGIN; SELECT count(*) FROM meta"] {
            let (home, path) = alone();
            let sql = |sql: &str| {
                Connection::open(&path)
                    .unwrap()
                    .execute_batch(&format!("PRAGMA journal_mode = {mode}; {sql}"))
            };
            sql("").unwrap();
            let other = Connection::open(&path).unwrap();
            other.execute_batch(begun).unwrap();
            let before = fs::read(&path).unwrap();
            let to = home.dir.path().join("new").join("b.db");
            for to in [None, Some(&*to)] {
                let error = encrypt(&path, None, to, &raw(9)).unwrap_err();
                assert_eq!(error, VaultError::Store(StoreError::Busy), "{mode}, {begun}, {to:?}");
            }
            assert!(fs::read(&path).unwrap() == before, "{mode}, {begun}");
            let found = names(&path);
            assert!(
                found
                    .iter()
                    .all(|name| ["plain.db", "plain.db-wal", "plain.db-shm"]
                        .contains(&name.as_str())),
                "{found:?}"
            );
            // It has not been disturbed.
            other.execute_batch("INSERT INTO meta VALUES ('later', x'00'); COMMIT").unwrap();
            drop(other);
            encrypt(&path, None, None, &raw(9)).unwrap();
            assert_eq!(names(&path), ["plain.db", "plain.db.keyinfo"]);
            let mut store = open(&path, &raw(9));
            assert!(store.read(|tx| tx.meta("later")).unwrap().is_some(), "{mode}, {begun}");
        }
    }
}

/// Whatever has the temporary name and is not known to be a leftover stays, also while an encryption is to be finished.
#[test]
fn a_file_of_somebody_else_is_never_taken_for_a_leftover() {
    let (home, path) = alone();
    let before = files(&path);
    let left = home.beside("plain.db.encrypt");
    let taken = || VaultError::Open(OpenError::NameTaken { suffix: ".encrypt" });
    let database = Home::new().bytes();
    for (suffix, bytes) in [("", &database[..]), ("-wal", b"a log"), ("", b"a note")] {
        let name = home.beside(&format!("plain.db.encrypt{suffix}"));
        private(&name, bytes);
        assert_eq!(encrypt(&path, None, None, &raw(9)).unwrap_err(), taken());
        assert_eq!(fs::read(&name).unwrap(), bytes);
        fs::remove_file(name).unwrap();
        assert_eq!(files(&path), before);
    }
    // A call that removes what an earlier one has left, and then fails, leaves nothing that speaks of a leftover.
    let during = stopped_at(&path, &raw(9), Stage::Comparing);
    put(&path, &during);
    let mut stop = |_| ControlFlow::Break(());
    let cancelled = encrypt_existing(&path, None, None, &raw(9), &mut Progress::new(&mut stop));
    assert_eq!(cancelled.unwrap_err(), VaultError::Cancelled);
    assert!(!left.exists());
    private(&left, b"a note");
    assert_eq!(encrypt(&path, None, None, &raw(9)).unwrap_err(), taken());
    assert_eq!(fs::read(&left).unwrap(), b"a note");
    put(&path, &before);
    let during = stopped_at(&path, &raw(9), Stage::Wiping);
    let plain_bytes = &before[0].1;
    let mut foreign = plain_bytes.clone();
    foreign[68..72].copy_from_slice(b"none");
    let key = format!("mdk-key-1:{}=\n", "B".repeat(43));
    for (bytes, beside) in [
        (&database[..], Some(".lock")),
        (&database, Some(".keyinfo")),
        (&database, Some(".key")),
        (&foreign, None),
        (key.as_bytes(), None),
        (b"mdk-backup and the rest", None),
    ] {
        put(&path, &during);
        private(&left, bytes);
        beside.iter().for_each(|own| private(&home.beside(&format!("plain.db.encrypt{own}")), b""));
        assert_eq!(digest(&path, &raw(9)), home.digest);
        assert_eq!(fs::read(&left).unwrap(), bytes, "{beside:?}");
        fs::rename(home.beside("plain.db.keyinfo"), home.beside("aside")).unwrap();
        private(&path, plain_bytes);
        assert_eq!(encrypt(&path, None, None, &raw(9)).unwrap_err(), taken());
        assert_eq!(fs::read(&left).unwrap(), bytes, "{beside:?}");
    }
}
