//! States that a process leaves which is killed, with the key in a keyring.

use mdk_store::{DatabaseKey, OpenError, Progress, Stage, Step, VaultError, restore};
use mdk_wire::SecretVec;
use serde_json::Value;

use super::{NAMES, keyring, lookup, names, run, slot, store_key};
use crate::kit::keys::{Files, Home, json, raw};

pub fn stopped_first_open() {
    for id in [None, Some("alice".to_owned())] {
        let key = keyring(|k| k.key_id = id.clone());
        let home = Home::created(&key);
        let whole = home.files();
        let mut record = home.record();
        record["stage"] = "creating".into();
        let (service, name) = slot(&home);
        let text = lookup(&service, &name);
        // The key is stored; the database is not there, half, or there.
        for extra in [
            ("alice.db.tmp", &b""[..]),
            ("alice.db.tmp", b"half"),
            ("alice.db", &whole["alice.db"]),
        ] {
            let extra = (extra.0.to_owned(), extra.1.to_vec());
            home.put(&[("alice.db.keyinfo".to_owned(), json(&record)), extra].into());
            drop(home.open(&key).unwrap());
            assert_eq!(lookup(&service, &name), text, "the key was used, not replaced");
            assert_eq!(names(&home), NAMES);
            assert_eq!(home.record()["stage"], "ready");
        }
        // The key is not stored yet.
        run("secret-tool", &["clear", "service", &service, "username", &name]);
        home.put(&[("alice.db.keyinfo".to_owned(), json(&record))].into());
        home.create(&key);
        assert_eq!(slot(&home), (service.clone(), name.clone()), "the id that was recorded");
        assert!(lookup(&service, &name).starts_with("mdk-key-1:"));
        home.opens(&key);
        // Somebody else's key under the recorded id is not adopted.
        home.put(&[("alice.db.keyinfo".to_owned(), json(&record))].into());
        assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
    }
}

pub fn stopped_rekey() {
    let key = keyring(|k| k.key_id = Some("alice".into()));
    let home = Home::created(&key);
    let before = home.files();
    let old_text = lookup("mdk", "alice");
    let mut during = Files::new();
    let mut see = |step: Step| {
        if step.stage == Stage::Comparing && during.is_empty() {
            during = home.files();
        }
        std::ops::ControlFlow::Continue(())
    };
    let mut store = home.open(&key).unwrap();
    store.rekey(None, &mut Progress::new(&mut see)).unwrap();
    store.close().unwrap();
    let (_, new) = slot(&home);
    let new_text = lookup("mdk", &new);
    let pending: Value = serde_json::from_slice(&during["alice.db.keyinfo"]).unwrap();
    let mut promoted = pending.clone();
    promoted["key"] = pending["other_key"].clone();
    promoted["other_key"] = pending["key"].clone();
    let (old_db, new_db) = (&before["alice.db"], &during["alice.db.rekey"]);
    let state = |db: &[u8], copy: Option<&[u8]>, record: &Value| {
        let mut files: Files =
            [("alice.db".into(), db.to_vec()), ("alice.db.keyinfo".into(), json(record))].into();
        files.extend(copy.map(|copy| ("alice.db.rekey".into(), copy.to_vec())));
        files
    };
    for (step, files, new_stored, is_new) in [
        ("recorded", state(old_db, None, &pending), false, false),
        ("stored", state(old_db, None, &pending), true, false),
        ("half", state(old_db, Some(&new_db[..5000]), &pending), true, false),
        ("copied", state(old_db, Some(new_db), &pending), true, false),
        ("exchanged", state(new_db, Some(old_db), &pending), true, true),
        ("promoted", state(new_db, Some(old_db), &promoted), true, true),
        ("wiped", state(new_db, None, &promoted), true, true),
    ] {
        store_key("alice", &old_text);
        run("secret-tool", &["clear", "service", "mdk", "username", &new]);
        if new_stored {
            store_key(&new, &new_text);
        }
        home.put(&files);
        home.opens(&key);
        assert_eq!(names(&home), NAMES, "{step}");
        let (kept, gone) = if is_new { (new.as_str(), "alice") } else { ("alice", new.as_str()) };
        assert_eq!(lookup("mdk", gone), "", "{step}");
        assert_eq!(lookup("mdk", kept), if is_new { &*new_text } else { &*old_text }, "{step}");
        assert!(home.record()["other_key"].is_null());
        home.opens(&key);
    }
}

/// A keyring cannot create exclusively: another program may have looked at the same moment and stored its own key under
/// that id afterwards.
pub fn overtaken_rekey() {
    let home = Home::created(&raw(1));
    let taken = keyring(|k| k.key_id = Some("taken".into()));
    let theirs = format!("mdk-key-1:{}=", "B".repeat(43));
    for text in [theirs.as_str(), "", "no key at all"] {
        let mut put = |step: Step| {
            if step.stage == Stage::Comparing {
                match text {
                    "" => {
                        drop(run("secret-tool", &["clear", "service", "mdk", "username", "taken"]))
                    }
                    text => store_key("taken", text),
                }
            }
            std::ops::ControlFlow::Continue(())
        };
        let mut store = home.open(&raw(1)).unwrap();
        let error = store.rekey(Some(&taken), &mut Progress::new(&mut put)).unwrap_err();
        store.close().unwrap();
        assert!(matches!(error, VaultError::Open(_)), "{error}");
        assert_eq!(lookup("mdk", "taken"), text, "what the other one has stored stays");
        home.opens(&raw(1));
        assert_eq!(names(&home), NAMES);
        assert!(home.record()["other_key"].is_null());
        run("secret-tool", &["clear", "service", "mdk", "username", "taken"]);
    }
    let mut store = home.open(&raw(1)).unwrap();
    store.rekey(Some(&taken), &mut Progress::none()).unwrap();
    store.close().unwrap();
    home.opens(&taken);
}

/// Killed while it was made with a key in the keyring, and continued with another one.
pub fn continued_first_open() {
    let made = Home::created(&raw(1));
    let backup = tempfile::tempdir().unwrap();
    let (backup, p) = (backup.path().join("b"), SecretVec::new(b"p".to_vec()));
    let mut store = made.open(&raw(1)).unwrap();
    store.backup(&backup, &p, &mut Progress::none()).unwrap();
    store.close().unwrap();
    let one = keyring(|k| k.key_id = Some("one".into()));
    let home = Home::new();
    let mut during = Files::new();
    let mut see = |step: Step| {
        if step.stage == Stage::Writing {
            during = home.files();
        }
        std::ops::ControlFlow::Continue(())
    };
    restore(&backup, &home.db(), &p, &one, &mut Progress::new(&mut see)).unwrap();
    during.retain(|name, _| !name.ends_with("-shm"));
    let (text, file) = (lookup("mdk", "one"), DatabaseKey::File(home.key_file()));
    for to in [keyring(|k| k.key_id = Some("two".into())), file.clone(), raw(2)] {
        store_key("one", &text);
        home.put(&during);
        restore(&backup, &home.db(), &p, &to, &mut Progress::none()).unwrap();
        assert_eq!(lookup("mdk", "one"), "", "{to:?}");
        home.opens(&to);
    }
    // A record that only says so does not take another database its key.
    store_key("one", &text);
    let mut record: Value = serde_json::from_slice(&during["alice.db.keyinfo"]).unwrap();
    record["key"].as_object_mut().unwrap().remove("bound");
    // A first opening may go on where no restore was cut off.
    record["stage"] = "creating".into();
    home.put(&[("alice.db.keyinfo".to_owned(), json(&record))].into());
    home.create(&file);
    assert_eq!(lookup("mdk", "one"), text);
    // Continued with the very key that it was begun with.
    home.put(&during);
    restore(&backup, &home.db(), &p, &one, &mut Progress::none()).unwrap();
    assert_eq!(lookup("mdk", "one"), text);
    assert!(home.record()["key"]["shared"].is_null());
    home.opens(&one);
}
