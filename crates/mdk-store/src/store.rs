//! One open database.

pub(crate) mod checkpoint;
mod columns;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod digest;
pub(crate) mod epoch_state_cache;
mod failed_read;
pub(crate) mod mls;
pub(crate) mod open;
pub(crate) mod schema;
pub(crate) mod secure_deletion;
pub(crate) mod tables;
pub(crate) mod transaction;
pub(crate) mod unread_counts;

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use mdk_wire::Secret;
use rusqlite::Connection;

pub(crate) use failed_read::is_usable;

use crate::{
    DatabaseKey, OpenError, OpenOptions, Result, StoreError, Tx,
    files::{OwnerLock, Place},
    recovery::explain_refusal,
    sqlcipher::{
        configure,
        connection::Conn,
        errors::{is_faulty, take_fault},
        raw_key,
    },
    store::{
        create::Created, epoch_state_cache::KnownStates, secure_deletion::Erased,
        unread_counts::UnreadCounts,
    },
};

/// One open database. It holds the owner lock until it is dropped.
///
/// A write is durable when it returns. It costs one sync, or two when it also moves the write-ahead log into the
/// database file.
pub struct Store {
    /// `None` while dropping, while the connection cannot be replaced, and after a re-key that could open neither the
    /// new nor the old file again.
    conn: Option<Conn>,
    /// The connection must be replaced before anything else is done.
    broken: bool,
    /// A write has failed, and its leftover in the log must go before the next one.
    untidy: bool,
    /// The key, from the closing of a connection until there is another one.
    spare_key: Option<Secret<32>>,
    /// Frames of the write-ahead log that are committed.
    log_frames: Arc<AtomicI32>,
    pub(crate) unread: UnreadCounts,
    states: KnownStates,
    /// The worst erasure since the log was last cut.
    erased: Cell<Erased>,
    home: Option<Home>,
    /// The result of making the database, until something is written to it.
    created: Option<Created>,
    key_source: &'static str,
    /// The source, if it can make a fresh key for a re-key. It holds no key, though it may hold a passphrase.
    kept_source: Option<DatabaseKey>,
    rekeyed_at: Option<u64>,
    cipher_version: String,
    pid: u32,
}

/// The place of a database on disk.
struct Home {
    place: Place,
    path: PathBuf,
    /// Released after the connection is closed: fields of `Store` drop later than its `Drop` body runs.
    lock: OwnerLock,
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
    /// The source of the key: a [`DatabaseKey::source`], or `"none"` in memory.
    pub key_source: &'static str,
    /// The time of the last re-key, in Unix seconds.
    pub rekeyed_at: Option<u64>,
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
    /// An [`OpenError`] that says who must act and how. A failed open leaves no new file and changes no key.
    pub fn open(path: &Path, key: &DatabaseKey, options: &OpenOptions) -> Result<Self, OpenError> {
        let key = &key.settled();
        let open::Opened { conn, place, lock, rekeyed_at, created, before } =
            open::open(path, key, options)?;
        let home = Home { path: place.path(place.name()), lock, place };
        let mut store = Self::without_connection(&conn, Some(home), key.source())?;
        store.created = created;
        if let Err(error) = store.attach(conn) {
            if let (Some(home), None) = (&store.home, &store.created) {
                before.restore(&home.place, &home.lock);
            }
            store.take_back();
            return Err(error);
        }
        store.rekeyed(key, rekeyed_at);
        Ok(store)
    }

    /// Closes a database whose opening could not be completed. A database that the opening has made, and to which
    /// nothing was written yet, is removed again, with its key and its other files.
    pub fn take_back(mut self) {
        // A database that another owner has opened meanwhile belongs to that owner.
        let (Some(created), Ok(())) = (self.created.take(), self.require_owner()) else { return };
        if let Some(conn) = self.conn.take() {
            conn.flush_prepared_statement_cache();
            drop(conn);
        }
        if let Some(home) = self.home.take() {
            created.undo(&home.place);
            home.lock.undo(&home.place);
            home.place.remove_made_dirs();
        }
    }

    /// Opens an empty database in memory. It is **not** encrypted, and it is gone when the store is dropped.
    ///
    /// # Errors
    /// [`OpenError::CipherMissing`] or [`OpenError::Store`]: this build is broken.
    pub fn in_memory() -> Result<Self, OpenError> {
        let conn = connect::in_memory()?;
        let mut store = Self::without_connection(&conn, None, "none")?;
        store.attach(conn)?;
        Ok(store)
    }

    /// A store without its connection: [`Self::attach`] follows.
    fn without_connection(
        conn: &Connection,
        home: Option<Home>,
        key_source: &'static str,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            conn: None,
            broken: false,
            untidy: false,
            erased: Cell::default(),
            spare_key: None,
            log_frames: Arc::default(),
            unread: UnreadCounts::default(),
            states: KnownStates::default(),
            home,
            created: None,
            key_source,
            kept_source: None,
            rekeyed_at: None,
            cipher_version: configure::cipher_version(conn)?,
            pid: std::process::id(),
        })
    }

    /// Works on this connection from now on.
    pub(crate) fn attach(&mut self, mut conn: Conn) -> Result<(), OpenError> {
        self.states.forget();
        self.log_frames.store(0, Ordering::Relaxed);
        let primed = match self.prepare(&mut conn) {
            Ok(primed) => primed,
            Err(error) => {
                let key = raw_key::take_key(&conn);
                drop(conn);
                return Err(match (&self.home, key) {
                    (Some(home), Some(key)) => explain_refusal(&home.place, &key, error),
                    _ => error,
                });
            }
        };
        if !primed {
            // Frames that could not be moved are still in the log.
            self.log_frames.store(checkpoint::committed(&conn)?, Ordering::Relaxed);
        }
        self.conn = Some(conn);
        self.untidy = !primed;
        Ok(())
    }

    /// Prepares the connection and primes the log. Returns whether nothing but the priming frame is in the log.
    fn prepare(&self, conn: &mut Conn) -> Result<bool, OpenError> {
        // A connection that has not shown that it can write does not touch the log when it is dropped.
        if self.home.is_some() {
            configure::keep_log(conn, true)?;
        }
        conn.execute_batch(include_str!("store/schema/connection__held.sql"))?;
        let counter = Arc::clone(&self.log_frames);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, frames| {
            counter.store(frames, Ordering::Relaxed);
            Ok(())
        }))?;
        if self.home.is_none() {
            return Ok(true);
        }
        let primed = checkpoint::prime_log(conn)?;
        configure::keep_log(conn, false)?;
        Ok(primed)
    }

    /// Closes the connection; [`Self::attach`] must follow. On failure it is still open.
    pub(crate) fn shut(&mut self) -> Result<()> {
        self.conn()?.flush_prepared_statement_cache();
        let Some(conn) = self.conn.take() else { return Ok(()) };
        conn.close().map_err(|(conn, error)| {
            self.conn = Some(conn);
            error.into()
        })
    }

    /// The place of the database; `None` in memory.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.home.as_ref().map(|home| &home.place)
    }

    /// The owner lock; `None` in memory.
    pub(crate) fn lock(&self) -> Option<&OwnerLock> {
        self.home.as_ref().map(|home| &home.lock)
    }

    /// Fails if this is not known to be the only owner: files that it would write or remove may be another owner's.
    pub(crate) fn require_owner(&self) -> Result<()> {
        if self.pid != std::process::id() {
            return Err(StoreError::WrongProcess);
        }
        self.lock().map_or(Ok(()), OwnerLock::require)
    }

    /// The kind of the key source.
    pub(crate) fn key_source(&self) -> &'static str {
        self.key_source
    }

    /// The source, if it can make a fresh key.
    pub(crate) fn kept_source(&self) -> Option<&DatabaseKey> {
        self.kept_source.as_ref()
    }

    /// Remembers the new source of the key.
    pub(crate) fn rekeyed(&mut self, source: &DatabaseKey, at: Option<u64>) {
        self.key_source = source.source();
        self.kept_source = source.makes_keys().then(|| source.clone());
        self.rekeyed_at = at;
    }

    pub(crate) fn conn(&self) -> Result<&Connection> {
        if self.pid != std::process::id() {
            return Err(StoreError::WrongProcess);
        }
        self.conn.as_deref().ok_or(StoreError::Closed)
    }

    /// Whether every call from now on ends with [`StoreError::Closed`]: there is neither a connection nor the key for
    /// one.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.conn.is_none() && !(self.broken && self.spare_key.is_some())
    }

    /// Notes that all of the write-ahead log was moved into the file.
    pub(crate) fn log_was_emptied(&self) {
        self.log_frames.store(0, Ordering::Relaxed);
    }

    /// Runs `f` in a write transaction: commits and makes durable on `Ok`, undoes everything on `Err` or a panic.
    ///
    /// # Errors
    /// The error of `f`, or a [`StoreError`] of the transaction itself.
    pub fn write<T, E: From<StoreError>>(
        &mut self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.require_owner()?;
        self.mend()?;
        // The error is reported only at the commit: a transaction that is undone does not need a tidy log.
        let untidy = self.tidy().err();
        take_fault();
        let before = self.log_frames.load(Ordering::Relaxed);
        let done = |tx: &Tx<'_>| {
            let value = f(tx)?;
            untidy.map_or(Ok(value), |error| Err(error.into()))
        };
        match Tx::run(
            self.conn()?,
            &self.unread,
            &self.states,
            &self.erased,
            "BEGIN IMMEDIATE",
            true,
            done,
        ) {
            Ok(value) => {
                self.created = None;
                self.tend_log(before);
                Ok(value)
            }
            Err(error) => {
                self.untidy |= self.home.is_some() && is_faulty();
                Err(self.explain(error))
            }
        }
    }

    /// Moves the write-ahead log when it has become long. The earlier commit is durable, with any outcome of this.
    fn tend_log(&mut self, before: i32) {
        // The next commit after a move begins the log anew, so the number tells when it is long again.
        let frames = self.log_frames.load(Ordering::Relaxed);
        // The first commit of a log syncs its head and its end. If it is long enough by itself, the next commit moves
        // the log: no call syncs more than twice.
        let begun = before == 0;
        let short = frames < checkpoint::CHECKPOINT_PAGES || frames == before;
        if begun || short || self.require_owner().is_err() {
            return;
        }
        match self.conn().and_then(checkpoint::move_log) {
            // Nothing in the log is needed now. If the commit that begins it anew fails, a recovery must not find that
            // commit: it is at the beginning, not behind the frames that were moved.
            Ok(true) => {
                self.log_was_emptied();
                if let Ok(conn) = self.conn() {
                    secure_deletion::after_move(conn, &self.erased);
                }
            }
            Ok(false) => {}
            Err(_) => self.broken = true,
        }
    }

    /// Takes deleted content out of the write-ahead log, too. It costs nothing where nothing was deleted since the last
    /// time. Otherwise it costs one sync, and the room of the log, which comes back by use.
    ///
    /// # Errors
    /// A [`StoreError`]; the next call tries it again.
    pub fn forget_erased(&mut self) -> Result<()> {
        if self.home.is_none() || self.erased.get() == Erased::Nothing {
            return Ok(());
        }
        self.require_owner()?;
        self.mend()?;
        match checkpoint::move_log(self.conn()?) {
            Ok(true) => {}
            // Another connection reads an old state.
            Ok(false) => return Ok(()),
            Err(error) => {
                self.broken = true;
                return Err(error);
            }
        }
        self.log_was_emptied();
        secure_deletion::cut_log(self.conn()?, &self.erased)
    }

    /// Runs `f` in a read transaction: one consistent state, and nothing that `f` does is kept.
    ///
    /// # Errors
    /// The error of `f`, or a [`StoreError`] of the transaction itself.
    pub fn read<T, E: From<StoreError>>(
        &mut self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.mend()?;
        take_fault();
        Tx::run(self.conn()?, &self.unread, &self.states, &self.erased, "BEGIN DEFERRED", false, f)
            .map_err(|error| self.explain(error))
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
            schema_version: schema::SUPPORTED,
            sqlcipher_version: self.cipher_version.clone(),
            size_bytes,
            key_source: self.key_source,
            rekeyed_at: self.rekeyed_at,
        })
    }

    /// SHA-256 over all rows of all tables in key order: equal exactly when the logical state is equal.
    ///
    /// # Errors
    /// A [`StoreError`] when the rows cannot be read.
    pub fn digest(&mut self) -> Result<[u8; 32]> {
        self.read(|tx| digest::digest(tx.conn))
    }

    /// Closes the database: moves the write-ahead log into the file, closes the file and releases the owner lock.
    /// Dropping does the same without reporting a failure; nothing is lost by that. A store that has lost the lock
    /// leaves the log to the next owner.
    ///
    /// # Errors
    /// A [`StoreError`] when the log could not be moved. The database is closed all the same. A full disk is no error:
    /// the next opening moves the log.
    pub fn close(mut self) -> Result<()> {
        if self.conn.is_none() && !self.broken {
            // Nothing is open any more, and the files were left in good order.
            return Ok(());
        }
        if self.require_owner() == Err(StoreError::LockLost) {
            return Ok(());
        }
        self.mend()?;
        take_fault();
        let conn = self.conn()?;
        conn.flush_prepared_statement_cache();
        let moved = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        match moved.map_err(StoreError::from) {
            Err(StoreError::DiskFull) => Ok(()),
            moved => moved.map_err(|error| self.explain(error)),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        if self.pid != std::process::id() {
            // This is a forked child. Its parent still uses the files, and closing would touch them.
            std::mem::forget(conn);
            return;
        }
        conn.flush_prepared_statement_cache();
        let lost = self.require_owner().is_err();
        if self.broken || lost {
            if !lost {
                let _ = checkpoint::end_after(&conn, self.log_frames.load(Ordering::Relaxed));
            }
            // The connection's view of the log is not to be trusted, or the log is another owner's. The next opening
            // recovers from the log itself.
            let _ = configure::keep_log(&conn, true);
            return;
        }
        // Closing the last connection checkpoints, too. This only empties the log first.
        let _ = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        if conn.close().is_err() {
            tracing::warn!("the database could not be closed cleanly");
        }
    }
}
