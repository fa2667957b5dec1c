//! A directory with one database, for the tests of keys.

use std::{collections::BTreeMap, fs, path::PathBuf};

use mdk_store::{
    DatabaseKey, Level, OpenError, Progress, RekeyReport, Stage, Store, VaultError, restore,
};
use mdk_wire::SecretVec;
use memchr::memmem;
use serde_json::Value;
use tempfile::TempDir;

use super::{findings, none, once_at, private, try_open, words};
pub use super::{mode, raw, set_mode};

pub const DB: &str = "alice.db";
pub const RECORD: &str = "alice.db.keyinfo";
/// What a re-key writes.
pub const COPY: &str = "alice.db.rekey";

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
        self.path(DB)
    }
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.db()).unwrap()
    }
    pub fn key_file(&self) -> PathBuf {
        self.path("alice.secret")
    }
    /// A key in the key file.
    pub fn in_file(&self) -> DatabaseKey {
        DatabaseKey::File(self.key_file())
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
    /// Opens, gives it another key and closes it again.
    pub fn rekey(
        &self,
        from: &DatabaseKey,
        to: Option<&DatabaseKey>,
    ) -> Result<RekeyReport, VaultError> {
        let mut store = self.open(from)?;
        let report = store.rekey(to, &mut none());
        store.close().unwrap();
        report
    }
    /// The files in the middle of a re-key: the old key counts, then the new one.
    pub fn stopped(&self, from: &DatabaseKey, to: Option<&DatabaseKey>) -> [Files; 2] {
        fill(self, from);
        let mut during = Files::new();
        let mut store = self.open(from).unwrap();
        let mut see = once_at(Stage::Comparing, || during = self.files());
        store.rekey(to, &mut Progress::new(&mut see)).unwrap();
        drop(see);
        store.close().unwrap();
        let mut exchanged = during.clone();
        exchanged.insert(DB.into(), during[COPY].clone());
        exchanged.insert(COPY.into(), during[DB].clone());
        [during, exchanged]
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
        serde_json::from_slice(&fs::read(self.path(RECORD)).unwrap()).unwrap()
    }
    pub fn write_record(&self, record: &Value) {
        private(&self.path(RECORD), &json(record));
    }
    pub fn lose_record(&self) {
        fs::remove_file(self.path(RECORD)).unwrap();
    }
    /// Whether the doctor warns of a key that nothing shows to be this database's.
    pub fn says_left(&self) -> bool {
        findings(&self.db()).iter().any(|finding| {
            finding.level == Level::Warning && finding.text.contains("was left where it is")
        })
    }
}

/// A backup, and an empty directory to restore it to.
pub struct Made {
    pub home: Home,
    backup: TempDir,
}

impl Made {
    pub fn new() -> Self {
        let (home, backup) = (Home::new(), tempfile::tempdir().unwrap());
        fill(&home, &raw(1));
        let mut store = home.open(&raw(1)).unwrap();
        store.backup(&backup.path().join("b"), &words(), &mut none()).unwrap();
        store.close().unwrap();
        home.put(&Files::new());
        Self { home, backup }
    }
    pub fn restore(&self, key: &DatabaseKey) {
        self.seen(key, &mut none());
    }
    fn seen(&self, key: &DatabaseKey, progress: &mut Progress<'_>) {
        let from = self.backup.path().join("b");
        restore(&from, &self.home.db(), &words(), key, progress).unwrap();
    }
    /// What is there when a restore is killed while it writes.
    pub fn killed(&self, key: &DatabaseKey) {
        self.home.put(&Files::new());
        let mut during = Files::new();
        let mut see = |step: mdk_store::Step| {
            if step.stage == Stage::Writing {
                during = self.home.files();
            }
            std::ops::ControlFlow::Continue(())
        };
        self.seen(key, &mut Progress::new(&mut see));
        during.retain(|name, _| !name.ends_with("-shm"));
        assert!(during.contains_key("alice.db.tmp") && !during.contains_key(DB));
        self.home.put(&during);
        assert_eq!(self.home.record()["stage"], "filling");
    }
    /// As if it were a first opening that was killed.
    pub fn forget_filling(&self) {
        let mut record = self.home.record();
        record["stage"] = "creating".into();
        self.home.write_record(&record);
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
