//! Re-keying: afterwards the old key opens nothing and none of its bytes are left; stopped at any step, the database
//! opens with one of the two keys.

use std::{fs, ops::ControlFlow, path::PathBuf};

use mdk_store::{
    DatabaseKey, FileRole, OpenError, Progress, RekeyReport, Stage, Step, Store, VaultError,
    salvage,
};
use serde_json::{Value, json};

use crate::kit::keys::{Files, Home, assert_gone, fill, json, passphrase, raw};

fn rekey(
    home: &Home,
    from: &DatabaseKey,
    to: Option<&DatabaseKey>,
) -> Result<RekeyReport, VaultError> {
    let mut store = home.open(from).unwrap();
    let before = store.digest().unwrap();
    let report = store.rekey(to, &mut Progress::none())?;
    // It goes on working, with the same rows.
    assert_eq!(store.digest().unwrap(), before);
    store.write(|tx| tx.set_meta("after", b"1")).unwrap();
    store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
    assert!(store.info().unwrap().rekeyed_at.is_some_and(|at| at > 1_700_000_000));
    store.close().unwrap();
    Ok(report)
}

/// The database with enough rows for several pages, and its files.
fn filled(key: &DatabaseKey) -> Home {
    let home = Home::new();
    fill(&home, key);
    home
}

#[test]
fn a_fresh_key_in_the_same_file_replaces_the_old_one() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    fill(&home, &key);
    let (old_key, old) = (fs::read(home.key_file()).unwrap(), fs::read(home.db()).unwrap());
    let names = home.names();
    let report = rekey(&home, &key, None).unwrap();
    assert_eq!(report.bytes, fs::metadata(home.db()).unwrap().len());
    assert_eq!(home.names(), names, "nothing is left over");
    assert_ne!(fs::read(home.key_file()).unwrap(), old_key);
    assert_ne!(fs::read(home.db()).unwrap()[..16], old[..16], "the salt is fresh");
    assert_gone(&home, &old);
    home.opens(&key);
    let new_key = fs::read(home.key_file()).unwrap();
    fs::write(home.key_file(), old_key).unwrap();
    assert_eq!(home.refused(&key), OpenError::WrongKey);
    fs::write(home.key_file(), new_key).unwrap();
    // And again, in a store that has just been re-keyed.
    let mut store = home.open(&key).unwrap();
    store.rekey(None, &mut Progress::none()).unwrap();
    store.rekey(None, &mut Progress::none()).unwrap();
    store.close().unwrap();
    home.opens(&key);
    assert_eq!(home.names(), names);
}

#[test]
fn a_passphrase_can_be_kept_or_changed() {
    let (first, second) = (passphrase("first"), passphrase("second"));
    let home = filled(&first);
    let file = fs::read(home.path("alice.db.key")).unwrap();
    rekey(&home, &first, None).unwrap();
    home.opens(&first);
    assert_ne!(fs::read(home.path("alice.db.key")).unwrap(), file);
    rekey(&home, &first, Some(&second)).unwrap();
    home.opens(&second);
    assert_eq!(home.refused(&first), OpenError::WrongPassphrase);
    assert_eq!(home.names(), ["alice.db", "alice.db.key", "alice.db.keyinfo"]);
}

#[test]
fn the_key_moves_to_another_source_and_leaves_the_old_one() {
    let home = filled(&raw(1));
    let file = DatabaseKey::File(home.key_file());
    let second = DatabaseKey::File(home.path("second.secret"));
    let words = passphrase("words");
    let steps = [&raw(1), &file, &second, &words, &raw(2), &raw(3), &file, &raw(4)];
    for pair in steps.windows(2) {
        let old = fs::read(home.db()).unwrap();
        rekey(&home, pair[0], Some(pair[1])).unwrap_or_else(|e| panic!("{pair:?}: {e}"));
        home.opens(pair[1]);
        home.refused(pair[0]);
        assert_gone(&home, &old);
        assert_eq!(home.record()["key"]["source"], pair[1].source());
        let info = home.open(pair[1]).unwrap().info().unwrap();
        assert_eq!(info.key_source, pair[1].source());
        assert!(info.rekeyed_at.is_some());
    }
    assert_eq!(home.names(), ["alice.db", "alice.db.keyinfo"]);
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_changed() {
    let home = filled(&raw(1));
    let before = home.files();
    let file = DatabaseKey::File(home.key_file());
    let refused = |to: Option<&DatabaseKey>| {
        let mut store = home.open(&raw(1)).unwrap();
        let error = store.rekey(to, &mut Progress::none()).unwrap_err();
        store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
        store.close().unwrap();
        assert_eq!(
            home.record(),
            serde_json::from_slice::<Value>(&before["alice.db.keyinfo"]).unwrap()
        );
        home.opens(&raw(1));
        error
    };
    assert_eq!(refused(None), VaultError::NewKeyNeeded);
    assert_eq!(refused(Some(&raw(1))), VaultError::SameKey);
    let absent = DatabaseKey::Env("MDK_NO_SUCH_VARIABLE".into());
    assert_eq!(refused(Some(&absent)), OpenError::KeyMissing { source: "env" }.into());
    fs::write(home.key_file(), b"somebody's").unwrap();
    let exists = VaultError::DestinationExists { role: FileRole::Key };
    assert_eq!(refused(Some(&file)), exists);
    assert_eq!(fs::read(home.key_file()).unwrap(), b"somebody's");
    fs::remove_file(home.key_file()).unwrap();
    fs::write(home.path("alice.db.key"), b"somebody's").unwrap();
    assert_eq!(refused(Some(&passphrase("x"))), exists);
    fs::remove_file(home.path("alice.db.key")).unwrap();
    let nowhere = DatabaseKey::File("/proc/no/such/key".into());
    refused(Some(&nowhere));
    assert_eq!(home.names(), before.keys().cloned().collect::<Vec<_>>());
    let mut memory = Store::in_memory().unwrap();
    let error = memory.rekey(Some(&raw(1)), &mut Progress::none()).unwrap_err();
    assert_eq!(error, VaultError::InMemory);
}

#[test]
fn cancelling_leaves_everything_as_it_was() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    fill(&home, &key);
    let before = home.files();
    for stage in [Stage::Writing, Stage::Comparing] {
        let mut store = home.open(&key).unwrap();
        let mut stop = |step: Step| match step.stage == stage {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let error = store.rekey(None, &mut Progress::new(&mut stop)).unwrap_err();
        assert_eq!(error, VaultError::Cancelled);
        store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
        store.close().unwrap();
        home.opens(&key);
        let after = home.files();
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        assert_eq!(after["alice.secret"], before["alice.secret"]);
        assert_eq!(after["alice.db.keyinfo"], before["alice.db.keyinfo"]);
    }
}

#[test]
fn a_damaged_database_is_not_copied() {
    let home = filled(&raw(1));
    let mut bytes = fs::read(home.db()).unwrap();
    let last = bytes.len() - 2000;
    bytes[last] ^= 1;
    fs::write(home.db(), &bytes).unwrap();
    let mut store = home.open(&raw(1)).unwrap();
    let error = store.rekey(Some(&raw(2)), &mut Progress::none()).unwrap_err();
    assert!(matches!(error, VaultError::Damaged | VaultError::Store(_)), "{error:?}");
    store.close().unwrap();
    assert_eq!(home.names(), ["alice.db", "alice.db.keyinfo"]);
}

/// What stands on disk while a copy is being written, after it, and what stood before.
struct Run {
    before: Files,
    during: Files,
    after: Files,
}

fn run(home: &Home, from: &DatabaseKey, to: Option<&DatabaseKey>) -> Run {
    fill(home, from);
    let before = home.files();
    let mut during = Files::new();
    let mut store = home.open(from).unwrap();
    let mut see = |step: Step| {
        if step.stage == Stage::Comparing && during.is_empty() {
            during = home.files();
        }
        ControlFlow::Continue(())
    };
    store.rekey(to, &mut Progress::new(&mut see)).unwrap();
    store.close().unwrap();
    let after = home.files();
    Run { before, during, after }
}

const DB: &str = "alice.db";
const COPY: &str = "alice.db.rekey";
const RECORD: &str = "alice.db.keyinfo";

/// One key file in the same place: every step, from the record to the last clean-up.
#[test]
fn stopped_at_any_step_one_key_opens_it_and_nothing_is_left_over() {
    let home = Home::new();
    let key_file = |key: &DatabaseKey| match key {
        DatabaseKey::File(_) => "alice.secret",
        _ => "alice.db.key",
    };
    for key in [DatabaseKey::File(home.key_file()), passphrase("words")] {
        home.put(&Files::new());
        let name = key_file(&key);
        let new_name = format!("{name}.new");
        let Run { before, during, after } = run(&home, &key, None);
        assert_eq!(during[name], before[name]);
        assert_eq!(during[&new_name], after[name], "the pending key is stored beside the old one");
        let pending: Value = serde_json::from_slice(&during[RECORD]).unwrap();
        assert!(pending["other_key"].is_object() && pending["stage"] == "ready");
        let mut promoted = pending.clone();
        promoted["key"] = pending["other_key"].clone();
        promoted["other_key"] = pending["key"].clone();
        promoted["rekeyed_at"] = json!(1_800_000_000u64);

        let files = |db: &[u8], copy: Option<&[u8]>, record: &Value, old: bool, new: bool| {
            let mut files: Files = [(DB.into(), db.to_vec()), (RECORD.into(), json(record))].into();
            files.extend(copy.map(|copy| (COPY.into(), copy.to_vec())));
            if old {
                files.insert(name.into(), before[name].clone());
            }
            if new {
                files.insert(new_name.clone(), after[name].clone());
            }
            files
        };
        let (old, new) = (&before[DB], &during[COPY]);
        let mut settled = files(new, None, &promoted, false, false);
        settled.insert(name.into(), after[name].clone());
        let mut key_half = files(old, None, &pending, true, false);
        key_half.insert(format!("{new_name}.tmp"), b"mdk-".to_vec());
        let steps: [(&str, Files, bool); 11] = [
            ("recorded", files(old, None, &pending, true, false), false),
            ("key being written", key_half, false),
            ("key stored", files(old, None, &pending, true, true), false),
            ("copy begun", files(old, Some(b""), &pending, true, true), false),
            ("copy half", files(old, Some(&new[..9000]), &pending, true, true), false),
            ("copy done", files(old, Some(new), &pending, true, true), false),
            ("exchanged", files(new, Some(old), &pending, true, true), true),
            ("promoted", files(new, Some(old), &promoted, true, true), true),
            ("old file half wiped", files(new, Some(&[7; 5000]), &promoted, true, true), true),
            ("old key gone", files(new, None, &promoted, false, true), true),
            ("new key named", settled, true),
        ];
        for (step, files, is_new) in steps {
            home.put(&files);
            home.opens(&key);
            let end = home.files();
            let names: Vec<_> = end.keys().cloned().collect();
            let mut expected = vec![DB.to_owned(), RECORD.to_owned(), name.to_owned()];
            expected.sort_unstable();
            assert_eq!(names, expected, "{step}");
            let key_now = if is_new { &after[name] } else { &before[name] };
            assert_eq!(&end[name], key_now, "{step}");
            let record = home.record();
            assert!(record["other_key"].is_null(), "{step}");
            assert_eq!(record["rekeyed_at"].is_u64(), is_new, "{step}");
            if is_new {
                assert_gone(&home, old);
            }
            if matches!(key, DatabaseKey::Passphrase(_)) {
                continue; // each use of a passphrase costs a derivation
            }
            home.opens(&key);
            rekey(&home, &key, None).unwrap_or_else(|e| panic!("{step}: {e}"));
            home.opens(&key);
        }
    }
}

/// From one source to another: whichever of the two the caller names, and where the record can say, either does.
#[test]
fn stopped_while_moving_both_keys_are_tried() {
    let home = Home::new();
    let file = DatabaseKey::File(home.key_file());
    let words = passphrase("words");
    for (from, to) in
        [(raw(1), file.clone()), (file.clone(), raw(2)), (file, words), (raw(1), raw(2))]
    {
        home.put(&Files::new());
        let Run { before, during, .. } = run(&home, &from, Some(&to));
        // Before the exchange: the old key.
        home.put(&during);
        home.opens(&from);
        assert_eq!(home.names(), before.keys().cloned().collect::<Vec<_>>(), "{from:?} {to:?}");
        // After it: the new one.
        let mut exchanged = during.clone();
        exchanged.insert(DB.into(), during[COPY].clone());
        exchanged.insert(COPY.into(), during[DB].clone());
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
        assert_gone(&home, &before[DB]);
        home.refused(&from);
        home.opens(&to);
        // A third key is none of both.
        home.put(&exchanged);
        let error = home.refused(&raw(9));
        assert!(matches!(error, OpenError::WrongKey), "{error}");
    }
}

#[test]
fn a_key_that_was_made_elsewhere_meanwhile_is_not_removed() {
    let home = Home::new();
    let file = DatabaseKey::File(home.key_file());
    let Run { during, .. } = run(&home, &raw(1), Some(&file));
    let mut files = during.clone();
    files.insert("alice.secret".into(), format!("mdk-key-1:{}=\n", "B".repeat(43)).into_bytes());
    home.put(&files);
    home.opens(&raw(1));
    assert!(home.path("alice.secret").exists(), "its check is not that of the pending key");
}

#[test]
fn the_copy_of_an_older_database_without_a_record_gets_one() {
    let home = filled(&raw(1));
    fs::remove_file(home.path(RECORD)).unwrap();
    let target: PathBuf = home.key_file();
    rekey(&home, &raw(1), Some(&DatabaseKey::File(target.clone()))).unwrap();
    home.opens(&DatabaseKey::File(target));
}

/// The salt of an open database is hit when its log is empty: nothing of it is put right any more, and nothing may be lost by the try.
#[test]
fn a_salt_that_was_hit_is_no_reason_to_lose_the_recorded_one() {
    for to in [None, Some(raw(3))] {
        let home = Home::new();
        let key = DatabaseKey::File(home.key_file());
        fill(&home, &key);
        let mut store = home.open(&key).unwrap();
        let none = &mut Progress::none();
        assert!(store.verify(none).unwrap().is_intact());
        let mut hit = fs::read(home.db()).unwrap();
        let salt = hex::encode(&hit[..16]);
        hit[..16].fill(0x5a);
        let mut file = fs::OpenOptions::new().write(true).open(home.db()).unwrap();
        std::io::Write::write_all(&mut file, &hit[..16]).unwrap();
        assert_eq!(store.verify(none).unwrap().bad_pages, [1]);
        let record = home.record();
        assert_eq!(store.rekey(to.as_ref(), none).unwrap_err(), VaultError::Damaged);
        assert_eq!(home.record(), record);
        assert_eq!(record["salt"], salt);
        assert!(!home.path("alice.db.rekey").exists());
        drop(store);
        let report = salvage(&home.db(), &key, &home.path("saved.db"), &raw(4), none).unwrap();
        assert_eq!((report.bad_pages, report.missing.len()), (1, 0), "{report:?}");
    }
}
