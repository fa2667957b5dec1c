//! The first open. It leaves nothing or a good database, in every case.
//!
//! A record that says `creating` is durable before a key is stored. So after a crash the key that matches it is known
//! to be ours, and is used again. The database is made under a temporary name and renamed when it is complete. A
//! failure that is not a crash takes everything back.

use std::ffi::OsStr;

use mdk_wire::Secret;

use crate::files::names::{SIDE_CARS, remove_side_cars};
use crate::{
    DatabaseKey, FileRole, OpenError, StoreError,
    files::{self, OwnerLock, Place, names},
    keys::{
        key_metadata::{self, DatabaseStage, KeySlot, Record},
        location::{self, Home},
    },
    recovery::{
        error_of,
        state::{AtLocation, FileState, Intent, LogState, Metadata, Seen},
        what_to_do::{Begin, before_keys, begin},
    },
};

/// The suffix of a database that is being made.
const TEMP: &str = ".tmp";

/// The purpose of a new database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Making {
    /// The database is opened, and there was none.
    Empty,
    /// The database gets the content of a backup or of another database.
    Filled,
    /// The database takes the place of a plain one: see [`DatabaseStage::Encrypting`].
    Encrypted,
}

/// A key that is stored and recorded, but for which no database counts yet.
pub(crate) struct Prepared {
    pub(crate) key: Secret<32>,
    home: Home,
    /// The key of an earlier try, which could not be removed.
    left: Option<KeySlot>,
    /// Whether this call has stored it, or may have.
    made: bool,
    /// Whether there was no record before.
    first: bool,
    /// Whether this call has recorded that the content comes from elsewhere.
    begins_filling: bool,
}

/// A database that was made by this very call.
pub(crate) struct Created {
    pub(crate) key: Secret<32>,
    prepared: Prepared,
}

/// Makes a database that does not exist yet, under the owner lock. `fill` is given the name of an empty temporary file
/// and the key. On failure nothing is left, unless the lock is lost. Then another opener may be making the database
/// under the same names, and the next one goes on with the files that are there.
pub(crate) fn create<E: From<OpenError>>(
    place: &Place,
    lock: &OwnerLock,
    source: &DatabaseKey,
    making: Making,
    fill: impl FnOnce(&OsStr, &Secret<32>) -> Result<(), E>,
) -> Result<Created, E> {
    let temp = files::with_suffix(place.name(), TEMP);
    names::refuse_foreign_beside(place)?;
    refuse_foreign(place, &temp)?;
    let prepared = prepare(place, source, making)?;
    if let Err(error) = empty(place, &temp) {
        // A file that is there is not ours to remove.
        prepared.undo(place);
        return Err(error.into());
    }
    let mut named = false;
    let alone = || lock.require().map_err(OpenError::from);
    let made = fill(&temp, &prepared.key).and_then(|()| {
        alone()?;
        settled(place, &temp)?;
        sync(place, &temp)?;
        prepared.home.confirm(&prepared.key).or_else(|error| match prepared.made {
            true => Err(error),
            false => Ok(()),
        })?;
        alone()?;
        // SQLite does not report that it could not remove its files.
        remove_side_cars(place, &temp);
        // An empty log or an index of a database that is gone must not meet the new one.
        remove_side_cars(place, place.name());
        place.rename_new(&temp, place.name(), FileRole::Database)?;
        named = true;
        place.sync_dir()?;
        Ok(())
    });
    if let Err(error) = made {
        if let Err(lost) = alone() {
            return Err(lost.into());
        }
        remove_side_cars(place, &temp);
        place.remove(&temp);
        if named {
            place.remove(place.name());
        }
        // The removal is made durable before the record goes, which shows that the temporary file is ours. Nothing can
        // be done about a failure.
        let _ = place.sync_dir();
        prepared.undo(place);
        return Err(error);
    }
    if prepared.ready(place).is_err() {
        tracing::warn!("the record of where the key is could not be completed");
    }
    Ok(Created { key: prepared.key.clone(), prepared })
}

/// Finds or makes the key for a new database, and records it. A key that is there already, and is not that of an
/// interrupted first open, is refused. So is an empty database where a filled one was begun.
pub(crate) fn prepare(
    place: &Place,
    source: &DatabaseKey,
    making: Making,
) -> Result<Prepared, OpenError> {
    let record = key_metadata::read(place)?;
    let refused = |why| error_of(why, 0, source.source());
    let metadata = record.as_ref().map_or(Metadata::Missing, |record| record.stage.into());
    // (an encryption in place leaves the plain file where it is; this part of the table does not know of it)
    let seen = Seen { file: FileState::Absent, log: LogState::Missing, metadata };
    let intent = if making == Making::Empty { Intent::Open } else { Intent::Make };
    before_keys(seen, intent).map_err(refused)?;
    let begun = record.as_ref().map(|record| &record.key);
    let mut home = location::locate(place, source, begun, true)?;
    let (found, at) = look_at(&mut home, begun)?;
    let (key, make) = match (begin(at, home.may_create()).map_err(refused)?, found) {
        (Begin::Use, Some(key)) => (key, false),
        (Begin::GoOn, Some(key)) => {
            // Without a proof that the key was made for this very database it may belong to another one, too.
            let ours = begun.is_some_and(|slot| slot.is_begun_by(&key, place));
            home.slot.shared |= !ours && matches!(source.source(), "file" | "keyring");
            (key, false)
        }
        (Begin::Fresh | Begin::Replace, _) | (Begin::Use | Begin::GoOn, None) => {
            location::check_new(source)?;
            (location::fresh()?, true)
        }
    };
    home.note_expected(&key)?;
    let mut left = record.as_ref().and_then(|record| record.left.clone());
    if let Some(before) = begun.filter(|slot| make || !slot.same_place(&home.slot)) {
        // The record that is about to be replaced is the only proof of the key of an unfinished making.
        match location::discard_begun(place, before) {
            Ok(true) => {}
            Err(error) if before.same_place(&home.slot) => return Err(error),
            Ok(false) | Err(_) => {
                tracing::warn!(
                    "the key of an earlier try to make the database was left where it is"
                );
                left = Some(before.clone());
            }
        }
    }
    // A key that is made now belongs to this database alone, whatever the record of the first try says.
    home.slot.shared &= !make;
    let stage = match making {
        Making::Empty => DatabaseStage::Creating,
        Making::Filled => DatabaseStage::Filling,
        Making::Encrypted => DatabaseStage::Encrypting,
    };
    let begins_filling = stage == DatabaseStage::Filling
        && record.as_ref().is_none_or(|record| record.stage != stage);
    let first = record.is_none();
    let mut prepared = Prepared { key, home, left, made: false, first, begins_filling };
    let mut wanted = prepared.record(place, stage);
    if prepared.home.keeps_keys() {
        wanted.key.begin(&prepared.key, place);
    }
    if record.as_ref() != Some(&wanted) {
        wanted.write(place).inspect_err(|_| prepared.undo(place))?;
    }
    if make {
        let made = prepared.home.make(&prepared.key);
        prepared.made = !is_late(&made);
        if let Err(error) = made {
            prepared.undo(place);
            return Err(error);
        }
    }
    Ok(prepared)
}

/// The key in the place of the new one, and its kind.
fn look_at(
    home: &mut Home,
    begun: Option<&KeySlot>,
) -> Result<(Option<Secret<32>>, AtLocation), OpenError> {
    let found = match home.look() {
        // The making was begun with another passphrase.
        Err(OpenError::WrongPassphrase) if begun.is_some_and(|slot| home.forget_begun(slot)) => {
            return Ok((None, AtLocation::OtherPassphrase));
        }
        found => found?,
    };
    let is_begun = |key| begun.is_some_and(|slot| slot.same_place(&home.slot) && slot.is_of(key));
    let at = match &found {
        None => AtLocation::Nothing,
        Some(_) if !home.keeps_keys() => AtLocation::Given,
        Some(key) if is_begun(key) => AtLocation::Begun,
        Some(_) => AtLocation::Another,
    };
    Ok((found, at))
}

/// Whether the keyring did not answer in time. Then it is not asked again: the call that stores the key removes it if
/// it comes late.
pub(crate) fn is_late(made: &Result<(), OpenError>) -> bool {
    matches!(made, Err(OpenError::KeyringTimeout { .. }))
}

impl Prepared {
    /// Notes in the record that the database exists. If that fails, the next opening does it.
    pub(crate) fn ready(&self, place: &Place) -> Result<(), OpenError> {
        self.is_made(place, DatabaseStage::Ready)
    }

    fn is_made(&self, place: &Place, stage: DatabaseStage) -> Result<(), OpenError> {
        let mut record = self.record(place, stage);
        record.note_salt(place);
        record.write(place)
    }

    fn record(&self, place: &Place, stage: DatabaseStage) -> Record {
        let mut record = Record::new(place, stage, self.home.slot.clone());
        record.left = self.left.clone();
        record
    }

    /// The same as [`Self::ready`], for a database whose plain file is still to be overwritten.
    pub(crate) fn encrypted(&self, place: &Place) -> Result<(), OpenError> {
        self.is_made(place, DatabaseStage::ReadyWithPlainCopy)
    }

    /// Takes back the key that this call has stored. A key that cannot be removed keeps its record. Without it the key
    /// would belong to nothing and stand in the way of the next try. With the record that try uses the key.
    pub(crate) fn undo(&self, place: &Place) {
        if self.made && !self.home.unmake(&self.key) {
            tracing::warn!("the key of a database that was not made could not be removed yet");
        } else if self.first {
            key_metadata::remove(place);
            return;
        }
        // The record that stays is that of a first open, which may go on.
        if self.begins_filling
            && let Ok(Some(mut record)) = key_metadata::read(place)
            && record.stage == DatabaseStage::Filling
        {
            record.stage = DatabaseStage::Creating;
            if record.write(place).is_err() {
                tracing::warn!("the record still speaks of a restore that has failed");
            }
        }
    }
}

impl Created {
    /// Takes everything back. The database must be closed.
    pub(crate) fn undo(&self, place: &Place) {
        remove_side_cars(place, place.name());
        place.remove(place.name());
        self.prepared.undo(place);
    }
}

/// Refuses a temporary file that is not known to be ours. The record of a first open is durable before its temporary
/// file is made, and is removed after it.
fn refuse_foreign(place: &Place, temp: &OsStr) -> Result<(), OpenError> {
    let begun = key_metadata::read(place)?.is_some_and(|record| record.stage.is_begun());
    for name in SIDE_CARS.iter().chain(&[""]).map(|suffix| files::with_suffix(temp, suffix)) {
        let foreign = match begun {
            true => names::is_somebodys(place, &name),
            false => place.inspect(&name, FileRole::Database)?.is_some(),
        };
        if foreign {
            return Err(OpenError::NameTaken { suffix: TEMP });
        }
    }
    Ok(())
}

/// Makes the temporary file, empty and private. A leftover of a crash there has encrypted nothing that counts.
fn empty(place: &Place, temp: &OsStr) -> Result<(), OpenError> {
    remove_side_cars(place, temp);
    // The kind is checked, so that something else of this name is an error and is not removed.
    if place.inspect(temp, FileRole::Database)?.is_some() {
        place.remove(temp);
    }
    // SQLite's locks end when any descriptor of the file is closed, so ours is closed before SQLite opens it.
    place.create_new(temp, FileRole::Database).map(drop)
}

/// Fails while some of the new database is still in its log. SQLite does not report that when it is closed.
fn settled(place: &Place, temp: &OsStr) -> Result<(), OpenError> {
    let log = place.inspect(&files::with_suffix(temp, "-wal"), FileRole::Database)?;
    if log.is_some_and(|log| log.size > 0) {
        let code = rusqlite::ffi::SQLITE_IOERR_WRITE;
        return Err(StoreError::Io { code }.into());
    }
    Ok(())
}

fn sync(place: &Place, temp: &OsStr) -> Result<(), OpenError> {
    let found = place.inspect(temp, FileRole::Database)?.ok_or(OpenError::Empty)?;
    found.file.sync_all().map_err(|e| files::io_error("syncing", FileRole::Database, &e))
}
