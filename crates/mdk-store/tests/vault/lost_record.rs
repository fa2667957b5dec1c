//! The record beside the database is lost after a re-key: the key is found by the name that its owner knows.

use std::{fs, path::Path};

use mdk_store::{DatabaseKey, OpenError, Progress, doctor, verify};

use crate::keys_kit::{Home, fill, passphrase, raw, set_mode};

fn rekey(home: &Home, from: &DatabaseKey, to: Option<&DatabaseKey>) {
    let mut store = home.open(from).unwrap();
    store.rekey(to, &mut Progress::none()).unwrap();
    store.close().unwrap();
}

fn lose(home: &Home) {
    fs::remove_file(home.path("alice.db.keyinfo")).unwrap();
}

/// Says that the key is found, by everything that looks for it, and not only once.
fn is_found(home: &Home, key: &DatabaseKey) {
    // A passphrase may take longer than the doctor waits.
    if key.source() != "passphrase" {
        let told = doctor(&home.db(), Some(key)).findings;
        let opened = "the key that was given opens the database";
        assert!(told.iter().any(|finding| finding.text == opened), "{told:?}");
    }
    assert!(verify(&home.db(), key, &mut Progress::none()).is_ok());
    assert!(!home.path("alice.db.keyinfo").exists(), "looking makes no record");
    home.opens(key);
    home.opens(key);
}

/// A copy has a key of its own, under a name that only the record has.
#[test]
fn a_key_file_is_found_under_its_name_although_another_one_has_that() {
    let (home, copy) = (Home::new(), Home::new());
    let key = DatabaseKey::File(home.path("elsewhere.secret"));
    fill(&home, &key);
    let mut files = home.files();
    files.remove("elsewhere.secret");
    copy.put(&files);
    rekey(&copy, &key, None);
    let names = home.names();
    assert_eq!(names.len(), 4, "{names:?}");
    lose(&copy);
    is_found(&copy, &key);
    // And where the other one is no more, or something else has its name.
    lose(&copy);
    fs::write(home.path("elsewhere.secret"), b"a note\n").unwrap();
    is_found(&copy, &key);
    lose(&copy);
    fs::remove_file(home.path("elsewhere.secret")).unwrap();
    is_found(&copy, &key);
    // The key that is found may be another one's, as always without a record.
    lose(&copy);
    copy.opens(&key);
    let mut store = copy.open(&key).unwrap();
    assert!(store.rekey(None, &mut Progress::none()).unwrap().old_key_kept);
    store.close().unwrap();
    lose(&copy);
    is_found(&copy, &key);
}

#[test]
fn a_key_that_has_not_its_name_yet_is_found() {
    for (key, name) in [(DatabaseKey::File("k".into()), "k"), (passphrase("words"), "alice.db.key")]
    {
        let home = Home::new();
        let key = match key {
            DatabaseKey::File(name) => DatabaseKey::File(home.path(name.to_str().unwrap())),
            other => other,
        };
        fill(&home, &key);
        fs::rename(home.path(name), home.path(&format!("{name}.new"))).unwrap();
        lose(&home);
        is_found(&home, &key);
    }
}

#[test]
fn nothing_else_is_taken_for_the_key() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    home.create(&key);
    fs::rename(home.key_file(), home.path("kept")).unwrap();
    lose(&home);
    let put = |name: &str, from: &Path| {
        fs::copy(from, home.path(name)).unwrap();
        set_mode(&home.path(name), 0o600);
    };
    let other = Home::created(&DatabaseKey::File(home.path("others")));
    drop(other);
    for name in [
        "alice.secret.0011223",
        "alice.secret.00112233.tmp",
        "alice.secret.0011223x",
        "bob.secret.00112233",
    ] {
        put(name, &home.path("kept"));
    }
    for n in 0..40 {
        put(&format!("alice.secret.000000{n:02}"), &home.path("others"));
    }
    fs::create_dir(home.path("alice.secret.ffffffff")).unwrap();
    assert_eq!(home.open(&key).map(drop), Err(OpenError::KeyMissing { source: "file" }));
    put("alice.secret", &home.path("others"));
    assert_eq!(home.open(&key).map(drop), Err(OpenError::WrongKey));
    assert_eq!(home.open(&raw(3)).map(drop), Err(OpenError::WrongKey));
    // One that may be read by others is no key file.
    fs::remove_file(home.path("alice.secret.00000000")).unwrap();
    put("alice.secret.00000000", &home.path("kept"));
    set_mode(&home.path("alice.secret.00000000"), 0o644);
    assert_eq!(home.open(&key).map(drop), Err(OpenError::WrongKey));
    set_mode(&home.path("alice.secret.00000000"), 0o600);
    home.opens(&key);
}
