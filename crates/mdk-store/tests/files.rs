//! Modes of files and directories, whatever they were before.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use mdk_store::{DatabaseKey, FileRole, OpenError, OpenOptions, Store};
use mdk_wire::Secret;

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, &DatabaseKey::Raw(Secret::new([1; 32])), &OpenOptions::default())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
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

/// Files must be private from birth: a watcher samples while databases are created, written and closed.
#[test]
fn no_file_is_ever_wider_not_even_for_an_instant() {
    let dir = tempfile::tempdir().unwrap();
    // What a careless program would have.
    let old = rustix::process::umask(0o000.into());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut samples = 0u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for entry in fs::read_dir(dir.path().join("d")).into_iter().flatten().flatten() {
                    if let Ok(meta) = fs::symlink_metadata(entry.path()) {
                        assert_eq!(meta.mode() & 0o077, 0, "{:?}", entry.file_name());
                        samples += 1;
                    }
                }
            }
            samples
        });
        for n in 0..10 {
            let db = dir.path().join(format!("d/{n}.db"));
            let key = DatabaseKey::File(dir.path().join(format!("d/{n}.key")));
            let mut store = Store::open(&db, &key, &OpenOptions::default()).unwrap();
            store.write(|tx| tx.set_meta("a", &[0; 10_000])).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 100);
    });
    rustix::process::umask(old);
}
