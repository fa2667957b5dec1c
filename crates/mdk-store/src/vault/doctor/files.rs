//! The directory, the files of the database, and the lock.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, TryLockError},
    io::{self, Read},
    path::Path,
};

use super::{DoctorReport, Level};
use crate::{
    FileRole, OpenError,
    files::{Place, Verdict, is_missing, names, with_suffix},
    keys::key_metadata::{DatabaseStage, Record},
    sqlcipher::{MAGIC, SALT, log_is_damaged},
};

/// Room that is wanted besides the room for a copy of the database.
const ROOM: u64 = 64 << 20;
/// Room without which even small writes fail soon.
const LEAST_ROOM: u64 = 4 << 20;

/// The files beside the database under its name: a suffix, its meaning, and whether it is a leftover.
const FAMILY: [(&str, &str, bool); 19] = [
    ("", "database file", false),
    ("-wal", "write-ahead log", false),
    ("-shm", "index of the write-ahead log", false),
    ("-journal", "rollback journal", false),
    (".lock", "lock file", false),
    (".keyinfo", "key record", false),
    (".key", "key file of the passphrase", false),
    (".tmp", "database that was being created or restored", true),
    (".tmp-wal", "log of that database", true),
    (".tmp-shm", "index of that log", true),
    (".rekey", "copy of an interrupted re-key", true),
    (".rekey-wal", "log of that copy", true),
    (".rekey-shm", "index of that log", true),
    (".encrypt", "copy of an interrupted encryption", true),
    (".encrypt-wal", "log of that copy", true),
    (".encrypt-shm", "index of that log", true),
    (".keyinfo.tmp", "half-written key record", true),
    (".key.tmp", "half-written key file", true),
    (".key.new", "key file of an interrupted re-key", true),
];

/// Names of the family that may be open to others without harm. They hold no content and no key.
const HARMLESS: [&str; 2] = [".lock", ".keyinfo"];

/// The files that exist.
#[derive(Default)]
pub(super) struct Family {
    found: Vec<(&'static str, Metadata)>,
    /// Whether all other files are known not to exist.
    pub(super) seen: bool,
}

impl Family {
    pub(super) fn get(&self, suffix: &str) -> Option<&Metadata> {
        self.found.iter().find(|(found, _)| *found == suffix).map(|(_, meta)| meta)
    }

    /// A regular file that may be read.
    pub(super) fn has_file(&self, suffix: &str) -> bool {
        self.get(suffix).is_some_and(Metadata::is_file)
    }

    /// Whether opening the database would change the mode of this file.
    pub(super) fn would_be_narrowed(&self, suffix: &str) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            self.get(suffix).is_some_and(|meta| meta.mode() & 0o177 != 0)
        }
        #[cfg(not(unix))]
        {
            let _ = suffix;
            false
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Metadata> {
        self.found.iter().map(|(_, meta)| meta)
    }
}

pub(super) fn name(place: &Place, suffix: &str) -> OsString {
    with_suffix(place.name(), suffix)
}

/// The directory: it exists, is ours, is private, and lies on a good file system with room.
///
/// # Errors
/// The error means that nothing tells whether there is a database. The report says why.
pub(super) fn directory(
    report: &mut DoctorReport,
    path: &Path,
) -> Result<Option<Place>, OpenError> {
    const TOPIC: &str = "directory";
    let place = match place_of(path) {
        Ok(Some(place)) => place,
        Ok(None) => {
            let text = "the directory of the database does not exist";
            let hint = "the first opening makes it, if the one above it can be written to";
            report.advise(Level::Note, TOPIC, text, hint);
            return Ok(None);
        }
        Err(error) => {
            let hint = match &error {
                OpenError::Io { .. } => "run as the owner of the directory, or look at its modes",
                _ => "give the path of a file",
            };
            report.advise(Level::Error, TOPIC, error.to_string(), hint);
            return Err(error);
        }
    };
    mode_of_directory(report, &place);
    if place.is_read_only() {
        report.advise(
            Level::Error,
            "filesystem",
            "the file system is read-only, so the database can be read but not opened",
            "look at the system log: a failing disk is made read-only; salvage or back up to another one",
        );
    }
    match place.file_system() {
        Ok(Verdict::Good) => report.say(Level::Ok, "filesystem", "no known problem"),
        Ok(Verdict::Warn { kind, why }) => {
            report.say(
                Level::Warning,
                "filesystem",
                format!("the directory is on {kind}, which {why}"),
            );
        }
        Ok(Verdict::Refuse { kind, why }) => report.advise(
            Level::Error,
            "filesystem",
            format!("the directory is on {kind}, which {why}"),
            "use a directory on a local disk",
        ),
        Err(error) => report.say(Level::Warning, "filesystem", error.to_string()),
    }
    let size = fs::metadata(place.path(place.name())).map_or(0, |meta| meta.len());
    match place.free_bytes() {
        Ok(free) => {
            let text = format!("{free} bytes are free");
            if free < LEAST_ROOM {
                report.advise(Level::Error, "space", text, "free some space");
            } else if free < size.saturating_add(ROOM) {
                let hint = "a re-key, an encryption and a restore need room for a second copy";
                report.advise(Level::Warning, "space", text, hint);
            } else {
                report.say(Level::Ok, "space", text);
            }
        }
        Err(error) => report.say(Level::Warning, "space", error.to_string()),
    }
    Ok(Some(place))
}

#[cfg(unix)]
fn mode_of_directory(report: &mut DoctorReport, place: &Place) {
    use std::os::unix::fs::MetadataExt;
    const TOPIC: &str = "directory";
    let path = place.path(place.name());
    let Some(dir) = path.parent() else { return };
    let Ok(meta) = fs::metadata(dir) else {
        report.say(Level::Error, TOPIC, "the directory cannot be looked at");
        return;
    };
    let mode = meta.mode() & 0o7777;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        let hint = "run as its owner, or use a directory of your own";
        report.advise(Level::Error, TOPIC, "the directory belongs to another user", hint);
    } else if mode & 0o077 != 0 {
        let text = format!("the directory has mode {mode:04o}, so other users can look into it");
        let hint = "run `chmod 700` on it, or use a directory of its own below it";
        let only_ours = mode & 0o1000 == 0 && has_only_ours(dir, place);
        report.advise(if only_ours { Level::Warning } else { Level::Error }, TOPIC, text, hint);
    } else if mode & 0o700 != 0o700 {
        let text =
            format!("the directory has mode {mode:04o}: its owner may not read and write in it");
        report.advise(Level::Error, TOPIC, text, "run `chmod 700` on it");
    } else {
        report.say(Level::Ok, TOPIC, format!("private, mode {mode:04o}"));
    }
}

#[cfg(unix)]
fn has_only_ours(dir: &Path, place: &Place) -> bool {
    let own = place.name().as_encoded_bytes();
    fs::read_dir(dir).is_ok_and(|mut entries| {
        entries.all(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                name.as_encoded_bytes()
                    .strip_prefix(own)
                    .and_then(|suffix| std::str::from_utf8(suffix).ok())
                    .is_some_and(|suffix| FAMILY.iter().any(|(known, _, _)| *known == suffix))
            })
        })
    })
}

#[cfg(not(unix))]
fn mode_of_directory(report: &mut DoctorReport, _place: &Place) {
    report.say(
        Level::Note,
        "directory",
        "there; its access list is checked when the database is opened",
    );
}

/// The files: kinds, owners, links, modes, and leftovers.
pub(super) fn family(report: &mut DoctorReport, place: Option<&Place>, seen: bool) -> Family {
    let mut family = Family { found: Vec::new(), seen };
    let Some(place) = place else { return family };
    let mut good = 0;
    let mut bad = false;
    for (suffix, role, leftover) in FAMILY {
        let meta = match fs::symlink_metadata(place.path(&name(place, suffix))) {
            Ok(meta) => meta,
            Err(error) => {
                family.seen &= error.kind() == io::ErrorKind::NotFound;
                continue;
            }
        };
        match problem(&meta, role, HARMLESS.contains(&suffix)) {
            Some((level, text, hint)) => {
                bad = true;
                report.advise(level, "files", text, hint);
            }
            None if !leftover => good += 1,
            None => {}
        }
        family.found.push((suffix, meta));
    }
    if !bad && good > 0 {
        let text = format!("{good} files of the database, each private and a file of its own");
        report.say(Level::Ok, "files", text);
    }
    family
}

/// The fault of a file, as its metadata show it.
#[cfg(unix)]
fn problem(meta: &Metadata, role: &str, harmless: bool) -> Option<(Level, String, &'static str)> {
    use std::os::unix::fs::MetadataExt;
    let mode = meta.mode() & 0o7777;
    if meta.is_symlink() {
        Some((
            Level::Error,
            format!("the {role} is a symbolic link"),
            "give the path of the file itself",
        ))
    } else if !meta.is_file() {
        Some((Level::Error, format!("the {role} is not a regular file"), "move it away"))
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        Some((Level::Error, format!("the {role} belongs to another user"), "run as its owner"))
    } else if meta.nlink() > 1 {
        let text = format!("the {role} has more than one hard link");
        Some((Level::Error, text, "remove the other link"))
    } else if mode & 0o077 != 0 && !harmless {
        let text = format!("the {role} has mode {mode:04o}, so other users may reach it");
        let level = if role.contains("key file") { Level::Error } else { Level::Warning };
        Some((level, text, "run `chmod 600` on it"))
    } else if mode & 0o600 != 0o600 {
        let text = format!("the {role} has mode {mode:04o}: its owner may not read and write it");
        Some((Level::Error, text, "run `chmod 600` on it"))
    } else {
        None
    }
}

#[cfg(not(unix))]
fn problem(meta: &Metadata, role: &str, _harmless: bool) -> Option<(Level, String, &'static str)> {
    (!meta.is_file())
        .then(|| (Level::Error, format!("the {role} is not a regular file"), "move it away"))
}

/// The files that should not be there. `record` is the record beside the database, if it can be read.
pub(super) fn leftovers(report: &mut DoctorReport, family: &Family, record: Option<&Record>) {
    const TOPIC: &str = "leftovers";
    let of_a_rekey = record.is_some_and(|record| record.other_key.is_some());
    let mut any = false;
    for (suffix, role, leftover) in FAMILY {
        if !leftover || family.get(suffix).is_none() {
            continue;
        }
        any = true;
        let text = format!("there is a leftover: the {role}");
        if suffix.starts_with(".encrypt") {
            let hint = "it may be unencrypted; open the database. If it is still there, it is not known to be ours: see to it";
            report.advise(Level::Warning, TOPIC, text, hint);
        } else if suffix == ".rekey" && !of_a_rekey && family.get("").is_some() {
            let hint = "no opening removes it, and no re-key is done while it is there. Open and verify the database: if all \
                        is there, remove the file; if not, move it away and keep it: after a re-key it is the database \
                        of before, for the key of that time";
            let text =
                format!("{text}, or a file of somebody else: the record does not speak of it");
            report.advise(Level::Warning, TOPIC, text, hint);
        } else {
            let hint = match suffix.starts_with(".tmp")
                && record.is_some_and(|record| record.stage == DatabaseStage::Filling)
            {
                true => "unless that is still running: call it again, which begins anew",
                false => "unless that is still running: the next opening finishes or removes it",
            };
            report.advise(Level::Note, TOPIC, text, hint);
        }
    }
    if !any {
        report.say(Level::Ok, TOPIC, "none");
    }
}

/// The faults of a write-ahead log that nobody has open.
pub(super) fn log(report: &mut DoctorReport, place: &Place, family: &Family) {
    const TOPIC: &str = "database";
    let size = |suffix| family.get(suffix).map_or(0, Metadata::len);
    if !family.has_file("") || !family.has_file("-wal") || size("-wal") == 0 {
        return;
    }
    let mut head = [0; SALT];
    let file = crate::files::open(&place.path(place.name()));
    if file.is_ok_and(|mut file| file.read_exact(&mut head).is_ok() && head == *MAGIC) {
        return;
    }
    if size("") == 0 {
        let text = "the write-ahead log holds what the empty database file lacks";
        report.advise(Level::Error, TOPIC, text, "keep both; save what is left with `mdk salvage`");
    } else if log_is_damaged(place) == Ok(true) {
        let text = "the write-ahead log is damaged, so the database is not opened";
        let hint = "restore a copy, or save what is left with `mdk salvage`";
        report.advise(Level::Error, TOPIC, text, hint);
    }
}

/// Whether somebody has the database open. Takes a shared lock for a moment if the lock file names a holder, or may
/// have had no room for a name. Another opener in just that moment may be told that the database is busy.
pub(super) fn lock(report: &mut DoctorReport, place: Option<&Place>, family: &Family) -> bool {
    const TOPIC: &str = "lock";
    let (Some(place), true) = (place, family.has_file(".lock")) else {
        report.say(Level::Ok, TOPIC, "free");
        return false;
    };
    let Ok(mut file) = File::open(place.path(&name(place, ".lock"))) else {
        report.say(Level::Error, TOPIC, "the lock file cannot be opened");
        return false;
    };
    let mut text = String::new();
    // A holder empties the file when it lets go. A holder without room on the disk has written nothing.
    let empty = matches!(file.by_ref().take(16).read_to_string(&mut text), Ok(0));
    if empty && place.free_bytes().is_ok_and(|free| free >= LEAST_ROOM) {
        report.say(Level::Ok, TOPIC, "free");
        return false;
    }
    match file.try_lock_shared() {
        Ok(()) => {
            let _ = file.unlock();
            let text = match empty {
                true => "free",
                false => "free; the last holder ended without closing the database",
            };
            report.say(Level::Ok, TOPIC, text);
            false
        }
        Err(TryLockError::WouldBlock) => {
            let holder = match text.trim_end().parse::<u32>() {
                Ok(pid) if pid == std::process::id() => "in this process".to_owned(),
                Ok(pid) => format!("in process {pid}"),
                Err(_) => "in another process".to_owned(),
            };
            report.say(Level::Note, TOPIC, format!("the database is open {holder}"));
            true
        }
        Err(TryLockError::Error(_)) => {
            report.say(Level::Error, TOPIC, "this file system cannot lock files");
            false
        }
    }
}

/// The place of a file. `None`: there is no directory for it yet. Never makes a directory.
fn place_of(path: &Path) -> Result<Option<Place>, OpenError> {
    names::check(path, FileRole::Database)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.file_name().is_some() && is_missing(parent) {
        return Ok(None);
    }
    Place::of(path, FileRole::Database).map(Some)
}
