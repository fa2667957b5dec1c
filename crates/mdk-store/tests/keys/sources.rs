//! Every key source, and every way in which it can be wrong: each its own error, no new file, no changed key.

use std::{
    fs,
    io::Write,
    os::{
        fd::IntoRawFd,
        unix::fs::{chown, symlink},
    },
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mdk_store::{DatabaseKey, FileRole, KeyringKey, OpenError};
use mdk_wire::{Secret, SecretVec};

use crate::kit::{
    keys::{Home, mode, passphrase, set_mode},
    rerun,
};

const KEY: [u8; 32] = *b"\x00\xff-a key of thirty-two bytes.-\x80\n";
const ROLE: &str = "MDK_STORE_KEYS_ROLE";

fn fd(bytes: &[u8]) -> DatabaseKey {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(bytes).unwrap();
    DatabaseKey::fd(reader.into_raw_fd())
}

fn key() -> DatabaseKey {
    DatabaseKey::Raw(Secret::new(KEY))
}

fn callback(f: impl Fn() -> Result<Vec<u8>, String> + Send + Sync + 'static) -> DatabaseKey {
    DatabaseKey::Callback(Arc::new(move || f().map(SecretVec::new)))
}

// In a process of its own: the number of a closed descriptor may belong to another test a moment later.
fn file_descriptors() {
    let home = Home::created(&key());
    // Every form that is read is in `src/keys/text_format.rs`.
    for text in [&KEY[..], format!("{}\r\n", hex::encode_upper(KEY)).as_bytes()] {
        let key = fd(text);
        home.opens(&key);
        assert_eq!(home.refused(&key), OpenError::KeyMissing { source: "fd" }, "it is closed");
    }
    for n in [0, 16, 31, 33, 64, 4096] {
        let expected = if n > 256 { 257 } else { n };
        assert_eq!(home.refused(&fd(&vec![0x81; n])), OpenError::KeyLength { found: expected });
    }
    assert_eq!(home.refused(&DatabaseKey::fd(-1)), OpenError::KeyMissing { source: "fd" });
    assert_eq!(home.refused(&fd(&[1; 32])), OpenError::WrongKey);
    let home = Home::new();
    assert_eq!(home.refused(&fd(b"")), OpenError::KeyLength { found: 0 });
    home.create(&fd(&KEY));
    home.opens(&key());
    assert_eq!(home.record()["key"]["source"], "fd");
}

#[test]
fn a_file_descriptor_gives_the_key_once_and_is_closed() {
    run_child("fd", &[]);
}

#[test]
fn a_callback_gives_32_bytes_or_the_opening_fails_without_its_text() {
    let home = Home::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let good = callback(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(KEY.to_vec())
    });
    for n in [0, 16, 31, 33, 64] {
        let bad = callback(move || Ok(vec![7; n]));
        assert_eq!(home.refused(&bad), OpenError::KeyLength { found: n });
    }
    let error = home.refused(&callback(|| Err("the secret word".into())));
    assert_eq!(error, OpenError::CallbackFailed);
    assert!(!format!("{error} {error:?}").contains("word"));
    assert_eq!(home.refused(&callback(|| panic!("x"))), OpenError::CallbackFailed);
    home.create(&good);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    home.opens(&key());
    let mut store = home.open(&good).unwrap();
    assert_eq!(store.info().unwrap().key_source, "callback");
    assert_eq!(store.read(|tx| tx.meta("who")).unwrap(), Some(b"alice".to_vec()));
}

/// Not a test of its own: what a child with variables does.
#[test]
fn child() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    let env = |name: &str| DatabaseKey::Env(name.into());
    let secret = |name: &str| DatabaseKey::Secret(name.into());
    let home = Home::created(&key());
    match role.to_str().unwrap() {
        "env" => {
            home.opens(&env("GOOD_HEX"));
            home.opens(&env("GOOD_BASE64"));
            home.opens(&env("GOOD_OWN"));
            assert_eq!(home.refused(&env("ABSENT")), OpenError::KeyMissing { source: "env" });
            assert_eq!(home.refused(&env("BINARY")), OpenError::KeyMalformed { source: "env" });
            assert_eq!(home.refused(&env("WORDS")), OpenError::KeyMalformed { source: "env" });
            assert_eq!(home.refused(&env("SHORT")), OpenError::KeyLength { found: 16 });
            assert_eq!(home.refused(&env("EMPTY")), OpenError::KeyLength { found: 0 });
            assert_eq!(home.refused(&env("OTHER")), OpenError::WrongKey);
            let new = Home::created(&env("GOOD_HEX"));
            new.opens(&key());
            assert_eq!(new.record()["key"]["key_id"], "GOOD_HEX");
        }
        "secret" => {
            let dir = std::path::PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY").unwrap());
            fs::write(dir.join("good"), KEY).unwrap();
            set_mode(&dir.join("good"), 0o400);
            home.opens(&secret("good"));
            symlink("good", dir.join("link")).unwrap();
            home.opens(&secret("link"));
            set_mode(&dir.join("good"), 0o444);
            home.opens(&secret("good"));
            set_mode(&dir.join("good"), 0o666);
            assert_eq!(home.refused(&secret("good")), OpenError::KeyFileTooWide { mode: 0o666 });
            assert_eq!(home.refused(&secret("no")), OpenError::KeyMissing { source: "secret" });
            fs::write(dir.join("short"), [1; 31]).unwrap();
            assert_eq!(home.refused(&secret("short")), OpenError::KeyLength { found: 31 });
            fs::create_dir(dir.join("dir")).unwrap();
            assert_eq!(home.refused(&secret("dir")), OpenError::NotAFile { role: FileRole::Key });
            if rustix::process::geteuid().is_root() {
                chown(dir.join("short"), Some(12345), None).unwrap();
                let role = FileRole::Key;
                assert_eq!(home.refused(&secret("short")), OpenError::ForeignOwner { role });
            }
            let new = Home::new();
            assert_eq!(new.refused(&secret("absent")), OpenError::KeyMissing { source: "secret" });
        }
        "fd" => file_descriptors(),
        other => panic!("unknown role {other}"),
    }
    println!("child done");
}

fn run_child(role: &str, vars: &[(&str, std::ffi::OsString)]) {
    let out = rerun(module_path!(), "child")
        .env(ROLE, role)
        .envs(vars.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("child done"), "{text}");
}

#[test]
fn an_environment_variable_gives_the_key() {
    use std::os::unix::ffi::OsStringExt;
    let base = STANDARD.encode(KEY);
    run_child(
        "env",
        &[
            ("GOOD_HEX", hex::encode(KEY).into()),
            ("GOOD_BASE64", base.clone().into()),
            ("GOOD_OWN", format!("mdk-key-1:{base}").into()),
            ("BINARY", std::ffi::OsString::from_vec(vec![0xff; 32])),
            ("WORDS", "correct horse battery staple".into()),
            ("SHORT", "ab".repeat(16).into()),
            ("EMPTY", "".into()),
            ("OTHER", "ab".repeat(32).into()),
        ],
    );
}

#[test]
fn a_secret_directory_gives_the_key() {
    let dir = tempfile::tempdir().unwrap();
    run_child("secret", &[("CREDENTIALS_DIRECTORY", dir.path().into())]);
}

#[test]
fn a_passphrase_wraps_a_random_key_beside_the_database() {
    let home = Home::created(&passphrase("correct horse"));
    assert_eq!(home.names(), ["alice.db", "alice.db.key", "alice.db.keyinfo"]);
    assert_eq!(mode(&home.path("alice.db.key")), 0o600);
    home.opens(&passphrase("correct horse"));
    assert_eq!(home.refused(&passphrase("correct horsf")), OpenError::WrongPassphrase);
    let limit = 1024;
    assert_eq!(home.refused(&passphrase("")), OpenError::BadPassphrase { length: 0, limit });
    let long = "x".repeat(1025);
    assert_eq!(home.refused(&passphrase(&long)), OpenError::BadPassphrase { length: 1025, limit });
    set_mode(&home.path("alice.db.key"), 0o640);
    assert_eq!(home.refused(&passphrase("x")), OpenError::KeyFileTooWide { mode: 0o640 });
    set_mode(&home.path("alice.db.key"), 0o600);
    let whole = fs::read(home.path("alice.db.key")).unwrap();
    fs::write(home.path("alice.db.key"), &whole[..100]).unwrap();
    let malformed = OpenError::KeyMalformed { source: "passphrase" };
    assert_eq!(home.refused(&passphrase("correct horse")), malformed);
    fs::remove_file(home.path("alice.db.key")).unwrap();
    let missing = OpenError::KeyMissing { source: "passphrase" };
    assert_eq!(home.refused(&passphrase("correct horse")), missing);
    fs::write(home.path("alice.db.key"), &whole).unwrap();
    set_mode(&home.path("alice.db.key"), 0o600);
    home.opens(&passphrase("correct horse"));
    // Two databases with one passphrase have two keys.
    let other = Home::created(&passphrase("correct horse"));
    fs::write(other.path("alice.db.key"), &whole).unwrap();
    assert_eq!(other.refused(&passphrase("correct horse")), OpenError::WrongKey);
}

#[test]
fn identifiers_are_checked_before_anything_is_touched() {
    let ring = |service: &str, id: &str| {
        let mut key = KeyringKey::default();
        key.service = service.into();
        key.key_id = Some(id.into());
        DatabaseKey::Keyring(key)
    };
    let long = "x".repeat(513);
    let home = Home::new();
    for bad in ["", "a\0b", &long] {
        assert_eq!(
            home.refused(&ring(bad, "id")),
            OpenError::BadIdentifier { which: "service", limit: 512 }
        );
        assert_eq!(
            home.refused(&ring("mdk", bad)),
            OpenError::BadIdentifier { which: "key id", limit: 512 }
        );
    }
    for bad in ["", "a=b", "a\0b"] {
        let error = home.refused(&DatabaseKey::Env(bad.into()));
        assert_eq!(error, OpenError::BadIdentifier { which: "variable name", limit: 255 });
    }
    for bad in ["", ".", "..", "../key", "a/b", "a\\b", "a\0b"] {
        let error = home.refused(&DatabaseKey::Secret(bad.into()));
        assert_eq!(error, OpenError::BadIdentifier { which: "secret name", limit: 255 });
    }
    assert!(home.files().is_empty());
}

#[test]
fn a_key_file_of_zeros_is_malformed_and_stays() {
    for (name, key, source) in [
        ("alice.secret", None, "file"),
        ("alice.db.key", Some(passphrase("correct horse battery")), "passphrase"),
    ] {
        for zeros in [1, 8, 32, 55] {
            let home = Home::new();
            let key = key.clone().unwrap_or_else(|| DatabaseKey::File(home.path(name)));
            fs::write(home.path(name), vec![0; zeros]).unwrap();
            set_mode(&home.path(name), 0o600);
            assert_eq!(home.refused(&key), OpenError::KeyMalformed { source }, "{name} {zeros}");
            assert_eq!(home.files(), [(name.to_owned(), vec![0; zeros])].into(), "{zeros}");
        }
    }
}

#[test]
fn no_two_databases_get_one_key() {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let home = Home::new();
        drop(home.open(&DatabaseKey::File(home.key_file())).unwrap());
        assert!(seen.insert(fs::read(home.key_file()).unwrap()));
    }
}
