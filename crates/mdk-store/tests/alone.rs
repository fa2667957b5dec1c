//! What concerns a whole process, and so is a program of its own, of one test at a time: children that `fork` made, which
//! inherit whatever any test has open at that moment, and the mask for the modes of new files.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{Read, Write, pipe},
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use mdk_store::*;
use mdk_wire::{Secret, SecretVec};

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(code: i32) -> !;
}

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that waits until it is told to go on.
struct Child {
    pid: i32,
    go: std::io::PipeWriter,
}

impl Child {
    /// Python's hook calls `let_go_in_child`; C code that forks behind its back does not.
    fn fork(hook: bool, work: impl FnOnce()) -> Self {
        let (mut wait, go) = pipe().unwrap();
        // SAFETY: nothing but this thread works in this process, and the child ends below.
        let pid = unsafe { fork() };
        assert!(pid >= 0);
        if pid > 0 {
            return Self { pid, go };
        }
        if hook {
            let_go_in_child();
        }
        let worked = catch_unwind(AssertUnwindSafe(|| {
            wait.read_exact(&mut [0]).unwrap();
            work();
        }));
        if let Err(why) = &worked {
            // What is said with `eprintln` is kept for the end of the test, which a child does not see.
            let why = why.downcast_ref::<String>().map_or("a panic", String::as_str);
            let _ = writeln!(std::io::stderr(), "in the child: {why}");
        }
        // SAFETY: like a kill, it runs nothing of what the parent would run at its end.
        unsafe { _exit(i32::from(worked.is_err())) }
    }

    fn run(mut self) {
        self.go.write_all(b"x").unwrap();
        let mut status = 0;
        // SAFETY: the child is ours, and the place is for one integer.
        assert_eq!(unsafe { waitpid(self.pid, &raw mut status, 0) }, self.pid);
        assert_eq!(status, 0, "the child failed: see above");
    }
}

fn raw(byte: u8) -> DatabaseKey {
    DatabaseKey::Raw(Secret::new([byte; 32]))
}

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, &raw(1), &OpenOptions::default())
}

fn refused() -> OpenError {
    StoreError::WrongProcess.into()
}

fn put(store: &mut Store, names: std::ops::Range<u8>) {
    for n in names {
        store.write(|tx| tx.set_meta(&format!("row {n}"), &[n; 3000])).unwrap();
    }
}

fn rows(store: &mut Store) -> usize {
    (0..=255u8).filter(|n| store.read(|tx| tx.meta(&format!("row {n}"))).unwrap().is_some()).count()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("home").join("a.db");
    (home, path)
}

#[test]
fn a_child_that_was_forked_while_a_database_was_open_uses_none_and_nothing_is_lost() {
    let _alone = alone();
    for hook in [true, false] {
        let (home, path) = place();
        let (_other_home, other) = place();
        put(&mut open(&other).unwrap(), 0..3);
        let mut store = open(&path).unwrap();
        put(&mut store, 0..5);
        let (archive, words) = (home.path().join("a.bak"), SecretVec::new(b"some words".to_vec()));
        store.backup(&archive, &words, &mut Progress::none()).unwrap();
        let new = home.path().join("new").join("b.db");
        let child = Child::fork(hook, || {
            let mut none = Progress::none();
            assert_eq!(open(&path).unwrap_err(), refused());
            assert_eq!(open(&other).unwrap_err(), refused());
            assert_eq!(open(&new).unwrap_err(), refused());
            assert_eq!(Store::in_memory().unwrap_err(), refused());
            let inner = VaultError::Open(refused());
            assert_eq!(verify(&path, &raw(1), &mut none).unwrap_err(), inner);
            let copied = encrypt_existing(&path, Some(&raw(1)), Some(&new), &raw(2), &mut none);
            assert_eq!(copied.unwrap_err(), inner);
            let to = home.path().join("b.bak");
            assert_eq!(backup(&path, &raw(1), &to, &words, &mut none).unwrap_err(), inner);
            let restored = restore(&archive, &new, &words, &raw(1), &mut none);
            assert_eq!(restored.unwrap_err(), inner);
            let saved = salvage(&path, &raw(1), &new, &raw(1), &mut none);
            assert_eq!(saved.unwrap_err(), inner);
            // Neither by a child of its own.
            Child::fork(hook, || assert_eq!(open(&path).unwrap_err(), refused())).run();
        });
        store.close().unwrap();
        let before = fs::read(&path).unwrap();
        child.run();
        assert!(fs::read(&path).unwrap() == before && !new.parent().unwrap().exists());
        // The parent is not concerned.
        let mut store = open(&path).unwrap();
        assert_eq!(rows(&mut store), 5);
        put(&mut store, 25..30);
        store.close().unwrap();
    }
}

#[test]
fn a_child_that_was_forked_when_all_was_closed_opens_what_it_likes() {
    let _alone = alone();
    let (home, path) = place();
    put(&mut open(&path).unwrap(), 0..5);
    Child::fork(true, || {
        let mut store = open(&path).unwrap();
        put(&mut store, 5..10);
        let mine = home.path().join("mine").join("b.db");
        put(&mut open(&mine).unwrap(), 0..3);
        // Now it is the one that has a database open.
        Child::fork(true, || assert_eq!(open(&mine).unwrap_err(), refused())).run();
        store.close().unwrap();
        Child::fork(true, || assert_eq!(rows(&mut open(&mine).unwrap()), 3)).run();
    })
    .run();
    assert_eq!(rows(&mut open(&path).unwrap()), 10);
}

/// Files must be private from birth: a watcher samples while databases are created, written and closed.
#[test]
fn no_file_is_ever_wider_not_even_for_an_instant() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    // What a careless program would have.
    let old = rustix::process::umask(0o000.into());
    let (stop, samples) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for entry in fs::read_dir(dir.path().join("d")).into_iter().flatten().flatten() {
                    if let Ok(meta) = fs::symlink_metadata(entry.path()) {
                        assert_eq!(meta.mode() & 0o077, 0, "{:?}", entry.file_name());
                        samples.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        // On a busy machine the watcher may have had no turn when ten are made.
        let enough = |n| n >= 10 && samples.load(Ordering::Relaxed) > 100;
        for n in (0..1000).take_while(|n| !enough(*n) && !watcher.is_finished()) {
            let db = dir.path().join(format!("d/{n}.db"));
            let key = DatabaseKey::File(dir.path().join(format!("d/{n}.key")));
            let mut store = Store::open(&db, &key, &OpenOptions::default()).unwrap();
            store.write(|tx| tx.set_meta("a", &[0; 10_000])).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
        assert!(samples.load(Ordering::Relaxed) > 100);
    });
    rustix::process::umask(old);
}
