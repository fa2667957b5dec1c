//! The names of the files that a database keeps beside it. Such files are made, replaced and removed without being
//! asked, so no other file may have such a name.

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

/// The suffixes of the database's own files. SQLite's files beside the temporary ones are not in the list: their names
/// end like side-cars.
const OF_DATABASE: [&str; 6] = [".tmp", ".rekey", ".encrypt", ".lock", ".keyinfo", ".keyinfo.tmp"];

/// The suffixes of the key file of a passphrase, and of the next one.
const KEYS: [&str; 2] = [".key", ".key.new"];

/// The suffixes of files that SQLite opens.
const DATABASES: [&str; 4] = ["", ".tmp", ".rekey", ".encrypt"];

/// The suffixes of files that show that a file is a database of its own.
const OWN: [&str; 3] = [".lock", ".keyinfo", ".key"];

/// The first bytes of key files and backups.
const CONTENTS: [&[u8]; 3] = [b"mdk-key-", b"mdk-wrapped-key-", b"mdk-backup"];

/// The longest path that SQLite opens on Unix, with the longest suffix that it adds to the name of a database:
/// `MAX_PATHNAME` (<https://sqlite.org/src/file/src/os_unix.c>).
const SQLITE_PATH: usize = 512;

/// The longest path of a database, made absolute. The longest of [`DATABASES`] must still be opened with the longest of
/// [`SIDE_CARS`]. Otherwise a database that can be opened could not be encrypted.
const LONGEST_PATH: usize = SQLITE_PATH - ".encrypt".len() - "-journal".len();

/// The longest name that file systems take.
const NAME_MAX: usize = 255;

/// The longest suffix that a name gets while a database is opened and encrypted anew.
pub(crate) const LONGEST: &str = ".keyinfo.tmp";

const RESERVED: &str = "files beside a database are called so (-wal, -shm, -journal, .tmp, .rekey, .encrypt, .lock, \
     .keyinfo, .key); give it another name, and rename with it what is called after it";
const TOO_LONG: &str = "it is too long: the names of the files beside it are longer still, and may have 255 bytes; \
     give it a shorter one";

/// Whether `name` is the name of the database `own`, or of a file that is made, replaced and removed beside it.
pub(crate) fn is_of_database(own: &OsStr, name: &OsStr) -> bool {
    let is = |base: &OsStr, suffixes: &[&str]| {
        suffixes.iter().any(|suffix| name == files::with_suffix(base, suffix))
    };
    DATABASES.iter().any(|suffix| {
        let base = files::with_suffix(own, suffix);
        name == base || is(&base, &SIDE_CARS)
    }) || is(own, &OF_DATABASE)
}

/// Fails for a name of a database or of a backup that a file beside another database would have, or from which such
/// names cannot be made. It comes before anything else is looked at.
pub(crate) fn check(path: &Path, role: FileRole) -> Result<(), OpenError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    if is_reserved(name) {
        return Err(OpenError::BadName { role, why: RESERVED });
    }
    fits(name, LONGEST, role)
}

/// Whether a file beside some database has such a name. Case makes no difference here, because some file systems
/// ignore it.
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

/// Fails for an absolute path of a database that is longer than SQLite takes. SQLite would say that the disk has
/// failed.
pub(crate) fn path_fits(path: &Path) -> Result<(), OpenError> {
    let (length, limit) = (path.as_os_str().len(), LONGEST_PATH);
    if cfg!(unix) && length > limit {
        return Err(OpenError::PathTooLong { length, limit });
    }
    Ok(())
}

/// Fails if the file with the name of the database and this suffix is somebody else's.
pub(crate) fn refuse_foreign(place: &Place, suffix: &'static str) -> Result<(), OpenError> {
    let name = files::with_suffix(place.name(), suffix);
    // A directory of another such name is refused when it is opened. This file is only ever replaced.
    let is_directory = suffix == ".keyinfo.tmp" && place.path(&name).is_dir();
    if is_directory || is_somebodys(place, &name) {
        return Err(OpenError::NameTaken { suffix });
    }
    Ok(())
}

/// Fails if a file that is removed or replaced beside a database is somebody else's. It is called under the lock:
/// opening and closing a file that SQLite has open would end its locks.
pub(crate) fn refuse_foreign_beside(place: &Place) -> Result<(), OpenError> {
    SIDE_CARS
        .into_iter()
        .chain([".keyinfo.tmp"])
        .try_for_each(|suffix| refuse_foreign(place, suffix))
}

/// Whether this is a key file, a backup, or a database with a lock, a record or a key of its own. Such a file is never
/// a leftover.
pub(crate) fn is_somebodys(place: &Place, name: &OsStr) -> bool {
    let Ok(Some(found)) = place.inspect(name, FileRole::Database) else { return false };
    let beside = |suffix: &str| path_of(place, name, suffix).symlink_metadata().is_ok();
    let mut head = Vec::new();
    let longest = CONTENTS.iter().map(|content| content.len()).max().unwrap_or(0) as u64;
    // An unreadable file is reported by the code that needs it.
    let _ = found.file.take(longest).read_to_end(&mut head);
    CONTENTS.iter().any(|content| head.starts_with(content)) || OWN.iter().any(|own| beside(own))
}

fn path_of(place: &Place, name: &OsStr, suffix: &str) -> PathBuf {
    place.path(&files::with_suffix(name, suffix))
}

/// The copy that a re-key writes; after the exchange, the old file.
pub(crate) fn rekey_name(place: &Place) -> OsString {
    files::with_suffix(place.name(), ".rekey")
}

/// Removes SQLite's files beside a database that is closed or not there.
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
