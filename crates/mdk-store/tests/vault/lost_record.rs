//! The record beside the database is lost after a re-key: the key is found by the name that its owner knows.

use std::{fs, ops::ControlFlow, path::Path};

use mdk_store::{
    DatabaseKey, FileRole, Finding, Level, OpenError, Progress, Stage, Step, VaultError, doctor,
    verify,
};

use crate::kit::keys::{self, Home, assert_gone, fill, passphrase, raw, set_mode};

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
        let told = doctor(&home.db(), Some(key), &mut Progress::none()).unwrap().findings;
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

/// While the database is open: the re-key finds the key as an opening would.
#[test]
fn a_record_that_is_lost_while_the_database_is_open_does_not_stop_a_rekey() {
    let home = Home::new();
    for key in [DatabaseKey::File(home.key_file()), passphrase("words")] {
        home.put(&keys::Files::new());
        fill(&home, &key);
        let old = fs::read(home.db()).unwrap();
        let is_file = key.source() == "file";
        let mut store = home.open(&key).unwrap();
        let names = home.names();
        for n in 0..2 {
            lose(&home);
            let report = store.rekey(None, &mut Progress::none()).unwrap();
            // It may be that of another database, too, as nothing says that it is not.
            assert_eq!(report.old_key_kept, is_file);
            assert_eq!(home.names().len(), names.len() + if is_file { n + 1 } else { 0 });
        }
        store.close().unwrap();
        assert_gone(&home, &old);
        home.opens(&key);
        lose(&home);
        is_found(&home, &key);
    }
}

#[test]
fn what_was_put_in_the_place_of_the_key_of_a_lost_record_stays() {
    let home = Home::new();
    for (key, name) in [
        (DatabaseKey::File(home.key_file()), "alice.secret"),
        (passphrase("words"), "alice.db.key"),
    ] {
        home.put(&keys::Files::new());
        let other = Home::new();
        let others = match key.source() {
            "file" => DatabaseKey::File(other.key_file()),
            _ => passphrase("words"),
        };
        other.create(&others);
        let others = fs::read(other.path(name)).unwrap();
        fill(&home, &key);
        let mut store = home.open(&key).unwrap();
        lose(&home);
        fs::write(home.path(name), &others).unwrap();
        match store.rekey(None, &mut Progress::none()) {
            Ok(_) => assert_eq!(key.source(), "passphrase"),
            Err(error) => {
                assert_eq!(error, VaultError::DestinationExists { role: FileRole::Key });
                assert_eq!(key.source(), "file");
            }
        }
        store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
        store.close().unwrap();
        assert_eq!(fs::read(home.path(name)).unwrap(), others);
    }
}

fn leftovers(home: &Home) -> Vec<Finding> {
    let findings = doctor(&home.db(), None, &mut Progress::none()).unwrap().findings;
    findings.into_iter().filter(|finding| finding.topic == "leftovers").collect()
}

/// Nothing shows whose it is: it may be the only copy that a key still opens.
#[test]
fn what_a_rekey_has_left_whose_record_is_lost_is_named_and_stays() {
    const COPY: &str = "alice.db.rekey";
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    fill(&home, &key);
    let mut during = keys::Files::new();
    let mut see = |step: Step| {
        if step.stage == Stage::Comparing && during.is_empty() {
            during = home.files();
        }
        ControlFlow::Continue(())
    };
    let mut store = home.open(&key).unwrap();
    store.rekey(None, &mut Progress::new(&mut see)).unwrap();
    store.close().unwrap();
    let mut exchanged = during.clone();
    exchanged.insert("alice.db".into(), during[COPY].clone());
    exchanged.insert(COPY.into(), during["alice.db"].clone());
    for files in [during, exchanged] {
        // With its record the next opening settles it.
        home.put(&files);
        assert!(leftovers(&home).iter().all(|found| found.level == Level::Note));
        lose(&home);
        for _ in 0..2 {
            let told = leftovers(&home);
            let named = |found: &Finding| {
                found.text.contains("the record does not speak of it")
                    && found.hint.as_ref().is_some_and(|hint| hint.contains("remove the file"))
            };
            assert!(
                told.iter().any(|found| found.level == Level::Warning && named(found)),
                "{told:?}"
            );
            home.opens(&key);
        }
        let mut store = home.open(&key).unwrap();
        let error = store.rekey(None, &mut Progress::none());
        assert_eq!(error, Err(OpenError::NameTaken { suffix: ".rekey" }.into()));
        assert_eq!(fs::read(home.path(COPY)).unwrap(), files[COPY]);
        fs::remove_file(home.path(COPY)).unwrap();
        store.rekey(None, &mut Progress::none()).unwrap();
        store.close().unwrap();
        home.opens(&key);
    }
}
