//! A re-key whose calls to the system are killed or fail, one after the other.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use mdk_store::{DatabaseKey, Progress, Store};

use crate::kit::{
    command_line, has_strace,
    keys::{Home, assert_gone, fill},
};
use crate::sampling;

const DB: &str = "alice.db";
const RECORD: &str = "alice.db.keyinfo";
const KILLED: &str = "MDK_STORE_REKEY_HOME";

/// Not a test of its own: re-keys, and is killed meanwhile.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(KILLED).map(PathBuf::from) else { return };
    let key = DatabaseKey::File(dir.join("alice.secret"));
    let options = mdk_store::OpenOptions::default();
    let mut store = Store::open(&dir.join("alice.db"), &key, &options).unwrap();
    store.rekey(None, &mut Progress::none()).unwrap();
    store.close().unwrap();
}

/// Lets a child re-key again and again, with `what` done to it at the nth call of each kind, until that call is not
/// reached any more. Some writes are left out (`sweep_stride`). Says how often it was done, and
/// how often the new key counted then.
fn sweep(what: &str) -> (u32, u32) {
    if !has_strace() {
        return (u32::MAX, u32::MAX);
    }
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    fill(&home, &key);
    let before = home.files();
    let (mut done, mut renewed) = (0, 0);
    let some = usize::try_from(sampling::count("sweep_stride")).unwrap();
    let calls = [
        ("pwrite64", some),
        ("write", some),
        ("fsync", 1),
        ("fdatasync", 1),
        ("unlinkat", 1),
        ("renameat2", 1),
        ("renameat", 1),
    ];
    for (call, step) in calls {
        for nth in (1..).step_by(step) {
            home.put(&before);
            let log = home.dir.path().with_extension("strace");
            let status = Command::new("strace")
                .args(["-f", "-qq", "-o"])
                .arg(&log)
                .args(["-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:{what}:when={nth}")])
                .args(command_line(module_path!(), "child"))
                .env(KILLED, home.dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            let trace = fs::read_to_string(&log).unwrap();
            fs::remove_file(&log).unwrap();
            if status.success() && !trace.contains("INJECTED") {
                break;
            }
            done += 1;
            let at = format!("{call} {nth}");
            home.opens(&key);
            let mut after = home.files();
            // Not read by anything, holds no secret, and is overwritten by the next record.
            after.remove("alice.db.keyinfo.tmp");
            assert_eq!(after.keys().collect::<Vec<_>>(), [DB, RECORD, "alice.secret"], "{at}");
            let record = home.record();
            assert!(record["other_key"].is_null(), "{at}");
            if after["alice.secret"] != before["alice.secret"] {
                renewed += 1;
                assert_gone(&home, &before[DB]);
            }
        }
    }
    println!("{what}: {done} times, the new key counted {renewed} times");
    (done, renewed)
}

/// K2: killed at calls that change something on disk.
#[test]
fn killed_at_any_call_it_opens_with_one_of_the_two_keys() {
    let (done, renewed) = sweep("signal=KILL");
    assert!(done > 20 && renewed > 3, "{done} {renewed}");
}

/// R5: calls that fail.
#[test]
fn failing_at_any_call_it_opens_with_one_of_the_two_keys() {
    let (done, renewed) = sweep("error=EIO");
    assert!(done > 20 && renewed > 3, "{done} {renewed}");
}
