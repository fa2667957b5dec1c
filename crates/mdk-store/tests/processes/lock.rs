//! Two processes, and processes that are killed.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use mdk_store::{DatabaseKey, OpenError, OpenOptions, Store, StoreError};

use crate::kit::{command_line, has_strace, rerun};

const ROLE: &str = "MDK_STORE_TEST_ROLE";
const HOME: &str = "MDK_STORE_TEST_HOME";

fn key(home: &Path) -> DatabaseKey {
    DatabaseKey::File(home.join("alice.key"))
}

fn open(home: &Path, wait: Duration) -> Result<Store, OpenError> {
    Store::open(&home.join("alice.db"), &key(home), &OpenOptions::default().with_busy_wait(wait))
}

/// Not a test of its own: what a child does.
#[test]
fn child() {
    let (Ok(role), Some(home)) = (std::env::var(ROLE), std::env::var_os(HOME).map(PathBuf::from))
    else {
        return;
    };
    match role.as_str() {
        "hold" => {
            let store = open(&home, Duration::ZERO).unwrap();
            println!("ready");
            // Until the parent lets go of the pipe, or kills.
            std::io::stdin().lines().for_each(drop);
            drop(store);
        }
        "write" => {
            println!("opening");
            let mut store = open(&home, Duration::from_secs(20)).unwrap();
            let start = rows(&mut store);
            for n in start..start + 10_000 {
                store
                    .write(|tx| {
                        tx.set_meta(&format!("row {n}"), &[n as u8; 3000])?;
                        tx.savepoint(|tx| tx.set_meta("count", &n.to_be_bytes()))
                    })
                    .unwrap_or_else(|e: StoreError| panic!("{e}"));
                println!("row {n}");
            }
        }
        other => panic!("unknown role {other}"),
    }
}

fn start(role: &str, home: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = rerun(module_path!(), "child")
        .env(ROLE, role)
        .env(HOME, home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Reads lines of a child until one contains `text`.
fn wait_for(out: &mut impl BufRead, text: &str) -> String {
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        if line.contains(text) {
            return line;
        }
        line.clear();
    }
    panic!("the child ended before it said {text:?}");
}

/// How many rows there are; there must be no hole, and the counter must agree.
fn rows(store: &mut Store) -> u64 {
    store
        .read(|tx| {
            let mut n = 0u64;
            while let Some(value) = tx.meta(&format!("row {n}"))? {
                assert_eq!(value, [n as u8; 3000], "row {n}");
                n += 1;
            }
            let count = tx.meta("count")?.map(|c| u64::from_be_bytes(c.try_into().unwrap()));
            assert_eq!(count, n.checked_sub(1), "one transaction, both rows");
            Ok::<_, StoreError>(n)
        })
        .unwrap()
}

#[test]
fn another_process_is_busy_with_its_pid_and_free_after_its_death() {
    let home = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let (mut child, mut out) = start("hold", home.path());
        wait_for(&mut out, "ready");
        assert_eq!(
            open(home.path(), Duration::ZERO).unwrap_err(),
            OpenError::Busy { pid: Some(child.id()) }
        );
        child.kill().unwrap();
        child.wait().unwrap();
        drop(open(home.path(), Duration::ZERO).unwrap());
    }
}

/// Without its lock file an owner cannot know whether it still is the only one.
#[test]
fn an_owner_whose_lock_file_is_gone_writes_nothing_more() {
    let home = tempfile::tempdir().unwrap();
    let lock = home.path().join("alice.db.lock");
    let mut first = open(home.path(), Duration::ZERO).unwrap();
    first.write(|tx| tx.set_meta("a", b"1")).unwrap();
    std::fs::remove_file(&lock).unwrap();
    assert_eq!(first.write(|tx| tx.set_meta("a", b"2")), Err(StoreError::LockLost));
    let mut second = open(home.path(), Duration::ZERO).unwrap();
    assert_eq!(first.write(|tx| tx.set_meta("a", b"3")), Err(StoreError::LockLost));
    assert_eq!(second.read(|tx| tx.meta("a")).unwrap(), Some(b"1".to_vec()));
    second.write(|tx| tx.set_meta("a", b"4")).unwrap();
    drop(first);
    second.write(|tx| tx.set_meta("b", b"5")).unwrap();
    drop(second);
    let mut third = open(home.path(), Duration::ZERO).unwrap();
    assert_eq!(third.read(|tx| tx.meta("a")).unwrap(), Some(b"4".to_vec()));
    assert_eq!(third.read(|tx| tx.meta("b")).unwrap(), Some(b"5".to_vec()));
}

#[test]
fn waiting_for_another_process_succeeds_when_it_closes() {
    let home = tempfile::tempdir().unwrap();
    let (mut child, mut out) = start("hold", home.path());
    wait_for(&mut out, "ready");
    let waiting = std::thread::spawn({
        let home = home.path().to_owned();
        move || open(&home, Duration::from_secs(60)).map(drop)
    });
    drop(child.stdin.take());
    waiting.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn many_first_openers_at_once_agree_on_one_key() {
    for _ in 0..5 {
        let home = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..4u8 {
                let home = home.path();
                scope.spawn(move || {
                    let mut store = open(home, Duration::from_secs(60)).unwrap();
                    store.write(|tx| tx.set_meta(&n.to_string(), &[n])).unwrap();
                });
            }
        });
        let mut store = open(home.path(), Duration::ZERO).unwrap();
        for n in 0..4u8 {
            assert_eq!(store.read(|tx| tx.meta(&n.to_string())).unwrap(), Some(vec![n]));
        }
    }
}

#[test]
fn no_acknowledged_row_is_lost_when_the_writer_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = 0u64;
    for round in 0..40u64 {
        let (mut child, mut out) = start("write", home.path());
        let lines = 1 + round * 7 % 29;
        for _ in 0..lines {
            let line = wait_for(&mut out, "row ");
            acknowledged = line.trim_end().rsplit(' ').next().unwrap().parse::<u64>().unwrap() + 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said between our last reading and its death is acknowledged too.
        for line in out.lines().map_while(Result::ok) {
            if let Some(n) = line.rsplit_once("row ").and_then(|(_, n)| n.parse::<u64>().ok()) {
                acknowledged = n + 1;
            }
        }
        let mut store = open(home.path(), Duration::ZERO).unwrap();
        let found = rows(&mut store);
        assert!(found >= acknowledged, "round {round}: {found} rows, {acknowledged} acknowledged");
        assert!(found <= acknowledged + 1, "round {round}");
    }
    assert!(acknowledged > 400);
}

/// Kills a first open at the nth system call of one kind, until that is not reached any more. Returns the kills.
fn kill_at(call: &str) -> u32 {
    let mut killed = 0;
    for nth in 1..=40 {
        let home = tempfile::tempdir().unwrap();
        // The first calls of `openat` and `write` belong to the start of the process and change nothing.
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject])
            .args(command_line(module_path!(), "child"))
            .envs([(ROLE, "hold".as_ref()), (HOME, home.path().as_os_str())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let mut store = open(home.path(), Duration::ZERO)
            .unwrap_or_else(|e| panic!("after the kill at {call} {nth}: {e}"));
        store.write(|tx| tx.set_meta("a", b"b")).unwrap();
        drop(store);
        drop(open(home.path(), Duration::ZERO).unwrap());
        if status.success() {
            break;
        }
        killed += 1;
    }
    killed
}

/// A first open that is killed leaves nothing or a good database. The child is stopped after a growing number of
/// system calls that change files, counted by strace where it is installed.
#[test]
fn a_killed_first_open_can_be_repeated() {
    if !has_strace() {
        return;
    }
    let calls = [
        ["openat", "write", "fdatasync", "unlinkat", "ftruncate"].as_slice(),
        ["pwrite64", "fsync", "unlink", "renameat2"].as_slice(),
    ];
    let killed: u32 = std::thread::scope(|scope| {
        let sweeps =
            calls.map(|calls| scope.spawn(|| calls.iter().map(|c| kill_at(c)).sum::<u32>()));
        sweeps.into_iter().map(|sweep| sweep.join().unwrap()).sum()
    });
    assert!(killed > 20, "only {killed} kills");
}
