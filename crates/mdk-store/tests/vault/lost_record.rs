//! The record beside the database is lost after a re-key: the key is found by the name that its owner knows.

use std::{fs, path::Path};

use mdk_store::{DatabaseKey, FileRole, Finding, Level, OpenError, VaultError, doctor, verify};

use crate::kit::{
    findings,
    keys::{COPY, Files, Home, assert_gone, fill, passphrase, raw, set_mode},
    none,
};

/// Says that the key is found, by everything that looks for it, and not only once.
fn is_found(home: &Home, key: &DatabaseKey) {
    // A passphrase may take longer than the doctor waits.
    if key.source() != "passphrase" {
        let told = doctor(&home.db(), Some(key), &mut none()).unwrap().findings;
        let opened = "the key that was given opens the database";
        assert!(told.iter().any(|finding| finding.text == opened), "{told:?}");
    }
    assert!(verify(&home.db(), key, &mut none()).is_ok());
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
    copy.rekey(&key, None).unwrap();
    let names = home.names();
    assert_eq!(names.len(), 4, "{names:?}");
    copy.lose_record();
    is_found(&copy, &key);
    // And where the other one is no more, or something else has its name.
    copy.lose_record();
    fs::write(home.path("elsewhere.secret"), b"a note\n").unwrap();
    is_found(&copy, &key);
    copy.lose_record();
    fs::remove_file(home.path("elsewhere.secret")).unwrap();
    is_found(&copy, &key);
    // The key that is found may be another one's, as always without a record.
    copy.lose_record();
    copy.opens(&key);
    assert!(copy.rekey(&key, None).unwrap().old_key_kept);
    copy.lose_record();
    is_found(&copy, &key);
}

#[test]
fn a_key_that_has_not_its_name_yet_is_found() {
    for name in ["alice.secret", "alice.db.key"] {
        let home = Home::new();
        let key = if name == "alice.secret" { home.in_file() } else { passphrase("words") };
        fill(&home, &key);
        fs::rename(home.path(name), home.path(&format!("{name}.new"))).unwrap();
        home.lose_record();
        is_found(&home, &key);
    }
}

#[test]
fn nothing_else_is_taken_for_the_key() {
    let home = Home::new();
    let key = home.in_file();
    home.create(&key);
    fs::rename(home.key_file(), home.path("kept")).unwrap();
    home.lose_record();
    let put = |name: &str, from: &Path| {
        fs::copy(from, home.path(name)).unwrap();
        set_mode(&home.path(name), 0o600);
    };
    drop(Home::created(&DatabaseKey::File(home.path("others"))));
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
    let found = "alice.secret.00000000";
    fs::remove_file(home.path(found)).unwrap();
    put(found, &home.path("kept"));
    set_mode(&home.path(found), 0o644);
    assert_eq!(home.open(&key).map(drop), Err(OpenError::WrongKey));
    set_mode(&home.path(found), 0o600);
    home.opens(&key);
}

/// While the database is open: the re-key finds the key as an opening would.
#[test]
fn a_record_that_is_lost_while_the_database_is_open_does_not_stop_a_rekey() {
    let home = Home::new();
    for key in [home.in_file(), passphrase("words")] {
        home.put(&Files::new());
        fill(&home, &key);
        let old = home.bytes();
        let is_file = key.source() == "file";
        let mut store = home.open(&key).unwrap();
        let names = home.names();
        for n in 0..2 {
            home.lose_record();
            let report = store.rekey(None, &mut none()).unwrap();
            // It may be that of another database, too, as nothing says that it is not.
            assert_eq!(report.old_key_kept, is_file);
            assert_eq!(home.names().len(), names.len() + if is_file { n + 1 } else { 0 });
        }
        store.close().unwrap();
        assert_gone(&home, &old);
        home.opens(&key);
        home.lose_record();
        is_found(&home, &key);
    }
}

#[test]
fn what_was_put_in_the_place_of_the_key_of_a_lost_record_stays() {
    let home = Home::new();
    for (key, name) in [(home.in_file(), "alice.secret"), (passphrase("words"), "alice.db.key")] {
        home.put(&Files::new());
        let other = Home::new();
        other.create(&if name == "alice.secret" { other.in_file() } else { key.clone() });
        let others = fs::read(other.path(name)).unwrap();
        fill(&home, &key);
        let mut store = home.open(&key).unwrap();
        home.lose_record();
        fs::write(home.path(name), &others).unwrap();
        let renewed = store.rekey(None, &mut none()).map(drop);
        let exists = VaultError::DestinationExists { role: FileRole::Key };
        assert_eq!(renewed, if name == "alice.secret" { Err(exists) } else { Ok(()) });
        store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
        store.close().unwrap();
        assert_eq!(fs::read(home.path(name)).unwrap(), others);
    }
}

fn leftovers(home: &Home) -> Vec<Finding> {
    findings(&home.db()).into_iter().filter(|finding| finding.topic == "leftovers").collect()
}

/// Nothing shows whose it is: it may be the only copy that a key still opens.
#[test]
fn what_a_rekey_has_left_whose_record_is_lost_is_named_and_stays() {
    let home = Home::new();
    let key = home.in_file();
    for files in home.stopped(&key, None) {
        // With its record the next opening settles it.
        home.put(&files);
        assert!(leftovers(&home).iter().all(|found| found.level == Level::Note));
        home.lose_record();
        for _ in 0..2 {
            let told = leftovers(&home);
            let named = |found: &Finding| {
                found.level == Level::Warning
                    && found.text.contains("the record does not speak of it")
                    && found.hint.as_ref().is_some_and(|hint| hint.contains("remove the file"))
            };
            assert!(told.iter().any(named), "{told:?}");
            home.opens(&key);
        }
        let taken = Err(OpenError::NameTaken { suffix: ".rekey" }.into());
        assert_eq!(home.rekey(&key, None), taken);
        assert_eq!(fs::read(home.path(COPY)).unwrap(), files[COPY]);
        fs::remove_file(home.path(COPY)).unwrap();
        home.rekey(&key, None).unwrap();
        home.opens(&key);
    }
}
