//! Encrypts a database anew.
//!
//! Record (of both keys) -> the new key stored and read back -> `NAME.rekey` written and validated -> exchanged with
//! `NAME` -> opened and validated -> the old file overwritten and removed, the old key removed -> record (of the new
//! key). Each step is durable before the next, so at any point the record and page 1 say which key counts: see
//! `recovery/finish_rekey.rs`.

use std::io::{Seek, SeekFrom, Write};

use mdk_wire::Secret;

use super::{Progress, Stage, VaultError, error, look, rows, verify};
use crate::store::connect::connect;
use crate::{
    DatabaseKey, FileRole, OpenError, Store, StoreError,
    files::{
        self, OwnerLock, Place,
        names::{self, rekey_name, remove_side_cars},
    },
    keys::{
        key_metadata::{self, DatabaseStage, KeySlot, Record},
        location::{self, Home},
    },
    recovery::end_rekey,
    sqlcipher::{ReadOnly, bad_pages, export, key_fits, open_read_only, raw_key},
    store::{create, open::of_new},
};

/// Room for the record, the key, and the log of each file, which is given more than a megabyte at once.
const SPARE: u64 = 3 << 20;

/// Bytes of the old file that are overwritten at once, where it cannot be exchanged.
const BLOCK: usize = 4096;

/// The result of `rekey`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RekeyReport {
    /// Bytes encrypted anew.
    pub bytes: u64,
    /// The old key was left where it is, because another database may need it: this one is a copy, or was brought back
    /// or moved from another file system. Remove the key yourself if there is no other database.
    pub old_key_kept: bool,
}

impl Store {
    /// Encrypts the database anew: with a fresh key in the same source (`None`), or with the key of another source.
    ///
    /// Afterwards the old key opens nothing: the old file is overwritten and removed, and so is the old key where it
    /// was kept by this software. On flash disks and file systems that copy on write, old blocks can survive below.
    ///
    /// # Errors
    /// A [`VaultError`]; the database is then open and encrypted as before. If the process dies, the next opening
    /// finishes or undoes it. After [`StoreError::LockLost`] the same is left to the next owner.
    pub fn rekey(
        &mut self,
        to: Option<&DatabaseKey>,
        progress: &mut Progress<'_>,
    ) -> Result<RekeyReport, VaultError> {
        to.map_or(Ok(()), location::check_open)?;
        let source = match (to, self.kept_source()) {
            (Some(to), _) => to.settled(),
            (None, Some(kept)) => kept.clone(),
            (None, None) if self.place().is_some() => return Err(VaultError::NewKeyNeeded),
            (None, None) => return Err(VaultError::InMemory),
        };
        self.require_owner()?;
        self.mend()?;
        let place = self.place().ok_or(VaultError::InMemory)?.twin();
        let old = raw_key::take_key(self.conn()?).ok_or(OpenError::CipherMissing)?;
        let mut record = self.settled_record(&place, &old)?;
        let (mut home, new) = next_key(&place, &source, to.is_some(), &record, &old)?;
        require_free_name(&place)?;
        let size = self.settle_log(&place)?;
        // A file that the old key does not open is taken for one with the new key, if anything fails from here on.
        if !key_fits(&place, place.name(), &old)? {
            return Err(VaultError::Damaged);
        }
        let (needed, available) = (size.saturating_add(SPARE), place.free_bytes()?);
        if available < needed {
            return Err(VaultError::NoSpace { directory: place.directory(), needed, available });
        }

        let (before, old_key_kept) = (record.clone(), record.key.shared);
        // Each key in the record is bound. So the key that counts after a kill shows that the other one may go.
        record.key.bind(&new);
        record.other_key.insert(home.slot.clone()).bind(&old);
        // A keyring or a callback may have waited for a user.
        self.require_owner()?;
        record.write(&place)?;
        let made = home.make(&new);
        let may_be_there = !create::is_late(&made);
        let copied = made
            .map_err(|error| match error {
                OpenError::DatabaseMissingButKeyPresent => key_exists(&home),
                error => error.into(),
            })
            .and_then(|()| copy(&place, &old, &new, progress));
        let swapped = copied.and_then(|bytes| {
            // A keyring may have got another key under that id while the copy was made.
            home.confirm(&new)?;
            self.swap(&place, &old, &new)?;
            Ok(bytes)
        });
        let bytes = match swapped {
            Ok(bytes) => bytes,
            // The next owner has undone the re-key, or will. Files under its names may belong to a re-key of the next
            // owner.
            Err(_) if self.require_owner().is_err() => return Err(StoreError::LockLost.into()),
            // The next opening finishes the work if the new key counts already.
            Err(error) if !matches!(key_fits(&place, place.name(), &old), Ok(true)) => {
                return Err(of_copy(error));
            }
            Err(error) => {
                let name = rekey_name(&place);
                remove_side_cars(&place, &name);
                place.remove(&name);
                if may_be_there && !home.unmake(&new) {
                    // The record still names the key, so that the next opening removes it.
                    tracing::warn!("the new key of a re-key that failed could not be removed yet");
                } else if before.write(&place).is_err() {
                    tracing::warn!("the record of where the key is could not be restored");
                }
                return Err(of_copy(error));
            }
        };
        let record = end_rekey(&place, self.owner_lock()?, record, true, &new);
        self.rekeyed(&source, record.rekeyed_at);
        Ok(RekeyReport { bytes, old_key_kept })
    }

    fn owner_lock(&self) -> Result<&OwnerLock, VaultError> {
        self.lock().ok_or(VaultError::InMemory)
    }

    /// The record of this database without anything unfinished. A database of an older version may have none.
    fn settled_record(&self, place: &Place, key: &Secret<32>) -> Result<Record, VaultError> {
        let record = match key_metadata::read(place)? {
            Some(record) if !record.stage.is_begun() && record.key.is_of(key) => record,
            _ => Record::new(place, DatabaseStage::Ready, self.slot_without_record(place, key)),
        };
        let record = end_rekey(place, self.owner_lock()?, record, false, key);
        if record.other_key.is_some() {
            // The other key would be forgotten.
            return Err(VaultError::Io {
                action: "finishing an earlier re-key of",
                role: FileRole::Database,
                kind: std::io::ErrorKind::Other,
            });
        }
        Ok(record)
    }

    /// The entry of the key in a record that is lost, as an opening without a record would find it.
    fn slot_without_record(&self, place: &Place, key: &Secret<32>) -> KeySlot {
        let source = self.kept_source();
        match source.and_then(|source| location::place_of(place, source, key)) {
            // Nothing says whose the key is. The key of a passphrase is beside the database.
            Some(slot) => {
                let shared = matches!(slot.source.as_str(), "file" | "keyring");
                KeySlot { shared, ..slot }
            }
            None => KeySlot {
                source: self.key_source().to_owned(),
                check: key_metadata::check(key),
                shared: source.is_some(),
                ..KeySlot::default()
            },
        }
    }

    /// Moves the whole write-ahead log into the file. Returns the size of the file.
    fn settle_log(&mut self, place: &Place) -> Result<u64, VaultError> {
        let conn = self.conn()?;
        conn.flush_prepared_statement_cache();
        let busy =
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        // A log that cannot be read just now looks damaged to SQLCipher.
        let busy = busy.map_err(|error| self.explain(StoreError::from(error)))?;
        if busy != 0 {
            return Err(StoreError::Busy.into());
        }
        self.log_was_emptied();
        let found = place.inspect(place.name(), FileRole::Database)?;
        found.map(|found| found.size).ok_or(VaultError::SourceMissing { role: FileRole::Database })
    }

    /// Puts the copy in the place of the file and opens it. On failure the old file is in its place and open, if that
    /// is possible at all. A file of another owner is left alone.
    fn swap(
        &mut self,
        place: &Place,
        old: &Secret<32>,
        new: &Secret<32>,
    ) -> Result<(), VaultError> {
        // Closing would move the log of another owner into the file.
        self.require_owner()?;
        self.shut()?;
        let back =
            |store: &mut Self, error: VaultError| match connect(place, place.name(), old, false)
                .and_then(|c| store.attach(c))
            {
                Ok(()) => error,
                Err(worse) => worse.into(),
            };
        self.require_owner()?;
        remove_side_cars(place, place.name());
        self.require_owner()?;
        let exchanged = match exchange(place) {
            Ok(exchanged) => exchanged,
            Err(error) => return Err(back(self, error)),
        };
        let opened = place
            .sync_dir()
            .and_then(|()| connect(place, place.name(), new, false))
            .and_then(|conn| self.attach(conn));
        match opened {
            Ok(()) => Ok(()),
            Err(error) if exchanged => {
                remove_side_cars(place, place.name());
                let undone = place.exchange(place.name(), &rekey_name(place), FileRole::Database);
                let undone = undone.and_then(|_| place.sync_dir());
                Err(undone.map_or_else(Into::into, |()| back(self, error.into())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Fails if a file has the name of the copy. Leftovers of an interrupted re-key are gone by now, so it is somebody
/// else's.
fn require_free_name(place: &Place) -> Result<(), OpenError> {
    if place.inspect(&rekey_name(place), FileRole::Database)?.is_some() {
        return Err(OpenError::NameTaken { suffix: ".rekey" });
    }
    let side_cars = [".rekey-wal", ".rekey-shm", ".rekey-journal"];
    side_cars.into_iter().try_for_each(|suffix| names::refuse_foreign(place, suffix))
}

/// An error about the copy or, while files are exchanged, about one that was read through just before. It is a fault of
/// the disk, and neither damage nor another key.
fn of_copy(error: VaultError) -> VaultError {
    match error {
        VaultError::Open(error) => of_new(error).into(),
        VaultError::Store(StoreError::Corrupt) => of_new(StoreError::Corrupt.into()).into(),
        error => error,
    }
}

fn key_exists(home: &Home) -> VaultError {
    match home.stands_in_file() {
        true => VaultError::DestinationExists { role: FileRole::Key },
        false => VaultError::KeyExists,
    }
}

/// The new key and its place.
fn next_key(
    place: &Place,
    source: &DatabaseKey,
    named: bool,
    record: &Record,
    old: &Secret<32>,
) -> Result<(Home, Secret<32>), VaultError> {
    let mut home = location::locate_next(place, source, &record.key, named)?;
    let missing = OpenError::KeyMissing { source: source.source() };
    let key = if home.keeps_keys() {
        if !home.may_create() {
            return Err(missing.into());
        }
        home.clear_next()?;
        // (a keyring that cannot be used says so here, before the record names a new key)
        if home.is_taken()? {
            return Err(key_exists(&home));
        }
        if !home.will_settle(&record.key)? {
            // Somebody has put another file where the key was.
            return Err(key_exists(&home));
        }
        location::fresh()?
    } else {
        home.look()?.ok_or(missing)?
    };
    if key == *old {
        return Err(VaultError::SameKey);
    }
    home.note_expected(&key)?;
    Ok((home, key))
}

/// Writes the copy and proves it: every page of it is authentic, and its rows are those of the database.
fn copy(
    place: &Place,
    old: &Secret<32>,
    new: &Secret<32>,
    progress: &mut Progress<'_>,
) -> Result<u64, VaultError> {
    let name = rekey_name(place);
    remove_side_cars(place, &name);
    let missing = || VaultError::SourceMissing { role: FileRole::Database };
    let size = place.inspect(place.name(), FileRole::Database)?.ok_or_else(missing)?.size;
    // SQLite's locks end when any descriptor of the file is closed, so ours goes first.
    drop(place.create_new(&name, FileRole::Database)?);
    let from = open_read_only(&ReadOnly::keyed(place, place.name(), old))?;
    let of_source = |error| match error {
        VaultError::Store(StoreError::Corrupt) => {
            look::doubted(place, old, StoreError::Corrupt.into())
        }
        error => error,
    };
    let from =
        export(from, place, &name, new, |done| progress.tell(Stage::Writing, done.min(size), size))
            .map_err(of_source)?;
    remove_side_cars(place, &name);
    let copy = open_read_only(&ReadOnly::keyed(place, &name, new))?;
    verify::identity(&copy)?;
    progress.tell(Stage::Checking, 0, size)?;
    let bad = bad_pages(&copy)?;
    let sums = rows::sums(&from, size, progress).map_err(of_source)?;
    if !bad.is_empty() || rows::sums(&copy, size, progress)? != sums {
        return Err(VaultError::CopyDiffers);
    }
    drop((from, copy));
    let found = place.inspect(&name, FileRole::Database)?.ok_or_else(missing)?;
    found.file.sync_all().map_err(|e| files::io_error("syncing", FileRole::Database, &e))?;
    place.sync_dir()?;
    Ok(found.size)
}

/// Exchanges the file and its copy. On a system without an exchange the copy replaces the file, which is then
/// overwritten through its descriptor. Returns `false` for that.
fn exchange(place: &Place) -> Result<bool, VaultError> {
    let name = rekey_name(place);
    if place.exchange(place.name(), &name, FileRole::Database)? {
        return Ok(true);
    }
    let (mut old, _) = place.open_or_create(place.name(), FileRole::Database)?;
    let size = old.metadata().map_err(|e| error::io("looking at", &e))?.len();
    place.replace(&name, place.name(), FileRole::Database)?;
    let mut block = vec![0u8; BLOCK];
    let overwritten = getrandom::fill(&mut block).is_ok()
        && old.seek(SeekFrom::Start(0)).is_ok()
        && (0..size.div_ceil(BLOCK as u64)).all(|_| old.write_all(&block).is_ok())
        && old.sync_all().is_ok();
    if !overwritten {
        tracing::warn!("the file of the old key was removed but could not be overwritten");
    }
    Ok(false)
}
