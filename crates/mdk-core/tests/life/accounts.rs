//! An account that keeps its own keys, and the small durable values of whoever moves its events.

use std::path::Path;
use std::sync::Arc;

use mdk_core::{Config, Engine, Error, ManualClock, Result};
use mdk_store::{DatabaseKey, OpenOptions};
use mdk_wire::{Keys, Secret};

fn account(folder: &Path, keys: Option<Keys>) -> Result<Engine> {
    let clock = Arc::new(ManualClock::at(crate::kit::now()));
    let key = DatabaseKey::Raw(Secret::new([9; 32]));
    let options = OpenOptions::default();
    Engine::open_account(&folder.join("mdk.db"), keys, &key, &options, Config::default(), clock)
}

#[test]
fn a_new_account_makes_its_keys_and_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let engine = account(folder.path(), None).unwrap();
    let keys = engine.keys().clone();
    assert_eq!(engine.public_key(), keys.public_key());
    engine.close().unwrap();
    for given in [None, Some(keys.clone())] {
        let engine = account(folder.path(), given).unwrap();
        assert!(*engine.keys() == keys);
    }
    assert!(matches!(account(folder.path(), Some(Keys::generate())), Err(Error::WrongAccount)));
    // Neither the secret nor its text is in the files.
    let nsec = keys.reveal_nsec();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(&keys.secret().expose()[..]) && !holds(nsec.as_bytes()));
    }
}

#[test]
fn keys_that_were_given_are_kept_when_asked() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::generate());
    drop(account(folder.path(), Some(keys.clone())).unwrap());
    assert!(matches!(account(folder.path(), None), Err(Error::KeysMissing)));
    let mut engine = account(folder.path(), Some(keys.clone())).unwrap();
    engine.keep_keys().unwrap();
    engine.keep_keys().unwrap();
    drop(engine);
    assert!(*account(folder.path(), None).unwrap().keys() == keys);
}

#[test]
fn small_values_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = account(folder.path(), None).unwrap();
    assert_eq!(engine.state("cursor").unwrap(), None);
    let values: [(&str, &[u8]); 4] =
        [("cursor/a", b"1"), ("cursor/b", b""), ("cursor", b"0"), ("cursos", b"\xff")];
    for (key, value) in values {
        engine.set_state(key, Some(value)).unwrap();
    }
    engine.set_state("cursor", Some(b"2")).unwrap();
    drop(engine);

    let mut engine = account(folder.path(), None).unwrap();
    assert_eq!(engine.state("cursor").unwrap().unwrap(), b"2");
    let found = |engine: &mut Engine, prefix: &str| -> Vec<String> {
        engine.states(prefix).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(found(&mut engine, "cursor/"), ["cursor/a", "cursor/b"]);
    assert_eq!(found(&mut engine, "").len(), 4);
    assert!(found(&mut engine, "d").is_empty());
    engine.set_state("cursor/a", None).unwrap();
    engine.set_state("cursor/a", None).unwrap();
    assert_eq!(found(&mut engine, "cursor/"), ["cursor/b"]);

    let digest = engine.digest().unwrap();
    let (long, large) = ("k".repeat(257), vec![0; (1 << 20) + 1]);
    for (key, value) in [("", &b"v"[..]), (&long, b"v"), ("k", &large)] {
        let refused = engine.set_state(key, Some(value));
        assert!(matches!(refused, Err(Error::InvalidInput { .. })));
    }
    assert_eq!(engine.digest().unwrap(), digest);
    engine.set_state(&long[1..], Some(&large[1..])).unwrap();
    assert_eq!(engine.state(&long[1..]).unwrap().unwrap().len(), 1 << 20);
}
