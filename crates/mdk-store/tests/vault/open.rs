//! Opening: what is there afterwards, and who is refused without a change.

use std::{fs, os::unix::fs::symlink, path::Path};

use mdk_store::{DatabaseKey, FileRole, OpenError, Store};
use memchr::memmem;
use rusqlite::Connection;

use crate::kit::{
    keys::{Home, mode, passphrase, raw, set_mode},
    private, try_open as open,
};

#[test]
fn what_is_written_is_there_after_opening_again() {
    let home = Home::created(&raw(1));
    assert_eq!(home.names().len(), 2, "database and record, no side-cars after closing");
    home.opens(&raw(1));
    let info = home.open(&raw(1)).unwrap().info().unwrap();
    assert_eq!(info.path.as_deref(), Some(fs::canonicalize(home.db()).unwrap().as_path()));
    assert_eq!((info.schema_version, info.key_source, info.rekeyed_at), (1, "raw", None));
    assert!(info.sqlcipher_version.starts_with("4."), "{}", info.sqlcipher_version);
    assert_eq!(info.size_bytes, fs::metadata(home.db()).unwrap().len());
    assert_eq!(Store::in_memory().unwrap().info().unwrap().key_source, "none");
}

#[test]
fn the_file_is_encrypted_and_private() {
    let home = Home::new();
    let nested = home.path("a/b/alice.db");
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
fn a_second_opener_is_told_who_has_it() {
    let home = Home::new();
    let _open = home.open(&raw(1)).unwrap();
    let error = home.open(&raw(1)).unwrap_err();
    assert_eq!(error, OpenError::Busy { pid: Some(std::process::id()) });
    assert!(error.to_string().contains(&std::process::id().to_string()));
}

#[test]
fn key_files_that_are_missing_wide_or_malformed_are_refused() {
    let home = Home::new();
    let key = home.in_file();
    home.create(&key);
    set_mode(&home.key_file(), 0o644);
    assert_eq!(home.refused(&key), OpenError::KeyFileTooWide { mode: 0o644 });
    set_mode(&home.key_file(), 0o600);
    let text = fs::read(home.key_file()).unwrap();
    fs::write(home.key_file(), b"mdk-key-1:AAAA").unwrap();
    assert_eq!(home.refused(&key), OpenError::KeyLength { found: 3 });
    fs::write(home.key_file(), b"correct horse").unwrap();
    assert_eq!(home.refused(&key), OpenError::KeyMalformed { source: "file" });
    fs::remove_file(home.key_file()).unwrap();
    let elsewhere = DatabaseKey::File(home.path("no/such/dir/key"));
    for missing in [&key, &elsewhere] {
        assert_eq!(home.refused(missing), OpenError::KeyMissing { source: "file" });
    }
    private(&home.key_file(), &text);
    home.opens(&key);
}

#[test]
fn a_lost_database_is_not_silently_replaced() {
    let home = Home::new();
    for key in [home.in_file(), raw(1)] {
        home.create(&key);
        fs::remove_file(home.db()).unwrap();
        assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
        home.put(&[].into());
    }
    private(&home.path("alice.db-wal"), b"newest messages");
    assert_eq!(home.refused(&raw(1)), OpenError::DatabaseMissingButLogPresent);
}

#[test]
fn a_failed_first_open_leaves_nothing() {
    // The name of the temporary file is taken by a directory, so the schema cannot be made.
    let home = Home::new();
    fs::create_dir(home.path("alice.db.tmp")).unwrap();
    for key in [raw(1), home.in_file(), passphrase("x")] {
        assert_eq!(home.refused(&key), OpenError::NotAFile { role: FileRole::Database });
        assert_eq!(home.names(), ["alice.db.tmp"]);
    }
    // The record cannot be written.
    let home = Home::new();
    fs::create_dir(home.path("alice.db.keyinfo.tmp")).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::NameTaken { suffix: ".keyinfo.tmp" });
    // The key cannot be stored: its directory is a file.
    let home = Home::new();
    fs::write(home.path("file"), b"").unwrap();
    let key = DatabaseKey::File(home.path("file/key"));
    home.refused(&key);
    // New directories go again.
    open(&home.path("new/dir/alice.db"), &key).unwrap_err();
    assert_eq!(home.names(), ["file"]);
}

#[test]
fn links_and_odd_files_are_refused() {
    for (name, role) in [
        ("alice.db", FileRole::Database),
        ("alice.db.lock", FileRole::Lock),
        ("alice.db.keyinfo", FileRole::KeyRecord),
        ("alice.secret", FileRole::Key),
    ] {
        let home = Home::new();
        let key = home.in_file();
        home.create(&key);
        let (path, other) = (home.path(name), home.path("other"));
        fs::hard_link(&path, &other).unwrap();
        assert_eq!(home.refused(&key), OpenError::HardLink { role });
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
        assert_eq!(home.refused(&key), OpenError::Symlink { role });
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        assert_eq!(home.open(&key).unwrap_err(), OpenError::NotAFile { role });
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(home.refused(&key), OpenError::NotAFile { role });
        assert!(other.is_file());
    }
}

#[test]
fn a_wide_side_car_or_a_linked_one_does_not_pass() {
    let home = Home::created(&raw(1));
    symlink("/etc/passwd", home.path("alice.db-wal")).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::Symlink { role: FileRole::Database });
}

#[test]
fn foreign_owners_are_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: giving a file to another user needs root");
        return;
    }
    for (name, role) in [("alice.db", FileRole::Database), ("", FileRole::Directory)] {
        let home = Home::created(&raw(1));
        std::os::unix::fs::chown(home.path(name), Some(12345), None).unwrap();
        assert_eq!(home.refused(&raw(1)), OpenError::ForeignOwner { role });
    }
}

#[test]
fn a_path_without_a_name_is_refused() {
    let home = Home::new();
    fs::write(home.path("file"), b"").unwrap();
    for path in [Path::new("/"), &home.path("file/alice.db")] {
        let error = open(path, &raw(1)).unwrap_err();
        assert_eq!(error, OpenError::BadPath { role: FileRole::Database });
    }
}
