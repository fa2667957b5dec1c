//! The names that a database gives to what stands beside it. They are made, replaced and removed there without being
//! asked, so nothing else may be called so.

use std::{
    ffi::{OsStr, OsString},
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    FileRole, OpenError,
    files::{self, Place},
};

/// Files that SQLite keeps beside a database.
pub(crate) const SIDE_CARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What the name of a database is followed by in those of its files, apart from what SQLite keeps beside the temporary
/// ones: that ends like a side-car.
const OF_DATABASE: [&str; 6] = [".tmp", ".rekey", ".encrypt", ".lock", ".keyinfo", ".keyinfo.tmp"];

/// The same for the key file of a passphrase, and for the next one.
const KEYS: [&str; 2] = [".key", ".key.new"];

/// Those of them that SQLite opens.
const DATABASES: [&str; 4] = ["", ".tmp", ".rekey", ".encrypt"];

/// What shows that a file is one of a database of its own.
const OWN: [&str; 3] = [".lock", ".keyinfo", ".key"];

/// What begins a key file and a backup.
const CONTENTS: [&[u8]; 3] = [b"mdk-key-", b"mdk-wrapped-key-", b"mdk-backup"];

/// The longest path that SQLite opens on Unix, with what it puts behind the name of a database at most: `MAX_PATHNAME`
/// (<https://sqlite.org/src/file/src/os_unix.c>).
const SQLITE_PATH: usize = 512;

/// The longest path of a database, made absolute: one of the longest of [`DATABASES`] must still be opened with the longest
/// of [`SIDE_CARS`], or what can be opened could not be encrypted.
const LONGEST_PATH: usize = SQLITE_PATH - ".encrypt".len() - "-journal".len();

/// The longest name that file systems take.
const NAME_MAX: usize = 255;

/// The longest that a name grows by while a database is opened and encrypted anew.
pub(crate) const LONGEST: &str = ".keyinfo.tmp";

const RESERVED: &str = "files beside a database are called so (-wal, -shm, -journal, .tmp, .rekey, .encrypt, .lock, \
     .keyinfo, .key); give it another name, and rename with it what is called after it";
const TOO_LONG: &str = "it is too long: the names of the files beside it are longer still, and may have 255 bytes; \
     give it a shorter one";

/// Whether `name` is that of the database `own`, or of a file that is made, replaced and removed beside it.
pub(crate) fn is_of_database(own: &OsStr, name: &OsStr) -> bool {
    let is = |base: &OsStr, suffixes: &[&str]| {
        suffixes.iter().any(|suffix| name == files::with_suffix(base, suffix))
    };
    DATABASES.iter().any(|suffix| {
        let base = files::with_suffix(own, suffix);
        name == base || is(&base, &SIDE_CARS)
    }) || is(own, &OF_DATABASE)
}

/// Fails for the name of a database or of a backup that a file beside another database would have, or from which such
/// names cannot be made. Asked before anything else is looked at.
pub(crate) fn check(path: &Path, role: FileRole) -> Result<(), OpenError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    if is_reserved(name) {
        return Err(OpenError::BadName { role, why: RESERVED });
    }
    fits(name, LONGEST, role)
}

/// Whether a file beside some database is called so. Where case makes no difference, it makes none here.
fn is_reserved(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    SIDE_CARS.iter().chain(&OF_DATABASE).chain(&KEYS).any(|suffix| {
        name.len()
            .checked_sub(suffix.len())
            .is_some_and(|at| name[at..].eq_ignore_ascii_case(suffix.as_bytes()))
    })
}

/// Fails if `name` with the longest of its suffixes is longer than file systems take.
pub(crate) fn fits(name: &OsStr, longest: &str, role: FileRole) -> Result<(), OpenError> {
    if name.len() + longest.len() > NAME_MAX {
        return Err(OpenError::BadName { role, why: TOO_LONG });
    }
    Ok(())
}

/// Fails for an absolute path of a database that is longer than SQLite takes. It would say that the disk has failed.
pub(crate) fn path_fits(path: &Path) -> Result<(), OpenError> {
    let (length, limit) = (path.as_os_str().len(), LONGEST_PATH);
    if cfg!(unix) && length > limit {
        return Err(OpenError::PathTooLong { length, limit });
    }
    Ok(())
}

/// Fails if what has the name of the database with this suffix is a file of somebody else.
pub(crate) fn refuse_foreign(place: &Place, suffix: &'static str) -> Result<(), OpenError> {
    let name = files::with_suffix(place.name(), suffix);
    // What is no file is named when it is opened; this one is only ever replaced.
    let is_directory = suffix == ".keyinfo.tmp" && place.path(&name).is_dir();
    if is_directory || is_somebodys(place, &name) {
        return Err(OpenError::NameTaken { suffix });
    }
    Ok(())
}

/// Fails if something that is removed or replaced beside a database is a file of somebody else. Asked under the lock: to
/// open and close what SQLite has open ends its locks.
pub(crate) fn refuse_foreign_beside(place: &Place) -> Result<(), OpenError> {
    SIDE_CARS
        .into_iter()
        .chain([".keyinfo.tmp"])
        .try_for_each(|suffix| refuse_foreign(place, suffix))
}

/// Whether this is a key file, a backup, or a database with a lock, a record or a key of its own: never a leftover.
pub(crate) fn is_somebodys(place: &Place, name: &OsStr) -> bool {
    let Ok(Some(found)) = place.inspect(name, FileRole::Database) else { return false };
    let beside = |suffix: &str| path_of(place, name, suffix).symlink_metadata().is_ok();
    let mut head = Vec::new();
    let longest = CONTENTS.iter().map(|content| content.len()).max().unwrap_or(0) as u64;
    // What cannot be read is for those to say who need it.
    let _ = found.file.take(longest).read_to_end(&mut head);
    CONTENTS.iter().any(|content| head.starts_with(content)) || OWN.iter().any(|own| beside(own))
}

fn path_of(place: &Place, name: &OsStr, suffix: &str) -> PathBuf {
    place.path(&files::with_suffix(name, suffix))
}

/// What a re-key writes; after the exchange, the old file.
pub(crate) fn rekey_name(place: &Place) -> OsString {
    files::with_suffix(place.name(), ".rekey")
}

/// Removes what SQLite keeps beside a database that is closed or not there.
pub(crate) fn remove_side_cars(place: &Place, name: &OsStr) {
    SIDE_CARS.iter().for_each(|suffix| place.remove(&files::with_suffix(name, suffix)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_a_database_is_reserved() {
        let own = OsStr::new("a.db");
        for suffix in SIDE_CARS.iter().chain(&OF_DATABASE).chain(&DATABASES[1..]) {
            let name = files::with_suffix(own, suffix);
            assert!(is_reserved(&name), "{suffix}");
            assert!(is_of_database(own, &name), "{suffix}");
        }
        for name in
            ["a.db.tmp-wal", "a.db.rekey-journal", "A.DB.ENCRYPT", "a.db.key.new.tmp", "a.db.key"]
        {
            assert!(is_reserved(OsStr::new(name)), "{name}");
        }
        for name in ["a.db", "a.tmp.db", "tmp", "key", "encrypt", "a.db.new", "wal", "lock.1"] {
            assert!(!is_reserved(OsStr::new(name)), "{name}");
        }
        let longest = |suffixes: &[&str]| suffixes.iter().map(|suffix| suffix.len()).max();
        let longest = longest(&DATABASES).and_then(|n| Some(n + longest(&SIDE_CARS)?));
        assert_eq!(longest, Some(SQLITE_PATH - LONGEST_PATH));
        assert!(is_of_database(own, own) && !is_of_database(own, OsStr::new("b.db")));
    }
}
