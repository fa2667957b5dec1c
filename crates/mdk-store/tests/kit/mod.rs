//! What the tests of the store share.

#[cfg(unix)]
pub mod backup;
#[cfg(unix)]
pub mod codec;
#[cfg(unix)]
pub mod keys;
pub mod rows;
#[cfg(unix)]
pub mod vault;

use std::{ffi::OsString, fs, ops::ControlFlow, path::Path, process::Command};

use mdk_store::{
    DatabaseKey, Finding, OpenError, OpenOptions, Progress, Stage, Step, Store, doctor,
};
use mdk_wire::{Secret, SecretVec};

pub fn raw(byte: u8) -> DatabaseKey {
    DatabaseKey::Raw(Secret::new([byte; 32]))
}

pub fn words() -> SecretVec {
    SecretVec::new("correct horse bättery".as_bytes().to_vec())
}

pub fn try_open(path: &Path, key: &DatabaseKey) -> Result<Store, OpenError> {
    Store::open(path, key, &OpenOptions::default())
}

pub fn open(path: &Path, key: &DatabaseKey) -> Store {
    try_open(path, key).unwrap()
}

pub fn none() -> Progress<'static> {
    Progress::none()
}

/// Calls `work` at the first report of this stage.
pub fn once_at(stage: Stage, work: impl FnOnce()) -> impl FnMut(Step) -> ControlFlow<()> {
    let mut work = Some(work);
    move |step| {
        if step.stage == stage
            && let Some(work) = work.take()
        {
            work();
        }
        ControlFlow::Continue(())
    }
}

/// Cancels at the report with this number, counted from 0.
pub fn cancel_at(number: usize) -> impl FnMut(Step) -> ControlFlow<()> {
    let mut told = 0;
    move |_| {
        told += 1;
        if told > number { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Cancels at each report of this stage.
pub fn cancel_in(stage: Stage) -> impl FnMut(Step) -> ControlFlow<()> {
    move |step| {
        if step.stage == stage { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// What the doctor finds without a key.
pub fn findings(path: &Path) -> Vec<Finding> {
    doctor(path, None, &mut none()).unwrap().findings
}

#[cfg(unix)]
pub fn mode(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&fs::metadata(path).unwrap()) & 0o7777
}

#[cfg(unix)]
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

/// A file for its owner alone.
#[cfg(unix)]
pub fn private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    set_mode(path, 0o600);
}

/// The database, under this key, of another connection that knows nothing of ours.
pub fn connect(path: &Path, key: u8) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(path).unwrap();
    let key = format!("{key:02x}").repeat(32);
    conn.execute_batch(&format!("PRAGMA key = \"x'{key}'\"")).unwrap();
    conn
}

/// This program and the arguments with which it runs one test only, the child of another one. `module` is that of both.
pub fn command_line(module: &str, test: &str) -> [OsString; 6] {
    let (_, module) = module.split_once("::").unwrap();
    let program = std::env::current_exe().unwrap().into_os_string();
    let test = format!("{module}::{test}").into();
    let [exact, ignored, uncaught, alone] =
        ["--exact", "--include-ignored", "--nocapture", "--test-threads=1"].map(OsString::from);
    [program, exact, test, ignored, uncaught, alone]
}

/// A process that runs such a child.
pub fn rerun(module: &str, test: &str) -> Command {
    let [program, arguments @ ..] = command_line(module, test);
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Whether strace is there. Says so if not.
pub fn has_strace() -> bool {
    let has = Command::new("strace").arg("-V").output().is_ok();
    if !has {
        eprintln!("skipped: strace is not installed");
    }
    has
}
