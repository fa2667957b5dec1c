//! Every way to fail to open a database has its own error and leaves the directory as it was.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use mdk_store::{
    APPLICATION_ID, DatabaseKey, FileRole, OpenError, Progress, Store, StoreError, VaultError,
    salvage, verify,
};
use memchr::memmem;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::kit::{mode, raw, set_mode, try_open as open};

struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }
    fn db(&self) -> PathBuf {
        self.dir.path().join("alice.db")
    }
    fn key_file(&self) -> PathBuf {
        self.dir.path().join("alice.key")
    }
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().path());
        entries.map(|p| (p.clone(), fs::read(&p).unwrap_or_default())).collect()
    }
    /// Opens, expects an error, and expects that no file came, went or changed (the lock file's pid aside).
    fn refused(&self, key: &DatabaseKey) -> OpenError {
        let mut before = self.files();
        let error = open(&self.db(), key).unwrap_err();
        let mut after = self.files();
        for files in [&mut before, &mut after] {
            files.remove(&self.dir.path().join("alice.db.lock"));
        }
        assert_eq!(before, after, "{error}");
        error
    }
    fn created(key: &DatabaseKey) -> Self {
        let home = Self::new();
        put(&mut open(&home.db(), key).unwrap());
        home
    }
}

fn put(store: &mut Store) {
    store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
}

fn who(store: &mut Store) -> Option<Vec<u8>> {
    store.read(|tx| tx.meta("who")).unwrap()
}

/// A connection that SQLCipher opens with the raw key, past our ritual.
fn by_hand(home: &Home, byte: u8) -> Connection {
    let conn = Connection::open(home.db()).unwrap();
    conn.execute_batch(&format!("PRAGMA key = \"x'{}'\"", format!("{byte:02x}").repeat(32)))
        .unwrap();
    conn
}

#[test]
fn what_is_written_is_there_after_opening_again() {
    let home = Home::created(&raw(1));
    assert_eq!(home.files().len(), 3, "database, record and lock, no side-cars after closing");
    let mut store = open(&home.db(), &raw(1)).unwrap();
    assert_eq!(who(&mut store), Some(b"alice".to_vec()));
    let info = store.info().unwrap();
    assert_eq!(info.path.as_deref(), Some(fs::canonicalize(home.db()).unwrap().as_path()));
    assert_eq!((info.schema_version, info.key_source), (1, "raw"));
    assert!(info.sqlcipher_version.starts_with("4."), "{}", info.sqlcipher_version);
    assert_eq!(info.size_bytes, fs::metadata(home.db()).unwrap().len());
    store.close().unwrap();
    assert_eq!(Store::in_memory().unwrap().info().unwrap().key_source, "none");
}

#[test]
fn the_file_is_encrypted_and_private() {
    let home = Home::new();
    let nested = home.dir.path().join("a/b/alice.db");
    let mut store = open(&nested, &raw(1)).unwrap();
    store.write(|tx| tx.set_meta("who", b"planted-marker-planted-marker")).unwrap();
    for file in fs::read_dir(nested.parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
        let bytes = fs::read(&path).unwrap();
        assert!(memmem::find(&bytes, b"planted-marker").is_none(), "{path:?}");
    }
    assert_eq!(mode(nested.parent().unwrap()), 0o700);
    assert_eq!(mode(nested.parent().unwrap().parent().unwrap()), 0o700);
    assert_ne!(&fs::read(&nested).unwrap()[..16], b"SQLite format 3\0");
}

#[test]
fn temporary_storage_is_compiled_to_stay_in_memory() {
    let conn = Connection::open_in_memory().unwrap();
    let mut options = conn.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> =
        options.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(options.iter().any(|o| o == "TEMP_STORE=3"), "{options:?}");
}

#[test]
fn a_file_key_is_made_once_and_read_after() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    put(&mut open(&home.db(), &key).unwrap());
    assert_eq!(mode(&home.key_file()), 0o600);
    let text = fs::read_to_string(home.key_file()).unwrap();
    assert!(text.starts_with("mdk-key-1:"), "a key file says what it is");
    let mut store = open(&home.db(), &key).unwrap();
    assert_eq!(who(&mut store), Some(b"alice".to_vec()));
    assert_eq!(store.info().unwrap().key_source, "file");
    assert_eq!(fs::read_to_string(home.key_file()).unwrap(), text);
}

#[test]
fn a_wrong_key_and_garbage_are_wrong_key() {
    assert_eq!(Home::created(&raw(1)).refused(&raw(2)), OpenError::WrongKey);
    let home = Home::new();
    fs::write(home.db(), vec![0xa5; 8192]).unwrap();
    set_mode(&home.db(), 0o600);
    assert_eq!(home.refused(&raw(1)), OpenError::WrongKey);
}

#[test]
fn a_plain_database_is_not_encrypted() {
    let home = Home::new();
    Connection::open(home.db()).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::NotEncrypted);
}

#[test]
fn empty_and_truncated_files_are_named() {
    let home = Home::new();
    fs::write(home.db(), b"").unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::Empty);
    let home = Home::created(&raw(1));
    let size = fs::metadata(home.db()).unwrap().len() - 1000;
    fs::OpenOptions::new().write(true).open(home.db()).unwrap().set_len(size).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::Truncated { size });
    // Cut at the end of a page it is shorter than its header says.
    fs::OpenOptions::new().write(true).open(home.db()).unwrap().set_len(8192).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::Truncated { size: 8192 });
}

#[test]
fn another_application_and_other_schemas_are_named() {
    let home = Home::created(&raw(1));
    by_hand(&home, 1).execute_batch("PRAGMA application_id = 7").unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::ForeignDatabase { found: 7 });
    let restore = format!("PRAGMA application_id = {APPLICATION_ID};");
    by_hand(&home, 1).execute_batch(&(restore + "PRAGMA user_version = 99")).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::SchemaTooNew { found: 99, supported: 1 });
    by_hand(&home, 1).execute_batch("PRAGMA user_version = 0").unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::SchemaTooOld { found: 0, oldest: 1 });
    // A number with a sign, for SQLite.
    by_hand(&home, 1).execute_batch("PRAGMA user_version = -1").unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::SchemaTooOld { found: 0, oldest: 1 });
    for error in [
        verify(&home.db(), &raw(1), &mut Progress::none()).unwrap_err(),
        salvage(&home.db(), &raw(1), &home.dir.path().join("b.db"), &raw(2), &mut Progress::none())
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, VaultError::Open(OpenError::SchemaTooOld { found: 0, .. })),
            "{error}"
        );
    }
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let home = Home::new();
    let _open = open(&home.db(), &raw(1)).unwrap();
    let error = open(&home.db(), &raw(1)).unwrap_err();
    assert_eq!(error, OpenError::Busy { pid: Some(std::process::id()) });
    assert!(error.to_string().contains(&std::process::id().to_string()));
}

#[test]
fn key_files_that_are_missing_wide_or_malformed_are_refused() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    drop(open(&home.db(), &key).unwrap());
    set_mode(&home.key_file(), 0o644);
    assert_eq!(home.refused(&key), OpenError::KeyFileTooWide { mode: 0o644 });
    set_mode(&home.key_file(), 0o600);
    let text = fs::read(home.key_file()).unwrap();
    fs::write(home.key_file(), b"mdk-key-1:AAAA").unwrap();
    assert_eq!(home.refused(&key), OpenError::KeyLength { found: 3 });
    fs::write(home.key_file(), b"correct horse").unwrap();
    assert_eq!(home.refused(&key), OpenError::KeyMalformed { source: "file" });
    fs::remove_file(home.key_file()).unwrap();
    assert_eq!(home.refused(&key), OpenError::KeyMissing { source: "file" });
    let elsewhere = DatabaseKey::File(home.dir.path().join("no/such/dir/key"));
    assert_eq!(home.refused(&elsewhere), OpenError::KeyMissing { source: "file" });
    fs::write(home.key_file(), text).unwrap();
    set_mode(&home.key_file(), 0o600);
    open(&home.db(), &key).unwrap();
}

#[test]
fn a_lost_database_is_not_silently_replaced() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    drop(open(&home.db(), &key).unwrap());
    fs::remove_file(home.db()).unwrap();
    assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
    let home = Home::new();
    fs::write(home.dir.path().join("alice.db-wal"), b"newest messages").unwrap();
    set_mode(&home.dir.path().join("alice.db-wal"), 0o600);
    assert_eq!(home.refused(&raw(1)), OpenError::DatabaseMissingButLogPresent);
}

#[test]
fn a_failed_first_open_leaves_nothing() {
    let home = Home::new();
    // The name of the temporary file is taken by a directory, so the schema cannot be made.
    fs::create_dir(home.dir.path().join("alice.db.tmp")).unwrap();
    let key = DatabaseKey::File(home.key_file());
    assert_eq!(home.refused(&key), OpenError::NotAFile { role: FileRole::Database });
    assert_eq!(home.files().len(), 1);
    // The key cannot be stored: its directory is a file.
    let home = Home::new();
    fs::write(home.dir.path().join("file"), b"").unwrap();
    let key = DatabaseKey::File(home.dir.path().join("file/key"));
    home.refused(&key);
    assert_eq!(home.files().len(), 1);
    // New directories go again.
    let home = Home::new();
    open(&home.dir.path().join("new/dir/alice.db"), &key).unwrap_err();
    assert!(home.files().is_empty());
}

#[test]
fn links_and_odd_files_are_refused() {
    for (name, role) in [
        ("alice.db", FileRole::Database),
        ("alice.db.lock", FileRole::Lock),
        ("alice.key", FileRole::Key),
    ] {
        let home = Home::new();
        let key = DatabaseKey::File(home.key_file());
        drop(open(&home.db(), &key).unwrap());
        let path = home.dir.path().join(name);
        let other = home.dir.path().join("other");
        fs::hard_link(&path, &other).unwrap();
        assert_eq!(home.refused(&key), OpenError::HardLink { role });
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
        assert_eq!(home.refused(&key), OpenError::Symlink { role });
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        assert_eq!(open(&home.db(), &key).unwrap_err(), OpenError::NotAFile { role });
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(home.refused(&key), OpenError::NotAFile { role });
    }
}

#[test]
fn a_wide_side_car_or_a_linked_one_does_not_pass() {
    let home = Home::created(&raw(1));
    let log = home.dir.path().join("alice.db-wal");
    symlink("/etc/passwd", &log).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::Symlink { role: FileRole::Database });
}

/// Some transactions in the log of a database that was not closed.
fn with_log(key: &DatabaseKey) -> (Home, Vec<u8>) {
    let home = Home::created(key);
    let mut store = open(&home.db(), key).unwrap();
    for n in 0..6u8 {
        store.write(|tx| tx.set_meta("who", &[n; 300])).unwrap();
    }
    let copy = Home::new();
    for name in ["alice.db", "alice.db-wal", "alice.db.keyinfo"] {
        let from = home.dir.path().join(name);
        if from.exists() {
            fs::copy(&from, copy.dir.path().join(name)).unwrap();
        }
    }
    drop(store);
    let log = fs::read(copy.dir.path().join("alice.db-wal")).unwrap();
    (copy, log)
}

/// Where the frames of the log begin, and how many of them are in use.
fn frames(log: &[u8]) -> usize {
    let salts = &log[16..24];
    let frames = log[32..].chunks_exact(24 + 4096);
    frames.take_while(|frame| &frame[8..16] == salts).count()
}

// What was acknowledged is not given up in silence; what a loss of power cuts off was not acknowledged.
#[test]
fn a_log_that_lost_acknowledged_writes_is_damage_and_a_torn_one_is_not() {
    let key = raw(1);
    let (home, log) = with_log(&key);
    let path = home.dir.path().join("alice.db-wal");
    let count = frames(&log);
    assert!(count >= 6, "{count}");
    let at = |frame: usize| 32 + frame * (24 + 4096);
    for frame in 0..count - 1 {
        for byte in [at(frame) + 2, at(frame) + 18, at(frame) + 24 + 100] {
            let mut damaged = log.clone();
            damaged[byte] ^= 1;
            fs::write(&path, damaged).unwrap();
            let error = home.refused(&key);
            assert!(matches!(error, OpenError::Store(StoreError::Corrupt)), "{frame}: {error}");
        }
    }
    // The end of the log, in every way that a write may have been cut off.
    for cut in [at(count) - 1, at(count) - 4096, at(count) - 4096 - 10, at(count - 1) + 3] {
        let mut torn = log.clone();
        torn[cut..].fill(0);
        fs::write(&path, &torn).unwrap();
        let read = Home { dir: tempfile::tempdir().unwrap() };
        for (from, bytes) in home.files() {
            fs::write(read.dir.path().join(from.file_name().unwrap()), bytes).unwrap();
        }
        assert_eq!(who(&mut open(&read.db(), &key).unwrap()), Some(vec![4; 300]), "{cut}");
    }
    fs::write(&path, &log).unwrap();
    assert_eq!(who(&mut open(&home.db(), &key).unwrap()), Some(vec![5; 300]));
}

#[test]
fn foreign_owners_are_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: giving a file to another user needs root");
        return;
    }
    let home = Home::created(&raw(1));
    std::os::unix::fs::chown(home.db(), Some(12345), None).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::ForeignOwner { role: FileRole::Database });
    let home = Home::created(&raw(1));
    std::os::unix::fs::chown(home.dir.path(), Some(12345), None).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::ForeignOwner { role: FileRole::Directory });
}

#[test]
fn a_path_without_a_name_is_refused() {
    assert_eq!(
        open(Path::new("/"), &raw(1)).unwrap_err(),
        OpenError::BadPath { role: FileRole::Database }
    );
    let home = Home::new();
    fs::write(home.dir.path().join("file"), b"").unwrap();
    let error = open(&home.dir.path().join("file/alice.db"), &raw(1)).unwrap_err();
    assert_eq!(error, OpenError::BadPath { role: FileRole::Database });
}

#[test]
fn no_message_names_a_path() {
    let home = Home::created(&raw(1));
    for error in [
        home.refused(&raw(2)),
        open(&home.dir.path().join("alice.db/x"), &raw(1)).unwrap_err(),
        open(Path::new("/proc/alice.db"), &raw(1)).unwrap_err(),
    ] {
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("alice") && !text.contains("tmp/") && !text.contains("PRAGMA key"),
            "{text}"
        );
    }
}
