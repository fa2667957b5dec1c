//! What the record beside the database says, and what it never says.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use mdk_store::{DatabaseKey, FileRole, OpenError, Progress, encrypt_existing, salvage, verify};

use crate::kit::keys::{Home, holding, mode, passphrase, raw, set_mode};

#[test]
fn it_names_source_state_and_format_and_no_secret() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    home.create(&key);
    let record = home.record();
    assert_eq!(record["format"], 1);
    assert_eq!(record["stage"], "ready");
    assert_eq!(record["key"]["source"], "file");
    assert_eq!(record["key"]["check"].as_str().unwrap().len(), 16);
    assert_eq!(mode(&home.path("alice.db.keyinfo")), 0o600);
    let text = fs::read_to_string(home.key_file()).unwrap();
    let base = text.trim_end()["mdk-key-1:".len()..].to_owned();
    let bytes = STANDARD.decode(&base).unwrap();
    for secret in [base.into_bytes(), hex::encode(&bytes).into_bytes(), bytes] {
        let found = holding(&home.files(), &secret);
        assert!(found.iter().all(|name| name == "alice.secret"), "{found:?}");
    }
    let home = Home::created(&passphrase("correct horse battery"));
    assert!(holding(&home.files(), b"correct horse").is_empty());
    assert_eq!(home.record()["key"]["source"], "passphrase");
    let home = Home::created(&raw(0xa5));
    for secret in [vec![0xa5; 8], b"a5a5a5a5".to_vec(), STANDARD.encode([0xa5; 9]).into_bytes()] {
        assert!(holding(&home.files(), &secret).is_empty());
    }
}

#[test]
fn two_keys_have_two_checks_and_one_key_has_one() {
    let check = |key| Home::created(&key).record()["key"]["check"].clone();
    assert_eq!(check(raw(1)), check(raw(1)));
    assert_ne!(check(raw(1)), check(raw(2)));
}

#[test]
fn opening_again_does_not_write_it() {
    let home = Home::created(&raw(1));
    let before = fs::metadata(home.path("alice.db.keyinfo")).unwrap();
    home.opens(&raw(1));
    let after = fs::metadata(home.path("alice.db.keyinfo")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
}

#[test]
fn it_has_the_salt_of_the_database_whichever_way_that_was_made() {
    let salt = |home: &Home| hex::encode(&fs::read(home.db()).unwrap()[..16]);
    let home = Home::created(&raw(1));
    assert_eq!(home.record()["salt"], salt(&home));
    let first = salt(&home);
    let mut store = home.open(&raw(1)).unwrap();
    store.rekey(Some(&raw(2)), &mut Progress::none()).unwrap();
    store.close().unwrap();
    assert_ne!(salt(&home), first);
    assert_eq!(home.record()["salt"], salt(&home));
    // A record of an earlier version, and one of a file that was put back: the next opening completes it.
    for other in [None, Some(hex::encode([7; 16]))] {
        let mut record = home.record();
        record.as_object_mut().unwrap().remove("salt");
        other.into_iter().for_each(|salt| record["salt"] = salt.into());
        home.write_record(&record);
        home.opens(&raw(2));
        assert_eq!(home.record()["salt"], salt(&home));
    }
    let copy = home.path("b.db");
    encrypt_existing(&home.db(), Some(&raw(2)), Some(&copy), &raw(3), &mut Progress::none())
        .unwrap();
    let record = fs::read(home.path("b.db.keyinfo")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["salt"], hex::encode(&fs::read(&copy).unwrap()[..16]));
}

#[test]
fn one_that_cannot_be_read_is_named_and_left_alone() {
    let home = Home::created(&raw(1));
    let good = home.record();
    let mut newer = good.clone();
    newer["format"] = 2.into();
    let mut state = good.clone();
    state["stage"] = "melting".into();
    for bad in [
        b"".to_vec(),
        b"{".to_vec(),
        b"\xff".to_vec(),
        crate::kit::keys::json(&newer),
        crate::kit::keys::json(&state),
        vec![b' '; 1 << 20],
    ] {
        fs::write(home.path("alice.db.keyinfo"), &bad).unwrap();
        assert_eq!(home.refused(&raw(1)), OpenError::KeyRecordMalformed);
    }
    fs::remove_file(home.path("alice.db.keyinfo")).unwrap();
    home.opens(&raw(1));
    assert_eq!(home.record(), good);
    // Files that are no files of ours.
    let role = FileRole::KeyRecord;
    let path = home.path("alice.db.keyinfo");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::Symlink { role });
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::NotAFile { role });
    fs::remove_dir(&path).unwrap();
    home.write_record(&good);
    set_mode(&path, 0o666);
    home.opens(&raw(1));
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn the_right_key_for_another_file_is_told_from_a_wrong_key() {
    let home = Home::created(&raw(1));
    let good = fs::read(home.db()).unwrap();
    assert_eq!(home.refused(&raw(2)), OpenError::WrongKey);
    let mut bad = good.clone();
    bad[200] ^= 1;
    for bytes in [bad, vec![0x5a; 8192]] {
        let noise = bytes.len() == 8192;
        fs::write(home.db(), bytes).unwrap();
        assert_eq!(home.refused(&raw(1)), OpenError::NotADatabase);
        assert_eq!(home.refused(&raw(2)), OpenError::WrongKey);
        // Whatever else reads the file says the same. Of one that is damaged a part can be read.
        let new = home.path("new.db");
        let mut none = Progress::none();
        let (right, wrong) = (OpenError::NotADatabase, OpenError::WrongKey);
        for (key, error) in [(raw(1), right), (raw(2), wrong)] {
            let copied = encrypt_existing(&home.db(), Some(&key), Some(&new), &raw(3), &mut none);
            assert_eq!(copied.unwrap_err(), error.clone().into());
            if noise || error == OpenError::WrongKey {
                assert_eq!(verify(&home.db(), &key, &mut none).unwrap_err(), error.clone().into());
                let saved = salvage(&home.db(), &key, &new, &raw(3), &mut none);
                assert_eq!(saved.unwrap_err(), error.into());
            }
        }
        assert!(!new.exists());
    }
    fs::write(home.db(), good).unwrap();
    home.opens(&raw(1));
}

#[test]
fn a_copy_that_was_cut_short_at_a_page_is_told_from_damage() {
    let home = Home::created(&raw(1));
    let good = fs::read(home.db()).unwrap();
    for pages in [1, good.len() / 4096 - 1] {
        fs::write(home.db(), &good[..pages * 4096]).unwrap();
        let size = pages as u64 * 4096;
        assert_eq!(home.refused(&raw(1)), OpenError::Truncated { size });
    }
    fs::write(home.db(), good).unwrap();
    home.opens(&raw(1));
}

#[test]
fn a_database_that_was_put_back_with_its_key_gets_its_record() {
    let old = Home::created(&raw(1));
    let home = Home::created(&raw(2));
    fs::copy(old.db(), home.db()).unwrap();
    assert_eq!(home.refused(&raw(2)), OpenError::NotADatabase);
    assert_eq!(home.refused(&raw(3)), OpenError::WrongKey);
    home.opens(&raw(1));
    assert_eq!(home.record()["key"]["check"], old.record()["key"]["check"]);
}

#[test]
fn a_directory_that_has_the_name_of_what_is_written_is_named() {
    let home = crate::kit::vault::Home::new();
    std::fs::create_dir(home.beside("a.db.keyinfo.tmp")).unwrap();
    let error = crate::kit::try_open(&home.path, &crate::kit::raw(1)).unwrap_err();
    assert_eq!(error, OpenError::NameTaken { suffix: ".keyinfo.tmp" });
}
