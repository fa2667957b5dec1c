//! An encryption in place that was killed while it wiped the plain file: nobody says before it is finished that all is
//! well.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mdk_store::*;

use super::encrypt::*;
use crate::kit::{mode, private, set_mode, vault::*};

/// What a kill leaves when the encrypted database, with its key in a file, has its name.
fn cut() -> (Home, PathBuf, DatabaseKey) {
    let (home, path) = alone();
    let key = in_file(&home);
    put(&path, &stopped_at(&path, &key, Stage::Wiping));
    assert!(has(&fs::read(home.beside("plain.db.encrypt")).unwrap(), TEXT));
    (home, path, key)
}

fn proven(path: &Path, key: &DatabaseKey) -> VerifyReport {
    verify(path, key, &mut none()).unwrap()
}

#[test]
fn nothing_is_wiped_without_the_key_or_while_the_encrypted_file_is_not_whole() {
    let (home, path, key) = cut();
    let left = home.beside("plain.db.encrypt");
    let before = files(&path);
    let refused = |key: &DatabaseKey, to: Option<&Path>| {
        let error = encrypt(&path, None, to, key).unwrap_err();
        assert!(files(&path) == before, "{error}");
        error
    };
    assert_eq!(refused(&raw(8), None), VaultError::Open(OpenError::WrongKey));
    let missing = VaultError::Open(OpenError::KeyMissing { source: "file" });
    assert_eq!(refused(&DatabaseKey::File(home.beside("plain.other")), None), missing);
    assert_eq!(refused(&key, Some(&home.beside("b.db"))), VaultError::AlreadyEncrypted);
    // The plain file may be all that is left.
    let mut bad = fs::read(&path).unwrap();
    bad[50 * PAGE + 7] ^= 1;
    private(&path, &bad);
    assert_eq!(encrypt(&path, None, None, &key).unwrap_err(), VaultError::Damaged);
    assert!(has(&fs::read(&left).unwrap(), TEXT));
    // What was put there since is somebody's.
    put(&path, &before);
    private(&left, b"mdk-backup and the rest");
    let taken = VaultError::Open(OpenError::NameTaken { suffix: ".encrypt" });
    assert_eq!(encrypt(&path, None, None, &key).unwrap_err(), taken);
    assert!(left.exists() && proven(&path, &key).is_intact());
}

#[test]
fn verify_says_that_a_plain_copy_is_there_and_claims_no_damage() {
    let (_home, path, key) = cut();
    let before = files(&path);
    let report = proven(&path, &key);
    assert!(files(&path) == before);
    assert!(!report.is_intact());
    assert_eq!((report.bad_page_count, report.logic.len()), (0, 0));
    let [line] = &report.structure[..] else { panic!("{:?}", report.structure) };
    assert!(line.contains("unencrypted copy") && line.contains(".encrypt"), "{line}");
    encrypt(&path, None, None, &key).unwrap();
    assert_eq!(names(&path), ["plain.db", "plain.db.keyinfo", "plain.key-file"]);
    assert!(proven(&path, &key).is_intact());
}

#[test]
fn what_a_kill_leaves_is_no_wider_than_the_encrypted_database() {
    let (home, path) = alone();
    set_mode(&path, 0o644);
    let mut modes = Vec::new();
    let mut see = once_at(Stage::Wiping, || {
        modes = vec![mode(&path), mode(&home.beside("plain.db.encrypt"))];
    });
    encrypt_existing(&path, None, None, &raw(9), &mut Progress::new(&mut see)).unwrap();
    drop(see);
    assert_eq!(modes, [0o600, 0o600]);
}

/// Whatever has the temporary name and is not known to be a leftover stays, also while an encryption is to be finished.
#[test]
fn a_file_of_somebody_else_is_never_taken_for_a_leftover() {
    let (home, path) = alone();
    let before = files(&path);
    let left = home.beside("plain.db.encrypt");
    let taken = || VaultError::Open(OpenError::NameTaken { suffix: ".encrypt" });
    let database = Home::new().bytes();
    for (suffix, bytes) in [("", &database[..]), ("-wal", b"a log"), ("", b"a note")] {
        let name = home.beside(&format!("plain.db.encrypt{suffix}"));
        private(&name, bytes);
        assert_eq!(encrypt(&path, None, None, &raw(9)).unwrap_err(), taken());
        assert_eq!(fs::read(&name).unwrap(), bytes);
        fs::remove_file(name).unwrap();
        assert_eq!(files(&path), before);
    }
    // A call that removes what an earlier one has left, and then fails, leaves nothing that speaks of a leftover.
    let during = stopped_at(&path, &raw(9), Stage::Comparing);
    put(&path, &during);
    let mut stop = cancel_at(0);
    let cancelled = encrypt_existing(&path, None, None, &raw(9), &mut Progress::new(&mut stop));
    assert_eq!(cancelled.unwrap_err(), VaultError::Cancelled);
    assert!(!left.exists());
    private(&left, b"a note");
    assert_eq!(encrypt(&path, None, None, &raw(9)).unwrap_err(), taken());
    assert_eq!(fs::read(&left).unwrap(), b"a note");
    put(&path, &before);
    let during = stopped_at(&path, &raw(9), Stage::Wiping);
    let plain_bytes = &before[0].1;
    let mut foreign = plain_bytes.clone();
    foreign[68..72].copy_from_slice(b"none");
    let key = format!("mdk-key-1:{}=\n", "B".repeat(43));
    for (bytes, beside) in [
        (&database[..], Some(".lock")),
        (&database, Some(".keyinfo")),
        (&database, Some(".key")),
        (&foreign, None),
        (key.as_bytes(), None),
        (b"mdk-backup and the rest", None),
    ] {
        put(&path, &during);
        private(&left, bytes);
        beside.iter().for_each(|own| private(&home.beside(&format!("plain.db.encrypt{own}")), b""));
        assert_eq!(digest(&path, &raw(9)), home.digest);
        assert_eq!(fs::read(&left).unwrap(), bytes, "{beside:?}");
        fs::rename(home.beside("plain.db.keyinfo"), home.beside("aside")).unwrap();
        private(&path, plain_bytes);
        assert_eq!(encrypt(&path, None, None, &raw(9)).unwrap_err(), taken());
        assert_eq!(fs::read(&left).unwrap(), bytes, "{beside:?}");
    }
}
