//! A database on disk with three consistent groups, and ways to hurt its file. Shared by the tests of the vault.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use mdk_store::*;
use rusqlite::{Connection, config::DbConfig};

pub use super::{cancel_at, none, once_at, open, raw, rows::*, try_open, words};
use super::{connect, private};

pub const PAGE: usize = 4096;
/// A frame of the log.
pub const FRAME: usize = 24 + PAGE;
pub const GROUPS: u8 = 3;
pub const MESSAGES: u8 = 60;

/// A directory of its own with `a.db` in it, under `raw(1)`.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub path: PathBuf,
    pub digest: [u8; 32],
}

impl Home {
    pub fn new() -> Self {
        // Made once and copied: a test hurts many of them.
        static MADE: OnceLock<(Vec<u8>, [u8; 32])> = OnceLock::new();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home").join("a.db");
        let (bytes, digest) = MADE.get_or_init(|| {
            let mut store = open(&path, &raw(1));
            fill(&mut store);
            let digest = store.digest().unwrap();
            store.close().unwrap();
            let bytes = fs::read(&path).unwrap();
            fs::remove_dir_all(path.parent().unwrap()).unwrap();
            (bytes, digest)
        });
        fs::DirBuilder::new().mode(0o700).create(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        Self { dir, path, digest: *digest }
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// In a folder that is not there yet.
    pub fn elsewhere(&self) -> PathBuf {
        self.dir.path().join("new").join("b.db")
    }
}

/// All files of a directory with their contents.
pub fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut files: Vec<_> =
        entries.map(|e| e.unwrap().path()).map(|p| (p.clone(), fs::read(&p).unwrap())).collect();
    files.sort();
    files
}

/// A blob as `Tx::mls_dump` makes it: one row per label, of which one is larger than a page.
pub fn mls_state(n: u8) -> Vec<u8> {
    let mut blob = vec![1];
    for label in [1u8, 4, 5, 6, 7, 8, 9, 10, 11, 12] {
        let value = vec![n; if label == 9 { 6000 } else { 80 }];
        blob.push(label);
        blob.extend_from_slice(&0u32.to_be_bytes());
        blob.extend_from_slice(&(value.len() as u32).to_be_bytes());
        blob.extend_from_slice(&value);
    }
    blob
}

pub fn fill(store: &mut Store) {
    store
        .write(|tx| {
            tx.set_meta("note", b"kept")?;
            for n in 1..=GROUPS {
                let row = group(n);
                tx.insert_group(&row)?;
                tx.put_route(&row.nostr_group_id, &row.id, row.epoch)?;
                tx.mls_restore(&row.id, &mls_state(n))?;
                tx.put_node(&node(n, n.wrapping_sub(1), row.epoch - 1))?;
                tx.put_node(&node(n, n, row.epoch))?;
                for id in 0..MESSAGES {
                    let mut message = message(n, id, 9);
                    // Some span several pages.
                    let size = if id % 20 == 7 { 9000 } else { 300 };
                    message.content = format!("text {n} {id} ").repeat(size / 10);
                    tx.insert_message(&message)?;
                }
                tx.insert_pending(&pending(n, n, CommitStatus::Confirmed))?;
                tx.hold(&held(n, n), 100)?;
                tx.put_input(&input(n, n), 100)?;
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

/// Statements on an encrypted database under `raw(1)`, past our code.
pub fn sql(path: &Path, statements: &str) {
    connect(path, 1).execute_batch(statements).unwrap();
}

/// Opens a database past our code. Its log stays when it is closed.
pub fn by_hand(path: &Path, key: u8) -> Connection {
    let conn = connect(path, key);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    conn.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    conn
}

pub fn put_log(home: &Home, log: &[u8]) {
    fs::write(home.beside("a.db-wal"), log).unwrap();
}

/// Makes the directory hold exactly these files.
pub fn put(path: &Path, wanted: &[(PathBuf, Vec<u8>)]) {
    files(path).iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
    for (path, bytes) in wanted {
        private(path, bytes);
    }
}

/// Takes away what marks a database that continues another one, to compare the rest of it.
pub fn without_mark(path: &Path, key: u8) {
    let unmark =
        "DELETE FROM meta WHERE name = 'restored_at'; DELETE FROM events WHERE kind = 255;";
    connect(path, key).execute_batch(unmark).unwrap();
}

/// The same database, plain, as `plain.db` beside it.
pub fn plain(home: &Home) -> PathBuf {
    let path = home.beside("plain.db");
    let text = path.to_str().unwrap();
    sql(
        &home.path,
        &format!(
            "ATTACH '{text}' AS plain KEY ''; SELECT sqlcipher_export('plain'); \
             PRAGMA plain.application_id = {APPLICATION_ID}; PRAGMA plain.user_version = 1; \
             PRAGMA plain.journal_mode = WAL; DETACH plain"
        ),
    );
    path
}

/// A database as a power failure leaves it: with its newest pages in the log.
pub fn with_log() -> (Home, Vec<u8>) {
    let home = Home::new();
    let mut store = open(&home.path, &raw(1));
    for n in 0..20u8 {
        store.write(|tx| tx.set_meta(&format!("late {n}"), &[n; 2000])).unwrap();
    }
    let log = home.beside("a.db-wal");
    let (file, mut log_bytes) = (home.bytes(), fs::read(&log).unwrap());
    // Behind the frames with the salts of its header is room that was made in advance.
    let salts = log_bytes[16..24].to_owned();
    let frames = log_bytes[32..].chunks_exact(FRAME);
    let used = frames.take_while(|frame| frame[8..16] == salts[..]).count();
    log_bytes.truncate(32 + used * FRAME);
    let digest = store.digest().unwrap();
    store.close().unwrap();
    fs::write(&home.path, file).unwrap();
    fs::write(&log, &log_bytes).unwrap();
    (Home { digest, ..home }, log_bytes)
}
