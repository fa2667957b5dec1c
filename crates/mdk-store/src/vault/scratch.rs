//! A copy of a database that lies where nothing can be written, for work that has to write beside it.
//!
//! SQLite reads a write-ahead log only where it can make an index of it or lock the file for itself. Neither works on a
//! file system that is read-only, as a failing disk becomes. On a full one the index has no room. The copy is as
//! encrypted as the original, private, in the system's temporary directory, and removed when it is no longer needed.

use std::{
    ffi::{OsStr, OsString},
    io,
};

use super::{VaultError, error};
use crate::{
    FileRole,
    files::{self, Place},
    keys::{key_metadata, location},
};

/// The copy; dropping it removes it.
pub(super) struct Scratch {
    pub(super) place: Place,
    /// All files that may be there in the end.
    names: Vec<OsString>,
}

impl Scratch {
    /// Copies the database and its log. The key and its record are not copied: a program that opens the copy must not
    /// tidy up after a re-key of the original.
    pub(super) fn of(from: &Place) -> Result<Self, VaultError> {
        let own = |suffix: &str| files::with_suffix(from.name(), suffix);
        Self::with(from, vec![own(""), own("-wal")])
    }

    /// Copies also the files that lead to a key beside the copy: the record, and the key of a passphrase, which nothing
    /// but the passphrase opens. This copy is only for reading.
    pub(super) fn with_record(from: &Place) -> Result<Self, VaultError> {
        let own = |suffix: &str| files::with_suffix(from.name(), suffix);
        let mut names = vec![own(""), own("-wal"), key_metadata::name(from)];
        let record = key_metadata::read(from)?.filter(|record| record.other_key.is_none());
        if record.is_some_and(|record| record.key.source == "passphrase") {
            let entries = std::fs::read_dir(from.path(OsStr::new("")));
            let entries = entries.map_err(|e| error::io("listing", &e))?;
            let keys = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
            names.extend(keys.filter(|name| location::is_of_key(&own(".key"), name)));
        }
        Self::with(from, names)
    }

    fn with(from: &Place, names: Vec<OsString>) -> Result<Self, VaultError> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random)
            .map_err(|_| error::io("making", &io::ErrorKind::Other.into()))?;
        let dir = std::env::temp_dir().join(format!("mdk-{}", hex::encode(random)));
        let place = Place::of(&dir.join(from.name()), FileRole::Database)?;
        let made = ["-shm", "-journal", ".lock", ".keyinfo", ".keyinfo.tmp"];
        let made = made.iter().map(|suffix| files::with_suffix(from.name(), suffix));
        let copy = Self { place, names: names.iter().cloned().chain(made).collect() };
        let mut found = Vec::new();
        let mut needed = 0;
        for name in names {
            if let Some(file) = from.inspect(&name, FileRole::Database)? {
                needed += file.size;
                found.push((name, file.file));
            }
        }
        let available = copy.place.free_bytes()?;
        if available < needed {
            let directory = copy.place.directory();
            return Err(VaultError::NoSpace { directory, needed, available });
        }
        for (name, mut file) in found {
            let mut to = copy.place.create_new(&name, FileRole::Database)?;
            io::copy(&mut *file, &mut *to).map_err(|e| error::io("copying", &e))?;
        }
        Ok(copy)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.place.remove(name));
        self.place.remove_made_dirs();
    }
}
