//! A new database with its key, complete or not there.

use std::{ffi::OsStr, path::Path, time::Duration};

use mdk_wire::Secret;

use super::VaultError;
use crate::{
    DatabaseKey, FileRole, OpenError, StoreError,
    files::{self, Place, names},
    store::{
        create::{self, Making},
        open,
    },
};

/// Makes a new database at `to`, with its key. `fill` fills it, or it does not appear. `fill` is given the name of an
/// empty file and the key; `size` is about the number of bytes that it will write.
pub(super) fn new_file<T>(
    to: &Path,
    key: &DatabaseKey,
    size: u64,
    fill: impl FnOnce(&Place, &OsStr, &Secret<32>) -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    names::check(to, FileRole::Database)?;
    let place = Place::of(to, FileRole::Database)?;
    let made = under_lock(&place, key, size, fill);
    if made.is_err() {
        place.remove_made_dirs();
    }
    made
}

fn under_lock<T>(
    place: &Place,
    key: &DatabaseKey,
    size: u64,
    fill: impl FnOnce(&Place, &OsStr, &Secret<32>) -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    refuse_existing(place)?;
    open::secure(place, key)?;
    let lock = open::lock(place, Duration::ZERO)?;
    let mut value = None;
    // The check is made again: another owner may have made the file before the lock was ours.
    let made = refuse_existing(place).and_then(|()| require_space(place, size)).and_then(|()| {
        create::create(place, &lock, key, Making::Filled, |temp, secret| {
            value = Some(fill(place, temp, secret)?);
            Ok::<_, VaultError>(())
        })
    });
    match (made, value) {
        (Ok(_), Some(value)) => Ok(value),
        (made, _) => {
            lock.undo(place);
            Err(made.err().map_or(VaultError::CopyDiffers, of_new))
        }
    }
}

/// An error about a file that was written just now. A file that cannot be read back is a fault of the disk, not damage.
pub(super) fn of_new(error: VaultError) -> VaultError {
    match error {
        VaultError::Store(StoreError::Corrupt)
        | VaultError::Open(OpenError::Store(StoreError::Corrupt)) => {
            StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR_READ }.into()
        }
        error => error,
    }
}

fn refuse_existing(place: &Place) -> Result<(), VaultError> {
    if place.inspect(place.name(), FileRole::Database)?.is_some() {
        return Err(VaultError::DestinationExists { role: FileRole::Database });
    }
    let log = files::with_suffix(place.name(), "-wal");
    if place.inspect(&log, FileRole::Database)?.is_some_and(|found| found.size > 0) {
        return Err(OpenError::DatabaseMissingButLogPresent.into());
    }
    Ok(())
}

/// Refuses with both numbers when a copy of `size` bytes would not fit. A copy is a little larger than its source: each
/// page keeps 80 bytes for itself, and there is its record.
pub(super) fn require_space(place: &Place, size: u64) -> Result<(), VaultError> {
    let needed = size + size / 16 + (64 << 10);
    let available = place.free_bytes()?;
    if available < needed {
        return Err(VaultError::NoSpace { directory: place.directory(), needed, available });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn too_little_room_is_refused_with_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(&dir.path().join("a.db"), FileRole::Database).unwrap();
        let free = place.free_bytes().unwrap();
        let error = require_space(&place, free).unwrap_err();
        assert!(
            matches!(error, VaultError::NoSpace { needed, available, .. } if needed > free && available > 0),
            "{error}"
        );
        assert_eq!(require_space(&place, 4096), Ok(()));
        // Source and copy together take 2.1 times the source.
        let VaultError::NoSpace { needed, .. } = require_space(&place, free).unwrap_err() else {
            unreachable!("it was refused a moment ago")
        };
        assert!(needed <= free / 10 * 11, "{needed} of {free}");
    }
}
