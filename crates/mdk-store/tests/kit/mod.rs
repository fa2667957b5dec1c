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

use std::{ffi::OsString, fs, path::Path, process::Command};

use mdk_store::{DatabaseKey, OpenError, OpenOptions, Store};
use mdk_wire::Secret;

pub fn raw(byte: u8) -> DatabaseKey {
    DatabaseKey::Raw(Secret::new([byte; 32]))
}

pub fn try_open(path: &Path, key: &DatabaseKey) -> Result<Store, OpenError> {
    Store::open(path, key, &OpenOptions::default())
}

pub fn open(path: &Path, key: &DatabaseKey) -> Store {
    try_open(path, key).unwrap()
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
