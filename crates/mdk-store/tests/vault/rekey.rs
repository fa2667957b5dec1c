//! Re-keying: afterwards the old key opens nothing and none of its bytes are left; stopped at any step, the database
//! opens with one of the two keys.

use std::fs;

use mdk_store::{
    DatabaseKey, FileRole, OpenError, Progress, RekeyReport, Stage, Store, VaultError, salvage,
};
use serde_json::{Value, json};

use crate::kit::{
    cancel_in,
    keys::{COPY, DB, Files, Home, RECORD, assert_gone, fill, json, passphrase, raw},
    none,
};

fn rekey(home: &Home, from: &DatabaseKey, to: Option<&DatabaseKey>) -> RekeyReport {
    let mut store = home.open(from).unwrap();
    let before = store.digest().unwrap();
    let report = store.rekey(to, &mut none()).unwrap_or_else(|e| panic!("{from:?} {to:?}: {e}"));
    // It goes on working, with the same rows.
    assert_eq!(store.digest().unwrap(), before);
    store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
    let info = store.info().unwrap();
    assert!(info.rekeyed_at.is_some_and(|at| at > 1_700_000_000));
    assert_eq!(info.key_source, to.unwrap_or(from).source());
    store.close().unwrap();
    report
}

/// The database with enough rows for several pages.
fn filled(key: &DatabaseKey) -> Home {
    let home = Home::new();
    fill(&home, key);
    home
}

#[test]
fn a_fresh_key_in_the_same_file_replaces_the_old_one() {
    let home = Home::new();
    let key = home.in_file();
    fill(&home, &key);
    let (old_key, old) = (fs::read(home.key_file()).unwrap(), home.bytes());
    let names = home.names();
    let report = rekey(&home, &key, None);
    assert_eq!(report.bytes, fs::metadata(home.db()).unwrap().len());
    assert_eq!(home.names(), names, "nothing is left over");
    let new_key = fs::read(home.key_file()).unwrap();
    assert_ne!(new_key, old_key);
    assert_ne!(home.bytes()[..16], old[..16], "the salt is fresh");
    assert_gone(&home, &old);
    home.opens(&key);
    fs::write(home.key_file(), old_key).unwrap();
    assert_eq!(home.refused(&key), OpenError::WrongKey);
    fs::write(home.key_file(), new_key).unwrap();
    // And again, in a store that has just been re-keyed.
    let mut store = home.open(&key).unwrap();
    store.rekey(None, &mut none()).unwrap();
    store.rekey(None, &mut none()).unwrap();
    store.close().unwrap();
    home.opens(&key);
    assert_eq!(home.names(), names);
}

#[test]
fn a_passphrase_can_be_kept_or_changed() {
    let (first, second) = (passphrase("first"), passphrase("second"));
    let home = filled(&first);
    let file = fs::read(home.path("alice.db.key")).unwrap();
    rekey(&home, &first, None);
    assert_ne!(fs::read(home.path("alice.db.key")).unwrap(), file);
    rekey(&home, &first, Some(&second));
    home.opens(&second);
    assert_eq!(home.refused(&first), OpenError::WrongPassphrase);
    assert_eq!(home.names(), [DB, "alice.db.key", RECORD]);
}

#[test]
fn the_key_moves_to_another_source_and_leaves_the_old_one() {
    let home = filled(&raw(1));
    let file = home.in_file();
    let second = DatabaseKey::File(home.path("second.secret"));
    let words = passphrase("words");
    let steps = [&raw(1), &file, &second, &words, &raw(2), &raw(3), &file, &raw(4)];
    for pair in steps.windows(2) {
        let old = home.bytes();
        rekey(&home, pair[0], Some(pair[1]));
        home.opens(pair[1]);
        home.refused(pair[0]);
        assert_gone(&home, &old);
        assert_eq!(home.record()["key"]["source"], pair[1].source());
    }
    assert_eq!(home.names(), [DB, RECORD]);
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_changed() {
    let home = filled(&raw(1));
    let record = home.record();
    let refused = |to: Option<&DatabaseKey>| {
        let error = home.rekey(&raw(1), to).unwrap_err();
        assert_eq!(home.record(), record);
        home.opens(&raw(1));
        error
    };
    assert_eq!(refused(None), VaultError::NewKeyNeeded);
    assert_eq!(refused(Some(&raw(1))), VaultError::SameKey);
    let absent = DatabaseKey::Env("MDK_NO_SUCH_VARIABLE".into());
    assert_eq!(refused(Some(&absent)), OpenError::KeyMissing { source: "env" }.into());
    refused(Some(&DatabaseKey::File("/proc/no/such/key".into())));
    for (key, name) in [(home.in_file(), "alice.secret"), (passphrase("x"), "alice.db.key")] {
        fs::write(home.path(name), b"somebody's").unwrap();
        let exists = VaultError::DestinationExists { role: FileRole::Key };
        assert_eq!(refused(Some(&key)), exists);
        assert_eq!(fs::read(home.path(name)).unwrap(), b"somebody's");
        fs::remove_file(home.path(name)).unwrap();
    }
    assert_eq!(home.names(), [DB, RECORD]);
    let error = Store::in_memory().unwrap().rekey(Some(&raw(1)), &mut none()).unwrap_err();
    assert_eq!(error, VaultError::InMemory);
}

#[test]
fn cancelling_leaves_everything_as_it_was() {
    let home = Home::new();
    let key = home.in_file();
    fill(&home, &key);
    let before = home.files();
    for stage in [Stage::Writing, Stage::Comparing] {
        let mut store = home.open(&key).unwrap();
        let mut stop = cancel_in(stage);
        let error = store.rekey(None, &mut Progress::new(&mut stop)).unwrap_err();
        assert_eq!(error, VaultError::Cancelled);
        store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
        store.close().unwrap();
        home.opens(&key);
        let after = home.files();
        assert!(after.keys().eq(before.keys()));
        for name in ["alice.secret", RECORD] {
            assert_eq!(after[name], before[name]);
        }
    }
}

#[test]
fn a_damaged_database_is_not_copied() {
    let home = filled(&raw(1));
    let mut bytes = home.bytes();
    let last = bytes.len() - 2000;
    bytes[last] ^= 1;
    fs::write(home.db(), &bytes).unwrap();
    let error = home.rekey(&raw(1), Some(&raw(2))).unwrap_err();
    assert!(matches!(error, VaultError::Damaged | VaultError::Store(_)), "{error:?}");
    assert_eq!(home.names(), [DB, RECORD]);
}

/// One key file in the same place: every step, from the record to the last clean-up.
#[test]
fn stopped_at_any_step_one_key_opens_it_and_nothing_is_left_over() {
    let home = Home::new();
    for (key, name) in [(home.in_file(), "alice.secret"), (passphrase("words"), "alice.db.key")] {
        home.put(&Files::new());
        let [during, _] = home.stopped(&key, None);
        let after = home.files();
        let new_name = format!("{name}.new");
        let (old, new) = (&during[DB], &during[COPY]);
        let (old_key, new_key) = (&during[name], &after[name]);
        assert_eq!(&during[&new_name], new_key, "the pending key is stored beside the old one");
        let pending: Value = serde_json::from_slice(&during[RECORD]).unwrap();
        assert!(pending["other_key"].is_object() && pending["stage"] == "ready");
        let mut promoted = pending.clone();
        promoted["key"] = pending["other_key"].clone();
        promoted["other_key"] = pending["key"].clone();
        promoted["rekeyed_at"] = json!(1_800_000_000u64);

        let (pending, promoted) = (&json(&pending), &json(&promoted));
        let half_key = (format!("{new_name}.tmp"), b"mdk-".to_vec());
        let left = (name.to_owned(), old_key.clone());
        let made = (new_name.clone(), new_key.clone());
        let named = (name.to_owned(), new_key.clone());
        let copy = |bytes: &[u8]| (COPY.to_owned(), bytes.to_vec());
        let both = |bytes: &[u8]| vec![copy(bytes), left.clone(), made.clone()];
        // The database, its record and what else is there; whether the new key counts.
        let steps = [
            ("recorded", old, pending, vec![left.clone()], false),
            ("key being written", old, pending, vec![left.clone(), half_key], false),
            ("key stored", old, pending, vec![left.clone(), made.clone()], false),
            ("copy begun", old, pending, both(b""), false),
            ("copy half", old, pending, both(&new[..9000]), false),
            ("copy done", old, pending, both(new), false),
            ("exchanged", new, pending, both(old), true),
            ("promoted", new, promoted, both(old), true),
            ("old file half wiped", new, promoted, both(&[7; 5000]), true),
            ("old key gone", new, promoted, vec![made.clone()], true),
            ("new key named", new, promoted, vec![named], true),
        ];
        for (step, db, record, more, is_new) in steps {
            let files = [(DB.to_owned(), db.clone()), (RECORD.to_owned(), record.clone())];
            home.put(&files.into_iter().chain(more).collect());
            home.opens(&key);
            let mut expected = vec![DB, RECORD, name];
            expected.sort_unstable();
            assert_eq!(home.names(), expected, "{step}");
            assert_eq!(&home.files()[name], if is_new { new_key } else { old_key }, "{step}");
            let record = home.record();
            assert!(record["other_key"].is_null(), "{step}");
            assert_eq!(record["rekeyed_at"].is_u64(), is_new, "{step}");
            if is_new {
                assert_gone(&home, old);
            }
            // Each use of a passphrase costs a derivation.
            if name == "alice.secret" {
                home.opens(&key);
                rekey(&home, &key, None);
                home.opens(&key);
            }
        }
    }
}

/// From one source to another: whichever of the two the caller names, and where the record can say, either does.
#[test]
fn stopped_while_moving_both_keys_are_tried() {
    let home = Home::new();
    let (file, words) = (home.in_file(), passphrase("words"));
    for (from, to) in
        [(raw(1), file.clone()), (file.clone(), raw(2)), (file, words), (raw(1), raw(2))]
    {
        home.put(&Files::new());
        let [during, exchanged] = home.stopped(&from, Some(&to));
        // Before the exchange: the old key.
        home.put(&during);
        home.opens(&from);
        let files = if from.source() == "file" { 3 } else { 2 };
        assert_eq!(home.names().len(), files, "{from:?} {to:?}");
        // After it: the new one.
        home.put(&exchanged);
        if matches!(to, DatabaseKey::File(_)) {
            home.opens(&from);
            home.put(&exchanged);
        } else {
            let source = to.source();
            assert_eq!(home.refused(&from), OpenError::RekeyInterrupted { source });
        }
        home.opens(&to);
        assert!(!home.path(COPY).exists());
        assert_gone(&home, &during[DB]);
        home.refused(&from);
        home.opens(&to);
        // A third key is none of both.
        home.put(&exchanged);
        assert_eq!(home.refused(&raw(9)), OpenError::WrongKey);
    }
}

#[test]
fn a_key_that_was_made_elsewhere_meanwhile_is_not_removed() {
    let home = Home::new();
    let [mut during, _] = home.stopped(&raw(1), Some(&home.in_file()));
    let other = format!("mdk-key-1:{}=\n", "B".repeat(43)).into_bytes();
    during.insert("alice.secret".into(), other);
    home.put(&during);
    home.opens(&raw(1));
    assert!(home.key_file().exists(), "its check is not that of the pending key");
}

/// The salt of an open database is hit when its log is empty: nothing of it is put right any more, and nothing may be lost by the try.
#[test]
fn a_salt_that_was_hit_is_no_reason_to_lose_the_recorded_one() {
    for to in [None, Some(raw(3))] {
        let home = Home::new();
        let key = home.in_file();
        fill(&home, &key);
        let mut store = home.open(&key).unwrap();
        let none = &mut none();
        assert!(store.verify(none).unwrap().is_intact());
        let salt = hex::encode(&home.bytes()[..16]);
        let mut file = fs::OpenOptions::new().write(true).open(home.db()).unwrap();
        std::io::Write::write_all(&mut file, &[0x5a; 16]).unwrap();
        assert_eq!(store.verify(none).unwrap().bad_pages, [1]);
        let record = home.record();
        assert_eq!(store.rekey(to.as_ref(), none).unwrap_err(), VaultError::Damaged);
        assert_eq!(home.record(), record);
        assert_eq!(record["salt"], salt);
        assert!(!home.path(COPY).exists());
        drop(store);
        let report = salvage(&home.db(), &key, &home.path("saved.db"), &raw(4), none).unwrap();
        assert_eq!((report.bad_pages, report.missing.len()), (1, 0), "{report:?}");
    }
}
