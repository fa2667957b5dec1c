//! What a write costs: at most two syncs, whatever the log does, and a log that stays small.

use std::{fs, path::PathBuf, process::Command};

use mdk_store::Store;

use crate::kit::{self, command_line, connect, has_strace, raw};

const HOME: &str = "MDK_STORE_FSYNC_HOME";
const WRITES: usize = 3000;
const LOG_LIMIT: u64 = 16 << 20;

fn open(home: &std::path::Path) -> Store {
    kit::open(&home.join("alice.db"), &raw(1))
}

/// Not a test of its own: what runs under strace. Opening a file that does not exist marks the border of a call.
#[test]
fn child() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let mark = |name: String| assert!(fs::File::open(home.join(name)).is_err());
    for round in 0..2 {
        // The first open creates the database, which costs more; the second finds it there.
        if round == 1 {
            mark("call-open".into());
        }
        let mut store = open(&home);
        mark("end-of-open".into());
        let mut reader = None;
        for n in 0..WRITES / 2 {
            // For a while a second connection sits on an old state, so that checkpoints cannot finish.
            match n {
                500 => reader = Some(sit_on_old_state(&home)),
                900 => drop(reader.take()),
                _ => {}
            }
            mark(format!("call-{round}-{n}"));
            // Two long ones running: the second begins the log anew and makes it long by itself.
            let size = if matches!(n % 400, 398 | 399) { 1_500_000 } else { 3000 };
            store.write(|tx| tx.set_meta(&format!("{}", n % 700), &vec![n as u8; size])).unwrap();
            let log = fs::metadata(home.join("alice.db-wal")).unwrap().len();
            assert!(log < LOG_LIMIT, "the log has grown to {log} bytes");
        }
        mark("end-of-writes".into());
    }
}

#[test]
fn a_write_costs_at_most_two_syncs() {
    if !has_strace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let trace = home.path().join("trace");
    fs::create_dir(home.path().join("db")).unwrap();
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range,openat,open", "-o"])
        .arg(&trace)
        .args(command_line(module_path!(), "child"))
        .env(HOME, home.path().join("db"))
        .status()
        .unwrap();
    assert!(status.success());
    let (mut calls, mut syncs, mut total, mut doubles, mut counting) = (0, 0, 0, 0, false);
    for line in fs::read_to_string(&trace).unwrap().lines() {
        if line.contains("/call-") || line.contains("/end-of-") {
            if counting {
                assert!(syncs <= 2, "call {calls} made {syncs} syncs");
                assert!(syncs >= 1, "call {calls} was not made durable");
                doubles += usize::from(syncs == 2);
                total += syncs;
            }
            counting = line.contains("/call-");
            calls += usize::from(counting);
            syncs = 0;
        } else if line.contains("sync(") {
            syncs += 1;
        }
    }
    assert_eq!(calls, WRITES + 1, "every write, and opening again");
    assert!(doubles >= 4, "the log was moved into the database {doubles} times only");
    println!("{calls} writes, {total} syncs, {doubles} writes with two");
}

#[test]
fn after_a_reader_has_gone_the_log_is_used_from_its_start() {
    let home = tempfile::tempdir().unwrap();
    let mut store = open(home.path());
    let reader = sit_on_old_state(home.path());
    let log = || fs::metadata(home.path().join("alice.db-wal")).unwrap().len();
    for n in 0..20u8 {
        store.write(|tx| tx.set_meta(&n.to_string(), &vec![n; 400_000])).unwrap();
    }
    let long = log();
    assert!(long > 4 << 20, "the reader did keep the log");
    drop(reader);
    for n in 0..200u8 {
        store.write(|tx| tx.set_meta(&n.to_string(), b"small")).unwrap();
    }
    // The first write after it is still appended, with the 100 pages that it frees and overwrites.
    assert!(log() < long + (512 << 10), "{} after {long}", log());
    store.close().unwrap();
    let mut store = open(home.path());
    assert_eq!(store.read(|tx| tx.meta("19")).unwrap(), Some(b"small".to_vec()));
}

/// A second connection in the middle of a read transaction.
fn sit_on_old_state(home: &std::path::Path) -> rusqlite::Connection {
    let reader = connect(&home.join("alice.db"), 1);
    reader.execute_batch("BEGIN").unwrap();
    let tables: i64 =
        reader.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert!(tables > 0);
    reader
}
