//! One open database.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use rusqlite::Connection;

use crate::{
    DatabaseKey, OpenError, OpenOptions, Result, StoreError, Tx, digest,
    files::{self, OwnerLock},
    migrate, open,
};

/// Pages in the write-ahead log above which the next write also moves them into the database file (about 4 MiB).
const CHECKPOINT_PAGES: i32 = 1000;

/// One open database. It holds the owner lock until it is dropped.
///
/// A write is durable when it returns and costs one sync, or two when it also moves the write-ahead log into the
/// database file: such a write commits without a sync of its own, because the checkpoint begins with one.
pub struct Store {
    /// `None` only while dropping.
    conn: Option<Connection>,
    wal_pages: Arc<AtomicI32>,
    home: Option<Home>,
    key_source: &'static str,
    cipher_version: String,
    pid: u32,
}

/// Where a database on disk lives.
struct Home {
    path: PathBuf,
    log: PathBuf,
    /// Released after the connection is closed: fields of `Store` drop later than its `Drop` body runs.
    _lock: OwnerLock,
}

/// Facts about an open database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreInfo {
    /// The database file, with its directory resolved; `None` in memory.
    pub path: Option<PathBuf>,
    /// Version of the schema.
    pub schema_version: u32,
    /// Version of the linked SQLCipher, for example `4.6.1 community`.
    pub sqlcipher_version: String,
    /// Size of the database in bytes, without the write-ahead log.
    pub size_bytes: u64,
    /// Where the key came from: `"raw"`, `"file"`, or `"none"` in memory.
    pub key_source: &'static str,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("key_source", &self.key_source).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database at `path`, or creates it, and takes its owner lock.
    ///
    /// # Errors
    /// An [`OpenError`] that says who must do what. A failed open leaves no new file and changes no key.
    pub fn open(path: &Path, key: &DatabaseKey, options: &OpenOptions) -> Result<Self, OpenError> {
        let opened = open::open(path, key, options)?;
        let name = opened.place.name();
        let home = Home {
            path: opened.place.path(name),
            log: opened.place.path(&files::with_suffix(name, "-wal")),
            _lock: opened.lock,
        };
        Self::new(opened.conn, Some(home), key.source())
    }

    /// Opens an empty database in memory. It is **not** encrypted, and it is gone when the store is dropped.
    ///
    /// # Errors
    /// [`OpenError::CipherMissing`] or [`OpenError::Store`]: this build is broken.
    pub fn in_memory() -> Result<Self, OpenError> {
        Self::new(open::open_in_memory()?, None, "none")
    }

    fn new(
        mut conn: Connection,
        home: Option<Home>,
        key_source: &'static str,
    ) -> Result<Self, OpenError> {
        let cipher_version = open::cipher_version(&conn)?;
        let wal_pages = Arc::new(AtomicI32::new(0));
        let counter = Arc::clone(&wal_pages);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counter.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let pid = std::process::id();
        Ok(Self { conn: Some(conn), wal_pages, home, key_source, cipher_version, pid })
    }

    fn conn(&self) -> Result<&Connection> {
        if self.pid != std::process::id() {
            return Err(StoreError::WrongProcess);
        }
        Ok(self.conn.as_ref().expect("the connection is there until the store is dropped"))
    }

    /// Runs `f` in a write transaction: commits and makes durable on `Ok`, undoes everything on `Err` or a panic.
    ///
    /// # Errors
    /// What `f` returns, or a [`StoreError`] of the transaction itself.
    pub fn write<T, E: From<StoreError>>(
        &mut self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let conn = self.conn()?;
        if self.wal_pages.load(Ordering::Relaxed) < CHECKPOINT_PAGES {
            return Tx::run(conn, "BEGIN IMMEDIATE", true, f);
        }
        let relaxed = Relaxed::begin(conn)?;
        let value = Tx::run(conn, "BEGIN IMMEDIATE", true, f)?;
        self.checkpoint()?;
        drop(relaxed);
        Ok(value)
    }

    /// Runs `f` in a read transaction: one consistent state, and nothing that `f` does is kept.
    ///
    /// # Errors
    /// What `f` returns, or a [`StoreError`] of the transaction itself.
    pub fn read<T, E: From<StoreError>>(
        &mut self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        Tx::run(self.conn()?, "BEGIN DEFERRED", false, f)
    }

    /// Moves the write-ahead log into the database file. On return everything committed is durable, even if a
    /// reader kept the log from being moved.
    fn checkpoint(&self) -> Result<()> {
        let moved = self.conn()?.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            let (busy, in_log, moved): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(busy == 0 && in_log == moved)
        });
        if matches!(moved, Ok(true)) {
            self.wal_pages.store(0, Ordering::Relaxed);
            return Ok(());
        }
        // It may have stopped before its first sync. The log alone is enough for durability.
        if let Some(home) = &self.home {
            let code = rusqlite::ffi::SQLITE_IOERR_FSYNC;
            File::open(&home.log)
                .and_then(|log| log.sync_data())
                .map_err(|_| StoreError::Io { code })?;
        }
        Ok(())
    }

    /// Facts about this database.
    ///
    /// # Errors
    /// A [`StoreError`] when the file cannot be asked.
    pub fn info(&self) -> Result<StoreInfo> {
        let conn = self.conn()?;
        let (path, size_bytes) = match &self.home {
            Some(home) => {
                let code = rusqlite::ffi::SQLITE_IOERR_FSTAT;
                let meta = std::fs::metadata(&home.path).map_err(|_| StoreError::Io { code })?;
                (Some(home.path.clone()), meta.len())
            }
            None => {
                let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
                let size: i64 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
                (None, u64::try_from(pages.saturating_mul(size)).unwrap_or(0))
            }
        };
        Ok(StoreInfo {
            path,
            schema_version: migrate::SUPPORTED,
            sqlcipher_version: self.cipher_version.clone(),
            size_bytes,
            key_source: self.key_source,
        })
    }

    /// SHA-256 over all rows of all tables in key order: equal exactly when the logical state is equal.
    ///
    /// # Errors
    /// A [`StoreError`] when the rows cannot be read.
    pub fn digest(&mut self) -> Result<[u8; 32]> {
        self.read(|tx| digest::digest(tx.conn))
    }

    /// Closes the database: moves the write-ahead log into the file, closes it and releases the owner lock.
    /// Dropping does the same, without saying when it fails; nothing is lost by that.
    ///
    /// # Errors
    /// A [`StoreError`] when the log could not be moved. The database is closed all the same.
    pub fn close(self) -> Result<()> {
        let conn = self.conn()?;
        conn.flush_prepared_statement_cache();
        conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        if self.pid != std::process::id() {
            // A forked child: its parent still uses the files, and closing would touch them.
            std::mem::forget(conn);
            return;
        }
        conn.flush_prepared_statement_cache();
        // Closing the last connection checkpoints too; this only makes the log empty first.
        let _ = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        if conn.close().is_err() {
            tracing::warn!("the database could not be closed cleanly");
        }
    }
}

/// While it lives, a commit does not sync the log by itself. Restores `FULL` on every way out.
struct Relaxed<'a>(&'a Connection);

impl<'a> Relaxed<'a> {
    fn begin(conn: &'a Connection) -> Result<Self> {
        conn.execute_batch("PRAGMA synchronous = NORMAL")?;
        Ok(Self(conn))
    }
}

impl Drop for Relaxed<'_> {
    fn drop(&mut self) {
        if self.0.execute_batch("PRAGMA synchronous = FULL").is_err() {
            tracing::error!("synchronous = FULL could not be restored");
        }
    }
}
