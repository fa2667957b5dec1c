//! Modes of files and directories, whatever they were before.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

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

/// Another user may rename the directories above ours. Whatever the moment of the swap, what we write must not end in
/// the directory that was slipped in, even if a copy of our own database stands there.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_is_swapped_while_opening_gets_no_data() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    drop(open(&at("ours/alice.db")).unwrap());
    fs::create_dir(at("evil")).unwrap();
    fs::copy(at("ours/alice.db"), at("evil/alice.db")).unwrap();
    // So that opening it as such is refused, and only the trick remains.
    fs::write(at("evil/holiday.jpg"), b"").unwrap();
    set_mode(&at("evil"), 0o777);
    let (stop, calm) = (AtomicBool::new(false), AtomicU32::new(200));
    let (mut opened, mut refused, mut written) = (0u32, 0, 0u32);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = || {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let (a, b) = (at("ours"), at("evil"));
                rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &b, flags).unwrap();
            };
            while !stop.load(Ordering::Relaxed) {
                exchange();
                std::thread::yield_now();
                exchange();
                // Most of the time things are as they should be, but on a busy machine that is too long.
                for _ in 0..calm.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            }
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while opened < 30 || refused == 0 || written == 0 {
            match open(&at("ours/alice.db")) {
                Ok(mut store) => {
                    opened += 1;
                    let name = format!("row {written}");
                    if store.write(|tx| tx.set_meta(&name, b"x")).is_ok() {
                        written += 1;
                    }
                }
                Err(_) => refused += 1,
            }
            calm.store(200 >> (opened / 30).min(7), Ordering::Relaxed);
            if Instant::now() > deadline {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(written > 0 && refused > 0, "{opened} opened, {refused} refused, {written} written");
    let rows = |db: &Path| {
        let mut store = open(db).unwrap();
        (0..written)
            .filter(|n| store.read(|tx| tx.meta(&format!("row {n}"))).unwrap().is_some())
            .count()
    };
    assert_eq!(rows(&at("ours/alice.db")), written as usize);
    fs::remove_file(at("evil/holiday.jpg")).unwrap();
    assert_eq!(rows(&at("evil/alice.db")), 0);
}
