//! Databases, and files beside them, whose names are those of the files of another database.

use std::{fs, path::Path};

use mdk_store::{
    DatabaseKey, FileRole, OpenError, OpenOptions, Progress, Store, VaultError, encrypt_existing,
    restore, salvage, verify,
};
use mdk_wire::SecretVec;

use crate::kit::{
    private,
    vault::{Home, files, raw},
};

const SUFFIXES: [&str; 14] = [
    "-wal",
    "-shm",
    "-journal",
    ".tmp",
    ".tmp-wal",
    ".rekey",
    ".rekey-shm",
    ".encrypt",
    ".encrypt-journal",
    ".lock",
    ".keyinfo",
    ".keyinfo.tmp",
    ".key",
    ".key.new",
];

fn bad_name(error: &OpenError) -> bool {
    matches!(error, OpenError::BadName { role: FileRole::Database, .. })
}

fn refused<T>(result: Result<T, VaultError>) -> bool {
    matches!(result.map(drop), Err(VaultError::Open(error)) if bad_name(&error))
}

#[test]
fn no_database_is_made_opened_or_read_under_the_name_of_a_file_beside_another() {
    let home = Home::new();
    let none = &mut Progress::none();
    let passphrase = SecretVec::new(b"words".to_vec());
    let backup = home.dir.path().join("backup");
    let mut store = Store::open(&home.path, &raw(1), &OpenOptions::default()).unwrap();
    store.backup(&backup, &passphrase, none).unwrap();
    store.close().unwrap();
    let database = home.bytes();
    for name in ["a.db", "other.db"] {
        for suffix in SUFFIXES {
            let path = home.beside(&format!("{name}{suffix}"));
            let there = path.exists();
            let before = files(&path);
            let open =
                |key: &DatabaseKey| Store::open(&path, key, &OpenOptions::default()).map(drop);
            assert!(bad_name(&open(&raw(2)).unwrap_err()), "{suffix}");
            assert!(refused(restore(&backup, &path, &passphrase, &raw(2), none)), "{suffix}");
            let copied = encrypt_existing(&home.path, Some(&raw(1)), Some(&path), &raw(2), none);
            assert!(refused(copied), "{suffix}");
            assert!(refused(salvage(&home.path, &raw(1), &path, &raw(2), none)), "{suffix}");
            assert_eq!(files(&path), before, "{suffix}");
            // One that has such a name already is to be renamed.
            if !there {
                private(&path, &database);
                assert!(refused(verify(&path, &raw(1), none)), "{suffix}");
                assert!(bad_name(&open(&raw(1)).unwrap_err()), "{suffix}");
                assert_eq!(fs::read(&path).unwrap(), database);
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn a_database_with_the_name_of_a_temporary_file_outlives_its_neighbour() {
    let home = Home::new();
    let database = home.bytes();
    // As an earlier version has made it.
    let other = home.beside("a.db.encrypt");
    let open = |key: &DatabaseKey| Store::open(&home.path, key, &OpenOptions::default()).unwrap();
    private(&other, &database);
    for _ in 0..2 {
        open(&raw(1)).close().unwrap();
        assert_eq!(fs::read(&other).unwrap(), database);
    }
    let renamed = home.beside("b.db");
    fs::rename(other, &renamed).unwrap();
    assert!(verify(&renamed, &raw(1), &mut Progress::none()).unwrap().is_intact());
}

/// The files beside a database are emptied, replaced or removed: not the key of another database that is called so.
#[test]
fn a_key_with_the_name_of_a_file_beside_a_database_is_refused_and_stays() {
    let key = format!("mdk-key-1:{}=\n", "B".repeat(43)).into_bytes();
    for suffix in [
        "-wal",
        "-shm",
        "-journal",
        ".lock",
        ".keyinfo.tmp",
        ".tmp",
        ".encrypt",
        ".rekey",
        ".rekey-wal",
    ] {
        for made in [true, false] {
            let home = Home::new();
            if !made {
                fs::remove_file(&home.path).unwrap();
            }
            let path = home.beside(&format!("a.db{suffix}"));
            private(&path, &key);
            let opened = Store::open(&home.path, &raw(1), &OpenOptions::default());
            let here = [".encrypt", ".rekey", ".rekey-wal"].contains(&suffix)
                || (made && suffix == ".tmp");
            match opened {
                Ok(mut store) => {
                    assert!(here, "{suffix}");
                    store.write(|tx| tx.set_meta("more", b"than before")).unwrap();
                    let _ = store.rekey(Some(&raw(2)), &mut Progress::none());
                    store.close().unwrap();
                }
                Err(error) => {
                    assert!(!here, "{suffix}");
                    assert_eq!(error, OpenError::NameTaken { suffix }, "{suffix}");
                    assert_eq!(home.path.exists(), made);
                }
            }
            assert_eq!(fs::read(&path).unwrap(), key, "{suffix}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_leaves_no_room_for_those_beside_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |length| {
        let path = dir.path().join("home").join("n".repeat(length));
        Store::open(&path, &raw(1), &OpenOptions::default())
    };
    assert!(bad_name(&open(244).map(drop).unwrap_err()));
    assert!(!dir.path().join("home").exists());
    let mut store = open(243).unwrap();
    store.rekey(Some(&raw(2)), &mut Progress::none()).unwrap();
    store.close().unwrap();
}

/// A path of this many bytes below `dir`, and its folders.
#[cfg(unix)]
fn long_path(dir: &Path, length: usize) -> std::path::PathBuf {
    let mut path = dir.to_owned();
    while length - path.as_os_str().len() > 240 {
        path.push("d".repeat(100));
    }
    let name = length - path.as_os_str().len() - 1;
    path.push("x".repeat(name));
    assert_eq!(path.as_os_str().len(), length);
    path
}

#[cfg(unix)]
const LONGEST: usize = 496;

#[cfg(unix)]
fn too_long(result: Result<(), VaultError>, length: usize) {
    assert_eq!(result, Err(OpenError::PathTooLong { length, limit: LONGEST }.into()));
}

#[cfg(unix)]
#[test]
fn a_path_that_sqlite_does_not_take_is_refused_by_its_length() {
    let home = Home::new();
    let none = &mut Progress::none();
    let words = SecretVec::new(b"words".to_vec());
    let backup = home.beside("backup");
    Store::open(&home.path, &raw(1), &OpenOptions::default())
        .unwrap()
        .backup(&backup, &words, none)
        .unwrap();
    let dir = home.dir.path().canonicalize().unwrap().join("long");
    for length in [LONGEST + 1, 500, 504, 505, 512, 600, 5000] {
        let path = long_path(&dir, length);
        let opened = Store::open(&path, &raw(1), &OpenOptions::default()).map(drop);
        too_long(opened.map_err(VaultError::from), length);
        too_long(restore(&backup, &path, &words, &raw(2), none).map(drop), length);
        too_long(salvage(&home.path, &raw(1), &path, &raw(2), none).map(drop), length);
        let copied = encrypt_existing(&home.path, Some(&raw(1)), Some(&path), &raw(2), none);
        too_long(copied.map(drop), length);
        assert!(!dir.exists(), "{length}");
    }
    // What counts is where it leads to.
    let path = long_path(&dir, LONGEST + 1);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let link = home.beside("link");
    std::os::unix::fs::symlink(path.parent().unwrap(), &link).unwrap();
    let short = link.join(path.file_name().unwrap());
    let opened = Store::open(&short, &raw(1), &OpenOptions::default()).map(drop);
    too_long(opened.map_err(VaultError::from), LONGEST + 1);
    private(&path, &home.bytes());
    too_long(verify(&path, &raw(1), none).map(drop), LONGEST + 1);
}

#[cfg(unix)]
fn gone(path: &Path) {
    fs::remove_file(path).unwrap();
    let record = format!("{}.keyinfo", path.file_name().unwrap().to_str().unwrap());
    fs::remove_file(path.with_file_name(record)).unwrap();
}

#[cfg(unix)]
#[test]
fn with_the_longest_path_everything_can_be_done() {
    let home = Home::new();
    let none = &mut Progress::none();
    let words = SecretVec::new(b"words".to_vec());
    let dir = home.dir.path().canonicalize().unwrap().join("long");
    let path = long_path(&dir, LONGEST);
    let mut store = Store::open(&path, &raw(1), &OpenOptions::default()).unwrap();
    store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
    store.rekey(Some(&raw(2)), none).unwrap();
    let backup = home.beside("backup");
    store.backup(&backup, &words, none).unwrap();
    store.close().unwrap();
    assert!(verify(&path, &raw(2), none).unwrap().is_intact());
    gone(&path);
    restore(&backup, &path, &words, &raw(3), none).unwrap();
    gone(&path);
    fs::rename(crate::kit::vault::plain(&home), &path).unwrap();
    encrypt_existing(&path, None, None, &raw(4), none).unwrap();
    Store::open(&path, &raw(4), &OpenOptions::default()).unwrap().close().unwrap();
}
