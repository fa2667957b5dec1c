//! Tests of a [`Place`] as other modules use it, and with a swapped directory.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rusqlite::{Connection, OpenFlags};

use super::*;

const DB: FileRole = FileRole::Database;

fn here() -> (tempfile::TempDir, Place) {
    let home = tempfile::tempdir().unwrap();
    let place = Place::of(&home.path().join("alice.db"), DB).unwrap();
    (home, place)
}

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn exchange_swaps_two_files() {
    let (home, place) = here();
    fs::write(home.path().join("a"), b"A").unwrap();
    fs::write(home.path().join("b"), b"B").unwrap();
    let swapped = place.exchange(name("a"), name("b"), DB).unwrap();
    let read = |n| fs::read(home.path().join(n)).unwrap();
    let expected: [&[u8]; 2] = if swapped { [b"B", b"A"] } else { [b"A", b"B"] };
    assert_eq!([read("a"), read("b")], expected);
    if cfg!(target_os = "linux") && place.file_system().unwrap() == Verdict::Good {
        assert!(swapped, "the local file systems of Linux can");
    }
}

#[test]
fn exchange_needs_both_files() {
    let (home, place) = here();
    fs::write(home.path().join("a"), b"A").unwrap();
    if let Err(error) = place.exchange(name("a"), name("b"), DB) {
        assert!(matches!(error, OpenError::Io { kind: io::ErrorKind::NotFound, .. }));
    }
    assert_eq!(fs::read(home.path().join("a")).unwrap(), b"A");
}

#[test]
fn replace_goes_over_a_file_and_rename_new_does_not() {
    let (home, place) = here();
    fs::write(home.path().join("a"), b"A").unwrap();
    fs::write(home.path().join("b"), b"B").unwrap();
    let error = place.rename_new(name("a"), name("b"), DB).unwrap_err();
    assert!(matches!(error, OpenError::Io { kind: io::ErrorKind::AlreadyExists, .. }));
    assert_eq!(fs::read(home.path().join("b")).unwrap(), b"B");
    place.replace(name("a"), name("b"), DB).unwrap();
    assert_eq!(fs::read(home.path().join("b")).unwrap(), b"A");
    assert!(!home.path().join("a").exists());
}

#[test]
fn wipe_overwrites_before_it_removes() {
    let (home, place) = here();
    for len in [0, 1, 4096, 65_536, 200_001] {
        let path = home.path().join("old");
        fs::write(&path, vec![0xa7; len]).unwrap();
        // A reader that has the file open sees only the bytes that were written over it.
        let mut witness = File::open(&path).unwrap();
        place.wipe(name("old"), DB).unwrap();
        assert!(!path.exists());
        let mut left = Vec::new();
        io::Read::read_to_end(&mut witness, &mut left).unwrap();
        assert_eq!(left.len(), len);
        let kept = left.windows(4).filter(|w| *w == [0xa7; 4]).count();
        assert!(kept < 3, "{kept} pieces of {len} bytes");
    }
    place.wipe(name("old"), DB).unwrap();
}

/// The part that runs under strace; not a test of its own.
#[test]
fn wiping_child() {
    let Some(home) = std::env::var_os("MDK_STORE_WIPE_TEST_HOME").map(PathBuf::from) else {
        return;
    };
    let place = Place::of(&home.join("alice.db"), DB).unwrap();
    place.wipe(name("alice.db-wal"), DB).unwrap();
}

/// A loss of power leaves a log whose first bytes are no log: they are durable before anything else of it is written.
#[cfg(target_os = "linux")]
#[test]
fn wipe_makes_the_first_bytes_durable_before_it_writes_more() {
    use std::process::Command;
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let (home, _place) = here();
    let log = fs::canonicalize(home.path()).unwrap().join("alice.db-wal");
    fs::write(&log, vec![7; 200_000]).unwrap();
    let trace = home.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=write,pwrite64,fsync,fdatasync,unlinkat", "-P"])
        .args([&log, Path::new("-o"), &trace])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "files::unix::tests::wiping_child", "--test-threads=1"])
        .env("MDK_STORE_WIPE_TEST_HOME", home.path())
        .status()
        .unwrap();
    assert!(status.success() && !log.exists());
    let text = fs::read_to_string(&trace).unwrap();
    let calls = text.lines().filter_map(|line| {
        let (call, _) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        let done: usize = line.rsplit_once("= ")?.1.parse().ok()?;
        Some((call.to_owned(), done))
    });
    let calls: Vec<_> = calls.collect();
    let [(first, length), (second, _), rest @ ..] = &calls[..] else { panic!("{text}") };
    // A disk writes a sector whole or not at all.
    assert!(first.contains("write") && *length <= 512 && second.contains("sync"), "{text}");
    let all: usize = rest.iter().filter(|(call, _)| call.contains("write")).map(|(_, n)| n).sum();
    assert_eq!(all, 200_000, "{text}");
    assert!(rest.last().is_some_and(|(call, _)| call.contains("sync")), "{text}");
}

#[test]
fn wipe_leaves_what_is_not_ours_alone() {
    let (home, place) = here();
    let victim = home.path().join("victim");
    fs::write(&victim, b"precious").unwrap();
    symlink(&victim, home.path().join("link")).unwrap();
    fs::hard_link(&victim, home.path().join("twin")).unwrap();
    fs::create_dir(home.path().join("dir")).unwrap();
    assert_eq!(place.wipe(name("link"), DB), Err(OpenError::Symlink { role: DB }));
    assert_eq!(place.wipe(name("twin"), DB), Err(OpenError::HardLink { role: DB }));
    assert_eq!(place.wipe(name("dir"), DB), Err(OpenError::NotAFile { role: DB }));
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn free_bytes_is_what_df_says() {
    let (home, place) = here();
    let out = std::process::Command::new("df")
        .args(["-P", "-k"])
        .arg(home.path())
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let free: u64 =
        text.lines().nth(1).unwrap().split_whitespace().nth(3).unwrap().parse().unwrap();
    let ours = place.free_bytes().unwrap();
    // Other programs write meanwhile.
    assert!(ours.abs_diff(free * 1024) < 8 << 30, "{ours} and {free} KiB");
    assert!(ours > 0);
}

#[test]
fn a_memory_file_system_is_seen_as_one() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() || rustix::fs::statfs(shm).is_ok_and(|s| s.f_type != 0x0102_1994) {
        eprintln!("skipped: /dev/shm is no tmpfs here");
        return;
    }
    let home = tempfile::tempdir_in(shm).unwrap();
    let place = Place::of(&home.path().join("alice.db"), DB).unwrap();
    assert!(matches!(place.file_system().unwrap(), Verdict::Warn { kind: "tmpfs", .. }));
    assert_eq!(place.secure(DB, |_| true), Ok(()));
}

#[test]
fn work_goes_on_in_the_directory_that_was_opened() {
    let (home, _) = here();
    let dir = home.path().join("d");
    let place = Place::of(&dir.join("alice.db"), DB).unwrap();
    fs::rename(&dir, home.path().join("moved")).unwrap();
    let evil = home.path().join("evil");
    fs::create_dir(&evil).unwrap();
    symlink(&evil, &dir).unwrap();
    place.create_new(name("x"), DB).unwrap();
    place.replace(name("x"), name("y"), DB).unwrap();
    assert!(home.path().join("moved/y").exists());
    place.wipe(name("y"), DB).unwrap();
    assert_eq!(fs::read_dir(&evil).unwrap().count(), 0);
    assert_eq!(fs::read_dir(home.path().join("moved")).unwrap().count(), 0);
}

/// Two directories with a database each. The place is in the first; `swap` exchanges them.
struct Swapped {
    home: tempfile::TempDir,
    place: Place,
}

impl Swapped {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for dir in ["d", "e"] {
            fs::DirBuilder::new().mode(0o700).create(home.path().join(dir)).unwrap();
            let conn = Connection::open(home.path().join(dir).join("alice.db")).unwrap();
            conn.execute_batch("CREATE TABLE t (x)").unwrap();
        }
        let place = Place::of(&home.path().join("d/alice.db"), DB).unwrap();
        Self { home, place }
    }

    fn swap(&self) {
        let at = |n| self.home.path().join(n);
        fs::rename(at("d"), at("t")).unwrap();
        fs::rename(at("e"), at("d")).unwrap();
        fs::rename(at("t"), at("e")).unwrap();
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        Connection::open_with_flags(self.place.path(self.place.name()), flags)
    }

    fn write(&self) -> Connection {
        let conn = self.connect().unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; INSERT INTO t VALUES (1)").unwrap();
        conn
    }

    fn confirm(&self, file: &str) -> Result<(), OpenError> {
        self.place.confirm_opened(name(file), DB)
    }
}

#[test]
fn the_database_that_was_checked_is_the_one_that_sqlite_opened() {
    let world = Swapped::new();
    let conn = world.write();
    assert_eq!(world.confirm("alice.db"), Ok(()));
    assert_eq!(world.confirm("alice.db-wal"), Ok(()));
    // A swap from now on changes nothing: SQLite keeps its descriptors.
    world.swap();
    assert_eq!(world.confirm("alice.db"), Ok(()));
    drop(conn);
    // The file is closed now.
    assert_eq!(world.confirm("alice.db"), Err(OpenError::PathChanged { role: DB }));
}

#[test]
fn a_directory_that_was_swapped_before_sqlite_opened_is_refused() {
    let world = Swapped::new();
    world.swap();
    let _conn = world.write();
    assert_eq!(world.confirm("alice.db"), Err(OpenError::PathChanged { role: DB }));
    assert_eq!(world.confirm("alice.db-wal"), Err(OpenError::PathChanged { role: DB }));
}

#[test]
fn a_directory_that_was_swapped_there_and_back_is_refused() {
    let world = Swapped::new();
    world.swap();
    let _conn = world.write();
    world.swap();
    // The path leads to the right file again, but another file is open.
    assert_eq!(world.confirm("alice.db"), Err(OpenError::PathChanged { role: DB }));
}

#[test]
fn a_directory_that_was_swapped_between_database_and_log_is_refused() {
    let world = Swapped::new();
    let conn = world.connect().unwrap();
    world.swap();
    // SQLite may refuse by itself here. If it does not, the log lies in the wrong directory.
    let _ = conn.execute_batch("PRAGMA journal_mode = WAL; INSERT INTO t VALUES (1)");
    assert_eq!(world.confirm("alice.db-wal"), Err(OpenError::PathChanged { role: DB }));
}

#[test]
fn a_log_that_sqlite_could_not_make_is_not_a_swapped_directory() {
    let world = Swapped::new();
    let _conn = world.connect().unwrap();
    let missing = world.confirm("alice.db-wal").unwrap_err();
    assert!(
        matches!(missing, OpenError::Io { kind: std::io::ErrorKind::NotFound, .. }),
        "{missing:?}"
    );
}

#[test]
fn sqlite_follows_no_link_on_the_way() {
    let world = Swapped::new();
    let at = |n| world.home.path().join(n);
    fs::rename(at("d"), at("moved")).unwrap();
    symlink(at("e"), at("d")).unwrap();
    assert!(world.connect().is_err());
}

#[test]
fn a_file_that_is_removed_while_it_is_looked_at_is_there_or_not() {
    let (home, place) = here();
    let path = home.path().join("alice.db.lock");
    let ended = AtomicBool::new(false);
    let (mut there, mut gone) = (0, 0);
    let failed = thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                fs::write(&path, b"").unwrap();
                fs::remove_file(&path).unwrap();
            }
        });
        let mut failed = None;
        // The loop runs until each case was seen often enough, in any scheduling of the two threads.
        while failed.is_none() && there.min(gone) < 5_000 && !other.is_finished() {
            match place.inspect(name("alice.db.lock"), FileRole::Lock) {
                Ok(Some(_)) => there += 1,
                Ok(None) => gone += 1,
                Err(error) => failed = Some(error),
            }
        }
        ended.store(true, Ordering::Relaxed);
        failed
    });
    assert_eq!(failed, None, "after {there} looks that found it and {gone} that did not");
}
