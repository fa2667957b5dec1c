//! States that a process leaves which is killed, with the key in a keyring.

use mdk_store::{OpenError, Progress, Stage, Step, VaultError};
use serde_json::Value;

use super::{NAMES, keyring, lookup, names, run, slot, store_key};
use crate::kit::keys::{Files, Home, Made, RECORD, json, raw};

/// Killed when its key was stored, or before: the key is used and never replaced, and another one is not adopted.
pub fn stopped_first_open() {
    for id in [None, Some("alice".to_owned())] {
        let key = keyring(|k| k.key_id = id.clone());
        let home = Home::created(&key);
        let mut record = home.record();
        record["stage"] = "creating".into();
        let begun: Files = [(RECORD.to_owned(), json(&record))].into();
        let (service, name) = slot(&home);
        let text = lookup(&service, &name);
        home.put(&begun);
        home.create(&key);
        assert_eq!(lookup(&service, &name), text, "the key was used, not replaced");
        assert_eq!(names(&home), NAMES);
        assert_eq!(home.record()["stage"], "ready");
        run("secret-tool", &["clear", "service", &service, "username", &name]);
        home.put(&begun);
        home.create(&key);
        assert_eq!(slot(&home), (service.clone(), name.clone()), "the id that was recorded");
        assert!(lookup(&service, &name).starts_with("mdk-key-1:"));
        home.put(&begun);
        assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
    }
}

/// Which key counts after each step is told by files alone (`vault::rekey`): here, that the keyring keeps that one.
pub fn stopped_rekey() {
    let key = keyring(|k| k.key_id = Some("alice".into()));
    let home = Home::created(&key);
    let old_text = lookup("mdk", "alice");
    let [during, exchanged] = home.stopped(&key, None);
    let (_, new) = slot(&home);
    let new_text = lookup("mdk", &new);
    for (files, kept, text, gone) in
        [(during, "alice", &old_text, &*new), (exchanged, &*new, &new_text, "alice")]
    {
        store_key("alice", &old_text);
        store_key(&new, &new_text);
        home.put(&files);
        home.opens(&key);
        assert_eq!(names(&home), NAMES);
        assert_eq!((lookup("mdk", gone).as_str(), &lookup("mdk", kept)), ("", text));
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
    home.rekey(&raw(1), Some(&taken)).unwrap();
    home.opens(&taken);
}

/// Killed while it was made with a key in the keyring, and continued with another one.
pub fn continued_first_open() {
    let made = Made::new();
    let home = &made.home;
    let one = keyring(|k| k.key_id = Some("one".into()));
    made.killed(&one);
    let (during, text) = (home.files(), lookup("mdk", "one"));
    for to in [keyring(|k| k.key_id = Some("two".into())), home.in_file(), raw(2)] {
        store_key("one", &text);
        home.put(&during);
        made.restore(&to);
        assert_eq!(lookup("mdk", "one"), "", "{to:?}");
        home.opens(&to);
    }
    // A record that only says so does not take another database its key.
    store_key("one", &text);
    let mut record: Value = serde_json::from_slice(&during[RECORD]).unwrap();
    record["key"].as_object_mut().unwrap().remove("bound");
    // A first opening may go on where no restore was cut off.
    record["stage"] = "creating".into();
    home.put(&[(RECORD.to_owned(), json(&record))].into());
    home.create(&home.in_file());
    assert_eq!(lookup("mdk", "one"), text);
    // Continued with the very key that it was begun with.
    home.put(&during);
    made.restore(&one);
    assert_eq!(lookup("mdk", "one"), text);
    assert!(home.record()["key"]["shared"].is_null());
    home.opens(&one);
}
