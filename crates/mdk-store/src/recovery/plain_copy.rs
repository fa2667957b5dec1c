//! The leftover of an interrupted encryption in place, under the temporary name: half of the encrypted copy, or the
//! plain file that was to be overwritten, or a part of the plain file.
//!
//! Nothing in such a file tells it from somebody else's. So the record says that an encryption is under way, from
//! before the file exists until it is gone. The file is made under a name that was free.

use std::ffi::OsString;

use crate::{
    APPLICATION_ID, FileRole, OpenError,
    files::{
        self, Place,
        names::{self, SIDE_CARS},
    },
    keys::key_metadata::{self, DatabaseStage},
    sqlcipher::{MAGIC, read_at},
};

const SUFFIX: &str = ".encrypt";

/// The offset of the `application_id` in a plain file.
const APPLICATION_ID_AT: usize = 68;

/// The temporary name.
pub(crate) fn name(place: &Place) -> OsString {
    files::with_suffix(place.name(), SUFFIX)
}

/// Removes the leftover of an earlier call beside the plain database, which still has its name. Fails if the file is
/// not known to be such a leftover.
pub(crate) fn clear(place: &Place) -> Result<(), OpenError> {
    names::fits(place.name(), ".encrypt-journal", FileRole::Database)?;
    let begun = key_metadata::read(place)?.is_some_and(|record| record.stage.is_encrypting());
    for name in all(place) {
        if place.inspect(&name, FileRole::Database)?.is_some() {
            if !begun || !may_be_ours(place)? {
                return Err(OpenError::NameTaken { suffix: SUFFIX });
            }
            discard(place)?;
            break;
        }
    }
    forget(place)
}

/// Whether the record speaks of an encryption in place that is not finished.
pub(crate) fn is_begun(place: &Place) -> bool {
    matches!(key_metadata::read(place), Ok(Some(record)) if record.stage.is_encrypting())
}

/// Whether a plain copy may stand beside the encrypted database, because wiping it was interrupted.
pub(crate) fn is_there(place: &Place) -> bool {
    is_begun(place)
        && all(place).any(|name| place.path(&name).symlink_metadata().is_ok())
        && may_be_ours(place).unwrap_or(true)
}

/// Fails if a file there is known to be somebody's.
pub(crate) fn require_ours(place: &Place) -> Result<(), OpenError> {
    match may_be_ours(place)? {
        true => Ok(()),
        false => Err(OpenError::NameTaken { suffix: SUFFIX }),
    }
}

/// Notes that nothing is left of an encryption: a file that has its names from now on is somebody's.
pub(crate) fn forget(place: &Place) -> Result<(), OpenError> {
    let Some(mut record) = key_metadata::read(place)? else { return Ok(()) };
    record.stage = match record.stage {
        DatabaseStage::Encrypting => DatabaseStage::Creating,
        DatabaseStage::ReadyWithPlainCopy => DatabaseStage::Ready,
        DatabaseStage::Creating | DatabaseStage::Filling | DatabaseStage::Ready => return Ok(()),
    };
    record.write(place)
}

/// Overwrites the plain file that an interrupted encryption has left beside the encrypted one. The caller holds the
/// owner lock, has opened the database with its key, and has a record of such an encryption.
pub(crate) fn recover(place: &Place) -> Result<(), OpenError> {
    if may_be_ours(place)? {
        discard(place)?;
    }
    forget(place)
}

/// The file and what SQLite keeps beside it.
fn all(place: &Place) -> impl Iterator<Item = OsString> {
    let name = name(place);
    SIDE_CARS.into_iter().chain([""]).map(move |suffix| files::with_suffix(&name, suffix))
}

/// Whether the files may be ours: nothing shows that somebody else has put one of them there since.
fn may_be_ours(place: &Place) -> Result<bool, OpenError> {
    if all(place).any(|name| names::is_somebodys(place, &name)) {
        return Ok(false);
    }
    let Some(found) = place.inspect(&name(place), FileRole::Database)? else { return Ok(true) };
    let mut head = [0u8; APPLICATION_ID_AT + 4];
    if found.size < head.len() as u64 {
        return Ok(true);
    }
    read_at(&found.file, &mut head, 0)
        .map_err(|e| files::io_error("reading", FileRole::Database, &e))?;
    let application = &head[APPLICATION_ID_AT..];
    Ok(!head.starts_with(MAGIC) || application == APPLICATION_ID.to_be_bytes())
}

/// Overwrites and removes the files.
fn discard(place: &Place) -> Result<(), OpenError> {
    all(place).try_for_each(|name| place.wipe(&name, FileRole::Database))?;
    place.sync_dir()
}
