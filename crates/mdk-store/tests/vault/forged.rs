//! A record beside the database that somebody has changed: opening never removes the key in use, nor one of another
//! database, whatever it says.

use std::fs;

use mdk_store::{DatabaseKey, OpenError};
use serde_json::{Value, json};

use crate::kit::keys::{COPY, DB, Files, Home, Made, RECORD, json, passphrase, raw};

/// Opens twice: what the first opening removes is missed by the second.
fn opens_twice(home: &Home, key: &DatabaseKey) {
    home.opens(key);
    home.opens(key);
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

fn with(mut slot: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        slot[name] = value.clone();
    }
    slot
}

#[test]
fn the_key_that_opens_it_is_not_removed_because_the_record_says_so() {
    let home = Home::new();
    for key in [home.in_file(), passphrase("words")] {
        home.put(&Files::new());
        home.create(&key);
        let (good, before) = (home.record(), home.files());
        let folder = home.dir.path().file_name().unwrap().to_str().unwrap();
        for change in [
            json!({}),
            json!({ "check": "00" }),
            json!({ "generation": "00112233" }),
            json!({ "path": format!("../{folder}/alice.secret") }),
        ] {
            let mut record = good.clone();
            record["other_key"] = with(good["key"].clone(), &change);
            home.write_record(&record);
            opens_twice(&home, &key);
            let after = home.files();
            assert!(after.keys().eq(before.keys()), "{change}");
            for name in after.keys().filter(|name| !name.starts_with(DB)) {
                assert_eq!(after[name], before[name], "{change}");
            }
            assert!(home.record()["other_key"].is_null(), "{change}");
        }
    }
}

#[test]
fn the_key_of_another_database_is_not_removed_because_the_record_says_so() {
    let home = Home::new();
    let other = DatabaseKey::File(home.path("other.secret"));
    for first in [home.in_file(), raw(1), passphrase("words")] {
        home.put(&Files::new());
        home.create(&other);
        let mut theirs = home.record()["key"].clone();
        for name in [DB, RECORD] {
            fs::rename(home.path(name), home.path(&name.replace("alice", "bob"))).unwrap();
        }
        home.create(&first);
        let mut record = home.record();
        // Neither as it stands there, nor with a proof that was made for something else.
        for bound in [Value::Null, json!("00"), json!("00".repeat(32)), theirs["check"].clone()] {
            theirs["bound"] = bound;
            record["other_key"] = theirs.clone();
            home.write_record(&record);
            opens_twice(&home, &first);
            assert!(home.path("other.secret").exists());
        }
        if first.source() != "raw" {
            home.rekey(&first, None).unwrap();
            opens_twice(&home, &first);
            assert!(home.path("other.secret").exists());
        }
    }
}

/// The record of one re-key says nothing about the keys of another database, or of another re-key.
#[test]
fn an_entry_of_another_record_proves_nothing() {
    let home = Home::new();
    let key = home.in_file();
    let other = DatabaseKey::File(home.path("other.secret"));
    let [during, _] = home.stopped(&raw(7), Some(&other));
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
    let (key, words) = (home.in_file(), passphrase("words"));
    let second = DatabaseKey::File(home.path("second.secret"));
    for (from, to, old, new) in [
        (&key, None, "alice.secret", "alice.secret.new"),
        (&words, None, "alice.db.key", "alice.db.key.new"),
        (&key, Some(&second), "alice.secret", "second.secret"),
        (&raw(1), Some(&second), "", "second.secret"),
        (&key, Some(&raw(1)), "alice.secret", ""),
    ] {
        home.put(&Files::new());
        let [before, after] = home.stopped(from, to);
        for (files, is_new) in [(before, false), (after, true)] {
            let (left, used) = if is_new { (old, new) } else { (new, old) };
            let by = to.filter(|_| is_new).unwrap_or(from);
            home.put(&unbound(&files));
            opens_twice(&home, by);
            assert!(home.record()["other_key"].is_null());
            assert!(!home.path(COPY).exists());
            for name in [left, used].into_iter().filter(|name| !name.is_empty()) {
                assert_eq!(home.files()[name], files[name], "{name}");
            }
            assert_eq!(home.says_left(), !left.is_empty(), "{from:?} {to:?} {is_new}");
            // It stands in the way of nothing, unless it has the very name.
            let target = DatabaseKey::File(home.path("third.secret"));
            home.rekey(by, Some(&target)).unwrap();
            opens_twice(&home, &target);
            if !left.is_empty() {
                assert_eq!(home.files()[left], files[left], "{left}");
                fs::remove_file(home.path(left)).unwrap();
                assert!(!home.says_left());
            }
        }
    }
}

/// What the record calls the key of a beginning is removed only if that key itself shows that it is so.
#[test]
fn no_other_key_is_taken_for_that_of_a_beginning() {
    let made = Made::new();
    let home = &made.home;
    let (first, second) =
        (DatabaseKey::File(home.path("1.key1")), DatabaseKey::File(home.path("2.key1")));
    let alone = |key: &[u8]| [("1.key1".to_owned(), key.to_vec())].into();
    // The key of a database that is there, with a record that says something else.
    home.create(&first);
    let key = fs::read(home.path("1.key1")).unwrap();
    let theirs = home.record();
    for change in
        [json!({}), json!({ "bound": "00".repeat(16) }), json!({ "file": theirs["key"]["check"] })]
    {
        let mut record = theirs.clone();
        record["stage"] = json!("creating");
        record["key"] = with(record["key"].take(), &change);
        home.put(&alone(&key));
        home.write_record(&record);
        home.create(&second);
        assert_eq!(fs::read(home.path("1.key1")).unwrap(), key, "{change}");
        assert!(home.says_left(), "{change}");
        home.opens(&second);
        assert!(home.says_left(), "{change}");
        // Named, it may be used, as before, but it is not this database's alone.
        home.put(&alone(&key));
        home.write_record(&record);
        home.create(&first);
        assert_eq!(home.record()["key"]["shared"], true);
    }
    // The record of a beginning under another name.
    made.killed(&first);
    made.forget_filling();
    let (record, key) = (home.record(), fs::read(home.path("1.key1")).unwrap());
    home.put(&alone(&key));
    fs::write(home.path("bob.db.keyinfo"), json(&record)).unwrap();
    crate::kit::open(&home.path("bob.db"), &second).close().unwrap();
    assert_eq!(fs::read(home.path("1.key1")).unwrap(), key);
    // A file that was put there instead.
    made.killed(&first);
    fs::write(home.path("1.key1"), b"a note\n").unwrap();
    made.restore(&second);
    assert_eq!(fs::read(home.path("1.key1")).unwrap(), b"a note\n");
    made.killed(&passphrase("x"));
    made.forget_filling();
    let begun = home.files();
    let other = Home::created(&passphrase("z"));
    fs::copy(other.path("alice.db.key"), home.path("alice.db.key")).unwrap();
    assert_eq!(home.open(&passphrase("y")).map(drop), Err(OpenError::WrongPassphrase));
    home.put(&begun);
    let mut record: Value = home.record();
    record["key"].as_object_mut().unwrap().remove("file");
    home.write_record(&record);
    assert_eq!(home.open(&passphrase("y")).map(drop), Err(OpenError::WrongPassphrase));
}
