//! Tests of the lock by itself, between processes (this test binary, started again), and with a lock file that others
//! change.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use super::*;

const HOME: &str = "MDK_STORE_LOCK_TEST_HOME";
/// Target R6: the time to say who holds the lock, and to get it after the holder's death.
const LIMIT: Duration = Duration::from_millis(100);

fn place(home: &Path) -> Place {
    Place::of(&home.join("alice.db"), FileRole::Database).unwrap()
}

fn busy(place: &Place) -> Option<Option<u32>> {
    match OwnerLock::take(place, Duration::ZERO).err()? {
        OpenError::Busy { pid } => Some(pid),
        other => panic!("{other}"),
    }
}

/// The part of a child; not a test of its own.
#[test]
fn child() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else {
        return;
    };
    let _lock = OwnerLock::take(&place(&home), Duration::ZERO).unwrap();
    println!("ready");
    // The child waits until the parent lets go of the pipe, or kills it.
    std::io::stdin().lines().for_each(drop);
}

fn hold(home: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "files::owner_lock::tests::child", "--nocapture", "--test-threads=1"])
        .env(HOME, home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "the child ended early");
    }
    (child, out)
}

/// R6: 100 holders, each named by its pid and each killed.
#[test]
fn a_killed_holder_is_named_before_and_gone_after() {
    let home = tempfile::tempdir().unwrap();
    let place = place(home.path());
    // A busy machine delays a few of these. A lock that has to time out first would delay each.
    let (mut named, mut freed) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let (mut child, _out) = hold(home.path());
        let start = Instant::now();
        assert_eq!(busy(&place), Some(Some(child.id())));
        named.push(start.elapsed());
        child.kill().unwrap();
        let start = Instant::now();
        let lock = OwnerLock::take(&place, LIMIT * 600).expect("the lock dies with its holder");
        freed.push(start.elapsed());
        drop(lock);
        child.wait().unwrap();
    }
    named.sort_unstable();
    freed.sort_unstable();
    assert!(named[50] < LIMIT && freed[50] < LIMIT, "{:?} and {:?}", named[50], freed[50]);
}

#[test]
fn waiting_lasts_as_long_as_was_said() {
    let home = tempfile::tempdir().unwrap();
    let place = place(home.path());
    let lock = OwnerLock::take(&place, Duration::ZERO).unwrap();
    let wait = Duration::from_millis(60);
    let timed = || {
        let start = Instant::now();
        assert!(matches!(OwnerLock::take(&place, wait), Err(OpenError::Busy { pid: Some(_) })));
        start.elapsed()
    };
    // A busy machine makes some of these longer, and none shorter.
    let took: Vec<_> = (0..10).map(|_| timed()).collect();
    let shortest = took.iter().min().expect("ten of them");
    assert!(*shortest >= wait && *shortest < wait * 5, "{took:?}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| OwnerLock::take(&place, Duration::from_secs(60)).map(drop));
        drop(lock);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn what_stands_in_the_file_is_no_pid_after_the_lock_is_released() {
    let home = tempfile::tempdir().unwrap();
    let place = place(home.path());
    let file = home.path().join("alice.db.lock");
    let lock = OwnerLock::take(&place, Duration::ZERO).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", std::process::id()));
    drop(lock);
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn nonsense_in_the_file_is_no_pid_and_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    let place = place(home.path());
    let file = home.path().join("alice.db.lock");
    for nonsense in [&b"12"[..], b"-1\n", b"12 \n", b"\xff\n", &[b'9'; 1000], b"4294967296\n"] {
        fs::write(&file, nonsense).unwrap();
        let lock = OwnerLock::take(&place, Duration::ZERO).unwrap();
        fs::write(&file, nonsense).unwrap();
        assert_eq!(busy(&place), Some(None), "{nonsense:?}");
        drop(lock);
    }
}

#[test]
fn a_lock_file_that_is_removed_or_replaced_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let place = place(home.path());
    let file = home.path().join("alice.db.lock");
    let lock = OwnerLock::take(&place, Duration::ZERO).unwrap();
    assert!(lock.is_intact());
    fs::remove_file(&file).unwrap();
    assert!(!lock.is_intact());
    // Another opener can get in now. Only that opener may go on.
    let second = OwnerLock::take(&place, Duration::ZERO).unwrap();
    assert!(!lock.is_intact() && second.is_intact());
    // The release of the first lock does not touch the second.
    drop(lock);
    assert_eq!(busy(&place), Some(Some(std::process::id())));
    fs::write(home.path().join("other"), b"").unwrap();
    fs::rename(home.path().join("other"), &file).unwrap();
    assert!(!second.is_intact());
}

#[test]
fn a_lock_file_that_is_removed_while_others_wait_never_has_two_intact_holders() {
    let home = tempfile::tempdir().unwrap();
    let inside = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let place = place(home.path());
                for n in 0..50 {
                    let lock = OwnerLock::take(&place, Duration::from_secs(60)).unwrap();
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    // A failed first open undoes its lock.
                    if n % 2 == 0 { lock.undo(&place) } else { drop(lock) }
                }
            });
        }
    });
}

#[test]
fn where_nothing_can_be_written_a_lock_that_is_there_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let place = place(home.path());
    assert!(OwnerLock::take_unwritable(&place).unwrap().is_none(), "nobody has ever opened it");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    let held = OwnerLock::take(&place, Duration::ZERO).unwrap();
    let error = OwnerLock::take_unwritable(&place).err();
    assert_eq!(error, Some(OpenError::Busy { pid: Some(std::process::id()) }));
    drop(held);
    let held = OwnerLock::take_unwritable(&place).unwrap();
    assert!(held.is_some() && busy(&place).is_some());
    drop(held);
    assert!(busy(&place).is_none());
}

#[cfg(target_os = "linux")]
/// The child of [`hold`] with an error injected into its writes to the lock file.
fn hold_without_room(home: &Path, error: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-P"])
        .arg(home.join("alice.db.lock"))
        .args(["-e", &format!("inject=write:error={error}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "files::owner_lock::tests::child", "--nocapture", "--test-threads=1"])
        .env(HOME, home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// R5: the pid serves only the message to others. A database on a full disk must still be opened for reading.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_the_name_of_the_holder_and_not_the_lock() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    for (error, held) in [("ENOSPC", true), ("EDQUOT", true), ("EIO", false)] {
        let home = tempfile::tempdir().unwrap();
        // The pid belongs to a process that is gone. It must not be taken for the holder.
        fs::write(home.path().join("alice.db.lock"), "1\n").unwrap();
        set_private(&home.path().join("alice.db.lock"));
        let place = place(home.path());
        let (mut child, out) = hold_without_room(home.path(), error);
        let ready = out.lines().any(|line| line.unwrap().contains("ready"));
        assert_eq!(ready, held, "{error}");
        assert_eq!(busy(&place), held.then_some(None), "{error}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(busy(&place), None, "{error}");
    }
}

#[cfg(target_os = "linux")]
fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
