//! A record beside the database that somebody has changed: opening never removes the key in use, nor one of another
//! database, whatever it says.

use std::fs;

use mdk_store::{DatabaseKey, Level, Progress, Stage, Step, doctor};
use serde_json::{Value, json};

use crate::kit::keys::{Files, Home, fill, json, passphrase, raw};

const RECORD: &str = "alice.db.keyinfo";

/// Opens twice: what the first opening removes is missed by the second.
fn opens_twice(home: &Home, key: &DatabaseKey) {
    home.opens(key);
    home.opens(key);
}

/// The files of a database in the middle of a re-key, and what its key files are called: the old key counts, then the new.
fn stopped(home: &Home, from: &DatabaseKey, to: Option<&DatabaseKey>) -> [Files; 2] {
    home.put(&Files::new());
    fill(home, from);
    let mut during = Files::new();
    let mut store = home.open(from).unwrap();
    let mut see = |step: Step| {
        if step.stage == Stage::Comparing && during.is_empty() {
            during = home.files();
        }
        std::ops::ControlFlow::Continue(())
    };
    store.rekey(to, &mut Progress::new(&mut see)).unwrap();
    store.close().unwrap();
    let mut exchanged = during.clone();
    exchanged.insert("alice.db".into(), during["alice.db.rekey"].clone());
    exchanged.insert("alice.db.rekey".into(), during["alice.db"].clone());
    [during, exchanged]
}

/// A record as an earlier version wrote it: nothing shows whose the keys are.
fn unbound(files: &Files) -> Files {
    let mut record: Value = serde_json::from_slice(&files[RECORD]).unwrap();
    for entry in ["key", "other_key"] {
        if let Some(slot) = record.get_mut(entry) {
            slot.as_object_mut().unwrap().remove("bound");
        }
    }
    let mut files = files.clone();
    files.insert(RECORD.into(), json(&record));
    files
}

#[test]
fn the_key_that_opens_it_is_not_removed_because_the_record_says_so() {
    let home = Home::new();
    for key in [DatabaseKey::File(home.key_file()), passphrase("words")] {
        home.put(&Files::new());
        home.create(&key);
        let good = home.record();
        let before = home.files();
        let elsewhere = json!({ "path": "../".to_owned() + home.dir.path().file_name().unwrap().to_str().unwrap() + "/alice.secret" });
        for change in
            [json!({}), json!({ "check": "00" }), json!({ "generation": "00112233" }), elsewhere]
        {
            let mut slot = good["key"].clone();
            for (name, value) in change.as_object().unwrap() {
                slot[name] = value.clone();
            }
            let mut record = good.clone();
            record["other_key"] = slot;
            home.write_record(&record);
            opens_twice(&home, &key);
            let after = home.files();
            assert!(after.keys().eq(before.keys()), "{change}");
            for name in after.keys().filter(|name| !name.starts_with("alice.db")) {
                assert_eq!(after[name], before[name], "{change}");
            }
            let record = home.record();
            assert!(record["other_key"].is_null(), "{change}");
        }
    }
}

#[test]
fn the_key_of_another_database_is_not_removed_because_the_record_says_so() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    let other = DatabaseKey::File(home.path("other.secret"));
    for (first, second) in [(&key, &other), (&raw(1), &other), (&passphrase("words"), &other)] {
        home.put(&Files::new());
        home.create(second);
        let mut theirs = home.record()["key"].clone();
        for name in ["alice.db", RECORD] {
            fs::rename(home.path(name), home.path(&name.replace("alice", "bob"))).unwrap();
        }
        home.create(first);
        let mut record = home.record();
        // Neither as it stands there, nor with a proof that was made for something else.
        for bound in [Value::Null, json!("00"), json!("00".repeat(32)), theirs["check"].clone()] {
            theirs["bound"] = bound;
            record["other_key"] = theirs.clone();
            home.write_record(&record);
            opens_twice(&home, first);
            assert!(home.path("other.secret").exists());
        }
        let mut store = home.open(first).unwrap();
        if first.source() != "raw" {
            store.rekey(None, &mut Progress::none()).unwrap();
        }
        store.close().unwrap();
        opens_twice(&home, first);
        assert!(home.path("other.secret").exists());
    }
}

/// The record of one re-key says nothing about the keys of another database, or of another re-key.
#[test]
fn an_entry_of_another_record_proves_nothing() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    let other = DatabaseKey::File(home.path("other.secret"));
    let [during, _] = stopped(&home, &raw(7), Some(&other));
    let entry = serde_json::from_slice::<Value>(&during[RECORD]).unwrap()["other_key"].clone();
    assert!(entry["bound"].is_string());

    home.put(&[("other.secret".to_owned(), during["other.secret"].clone())].into());
    home.create(&key);
    let mut record = home.record();
    record["other_key"] = entry.clone();
    home.write_record(&record);
    opens_twice(&home, &key);
    assert!(home.path("other.secret").exists());

    // The same entry, but for another file.
    home.put(&during);
    let mut record = home.record();
    fs::copy(home.path("other.secret"), home.path("copy.secret")).unwrap();
    record["other_key"]["path"] = json!("copy.secret");
    home.write_record(&record);
    opens_twice(&home, &raw(7));
    assert!(home.path("copy.secret").exists() && home.path("other.secret").exists());
}

/// An earlier version did not write down whose a key is: it is recovered, and the other key stays where it is.
#[test]
fn a_record_of_an_earlier_version_recovers_and_leaves_the_other_key() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    let words = passphrase("words");
    let second = DatabaseKey::File(home.path("second.secret"));
    for (from, to, old, new) in [
        (&key, None, "alice.secret", "alice.secret.new"),
        (&words, None, "alice.db.key", "alice.db.key.new"),
        (&key, Some(&second), "alice.secret", "second.secret"),
        (&raw(1), Some(&second), "", "second.secret"),
        (&key, Some(&raw(1)), "alice.secret", ""),
    ] {
        let [before, after] = stopped(&home, from, to);
        for (files, is_new) in [(before, false), (after, true)] {
            let (left, used) = if is_new { (old, new) } else { (new, old) };
            let by = to.filter(|_| is_new).unwrap_or(from);
            home.put(&unbound(&files));
            opens_twice(&home, by);
            let record = home.record();
            assert!(record["other_key"].is_null());
            assert!(!home.path("alice.db.rekey").exists());
            for name in [left, used].into_iter().filter(|name| !name.is_empty()) {
                assert_eq!(home.files()[name], files[name], "{name}");
            }
            let told = doctor(&home.db(), None, &mut Progress::none()).unwrap();
            let told = told.findings.iter().any(|finding| {
                finding.level == Level::Warning && finding.text.contains("was left where it is")
            });
            assert_eq!(told, !left.is_empty(), "{from:?} {to:?} {is_new}");
            // It stands in the way of nothing, unless it has the very name.
            let target = DatabaseKey::File(home.path("third.secret"));
            let mut store = home.open(by).unwrap();
            store.rekey(Some(&target), &mut Progress::none()).unwrap();
            store.close().unwrap();
            opens_twice(&home, &target);
            if !left.is_empty() {
                assert_eq!(home.files()[left], files[left], "{left}");
                fs::remove_file(home.path(left)).unwrap();
                let told = doctor(&home.db(), None, &mut Progress::none()).unwrap().findings;
                assert!(told.iter().all(|finding| !finding.text.contains("was left where it is")));
            }
        }
    }
}
