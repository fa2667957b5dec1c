//! What the record beside the database says, and what it never says.

use std::{fs, os::unix::fs::MetadataExt};

use base64::{Engine, engine::general_purpose::STANDARD};
use mdk_store::{DatabaseKey, KeyringKey, Level, OpenError, encrypt_existing};
use serde_json::Value;

use crate::kit::{
    findings,
    keys::{Home, RECORD, holding, json, mode, passphrase, raw, set_mode},
    none,
};

#[test]
fn it_names_source_state_and_format_and_no_secret() {
    let home = Home::new();
    home.create(&home.in_file());
    let record = home.record();
    assert_eq!(record["format"], 1);
    assert_eq!(record["stage"], "ready");
    assert_eq!(record["key"]["source"], "file");
    assert_eq!(record["key"]["check"].as_str().unwrap().len(), 16);
    assert_eq!((mode(&home.path(RECORD)), mode(&home.key_file())), (0o600, 0o600));
    let text = fs::read_to_string(home.key_file()).unwrap();
    let base = text.trim_end().strip_prefix("mdk-key-1:").expect("a key file says what it is");
    let bytes = STANDARD.decode(base).unwrap();
    for secret in [base.as_bytes(), hex::encode(&bytes).as_bytes(), &bytes] {
        assert_eq!(
            holding(&home.files(), secret).iter().filter(|n| *n != "alice.secret").count(),
            0
        );
    }
    home.opens(&home.in_file());
    assert_eq!(fs::read_to_string(home.key_file()).unwrap(), text);
    // The key itself opens it too, whatever the record says, and the record stays.
    home.opens(&DatabaseKey::Raw(mdk_wire::Secret::from_slice(&bytes).unwrap()));
    assert_eq!(home.record(), record);
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
    let before = fs::metadata(home.path(RECORD)).unwrap();
    home.opens(&raw(1));
    let after = fs::metadata(home.path(RECORD)).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
}

#[test]
fn it_has_the_salt_of_the_database_whichever_way_that_was_made() {
    let salt = |home: &Home| hex::encode(&home.bytes()[..16]);
    let home = Home::created(&raw(1));
    let first = salt(&home);
    assert_eq!(home.record()["salt"], first);
    home.rekey(&raw(1), Some(&raw(2))).unwrap();
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
    encrypt_existing(&home.db(), Some(&raw(2)), Some(&copy), &raw(3), &mut none()).unwrap();
    let record: Value =
        serde_json::from_slice(&fs::read(home.path("b.db.keyinfo")).unwrap()).unwrap();
    assert_eq!(record["salt"], hex::encode(&fs::read(&copy).unwrap()[..16]));
}

#[test]
fn one_that_cannot_be_read_is_named_and_left_alone() {
    let home = Home::created(&raw(1));
    let good = home.record();
    let (mut newer, mut state) = (good.clone(), good.clone());
    newer["format"] = 2.into();
    state["stage"] = "melting".into();
    let long = [json(&good), vec![b' '; 128 << 10]].concat();
    for bad in [b"", &b"{"[..], b"\xff", &json(&newer), &json(&state), &long] {
        fs::write(home.path(RECORD), bad).unwrap();
        assert_eq!(home.refused(&raw(1)), OpenError::KeyRecordMalformed);
        let told = findings(&home.db());
        let says = |text: &str| text.contains("record of where the key is cannot be read");
        assert!(told.iter().any(|f| f.level == Level::Error && says(&f.text)), "{told:?}");
    }
    home.write_record(&good);
    set_mode(&home.path(RECORD), 0o666);
    home.opens(&raw(1));
    assert_eq!(mode(&home.path(RECORD)), 0o600);
}

#[test]
fn a_database_without_a_record_opens_with_a_full_key_and_gets_one() {
    let home = Home::created(&raw(1));
    let record = home.record();
    home.lose_record();
    let keyring = DatabaseKey::Keyring(KeyringKey::default());
    assert_eq!(home.refused(&keyring), OpenError::KeyMissing { source: "keyring" });
    assert_eq!(home.refused(&raw(2)), OpenError::WrongKey);
    home.opens(&raw(1));
    assert_eq!(home.record(), record);
    home.lose_record();
    home.rekey(&raw(1), Some(&home.in_file())).unwrap();
    home.opens(&home.in_file());
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
