//! Reads and opens that fail while a whole database is encrypted, copied or looked through: what passes is never called
//! damage, and the same call succeeds afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mdk_store::*;

use crate::kit::{command_line, connect, has_strace, vault::*};
use crate::sampling;

const HOME: &str = "MDK_STORE_PASSING_FAULTS_HOME";
const WHAT: &str = "MDK_STORE_PASSING_FAULTS_WHAT";
const LASTING: &str = "MDK_STORE_PASSING_FAULTS_LASTING";

/// What is done in `home`, where `a.db` is encrypted and `plain.db` is not.
fn work(what: &str, home: &Path) -> Result<(), VaultError> {
    let (a, plain, out) = (home.join("a.db"), home.join("plain.db"), home.join("out"));
    let none = &mut none();
    match what {
        "encrypt" => encrypt_existing(&plain, None, None, &raw(9), none).map(drop),
        "encrypt to" => encrypt_existing(&plain, None, Some(&out), &raw(9), none).map(drop),
        "encrypt anew" => encrypt_existing(&a, Some(&raw(1)), Some(&out), &raw(2), none).map(drop),
        "rekey" => {
            let mut store = try_open(&a, &raw(1))?;
            store.rekey(Some(&raw(2)), none)?;
            // It is done by now, and the same call would be one with the old key.
            match store.close() {
                Ok(()) | Err(StoreError::Io { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        "salvage" => salvage(&a, &raw(1), &out, &raw(2), none).map(|report| {
            assert_eq!(report.missing, Vec::<String>::new());
        }),
        "verify" => {
            verify(&a, &raw(1), none).map(|report| assert!(report.is_intact(), "{report:?}"))
        }
        "verify open" => {
            let mut store = try_open(&a, &raw(1))?;
            let mut verify = || store.verify(none).map(|report| assert!(report.is_intact()));
            let first = verify();
            if first.is_err() && std::env::var_os(LASTING).is_none() {
                verify().expect("the connection that could not read was replaced");
            }
            first
        }
        other => panic!("{other}"),
    }
}

/// Not a test of its own: what runs under strace.
#[test]
fn child() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    match work(&std::env::var(WHAT).unwrap(), &home) {
        Ok(()) => println!("\nsaid: done"),
        // What SQLite cannot open for writing it opens for reading.
        Err(
            VaultError::Io { .. }
            | VaultError::Open(
                OpenError::Io { .. }
                | OpenError::Store(StoreError::Io { .. } | StoreError::ReadOnly),
            )
            | VaultError::Store(StoreError::Io { .. } | StoreError::ReadOnly),
        ) => println!("\nsaid: failed"),
        Err(error) => println!("\nsaid: {error:?}"),
    }
}

/// What the child says when the calls `when` of one kind fail, as strace counts them; `None` if there were none.
fn said(home: &Path, what: &str, call: &str, when: &str) -> Option<String> {
    let trace = home.with_extension("trace");
    let mut child = Command::new("strace");
    child.args(["-f", "--seccomp-bpf", "-qq", "-e", &format!("trace={call}"), "-e"]);
    child.arg(format!("inject={call}:error=EIO:when={when}"));
    child.args([Path::new("-o"), &trace, Path::new("-P"), home]);
    for name in ["a.db", "plain.db", "out"] {
        let ends = ["", "-wal", "-shm", "-journal"].into_iter();
        for end in ends.chain([".encrypt", ".encrypt-wal", ".rekey", ".tmp", ".tmp-wal"]) {
            child.arg("-P").arg(home.join(format!("{name}{end}")));
        }
    }
    child.args(command_line(module_path!(), "child"));
    if when.ends_with('+') {
        child.env(LASTING, "1");
    }
    let out = child.env(HOME, home).env(WHAT, what).output().unwrap();
    let injected = fs::read_to_string(&trace).unwrap().contains("INJECTED");
    fs::remove_file(trace).unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{what}, {call} {when}: {text}");
    let line = text.lines().find_map(|line| line.strip_prefix("said: "));
    injected.then(|| line.unwrap().to_owned())
}

/// A small `a.db` and `plain.db` alone in their directory, each with or without a log.
fn sources(with_logs: bool) -> (Home, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().canonicalize().unwrap().join("home");
    let made = Home { path: home.join("a.db"), dir, digest: [0; 32] };
    let mut store = open(&made.path, &raw(1));
    store.write(|tx| tx.set_meta("row", &[7; 9000])).unwrap();
    store.close().unwrap();
    let text = plain(&made);
    let mut kept: Vec<_> =
        [&made.path, &text].map(|path| (path.clone(), fs::read(path).unwrap())).into();
    if with_logs {
        let late = "INSERT INTO meta VALUES ('late', zeroblob(9000))";
        let plain = rusqlite::Connection::open(&text).unwrap();
        for (path, conn) in [(&made.path, connect(&made.path, 1)), (&text, plain)] {
            conn.execute_batch(&format!("PRAGMA wal_autocheckpoint = 0; {late}")).unwrap();
            let log = path.with_extension("db-wal");
            kept.push((log.clone(), fs::read(log).unwrap()));
        }
    }
    put(&made.path, &kept);
    (made, home)
}

/// Each n-th read and open of a call fails, once and from there on.
fn sweep(what: &str, with_logs: bool, step: usize) {
    if !has_strace() {
        return;
    }
    let step = step * usize::try_from(sampling::count("read_fault_stride")).unwrap();
    let first = 1 + usize::try_from(sampling::first_seed()).unwrap() % step.min(4);
    let (made, home) = sources(with_logs);
    let before = files(&made.path);
    let mut failed = 0;
    for (call, lasting) in
        [("pread64", ""), ("pread64", "+"), ("openat", ""), ("openat", "+"), ("read", "")]
    {
        for at in (first..).step_by(step) {
            put(&made.path, &before);
            let Some(has_failed) = try_once(&made, &home, what, call, &format!("{at}{lasting}"))
            else {
                break;
            };
            failed += usize::from(has_failed);
        }
    }
    assert!(failed > 0, "{what}: none failed from call {first} on");
}

/// One call with one fault, and once more without it. Whether the first one failed; `None` if the fault was never met.
fn try_once(made: &Home, home: &Path, what: &str, call: &str, at: &str) -> Option<bool> {
    let said = said(home, what, call, at)?;
    assert!(["done", "failed"].contains(&&*said), "{what}, {call} {at}: {said}");
    let failed = said == "failed";
    if failed {
        let again = work(what, home);
        assert!(again.is_ok(), "{what}, {call} {at}, then: {again:?}");
    }
    if what == "rekey" {
        let opened = try_open(&made.path, &raw(2));
        assert!(opened.is_ok(), "{what}, {call} {at}, then: {:?}", opened.err());
    }
    Some(failed)
}

#[test]
fn no_call_that_fails_for_a_moment_makes_a_plain_database_damaged() {
    sweep("encrypt", false, 1);
}

#[test]
fn nor_one_that_is_copied_or_has_a_log() {
    sweep("encrypt to", false, 4);
    sweep("encrypt", true, 4);
    sweep("encrypt to", true, 4);
}

#[test]
fn nor_an_encrypted_one() {
    for (what, step) in
        [("encrypt anew", 1), ("verify", 2), ("verify open", 2), ("rekey", 3), ("salvage", 5)]
    {
        sweep(what, false, step);
    }
    sweep("encrypt anew", true, 2);
}

/// The salt that could not be read made all pages look damaged; a header that could not be read, the file cut.
#[test]
fn nor_one_whose_salt_or_header_is_hit() {
    if !has_strace() {
        return;
    }
    let (made, home) = sources(false);
    let before = files(&made.path);
    for (what, places) in
        [("verify", 1..9), ("verify open", 7..13), ("encrypt anew", 13..18), ("salvage", 64..74)]
    {
        for at in places {
            put(&made.path, &before);
            try_once(&made, &home, what, "pread64", &at.to_string()).unwrap();
        }
    }
}
