//! Key files whose names, or those made from them, are taken by something else.

use std::{fs, ops::ControlFlow, path::Path};

use mdk_store::{DatabaseKey, FileRole, OpenError, Progress, Stage, Step, Store, VaultError};

use crate::kit::{none, private, rerun, try_open, words};

fn words_key() -> DatabaseKey {
    DatabaseKey::Passphrase(words())
}

fn open(path: &Path, key: &Path) -> Result<Store, OpenError> {
    try_open(path, &DatabaseKey::File(key.to_owned()))
}

fn is_refused(result: Result<Store, OpenError>) -> bool {
    matches!(result, Err(OpenError::BadPath { role: FileRole::Key }))
}

/// The files beside a database are removed and replaced without being asked what is in them.
#[test]
fn no_key_lies_in_a_file_of_its_database() {
    let dir = tempfile::tempdir().unwrap();
    let beside = ["", "-journal", "-wal", "-shm", ".tmp", ".tmp-wal", ".rekey", ".rekey-journal"];
    let more = [".encrypt", ".lock", ".keyinfo", ".keyinfo.tmp"];
    for (n, suffix) in beside.into_iter().chain(more).enumerate() {
        let home = dir.path().join(n.to_string());
        let path = home.join("mdk.db");
        assert!(is_refused(open(&path, &home.join(format!("mdk.db{suffix}")))), "{suffix}");
        assert!(!path.exists(), "{suffix}");
    }
    // Nor in one from which such a name is made.
    let path = dir.path().join("a").join("mdk.key.new");
    let found = open(&path, &path.with_file_name("mdk.key")).map(drop);
    assert!(matches!(found, Err(OpenError::BadName { role: FileRole::Database, .. })));
    let path = dir.path().join("a").join("mdk.new");
    assert!(is_refused(open(&path, &path.with_file_name("mdk"))));
    // The same names in another folder are free.
    fs::create_dir(dir.path().join("keys")).unwrap();
    let key = dir.path().join("keys").join("mdk.db-journal");
    let path = dir.path().join("b").join("mdk.db");
    open(&path, &key).unwrap().close().unwrap();
    open(&path, &key).unwrap().close().unwrap();
}

/// What a killed start has left of a key is replaced; a file of somebody else with that name is not, and least of all a
/// whole key, which may be that of another database.
#[test]
fn only_a_part_of_a_key_gives_way_to_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let first = home.join("first.db");
    open(&first, &home.join("one.key.tmp")).unwrap().close().unwrap();
    let second = home.join("two.db");
    assert!(is_refused(open(&second, &home.join("one.key"))));
    assert!(!second.exists() && !home.join("two.db.keyinfo").exists());
    open(&first, &home.join("one.key.tmp")).unwrap().close().unwrap();
    let whole = fs::read(home.join("one.key.tmp")).unwrap();
    for (n, left) in
        [&whole[..0], &whole[..5], &whole[..whole.len() - 3], &[0; 55][..]].into_iter().enumerate()
    {
        let temp = home.join(format!("{n}.key.tmp"));
        private(&temp, left);
        let path = home.join(format!("{n}.db"));
        open(&path, &home.join(format!("{n}.key"))).unwrap().close().unwrap();
        assert!(!temp.exists());
    }
    for (n, kept) in
        [&whole[..], &whole[..whole.len() - 1], b"a note", b"mdk-key-2:"].into_iter().enumerate()
    {
        let temp = home.join(format!("kept {n}.key.tmp"));
        private(&temp, kept);
        let path = home.join(format!("kept {n}.db"));
        assert!(is_refused(open(&path, &home.join(format!("kept {n}.key")))), "{n}");
        assert_eq!(fs::read(&temp).unwrap(), kept);
    }
}

/// As it would happen to somebody who gives one key file a name that is made from that of another one.
#[test]
fn the_key_of_another_database_is_never_taken_for_a_leftover() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let (one, two) = (home.join("one.db"), home.join("two.db"));
    open(&one, &home.join("k")).unwrap().close().unwrap();
    open(&two, &home.join("k.tmp")).unwrap().close().unwrap();
    let key = fs::read(home.join("k.tmp")).unwrap();
    let mut store = open(&one, &home.join("k")).unwrap();
    let to = DatabaseKey::File(home.join("z"));
    assert!(!store.rekey(Some(&to), &mut none()).unwrap().old_key_kept);
    store.close().unwrap();
    assert!(!home.join("k").exists());
    assert_eq!(fs::read(home.join("k.tmp")).unwrap(), key);
    open(&two, &home.join("k.tmp")).unwrap().close().unwrap();
    // A key file that is called like the next one of another database.
    for (n, own) in [words_key(), DatabaseKey::File(home.join("own"))].into_iter().enumerate() {
        let (one, two) = (home.join(format!("{n}.db")), home.join(format!("other {n}.db")));
        let next = home.join(if n == 0 { "0.db.key.new" } else { "own.new" });
        let mut store = try_open(&one, &own).unwrap();
        open(&two, &next).unwrap().close().unwrap();
        let exists = VaultError::DestinationExists { role: FileRole::Key };
        assert_eq!(store.rekey(None, &mut none()), Err(exists));
        store.close().unwrap();
        open(&two, &next).unwrap().close().unwrap();
        try_open(&one, &own).unwrap().close().unwrap();
    }
}

/// Whoever puts another file where the key of an open database was keeps it.
#[test]
fn a_file_that_was_put_in_the_place_of_a_key_stays() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    for (n, source) in
        [DatabaseKey::File(home.join("0.db.key")), words_key()].into_iter().enumerate()
    {
        let path = home.join(format!("{n}.db"));
        let key = home.join(format!("{n}.db.key"));
        let open = || try_open(&path, &source).unwrap();
        open().close().unwrap();
        let other_key = match &source {
            DatabaseKey::File(_) => DatabaseKey::File(home.join("other 0.db.key")),
            other => other.clone(),
        };
        try_open(&home.join(format!("other {n}.db")), &other_key).unwrap().close().unwrap();
        let own = fs::read(&key).unwrap();
        let others = fs::read(home.join(format!("other {n}.db.key"))).unwrap();
        for content in [&others[..], b"important note\n"] {
            let mut store = open();
            private(&key, content);
            let exists = VaultError::DestinationExists { role: FileRole::Key };
            assert_eq!(store.rekey(None, &mut none()), Err(exists));
            assert_eq!(fs::read(&key).unwrap(), content);
            assert!(!home.join(format!("{n}.db.key.new")).exists());
            drop(store);
            private(&key, &own);
        }
        // While the re-key runs: the new key stays beside it then, and opens the database.
        let mut store = open();
        let mut put = |step: Step| {
            if step.stage == Stage::Comparing || step.stage == Stage::Writing {
                private(&key, &others);
            }
            ControlFlow::Continue(())
        };
        store.rekey(None, &mut Progress::new(&mut put)).unwrap();
        store.close().unwrap();
        assert_eq!(fs::read(&key).unwrap(), others);
        for _ in 0..2 {
            let mut store = open();
            store.rekey(None, &mut none()).unwrap();
            store.close().unwrap();
            assert_eq!(fs::read(&key).unwrap(), others);
        }
        open().close().unwrap();
    }
}

/// The next key gets a name that is made from that of the first one, and the record has to name both.
#[cfg(target_os = "linux")]
#[test]
fn a_key_that_could_not_be_renewed_is_refused_at_once() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let bad_name = |result: Result<Store, OpenError>| {
        matches!(result, Err(OpenError::BadName { role: FileRole::Key, .. }))
    };
    let path = dir.path().join("home").join("a.db");
    let bytes = std::ffi::OsStr::from_bytes(b"k\xff");
    assert!(bad_name(open(&path, &path.with_file_name(bytes))));
    assert!(bad_name(open(&path, &dir.path().join(bytes).join("key"))));
    assert!(bad_name(open(&path, &path.with_file_name("k".repeat(243)))));
    assert!(!path.parent().unwrap().exists());
    let key = path.with_file_name("k".repeat(242));
    for _ in 0..2 {
        let mut store = open(&path, &key).unwrap();
        store.rekey(None, &mut none()).unwrap();
        store.close().unwrap();
    }
    // A folder that is not text does no harm to what lies in it.
    let path = dir.path().join(bytes).join("a.db");
    let mut store = open(&path, &path.with_file_name("key")).unwrap();
    store.rekey(None, &mut none()).unwrap();
    store.close().unwrap();
    open(&path, &path.with_file_name("key")).unwrap().close().unwrap();
}

const FOLDER: &str = "MDK_STORE_KEY_PATHS";

/// A working directory belongs to the whole process.
#[test]
fn a_relative_path_means_what_it_meant_when_the_database_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("home")).unwrap();
    let home = dir.path().join("home").canonicalize().unwrap();
    let run = rerun(module_path!(), "child_changes_its_directory")
        .env(FOLDER, &home)
        .current_dir(&home)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    open(&home.join("a.db"), &home.join("b.key")).unwrap().close().unwrap();
    assert!(!home.join("a.key").exists());
    assert_eq!(fs::read_dir(home.join("elsewhere")).unwrap().count(), 0);
}

#[test]
#[ignore = "the child of another test"]
fn child_changes_its_directory() {
    let Some(home) = std::env::var_os(FOLDER) else { return };
    let home = Path::new(&home);
    let mut store = open(Path::new("a.db"), Path::new("a.key")).unwrap();
    fs::create_dir("elsewhere").unwrap();
    std::env::set_current_dir("elsewhere").unwrap();
    let before = fs::read(home.join("a.key")).unwrap();
    store.rekey(None, &mut none()).unwrap();
    assert_ne!(fs::read(home.join("a.key")).unwrap(), before);
    std::env::set_current_dir(home).unwrap();
    let to = DatabaseKey::File("b.key".into());
    store.rekey(Some(&to), &mut none()).unwrap();
    std::env::set_current_dir("elsewhere").unwrap();
    store.rekey(None, &mut none()).unwrap();
    store.close().unwrap();
}
