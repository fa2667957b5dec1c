//! Reads that fail for a moment while a database is verified.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use mdk_store::*;

use crate::kit::{command_line, has_strace, open, raw, try_open};

const HOME: &str = "MDK_STORE_READ_FAULTS_HOME";
const OPEN: &str = "MDK_STORE_READ_FAULTS_OPEN";

/// Not a test of its own: what runs under strace.
#[test]
fn child() {
    let Some(path) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let say = |what: &str, found: Result<VerifyReport, VaultError>| match found {
        Ok(report) if report.is_intact() => println!("\n{what}: intact"),
        Ok(report) => println!("\n{what}: damage {:?} {:?}", report.structure, report.logic),
        Err(VaultError::Store(StoreError::Io { .. })) => println!("\n{what}: failed"),
        Err(error) => println!("\n{what}: {error:?}"),
    };
    match std::env::var_os(OPEN) {
        None => say("closed", verify(&path, &raw(1), &mut Progress::none())),
        Some(_) => {
            let Ok(mut store) = try_open(&path, &raw(1)) else { return };
            say("open", store.verify(&mut Progress::none()));
            // The connection that could not read was replaced.
            say("again", store.verify(&mut Progress::none()));
        }
    }
}

/// What the child says when the read of that number fails; `None` if it does not read so often.
fn said(path: &Path, open: bool, at: usize) -> Option<Vec<String>> {
    let trace = path.with_extension("trace");
    let mut child = Command::new("strace");
    child.args(["-f", "-qq", "-e", "trace=pread64", "-e"]);
    child.arg(format!("inject=pread64:error=EIO:when={at}"));
    child.args([Path::new("-P"), path, Path::new("-o"), &trace]);
    child.args(command_line(module_path!(), "child")).env(HOME, path);
    if open {
        child.env(OPEN, "1");
    }
    let out = child.output().unwrap();
    assert!(out.status.success());
    let injected = std::fs::read_to_string(&trace).unwrap().contains("INJECTED");
    std::fs::remove_file(trace).unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let lines =
        text.lines().filter(|l| ["closed:", "open:", "again:"].iter().any(|w| l.starts_with(w)));
    injected.then(|| lines.map(str::to_owned).collect())
}

#[test]
fn a_read_that_fails_for_a_moment_is_no_damage() {
    if !has_strace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().canonicalize().unwrap().join("home").join("a.db");
    let mut store = open(&path, &raw(1));
    for n in 0..8u8 {
        store.write(|tx| tx.set_meta(&format!("row {n}"), &[n; 9000])).unwrap();
    }
    store.close().unwrap();
    for open in [true, false] {
        let mut failed = 0;
        for lines in (2..).step_by(5).map_while(|at| said(&path, open, at)) {
            assert!(!lines.iter().any(|line| line.contains("damage")), "{lines:?}");
            let faults = lines.iter().filter(|line| !line.ends_with("intact")).count();
            // It failed once; the opening may have met it, and then there are no lines.
            assert!(faults <= 1, "{lines:?}");
            failed += faults;
        }
        assert!(failed > 10, "{failed} reads failed, open: {open}");
    }
}
