//! Modes of files and directories, whatever they were before.

use std::{fs, path::Path};

use mdk_store::{FileRole, OpenError, Store};

use crate::kit::{mode, raw, set_mode, try_open};

fn open(path: &Path) -> Result<Store, OpenError> {
    try_open(path, &raw(1))
}

#[test]
fn a_wide_directory_of_our_own_is_tightened() {
    for before in [0o755, 0o777, 0o750, 0o711] {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("alice.db");
        set_mode(dir.path(), before);
        drop(open(&db).unwrap());
        assert_eq!(mode(dir.path()), 0o700, "empty, was {before:o}");
        set_mode(dir.path(), before);
        drop(open(&db).unwrap());
        assert_eq!(mode(dir.path()), 0o700, "with our files, was {before:o}");
    }
}

#[test]
fn a_wide_directory_with_other_files_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("holiday.jpg"), b"").unwrap();
    set_mode(dir.path(), 0o755);
    let error = open(&dir.path().join("alice.db")).unwrap_err();
    assert_eq!(error, OpenError::DirectoryTooWide { role: FileRole::Database, mode: 0o755 });
    assert!(error.to_string().contains("chmod 700"));
    assert_eq!(mode(dir.path()), 0o755);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // A directory of its own below it will do.
    drop(open(&dir.path().join("mine/alice.db")).unwrap());
    assert_eq!(mode(&dir.path().join("mine")), 0o700);
}

#[test]
fn a_shared_sticky_directory_is_refused_even_when_empty() {
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o1777);
    let error = open(&dir.path().join("alice.db")).unwrap_err();
    assert_eq!(error, OpenError::DirectoryTooWide { role: FileRole::Database, mode: 0o1777 });
    drop(open(&dir.path().join("mine/alice.db")).unwrap());
}

#[test]
fn a_wide_database_is_narrowed() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("alice.db");
    drop(open(&db).unwrap());
    for file in ["alice.db", "alice.db.lock"] {
        set_mode(&dir.path().join(file), 0o666);
    }
    let mut store = open(&db).unwrap();
    store.write(|tx| tx.set_meta("a", b"b")).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
}
