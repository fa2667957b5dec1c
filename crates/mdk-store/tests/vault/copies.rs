//! Copies of a database: each has its own life, and none of them ever takes the key away from another one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mdk_store::{DatabaseKey, OpenError, Progress, RekeyReport, Stage};
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::{
    keys::{json, raw, set_mode},
    none, once_at, try_open as open,
};

/// A folder with the folder of an account, `a`, and one for keys.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for name in ["a", "keys"] {
            fs::create_dir(world.path(name)).unwrap();
            set_mode(&world.path(name), 0o700);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn key(&self, name: &str) -> DatabaseKey {
        DatabaseKey::File(self.path(name))
    }

    /// With a database in `a`.
    fn with(key: &str) -> Self {
        let world = Self::new();
        let mut store = open(&world.path("a/mdk.db"), &world.key(key)).unwrap();
        store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
        store.close().unwrap();
        world
    }

    fn copy(&self, from: &str, to: &str) {
        let done = Command::new("cp").arg("-a").arg(self.path(from)).arg(self.path(to)).status();
        assert!(done.unwrap().success());
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".lock"));
        names.sort_unstable();
        names
    }

    #[track_caller]
    fn opens(&self, database: &str, key: &DatabaseKey) {
        let mut store = open(&self.path(database), key).unwrap();
        assert_eq!(store.read(|tx| tx.meta("who")).unwrap(), Some(b"alice".to_vec()));
        store.close().unwrap();
    }

    #[track_caller]
    fn rekey(&self, database: &str, key: &DatabaseKey, to: Option<&DatabaseKey>) -> RekeyReport {
        let mut store = open(&self.path(database), key).unwrap();
        let report = store.rekey(to, &mut none()).unwrap();
        store.close().unwrap();
        self.opens(database, to.unwrap_or(key));
        report
    }

    fn record(&self, database: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(&format!("{database}.keyinfo"))).unwrap())
            .unwrap()
    }
}

fn recorded(path: &Path) -> DatabaseKey {
    DatabaseKey::recorded(path).unwrap()
}

/// The key lies in the folder that is copied: both have one.
#[test]
fn a_copied_folder_has_a_key_of_its_own() {
    let world = World::with("a/mdk.key");
    assert_eq!(world.record("a/mdk.db")["key"]["path"], "mdk.key", "it moves with the folder");
    world.copy("a", "b");
    let (mine, copied) = (world.key("a/mdk.key"), world.key("b/mdk.key"));
    let text = fs::read(world.path("a/mdk.key")).unwrap();
    let report = world.rekey("b/mdk.db", &copied, None);
    assert!(!report.old_key_kept);
    assert_eq!(fs::read(world.path("a/mdk.key")).unwrap(), text);
    assert_ne!(fs::read(world.path("b/mdk.key")).unwrap(), text, "the old key is gone");
    assert_eq!(world.names("b"), ["mdk.db", "mdk.db.keyinfo", "mdk.key"]);
    world.opens("a/mdk.db", &mine);
    world.rekey("a/mdk.db", &mine, None);
    world.opens("b/mdk.db", &copied);
}

/// The key lies elsewhere: the copy needs the same file until it has a key of its own.
#[test]
fn a_copy_whose_key_lies_elsewhere_leaves_it_to_the_original() {
    let world = World::with("keys/mdk.key");
    let key = world.key("keys/mdk.key");
    let text = fs::read(world.path("keys/mdk.key")).unwrap();
    world.copy("a", "b");
    world.opens("b/mdk.db", &key);
    for n in 0..3 {
        let report = world.rekey("b/mdk.db", &key, None);
        // From then on it has a key of its own, which goes when the next one comes.
        assert_eq!(report.old_key_kept, n == 0);
        assert_eq!(fs::read(world.path("keys/mdk.key")).unwrap(), text);
        assert_eq!(world.names("keys").len(), 2);
        world.opens("a/mdk.db", &key);
        world.opens("b/mdk.db", &recorded(&world.path("b/mdk.db")));
    }
    // The original gives up its own key and no other.
    let report = world.rekey("a/mdk.db", &key, None);
    assert!(!report.old_key_kept);
    assert_ne!(fs::read(world.path("keys/mdk.key")).unwrap(), text);
    world.opens("b/mdk.db", &key);
    // The key files are moved together.
    fs::rename(world.path("keys"), world.path("kept")).unwrap();
    world.opens("b/mdk.db", &world.key("kept/mdk.key"));
    world.opens("b/mdk.db", &world.key("kept/mdk.key"));
    world.opens("a/mdk.db", &world.key("kept/mdk.key"));
}

/// To another source: the file stays where it is.
#[test]
fn a_copy_that_moves_its_key_leaves_the_old_one() {
    let world = World::with("keys/mdk.key");
    let key = world.key("keys/mdk.key");
    world.copy("a", "b");
    for to in [raw(1), world.key("keys/other.key")] {
        world.copy("a/.", "b");
        assert!(world.rekey("b/mdk.db", &key, Some(&to)).old_key_kept);
        world.opens("a/mdk.db", &key);
    }
    // What the copy has made is its own.
    let report = world.rekey("b/mdk.db", &world.key("keys/other.key"), Some(&raw(2)));
    assert!(!report.old_key_kept);
    assert_eq!(world.names("keys"), ["mdk.key"]);
}

/// Without the record nothing says whose the key is; beside the original it is the same key file.
#[test]
fn a_copy_of_the_database_alone_or_in_the_same_folder_leaves_the_key() {
    for (to, with_record) in [("b/mdk.db", false), ("a/second.db", false), ("a/second.db", true)] {
        let world = World::with("a/mdk.key");
        let key = world.key("a/mdk.key");
        fs::create_dir(world.path("b")).unwrap();
        set_mode(&world.path("b"), 0o700);
        world.copy("a/mdk.db", to);
        if with_record {
            world.copy("a/mdk.db.keyinfo", &format!("{to}.keyinfo"));
        }
        let text = fs::read(world.path("a/mdk.key")).unwrap();
        for n in 0..2 {
            assert_eq!(world.rekey(to, &key, None).old_key_kept, n == 0, "{to}");
            assert_eq!(fs::read(world.path("a/mdk.key")).unwrap(), text, "{to}");
            world.opens("a/mdk.db", &key);
        }
    }
    // The folder was copied, and the copy is opened with the original's key all the same.
    let world = World::with("a/mdk.key");
    let key = world.key("a/mdk.key");
    world.copy("a", "b");
    assert!(world.rekey("b/mdk.db", &key, None).old_key_kept);
    world.opens("a/mdk.db", &key);
}

/// A move is no copy, on the same disk.
#[test]
fn a_moved_folder_opens_and_keeps_its_key() {
    for key in ["a/mdk.key", "keys/mdk.key"] {
        let world = World::with(key);
        fs::rename(world.path("a"), world.path("moved")).unwrap();
        let path = world.path("moved/mdk.db");
        world.opens("moved/mdk.db", &recorded(&path));
        let report = world.rekey("moved/mdk.db", &recorded(&path), None);
        assert!(!report.old_key_kept, "{key}");
        let folder = if key.starts_with("a/") { "moved" } else { "keys" };
        assert!(!world.names(folder).iter().any(|name| name.starts_with("mdk.key.")), "{key}");
        // And back, where another one has been put in its place meanwhile: that one is the copy.
        world.copy("moved", "a");
        world.opens("a/mdk.db", &recorded(&world.path("a/mdk.db")));
        let report = world.rekey("a/mdk.db", &recorded(&world.path("a/mdk.db")), None);
        assert_eq!(report.old_key_kept, key.starts_with("keys/"));
        world.opens("moved/mdk.db", &recorded(&path));
    }
}

/// A record of an earlier version does not say where it was written.
#[test]
fn what_cannot_be_shown_to_be_the_original_is_taken_for_a_copy() {
    for key in ["a/mdk.key", "keys/mdk.key"] {
        let world = World::with(key);
        let mut record = world.record("a/mdk.db");
        record["key"]["path"] = world.path(key).canonicalize().unwrap().to_str().unwrap().into();
        record.as_object_mut().unwrap().retain(|name, _| name != "directory" && name != "database");
        fs::write(world.path("a/mdk.db.keyinfo"), json(&record)).unwrap();
        let key = world.key(key);
        world.opens("a/mdk.db", &recorded(&world.path("a/mdk.db")));
        assert!(world.rekey("a/mdk.db", &key, None).old_key_kept);
        assert!(!world.rekey("a/mdk.db", &key, None).old_key_kept);
    }
}

/// Copied while a re-key was under way: the key that is pending is the original's, whichever way that ends.
#[test]
fn a_copy_of_an_interrupted_rekey_leaves_both_keys() {
    let world = World::with("keys/mdk.key");
    let key = world.key("keys/mdk.key");
    let old = fs::read(world.path("keys/mdk.key")).unwrap();
    let mut store = open(&world.path("a/mdk.db"), &key).unwrap();
    let mut see = once_at(Stage::Comparing, || {
        world.copy("a", "stopped");
        world.copy("keys", "stopped keys");
    });
    store.rekey(None, &mut Progress::new(&mut see)).unwrap();
    store.close().unwrap();
    // As it was then, twice.
    let stopped = |world: &World, exchanged: bool| {
        for name in ["a", "keys", "b"] {
            let _ = fs::remove_dir_all(world.path(name));
        }
        world.copy("stopped keys", "keys");
        world.copy("stopped", "a");
        let mut record = world.record("a/mdk.db");
        record["directory"] = directory_of(world, "a");
        if exchanged {
            let (file, copy) = (world.path("a/mdk.db"), world.path("a/mdk.db.rekey"));
            fs::rename(&file, world.path("a/x")).unwrap();
            fs::rename(&copy, &file).unwrap();
            fs::rename(world.path("a/x"), &copy).unwrap();
            let old = record["key"].take();
            record["key"] = record["other_key"].take();
            record["other_key"] = old;
        }
        fs::write(world.path("a/mdk.db.keyinfo"), json(&record)).unwrap();
        world.copy("a", "b");
    };
    for exchanged in [false, true] {
        stopped(&world, exchanged);
        let names = world.names("keys");
        assert_eq!(names, ["mdk.key", "mdk.key.new"]);
        world.opens("b/mdk.db", &key);
        assert_eq!(world.names("keys"), names, "neither is taken away");
        assert_eq!(world.names("b"), ["mdk.db", "mdk.db.keyinfo"]);
        // The original ends it; then there is one key, under its own name.
        world.opens("a/mdk.db", &key);
        assert_eq!(world.names("keys"), ["mdk.key"]);
        let kept = fs::read(world.path("keys/mdk.key")).unwrap();
        assert_eq!(kept == old, !exchanged);
        world.opens("b/mdk.db", &key);
        assert!(world.rekey("b/mdk.db", &key, None).old_key_kept);
        world.opens("a/mdk.db", &key);
    }
}

/// What a record says that is written in this folder.
fn directory_of(world: &World, folder: &str) -> Value {
    let path = format!("{folder}/another.db");
    open(&world.path(&path), &raw(1)).unwrap().close().unwrap();
    let found = world.record(&path)["directory"].clone();
    for suffix in ["", ".keyinfo", ".lock"] {
        let _ = fs::remove_file(world.path(&format!("{path}{suffix}")));
    }
    found
}

/// Who names no key gets the recorded one, or is told that it has to be given.
#[test]
fn the_record_names_the_key() {
    let world = World::new();
    let path = world.path("a/mdk.db");
    assert_eq!(recorded(&path).source(), "keyring");
    assert_eq!(recorded(&world.path("nowhere/mdk.db")).source(), "keyring");
    assert!(!world.path("nowhere").exists());
    for key in [raw(1), crate::kit::keys::passphrase("words")] {
        let other = world.path(&format!("a/{}.db", key.source()));
        open(&other, &key).unwrap().close().unwrap();
        let source = key.source();
        let error = DatabaseKey::recorded(&other).map(drop).unwrap_err();
        assert_eq!(error, OpenError::KeyNotGiven { source });
    }
}
