//! A directory with one database, for the tests of keys.

use std::{collections::BTreeMap, fs, path::PathBuf};

use mdk_store::{DatabaseKey, OpenError, Store};
use mdk_wire::SecretVec;
use memchr::memmem;
use serde_json::Value;
use tempfile::TempDir;

pub use super::{mode, raw, set_mode};
use super::{private, try_open};

pub type Files = BTreeMap<String, Vec<u8>>;

pub struct Home {
    pub dir: TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }
    /// With a database that holds one row.
    pub fn created(key: &DatabaseKey) -> Self {
        let home = Self::new();
        home.create(key);
        home
    }
    pub fn create(&self, key: &DatabaseKey) {
        let mut store = self.open(key).unwrap();
        store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
        store.close().unwrap();
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn db(&self) -> PathBuf {
        self.path("alice.db")
    }
    pub fn key_file(&self) -> PathBuf {
        self.path("alice.secret")
    }
    pub fn open(&self, key: &DatabaseKey) -> Result<Store, OpenError> {
        try_open(&self.db(), key)
    }
    /// Opens and compares the row.
    #[track_caller]
    pub fn opens(&self, key: &DatabaseKey) {
        let mut store = self.open(key).unwrap();
        assert_eq!(store.read(|tx| tx.meta("who")).unwrap(), Some(b"alice".to_vec()));
        store.close().unwrap();
    }
    /// All files but the lock, whose pid changes.
    pub fn files(&self) -> Files {
        let entries = fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap());
        entries
            .map(|e| (e.file_name().into_string().unwrap(), e.path()))
            .filter(|(name, _)| name != "alice.db.lock")
            .map(|(name, path)| (name, fs::read(path).unwrap_or_default()))
            .collect()
    }
    pub fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }
    /// Makes the directory hold exactly these files.
    pub fn put(&self, files: &Files) {
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, bytes) in files {
            private(&self.path(name), bytes);
        }
    }
    /// Opening fails and changes no file.
    #[track_caller]
    pub fn refused(&self, key: &DatabaseKey) -> OpenError {
        let before = self.files();
        let locked = self.path("alice.db.lock").exists();
        let error = self.open(key).map(drop).unwrap_err();
        assert_eq!(before, self.files(), "{error}");
        assert_eq!(locked, self.path("alice.db.lock").exists());
        error
    }
    pub fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("alice.db.keyinfo")).unwrap()).unwrap()
    }
    pub fn write_record(&self, record: &Value) {
        private(&self.path("alice.db.keyinfo"), &json(record));
    }
}

pub fn json(record: &Value) -> Vec<u8> {
    serde_json::to_vec(record).unwrap()
}

pub fn passphrase(text: &str) -> DatabaseKey {
    // A short one gets what a new key asks for.
    let text = if (1..8).contains(&text.len()) { format!("{text:-<8}") } else { text.to_owned() };
    DatabaseKey::Passphrase(SecretVec::new(text.into_bytes()))
}

/// Which of the files holds these bytes.
pub fn holding(files: &Files, needle: &[u8]) -> Vec<String> {
    let has = |bytes: &[u8]| memmem::find(bytes, needle).is_some();
    files.iter().filter(|(_, bytes)| has(bytes)).map(|(name, _)| name.clone()).collect()
}

/// A database with rows on several pages.
pub fn fill(home: &Home, key: &DatabaseKey) {
    home.create(key);
    let mut store = home.open(key).unwrap();
    for n in 0..40u8 {
        store.write(|tx| tx.set_meta(&format!("row {n}"), &[n; 3000])).unwrap();
    }
    store.close().unwrap();
}

/// No page of the old file is left in any file.
#[track_caller]
pub fn assert_gone(home: &Home, old: &[u8]) {
    let files = home.files();
    for (number, page) in old.chunks(4096).enumerate() {
        assert!(holding(&files, &page[100..164]).is_empty(), "page {number}");
    }
}
