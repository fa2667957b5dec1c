//! An encryption in place that was killed while it wiped the plain file: called again, it is finished, and nobody says
//! before that all is well.

use std::{
    fs::{self, File},
    io::Read,
    ops::ControlFlow,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use mdk_store::*;
use memchr::memmem;

use super::encrypt::*;
use crate::kit::{private, vault::*};

const TEXT: &[u8] = b"text 2 3";

fn has(bytes: &[u8]) -> bool {
    memmem::find(bytes, TEXT).is_some()
}

/// A key file, and what a kill leaves when the encrypted database has its name.
fn cut(key: impl Fn(&Home) -> DatabaseKey) -> (Home, PathBuf, DatabaseKey) {
    let (home, path) = alone();
    let key = key(&home);
    let during = stopped_at(&path, &key, Stage::Wiping);
    put(&path, &during);
    assert!(has(&fs::read(home.beside("plain.db.encrypt")).unwrap()));
    (home, path, key)
}

fn in_file(home: &Home) -> DatabaseKey {
    DatabaseKey::File(home.beside("plain.key-file"))
}

fn record(path: &Path) -> String {
    fs::read_to_string(path.with_file_name("plain.db.keyinfo")).unwrap()
}

fn proven(path: &Path, key: &DatabaseKey) -> VerifyReport {
    verify(path, key, &mut Progress::none()).unwrap()
}

#[test]
fn called_again_it_wipes_the_plain_file_and_says_what_it_has_encrypted() {
    for (with_file, ready) in [(true, true), (true, false), (false, true), (false, false)] {
        let (home, path, key) = cut(|home| if with_file { in_file(home) } else { raw(9) });
        if !ready {
            // Killed between the two steps.
            let text = record(&path).replace("ready_with_plain_copy", "encrypting");
            private(&home.beside("plain.db.keyinfo"), text.as_bytes());
        }
        let mut original = File::open(home.beside("plain.db.encrypt")).unwrap();
        let mut stages = Vec::new();
        let mut note = |step: Step| {
            stages.push(step.stage);
            ControlFlow::Continue(())
        };
        let report =
            encrypt_existing(&path, None, None, &key, &mut Progress::new(&mut note)).unwrap();
        assert!(stages.contains(&Stage::Wiping));
        assert!(report.tables >= 14 && report.rows > 180, "{report:?}");
        assert_eq!(report.bytes, fs::metadata(&path).unwrap().len());
        assert_eq!(names(&path).len(), if with_file { 3 } else { 2 }, "{:?}", names(&path));
        let mut old = Vec::new();
        original.read_to_end(&mut old).unwrap();
        assert!(!old.is_empty() && !has(&old));
        assert!(record(&path).contains("\"ready\""));
        assert_eq!(encrypt(&path, None, None, &key).unwrap_err(), VaultError::AlreadyEncrypted);
        assert!(proven(&path, &key).is_intact());
        assert_eq!(digest(&path, &key), home.digest);
    }
    // Killed again, between the removal and the record.
    let (home, path, key) = cut(in_file);
    fs::remove_file(home.beside("plain.db.encrypt")).unwrap();
    assert!(proven(&path, &key).is_intact());
    encrypt(&path, None, None, &key).unwrap();
    assert!(record(&path).contains("\"ready\""));
}

#[test]
fn nothing_is_wiped_without_the_key_or_while_the_encrypted_file_is_not_whole() {
    let (home, path, key) = cut(in_file);
    let before = files(&path);
    let refused = |key: &DatabaseKey, to: Option<&Path>| {
        let error = encrypt(&path, None, to, key).unwrap_err();
        assert_eq!(files(&path), before, "{error}");
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
    assert!(has(&fs::read(home.beside("plain.db.encrypt")).unwrap()));
    // What was put there since is somebody's.
    put(&path, &before);
    private(&home.beside("plain.db.encrypt"), b"mdk-backup and the rest");
    let taken = VaultError::Open(OpenError::NameTaken { suffix: ".encrypt" });
    assert_eq!(encrypt(&path, None, None, &key).unwrap_err(), taken);
    assert!(home.beside("plain.db.encrypt").exists() && proven(&path, &key).is_intact());
}

#[test]
fn verify_says_that_a_plain_copy_is_there_and_claims_no_damage() {
    let (_home, path, key) = cut(in_file);
    let before = files(&path);
    let report = proven(&path, &key);
    assert_eq!(files(&path), before);
    assert!(!report.is_intact());
    assert_eq!((report.bad_page_count, report.logic.len()), (0, 0));
    let [line] = &report.structure[..] else { panic!("{:?}", report.structure) };
    assert!(line.contains("unencrypted copy") && line.contains(".encrypt"), "{line}");
    encrypt(&path, None, None, &key).unwrap();
    assert!(proven(&path, &key).is_intact());
}

#[test]
fn what_a_kill_leaves_is_no_wider_than_the_encrypted_database() {
    let (home, path) = alone();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut modes = Vec::new();
    let mut see = |step: Step| {
        if step.stage == Stage::Wiping && modes.is_empty() {
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            modes = vec![mode(&path), mode(&home.beside("plain.db.encrypt"))];
        }
        ControlFlow::Continue(())
    };
    encrypt_existing(&path, None, None, &raw(9), &mut Progress::new(&mut see)).unwrap();
    assert_eq!(modes, [0o600, 0o600]);
}
