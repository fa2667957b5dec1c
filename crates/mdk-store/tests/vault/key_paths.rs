//! Key files whose names, or those made from them, are taken by something else.

use std::{fs, path::Path};

use mdk_store::{DatabaseKey, FileRole, OpenError, OpenOptions, Store};

fn open(path: &Path, key: &Path) -> Result<Store, OpenError> {
    Store::open(path, &DatabaseKey::File(key.to_owned()), &OpenOptions::default())
}

fn is_refused(result: Result<Store, OpenError>) -> bool {
    matches!(result, Err(OpenError::BadPath { role: FileRole::Key }))
}

/// The files beside a database are removed and replaced without being asked what is in them.
#[test]
fn no_key_lies_in_a_file_of_its_database() {
    let dir = tempfile::tempdir().unwrap();
    for (n, suffix) in [
        "",
        "-journal",
        "-wal",
        "-shm",
        ".tmp",
        ".tmp-wal",
        ".rekey",
        ".rekey-journal",
        ".encrypt",
        ".lock",
        ".keyinfo",
        ".keyinfo.tmp",
    ]
    .iter()
    .enumerate()
    {
        let home = dir.path().join(n.to_string());
        let path = home.join("mdk.db");
        assert!(is_refused(open(&path, &home.join(format!("mdk.db{suffix}")))), "{suffix}");
        assert!(!path.exists(), "{suffix}");
    }
    // Nor in one from which such a name is made.
    let path = dir.path().join("a").join("mdk.key.tmp");
    assert!(is_refused(open(&path, &path.with_file_name("mdk.key"))));
    // The same names in another folder are free.
    fs::create_dir(dir.path().join("keys")).unwrap();
    let key = dir.path().join("keys").join("mdk.db-journal");
    let path = dir.path().join("b").join("mdk.db");
    open(&path, &key).unwrap().close().unwrap();
    open(&path, &key).unwrap().close().unwrap();
}

/// What a killed start has left of a key is replaced; a file of somebody else with that name is not.
#[test]
fn only_what_is_left_of_a_key_gives_way_to_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let (first, second) = (home.join("one.key.tmp"), home.join("two.db"));
    open(&first, &home.join("first.key")).unwrap().close().unwrap();
    assert!(is_refused(open(&second, &home.join("one.key"))));
    assert!(!second.exists());
    open(&first, &home.join("first.key")).unwrap().close().unwrap();
    let whole = fs::read(home.join("first.key")).unwrap();
    for left in [0, 5, whole.len()] {
        let temp = home.join(format!("{left}.key.tmp"));
        fs::write(&temp, &whole[..left]).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&temp, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let path = home.join(format!("{left}.db"));
        open(&path, &home.join(format!("{left}.key"))).unwrap().close().unwrap();
        assert!(!temp.exists());
    }
}
