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

/// Another owner, who is killed.
fn killed_owner(path: &Path) {
    Child::fork(true, || {
        let mut store = open(path).unwrap();
        put(&mut store, 5..25);
        std::mem::forget(store);
    })
    .run();
}

/// All files, with what they hold, apart from the lock file: whoever tries it writes its pid into it.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_none_or(|end| end != "lock"));
    let mut files: Vec<_> = files.map(|file| (file.clone(), fs::read(&file).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn what_was_open_at_the_fork_is_not_opened_by_the_child_and_nothing_is_lost() {
    let _alone = alone();
    for hook in [true, false] {
        let (_home, path) = place();
        let mut store = open(&path).unwrap();
        put(&mut store, 0..5);
        let child = Child::fork(hook, || {
            assert_eq!(open(&path).unwrap_err(), refused());
            // Neither by a child of its own, which has inherited it as well.
            Child::fork(hook, || assert_eq!(open(&path).unwrap_err(), refused())).run();
        });
        store.close().unwrap();
        killed_owner(&path);
        let before = files(&path);
        child.run();
        assert!(files(&path) == before, "the files have changed");
        // The parent is not concerned.
        let mut store = open(&path).unwrap();
        assert_eq!(rows(&mut store), 25);
        put(&mut store, 25..30);
        store.close().unwrap();
    }
}

#[test]
fn what_was_closed_before_the_fork_and_what_was_never_open_is_opened_by_the_child() {
    let _alone = alone();
    let (home, path) = place();
    put(&mut open(&path).unwrap(), 0..5);
    let (_other_home, other) = place();
    let busy = open(&other).unwrap();
    Child::fork(true, || {
        let mut store = open(&path).unwrap();
        put(&mut store, 5..10);
        let mine = home.path().join("mine").join("b.db");
        put(&mut open(&mine).unwrap(), 0..3);
        // What this one has open now is not for its own children; what it has closed is.
        let child = Child::fork(true, || {
            assert_eq!(open(&path).unwrap_err(), refused());
            assert_eq!(rows(&mut open(&mine).unwrap()), 3);
        });
        store.close().unwrap();
        child.run();
    })
    .run();
    drop(busy);
    assert_eq!(rows(&mut open(&path).unwrap()), 10);
}

/// Under another name it is the same file; another file under its name is not.
#[test]
fn it_is_the_file_that_is_refused_and_not_its_name() {
    let _alone = alone();
    let (_home, path) = place();
    let store = open(&path).unwrap();
    let moved = path.with_file_name("moved.db");
    let child = Child::fork(true, || {
        assert_eq!(open(&moved).unwrap_err(), refused());
        put(&mut open(&path).unwrap(), 0..5);
    });
    store.close().unwrap();
    fs::rename(&path, &moved).unwrap();
    for suffix in ["a.db-wal", "a.db-shm", "a.db.keyinfo"] {
        let _ = fs::remove_file(path.with_file_name(suffix));
    }
    child.run();
    assert_eq!(rows(&mut open(&path).unwrap()), 5);
}

/// What reads the files itself works; what needs SQLite for them is refused, and changes nothing.
#[test]
fn the_other_operations_of_the_child_are_refused_or_right() {
    let _alone = alone();
    for with_log in [true, false] {
        let (home, path) = place();
        let mut store = open(&path).unwrap();
        put(&mut store, 0..5);
        let new = |name: &str| home.path().join(name).join("b.db");
        let (archive, words) = (home.path().join("a.bak"), SecretVec::new(b"words".to_vec()));
        store.backup(&archive, &words, &mut Progress::none()).unwrap();
        let child = Child::fork(true, || {
            let mut none = Progress::none();
            let before = files(&path);
            let found = verify(&path, &raw(1), &mut none);
            let copied =
                encrypt_existing(&path, Some(&raw(1)), Some(&new("copy")), &raw(2), &mut none);
            if with_log {
                assert_eq!(found.unwrap_err(), VaultError::Open(refused()));
                assert_eq!(copied.unwrap_err(), VaultError::Open(refused()));
            } else {
                assert!(found.unwrap().is_intact());
                copied.unwrap();
            }
            let to = home.path().join("b.bak");
            let copied = backup(&path, &raw(1), &to, &words, &mut none);
            assert_eq!(copied.unwrap_err(), VaultError::Open(refused()));
            restore(&archive, &new("restored"), &words, &raw(1), &mut none).unwrap();
            assert_eq!(rows(&mut open(&new("restored")).unwrap()), 5);
            salvage(&path, &raw(1), &new("salvaged"), &raw(1), &mut none).unwrap();
            assert_eq!(rows(&mut open(&new("salvaged")).unwrap()), if with_log { 25 } else { 5 });
            let _ = doctor(&path, Some(&raw(1)), &mut Progress::none()).unwrap();
            assert!(files(&path) == before, "the files have changed");
        });
        store.close().unwrap();
        if with_log {
            killed_owner(&path);
        }
        child.run();
    }
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
