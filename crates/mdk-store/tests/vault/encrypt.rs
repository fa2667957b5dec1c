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

/// What stands in the plain database, and in its encrypted file nowhere.
pub const TEXT: &[u8] = b"text 2 3";

pub fn encrypt(
    source: &Path,
    from: Option<&DatabaseKey>,
    to: Option<&Path>,
    key: &DatabaseKey,
) -> Result<EncryptReport, VaultError> {
    encrypt_existing(source, from, to, key, &mut none())
}

pub fn digest(path: &Path, key: &DatabaseKey) -> [u8; 32] {
    open(path, key).digest().unwrap()
}

pub fn names(path: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files(path).into_iter().map(|(path, _)| name(path)).collect()
}

pub fn has(bytes: &[u8], text: &[u8]) -> bool {
    memmem::find(bytes, text).is_some()
}

/// What an open file has in it, whatever has become of its name: something, and not this.
#[track_caller]
pub fn is_overwritten(mut file: &File, text: &[u8]) {
    let mut old = Vec::new();
    file.read_to_end(&mut old).unwrap();
    assert!(!old.is_empty() && !has(&old, text));
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

pub fn in_file(home: &Home) -> DatabaseKey {
    DatabaseKey::File(home.beside("plain.key-file"))
}

/// The files beside `path` as they are when the first report of this stage comes.
pub fn stopped_at(path: &Path, key: &DatabaseKey, stage: Stage) -> Vec<(PathBuf, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut see = once_at(stage, || seen = files(path));
    encrypt_existing(path, None, None, key, &mut Progress::new(&mut see)).unwrap();
    drop(see);
    // A new call makes and removes it.
    seen.retain(|(path, _)| path.extension().is_none_or(|end| end != "lock"));
    assert!(!seen.is_empty());
    seen
}

#[test]
fn a_plain_database_is_encrypted_in_place_with_nothing_plain_left() {
    let (home, path) = alone();
    assert!(has(&fs::read(&path).unwrap(), TEXT));
    let original = File::open(&path).unwrap();
    let key = in_file(&home);
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
        assert!(!has(&bytes, TEXT) && !has(&bytes, b"SQLite format"));
    }
    // The original was overwritten before it lost its name.
    is_overwritten(&original, TEXT);
    assert_eq!(digest(&path, &key), home.digest);
    assert!(verify(&path, &key, &mut none()).unwrap().is_intact());
    for stage in [Stage::Writing, Stage::Checking, Stage::Comparing, Stage::Wiping] {
        assert!(stages.contains(&stage), "{stage:?}");
    }
}

#[test]
fn what_stands_in_the_log_of_a_plain_database_is_included_and_wiped() {
    let (home, path) = alone();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(
        "PRAGMA wal_autocheckpoint = 0; INSERT INTO meta VALUES ('late', CAST('late marker' AS BLOB))",
    )
    .unwrap();
    let log = home.beside("plain.db-wal");
    // As a crash leaves it.
    let (file, log_bytes) = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    assert!(has(&log_bytes, b"late marker"));
    drop(conn);
    fs::write(&path, file).unwrap();
    fs::write(&log, log_bytes).unwrap();
    let original = File::open(&log).unwrap();
    encrypt(&path, None, None, &raw(9)).unwrap();
    is_overwritten(&original, b"late marker");
    assert_eq!(names(&path), ["plain.db", "plain.db.keyinfo"]);
    let mut store = open(&path, &raw(9));
    assert_eq!(store.read(|tx| tx.meta("late")).unwrap().unwrap(), b"late marker");
}

#[test]
fn a_plain_database_is_copied_into_a_new_encrypted_file() {
    let (home, path) = alone();
    let before = fs::read(&path).unwrap();
    let to = home.elsewhere();
    let key = DatabaseKey::File(home.dir.path().join("new/b.key-file"));
    encrypt(&path, None, Some(&to), &key).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(&path), ["plain.db"]);
    assert_eq!(digest(&to, &key), home.digest);
}

#[test]
fn an_encrypted_database_is_copied_to_another_key() {
    let (home, _) = with_log();
    let to = home.elsewhere();
    encrypt(&home.path, Some(&raw(1)), Some(&to), &raw(2)).unwrap();
    // Whoever has the original has the ratchet keys of the copy.
    assert!(open(&to, &raw(2)).read(|tx| tx.must_update_after_restore(&group_id(1))).unwrap());
    assert!(
        !open(&home.path, &raw(1)).read(|tx| tx.must_update_after_restore(&group_id(1))).unwrap()
    );
    without_mark(&to, 2);
    assert_eq!(digest(&to, &raw(2)), home.digest);
    assert_eq!(digest(&home.path, &raw(1)), home.digest);
    assert_eq!(try_open(&to, &raw(1)).unwrap_err(), OpenError::WrongKey);
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
    let (copy, key) = (home.beside("copied/b.db"), in_file(&home));
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
    let refused =
        |source: &Path, from: Option<&DatabaseKey>, to: Option<&Path>, key: &DatabaseKey| {
            let before = files(source);
            let error = encrypt(source, from, to, key).unwrap_err();
            assert!(files(source) == before, "{error}");
            error
        };
    let (one, other, beside) = (Some(&raw(1)), &raw(9), encrypted.beside("b"));
    let already = VaultError::AlreadyEncrypted;
    for (from, to) in [(None, None), (None, Some(&*beside)), (one, None)] {
        assert_eq!(refused(&encrypted.path, from, to, other), already);
    }
    assert_eq!(refused(&encrypted.path, one, Some(&beside), &raw(1)), VaultError::SameKey);
    let not_encrypted = VaultError::Open(OpenError::NotEncrypted);
    assert_eq!(refused(&path, one, Some(&home.beside("to.db")), other), not_encrypted);
    let exists = VaultError::DestinationExists { role: FileRole::Database };
    assert_eq!(refused(&path, None, Some(&path), other), exists);

    let good = fs::read(&path).unwrap();
    let plain = |bytes: &[u8], statement: &str| {
        fs::write(&path, bytes).unwrap();
        if !statement.is_empty() {
            Connection::open(&path).unwrap().execute_batch(statement).unwrap();
        }
        refused(&path, None, None, other)
    };
    assert_eq!(plain(b"", ""), OpenError::Empty.into());
    let newer = OpenError::SchemaTooNew { found: 99, supported: 1 };
    assert_eq!(plain(&good, "PRAGMA user_version = 99"), newer.into());
    let older = OpenError::SchemaTooOld { found: 0, oldest: 1 };
    assert_eq!(plain(&good, "PRAGMA user_version = 0"), older.into());
    let foreign = OpenError::ForeignDatabase { found: 5 };
    assert_eq!(plain(&good, "PRAGMA application_id = 5"), foreign.into());
    assert_eq!(plain(&good, "CREATE TABLE extra (x)"), VaultError::CopyDiffers);
    let mut bad = good.clone();
    bad[20 * PAGE..40 * PAGE].fill(0x5a);
    for damaged in [&good[..good.len() / PAGE / 2 * PAGE], &bad] {
        assert_eq!(plain(damaged, ""), VaultError::Damaged);
    }
    // A damaged page of an encrypted source is not carried on.
    let mut bad = encrypted.bytes();
    bad[50 * PAGE + 7] ^= 1;
    fs::write(&encrypted.path, bad).unwrap();
    let damaged = encrypt(&encrypted.path, one, Some(&beside), &raw(2));
    assert_eq!(damaged.unwrap_err(), VaultError::Damaged);
    assert!(!beside.exists());
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
        let key = in_file(&home);
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

#[test]
fn what_a_kill_leaves_is_settled_by_the_next_call_or_opening() {
    let (home, path) = alone();
    let before = files(&path);
    let plain_bytes = fs::read(&path).unwrap();
    let left = home.beside("plain.db.encrypt");
    // Before the swap: a part of the copy beside the plain file.
    let during = stopped_at(&path, &raw(9), Stage::Comparing);
    assert!(during.contains(&before[0]));
    for half in [None, Some(&b"half of a copy"[..]), Some(&[])] {
        put(&path, &during);
        half.iter().for_each(|half| fs::write(&left, half).unwrap());
        fs::write(home.beside("plain.db.encrypt-wal"), b"half of a log").unwrap();
        encrypt(&path, None, None, &raw(9)).unwrap();
        assert_eq!(names(&path), ["plain.db", "plain.db.keyinfo"]);
        assert_eq!(digest(&path, &raw(9)), home.digest);
    }
    // After the swap: the plain file under the temporary name, whole or overwritten in part, with a record that was
    // completed or not. The same call finishes it as an opening does.
    put(&path, &before);
    let during = stopped_at(&path, &raw(9), Stage::Wiping);
    let record = home.beside("plain.db.keyinfo");
    let all = plain_bytes.len();
    for (opened, ready, overwritten) in [
        (true, true, 0),
        (true, false, 0),
        (true, true, 5000),
        (true, true, all),
        (false, true, 0),
        (false, false, 0),
    ] {
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
        let original = File::open(&left).unwrap();
        if !opened {
            let report = encrypt(&path, None, None, &raw(9)).unwrap();
            assert!(report.tables >= 14 && report.rows > 180, "{report:?}");
            assert_eq!(report.bytes, fs::metadata(&path).unwrap().len());
            let again = encrypt(&path, None, None, &raw(9));
            assert_eq!(again.unwrap_err(), VaultError::AlreadyEncrypted);
        }
        assert_eq!(digest(&path, &raw(9)), home.digest);
        is_overwritten(&original, TEXT);
        assert!(!left.exists());
        assert!(fs::read_to_string(&record).unwrap().contains("\"ready\""));
        // From now on it is somebody else's.
        private(&left, &plain_bytes);
        assert_eq!(digest(&path, &raw(9)), home.digest);
        assert_eq!(fs::read(&left).unwrap(), plain_bytes);
    }
    // Killed again, between the removal and the record.
    put(&path, &during);
    fs::remove_file(&left).unwrap();
    assert!(verify(&path, &raw(9), &mut none()).unwrap().is_intact());
    encrypt(&path, None, None, &raw(9)).unwrap();
    assert!(fs::read_to_string(&record).unwrap().contains("\"ready\""));
    // Alone, it may be the only copy.
    put(&path, &during);
    fs::remove_file(&path).unwrap();
    let _ = try_open(&path, &raw(9));
    assert_eq!(fs::read(&left).unwrap(), plain_bytes);
}

#[test]
fn nothing_is_done_while_another_program_reads_or_writes_the_plain_database() {
    for (mode, begun) in [
        ("WAL", "BEGIN IMMEDIATE"),
        ("WAL", "BEGIN; SELECT count(*) FROM meta"),
        ("DELETE", "BEGIN IMMEDIATE"),
        ("DELETE", "BEGIN; SELECT count(*) FROM meta"),
    ] {
        let (home, path) = alone();
        let other = Connection::open(&path).unwrap();
        other.execute_batch(&format!("PRAGMA journal_mode = {mode}")).unwrap();
        other.execute_batch(begun).unwrap();
        let before = fs::read(&path).unwrap();
        for to in [None, Some(&*home.elsewhere())] {
            let error = encrypt(&path, None, to, &raw(9)).unwrap_err();
            assert_eq!(error, VaultError::Store(StoreError::Busy), "{mode}, {begun}, {to:?}");
        }
        assert!(fs::read(&path).unwrap() == before, "{mode}, {begun}");
        let known = ["plain.db", "plain.db-wal", "plain.db-shm"];
        assert!(names(&path).iter().all(|name| known.contains(&&**name)), "{:?}", names(&path));
        // It has not been disturbed.
        other.execute_batch("INSERT INTO meta VALUES ('later', x'00'); COMMIT").unwrap();
        drop(other);
        encrypt(&path, None, None, &raw(9)).unwrap();
        assert_eq!(names(&path), ["plain.db", "plain.db.keyinfo"]);
        let mut store = open(&path, &raw(9));
        assert!(store.read(|tx| tx.meta("later")).unwrap().is_some(), "{mode}, {begun}");
    }
}
