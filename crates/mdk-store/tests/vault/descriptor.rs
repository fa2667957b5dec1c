//! A file descriptor gives the key once. Whatever has its number afterwards is neither read nor closed: when a descriptor of
//! an open database is closed, its locks end, and the next file that gets the number is written to.

use std::{
    fs::{self, File},
    io::{Read, Seek, Write},
    os::{
        fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
};

use mdk_store::{
    DatabaseKey, FileRole, OpenError, Store, VaultError, backup, doctor, encrypt_existing, restore,
    salvage, verify,
};

use crate::kit::{rerun, vault::*};

const MISSING: OpenError = OpenError::KeyMissing { source: "fd" };

/// The read end of a pipe that holds `raw(1)`.
fn pipe() -> i32 {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[1; 32]).unwrap();
    reader.into_raw_fd()
}

/// What the descriptors of this process lead to.
fn descriptors() -> Vec<(PathBuf, PathBuf)> {
    let mut all: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| Some((path.clone(), fs::read_link(path).ok()?)))
        // That of the list itself.
        .filter(|(_, to)| !to.ends_with("fd"))
        .collect();
    all.sort();
    all
}

fn refused(path: &Path, key: &DatabaseKey) {
    let before = descriptors();
    let error = try_open(path, key).map(drop);
    assert_eq!(error, Err(MISSING));
    assert_eq!(descriptors(), before);
}

/// It goes on writing, and not into the file that gets the next free number.
fn goes_on(home: &Home, mut store: Store) {
    let mut notes =
        File::options().read(true).write(true).create_new(true).open(home.beside("notes")).unwrap();
    notes.write_all(b"my notes\n").unwrap();
    store.write(|tx| tx.set_meta("later", &[7; 9000])).unwrap();
    let digest = store.digest().unwrap();
    store.close().unwrap();
    let mut text = String::new();
    notes.rewind().unwrap();
    notes.read_to_string(&mut text).unwrap();
    assert_eq!(text, "my notes\n");
    assert!(verify(&home.path, &raw(1), &mut none()).unwrap().is_intact());
    assert_eq!(open(&home.path, &raw(1)).digest().unwrap(), digest);
}

fn again() {
    let (home, other) = (Home::new(), Home::new());
    let key = DatabaseKey::fd(pipe());
    let mut store = open(&home.path, &key);
    refused(&other.path, &key);
    refused(&other.path, &key.clone());
    let before = descriptors();
    assert_eq!(store.rekey(Some(&key), &mut none()), Err(MISSING.into()));
    assert_eq!(descriptors(), before);
    goes_on(&home, store);
}

/// Whoever closes it does not lend the number of something else.
fn closed_meanwhile() {
    let (home, other) = (Home::new(), Home::new());
    let number = pipe();
    let key = DatabaseKey::fd(number);
    // SAFETY: it is open, and nothing but the key knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    let store = open(&home.path, &raw(1));
    let to = fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
    assert!(to.starts_with(home.dir.path()), "{to:?}");
    refused(&other.path, &key);
    goes_on(&home, store);
}

fn twice_given() {
    let (home, other) = (Home::new(), Home::new());
    let number = pipe();
    let keys = [DatabaseKey::fd(number), DatabaseKey::fd(number)];
    let store = open(&home.path, &keys[0]);
    refused(&other.path, &keys[1]);
    goes_on(&home, store);
}

/// Each call that takes a key, with numbers that are not open yet when they are given.
fn never_open() {
    let home = Home::new();
    let (archive, words) = (home.beside("archive"), words());
    let none = &mut none();
    backup(&home.path, &raw(1), &archive, &words, none).unwrap();
    // Opening may write to them.
    let names = |(path, _): (PathBuf, Vec<u8>)| path;
    let files = || files(&home.path).into_iter().map(names).collect::<Vec<_>>();
    let (before, all) = (files(), descriptors());
    let to = home.beside("new.db");
    let open = |number: i32| all.iter().any(|(path, _)| path.ends_with(number.to_string()));
    let closed: Vec<i32> = (3..24).filter(|&number| !open(number)).collect();
    assert!(closed.len() > 8);
    let missing = |result: Result<(), VaultError>| assert_eq!(result, Err(MISSING.into()));
    let no_file = |result: Result<(), VaultError>, role| {
        assert_eq!(result, Err(VaultError::SourceMissing { role }));
    };
    for key in closed.into_iter().map(DatabaseKey::fd) {
        refused(&home.path, &key);
        missing(verify(&home.path, &key, none).map(drop));
        missing(salvage(&home.path, &key, &to, &raw(2), none).map(drop));
        missing(salvage(&home.path, &raw(1), &to, &key, none).map(drop));
        missing(encrypt_existing(&home.path, Some(&key), Some(&to), &raw(2), none).map(drop));
        missing(encrypt_existing(&home.path, Some(&raw(1)), Some(&to), &key, none).map(drop));
        missing(backup(&home.path, &key, &to, &words, none).map(drop));
        missing(restore(&archive, &to, &words, &key, none).map(drop));
        let mut store = crate::kit::open(&home.path, &raw(1));
        missing(store.rekey(Some(&key), none).map(drop));
        drop(store);
        // Where there is nothing to be read, that is said.
        let gone = home.beside("gone.db");
        no_file(verify(&gone, &key, none).map(drop), FileRole::Database);
        no_file(salvage(&gone, &key, &to, &raw(2), none).map(drop), FileRole::Database);
        let copied = encrypt_existing(&gone, Some(&key), Some(&to), &raw(2), none);
        no_file(copied.map(drop), FileRole::Database);
        no_file(backup(&gone, &key, &to, &words, none).map(drop), FileRole::Database);
        no_file(restore(&gone, &to, &words, &key, none).map(drop), FileRole::Backup);
        let told = doctor(&home.path, Some(&key), none).unwrap().findings;
        assert!(told.iter().any(|finding| finding.text == MISSING.to_string()), "{told:?}");
        assert_eq!((files(), descriptors()), (before.clone(), all.clone()));
    }
}

/// What is no key at all is not closed either.
fn a_directory() {
    let home = Home::new();
    let directory = File::open(home.dir.path()).unwrap();
    refused(&home.path, &DatabaseKey::fd(directory.as_raw_fd()));
    assert!(directory.metadata().unwrap().is_dir());
}

/// A number that gives nothing: standard output, say, into a file or a pipe.
fn not_open_for_reading() {
    let home = Home::new();
    let (_reader, writer) = std::io::pipe().unwrap();
    let output = File::create(home.dir.path().join("output")).unwrap();
    let only_a_path = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::PATH.bits().cast_signed())
        .open(&home.path)
        .unwrap();
    for number in [writer.as_raw_fd(), output.as_raw_fd(), only_a_path.as_raw_fd()] {
        refused(&home.path, &DatabaseKey::fd(number));
        refused(&home.beside("new.db"), &DatabaseKey::fd(number));
    }
    assert!(!home.beside("new.db").exists());
}

/// Until it is read it is what it was.
fn not_read_yet() {
    let home = Home::new();
    let number = pipe();
    drop(DatabaseKey::fd(number));
    let key = DatabaseKey::fd(number);
    let store = open(&home.path, &raw(1));
    let busy = try_open(&home.path, &key).map(drop);
    assert!(matches!(busy, Err(OpenError::Busy { .. })));
    drop(store);
    let _ = doctor(&home.path, Some(&key), &mut none()).unwrap();
    let before = descriptors().len();
    let store = open(&home.path, &key);
    drop(store);
    assert_eq!(descriptors().len(), before - 2, "the number and what was held of it are closed");
}

/// Numbers belong to the whole process.
#[test]
fn a_descriptor_is_read_once_and_nothing_else_is_closed() {
    let run = rerun(module_path!(), "child").output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && text.contains("child done"), "{text}");
}

#[test]
#[ignore = "the child of another test"]
fn child() {
    again();
    closed_meanwhile();
    twice_given();
    never_open();
    a_directory();
    not_open_for_reading();
    not_read_yet();
    println!("child done");
}
