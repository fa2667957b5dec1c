//! Databases, and files beside them, whose names are those of the files of another database.

use std::{fs, path::Path};

use mdk_store::{
    FileRole, OpenError, VaultError, backup, encrypt_existing, restore, salvage, verify,
};

use crate::kit::{private, vault::*};

fn bad_name(error: &OpenError) -> bool {
    matches!(error, OpenError::BadName { role: FileRole::Database | FileRole::Backup, .. })
}

fn refused<T>(result: Result<T, VaultError>) -> bool {
    matches!(result.map(drop), Err(VaultError::Open(error)) if bad_name(&error))
}

/// A database, its bytes and a backup of it.
fn backed_up() -> (Home, std::path::PathBuf) {
    let home = Home::new();
    let archive = home.dir.path().join("backup");
    backup(&home.path, &raw(1), &archive, &words(), &mut none()).unwrap();
    (home, archive)
}

/// Which names are reserved is a matter of `src/files/names.rs`: here is who asks.
#[test]
fn no_database_is_made_opened_or_read_under_the_name_of_a_file_beside_another() {
    let (home, archive) = backed_up();
    let (none, database) = (&mut none(), home.bytes());
    for (name, suffix) in [
        ("a.db", "-wal"),
        ("a.db", ".rekey-shm"),
        ("a.db", ".encrypt-journal"),
        ("a.db", ".lock"),
        ("a.db", ".keyinfo"),
        ("other.db", "-journal"),
        ("other.db", ".tmp"),
        ("other.db", ".rekey"),
        ("other.db", ".encrypt"),
        ("other.db", ".keyinfo.tmp"),
        ("other.db", ".key"),
        ("other.db", ".key.new"),
    ] {
        let path = home.beside(&format!("{name}{suffix}"));
        let there = path.exists();
        let before = files(&path);
        let open = |key: u8| try_open(&path, &raw(key)).map(drop).unwrap_err();
        assert!(bad_name(&open(2)), "{suffix}");
        assert!(refused(restore(&archive, &path, &words(), &raw(2), none)), "{suffix}");
        let copied = encrypt_existing(&home.path, Some(&raw(1)), Some(&path), &raw(2), none);
        assert!(refused(copied), "{suffix}");
        assert!(refused(salvage(&home.path, &raw(1), &path, &raw(2), none)), "{suffix}");
        assert!(files(&path) == before, "{suffix}");
        if !suffix.ends_with("-wal") && !suffix.ends_with("-shm") {
            assert!(refused(backup(&home.path, &raw(1), &path, &words(), none)), "{suffix}");
        }
        assert_eq!(path.exists(), there, "{suffix}");
        // One that has such a name already is to be renamed.
        if !there {
            private(&path, &database);
            assert!(refused(verify(&path, &raw(1), none)), "{suffix}");
            assert!(bad_name(&open(1)), "{suffix}");
            assert_eq!(fs::read(&path).unwrap(), database);
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_database_with_the_name_of_a_temporary_file_outlives_its_neighbour() {
    let home = Home::new();
    let database = home.bytes();
    // As an earlier version has made it.
    let other = home.beside("a.db.encrypt");
    private(&other, &database);
    for _ in 0..2 {
        open(&home.path, &raw(1)).close().unwrap();
        assert_eq!(fs::read(&other).unwrap(), database);
    }
    let renamed = home.beside("b.db");
    fs::rename(other, &renamed).unwrap();
    assert!(verify(&renamed, &raw(1), &mut none()).unwrap().is_intact());
}

/// The files beside a database are emptied, replaced or removed: not the key of another database that is called so, nor
/// a note.
#[test]
fn a_file_with_the_name_of_one_beside_a_database_is_refused_and_stays() {
    let key = format!("mdk-key-1:{}=\n", "B".repeat(43));
    // Where there is no database, then where there is one: what opening says, if it minds.
    let minds = |suffix: &'static str| Some(suffix);
    for (suffix, fresh, made) in [
        ("-wal", minds("-wal"), minds("-wal")),
        ("-shm", minds("-shm"), minds("-shm")),
        ("-journal", minds("-journal"), minds("-journal")),
        (".lock", minds(".lock"), minds(".lock")),
        (".keyinfo.tmp", minds(".keyinfo.tmp"), minds(".keyinfo.tmp")),
        (".tmp", minds(".tmp"), None),
        (".encrypt", None, None),
        (".rekey", None, None),
        (".rekey-wal", None, None),
    ] {
        for (is_made, minds) in [(false, fresh), (true, made)] {
            let home = Home::new();
            if !is_made {
                fs::remove_file(&home.path).unwrap();
            }
            let path = home.beside(&format!("a.db{suffix}"));
            private(&path, key.as_bytes());
            match (try_open(&home.path, &raw(1)), minds) {
                (Ok(mut store), None) => {
                    store.write(|tx| tx.set_meta("more", b"than before")).unwrap();
                    let renewed = store.rekey(Some(&raw(2)), &mut none()).map(drop);
                    if suffix == ".rekey" {
                        assert_eq!(renewed, Err(OpenError::NameTaken { suffix }.into()));
                    }
                    store.close().unwrap();
                }
                (Err(error), Some(suffix)) => {
                    assert_eq!(error, OpenError::NameTaken { suffix });
                    assert_eq!(home.path.exists(), is_made);
                }
                (opened, _) => panic!("{suffix} {is_made}: {:?}", opened.err()),
            }
            assert_eq!(fs::read(&path).unwrap(), key.as_bytes(), "{suffix}");
        }
    }
    // Of a database that is being made.
    for suffix in [".tmp", ".tmp-wal", ".tmp-journal"] {
        let home = Home::new();
        fs::remove_file(&home.path).unwrap();
        let taken = home.beside(&format!("a.db{suffix}"));
        private(&taken, b"somebody's");
        let error = try_open(&home.path, &raw(1)).map(drop).unwrap_err();
        assert_eq!(error, OpenError::NameTaken { suffix: ".tmp" });
        assert_eq!(files(&home.path), [(taken.clone(), b"somebody's".to_vec())]);
        fs::remove_file(taken).unwrap();
        open(&home.path, &raw(1)).close().unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_leaves_no_room_for_those_beside_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let of = |length| try_open(&dir.path().join("home").join("n".repeat(length)), &raw(1));
    assert!(bad_name(&of(244).map(drop).unwrap_err()));
    assert!(!dir.path().join("home").exists());
    let mut store = of(243).unwrap();
    store.rekey(Some(&raw(2)), &mut none()).unwrap();
    store.close().unwrap();
}

/// A path of this many bytes below `dir`, and its folders.
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

const LONGEST: usize = 496;

fn too_long(result: Result<(), VaultError>, length: usize) {
    assert_eq!(result, Err(OpenError::PathTooLong { length, limit: LONGEST }.into()));
}

#[test]
fn a_path_that_sqlite_does_not_take_is_refused_by_its_length() {
    let (home, archive) = backed_up();
    let none = &mut none();
    let dir = home.dir.path().canonicalize().unwrap().join("long");
    for length in [LONGEST + 1, 500, 504, 505, 512, 600, 5000] {
        let path = long_path(&dir, length);
        too_long(try_open(&path, &raw(1)).map(drop).map_err(VaultError::from), length);
        too_long(restore(&archive, &path, &words(), &raw(2), none).map(drop), length);
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
    too_long(try_open(&short, &raw(1)).map(drop).map_err(VaultError::from), LONGEST + 1);
    private(&path, &home.bytes());
    too_long(verify(&path, &raw(1), none).map(drop), LONGEST + 1);
}

fn gone(path: &Path) {
    fs::remove_file(path).unwrap();
    let record = format!("{}.keyinfo", path.file_name().unwrap().to_str().unwrap());
    fs::remove_file(path.with_file_name(record)).unwrap();
}

#[test]
fn with_the_longest_path_everything_can_be_done() {
    let home = Home::new();
    let none = &mut none();
    let dir = home.dir.path().canonicalize().unwrap().join("long");
    let path = long_path(&dir, LONGEST);
    let mut store = open(&path, &raw(1));
    store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
    store.rekey(Some(&raw(2)), none).unwrap();
    let archive = home.beside("backup");
    store.backup(&archive, &words(), none).unwrap();
    store.close().unwrap();
    assert!(verify(&path, &raw(2), none).unwrap().is_intact());
    gone(&path);
    restore(&archive, &path, &words(), &raw(3), none).unwrap();
    gone(&path);
    fs::rename(plain(&home), &path).unwrap();
    encrypt_existing(&path, None, None, &raw(4), none).unwrap();
    open(&path, &raw(4)).close().unwrap();
}
