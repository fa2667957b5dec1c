//! [`Place`] on Unix.

mod change;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, MetadataExt},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{
    Found, Handle, Id,
    file_system::{self, Verdict},
    io_error,
};
use crate::{
    FileRole, OpenError,
    files::names::{self, SIDE_CARS},
};

/// A directory, held open, and the name of a file in it.
pub(crate) struct Place {
    dir: Arc<OwnedFd>,
    dir_path: PathBuf,
    name: OsString,
    /// Directories that this call made, outermost first; taken back if nothing was put into them.
    made: Vec<PathBuf>,
}

impl Place {
    /// Opens the directory of `path`. Makes it, with mode 0700, if it is missing.
    pub(crate) fn of(path: &Path, role: FileRole) -> Result<Self, OpenError> {
        super::refuse_forked()?;
        let name = path.file_name().ok_or(OpenError::BadPath { role })?.to_owned();
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(OpenError::BadPath { role });
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let is_database = role == FileRole::Database;
        if is_database && let Ok(dir_path) = super::resolved(parent) {
            // The length is checked before a directory is made.
            names::path_fits(&dir_path.join(&name))?;
        }
        let made = make_dirs(parent)?;
        let opened = fs::canonicalize(parent).and_then(|dir_path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok((rustix::fs::open(&dir_path, flags, Mode::empty())?, dir_path))
        });
        match opened {
            Ok((dir, dir_path)) => Ok(Self { dir: Arc::new(dir), dir_path, name, made }),
            Err(error) => {
                remove_dirs(&made);
                Err(match error.kind() {
                    io::ErrorKind::NotADirectory => OpenError::BadPath { role },
                    _ => io_error("opening", FileRole::Directory, &error),
                })
            }
        }
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The same place for another holder, without the directories that were made.
    pub(crate) fn twin(&self) -> Self {
        Self {
            dir: Arc::clone(&self.dir),
            dir_path: self.dir_path.clone(),
            name: self.name.clone(),
            made: Vec::new(),
        }
    }

    /// The path of a file in the directory without symbolic links in front of its name. It is for display, and for
    /// SQLite, which takes only a path: see [`Self::confirm_opened`].
    pub(crate) fn path(&self, name: &OsStr) -> PathBuf {
        self.dir_path.join(name)
    }

    /// The directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.dir_path.clone()
    }

    /// Makes the directory private, or refuses it. It is tightened if we own it and it holds nothing but files
    /// that `ours` accepts. A file system that cannot keep a database is refused too.
    pub(crate) fn secure(
        &self,
        role: FileRole,
        ours: impl Fn(&OsStr) -> bool,
    ) -> Result<(), OpenError> {
        file_system::enforce(self.file_system()?, role)?;
        let failed = |e: Errno| io_error("reading the mode of", FileRole::Directory, &e.into());
        let stat = rustix::fs::fstat(&self.dir).map_err(failed)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(OpenError::ForeignOwner { role: FileRole::Directory });
        }
        let mode = permissions(&stat);
        if mode & 0o077 == 0 {
            return Ok(());
        }
        let refused = Err(OpenError::DirectoryTooWide { role, mode });
        // A sticky directory, like /tmp, is meant to be shared.
        if mode & 0o1000 != 0 {
            return refused;
        }
        for entry in rustix::fs::Dir::read_from(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." && !ours(name) {
                return refused;
            }
        }
        rustix::fs::fchmod(&self.dir, Mode::from_raw_mode(0o700)).or(refused)
    }

    /// The file `name` if it exists: a regular file, ours, with one link. Opened for reading.
    pub(crate) fn inspect(&self, name: &OsStr, role: FileRole) -> Result<Option<Found>, OpenError> {
        // The kind is asked before opening, because opening a device can have effects.
        let stat = match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(io_error("looking for", role, &e.into())),
        };
        check(&stat, role)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.dir, name, flags, Mode::empty());
        let file = match Handle::kept(id_of(&stat)).map_or_else(|| open().map(Handle::of), Ok) {
            Ok(file) => file,
            // Another opener that failed may have removed its own file meanwhile.
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(OpenError::Symlink { role }),
            Err(e) => return Err(io_error("opening", role, &e.into())),
        };
        let stat = rustix::fs::fstat(&*file).map_err(|e| io_error("opening", role, &e.into()))?;
        check(&stat, role)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Some(Found { file, size, mode: permissions(&stat) }))
    }

    /// The identity of the file under `name`, without opening it.
    pub(crate) fn id(&self, name: &OsStr) -> Option<Id> {
        rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|s| id_of(&s))
    }

    /// Like `inspect`, and narrows a mode wider than 0600. SQLite's files beside a database get the mode of the
    /// database when they are made. If the database was read-only then and can be written to now, so can they.
    pub(crate) fn inspect_and_narrow(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<Option<Found>, OpenError> {
        let found = self.inspect(name, role)?;
        if let Some(found) = &found
            && (found.mode & 0o177 != 0
                || found.mode & 0o200 == 0 && self.is_beside_a_writable_one(name))
        {
            rustix::fs::fchmod(&*found.file, Mode::from_raw_mode(0o600))
                .map_err(|e| io_error("narrowing the mode of", role, &e.into()))?;
        }
        Ok(found)
    }

    fn is_beside_a_writable_one(&self, name: &OsStr) -> bool {
        let own = |suffix: &&str| name.as_bytes().strip_suffix(suffix.as_bytes());
        SIDE_CARS.iter().find_map(own).is_some_and(|database| {
            let database = OsStr::from_bytes(database);
            rustix::fs::statat(&self.dir, database, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
                check(&stat, FileRole::Database).is_ok() && permissions(&stat) & 0o200 != 0
            })
        })
    }

    /// Creates a file with mode 0600 that must not exist yet.
    pub(crate) fn create_new(&self, name: &OsStr, role: FileRole) -> Result<Handle, OpenError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, name, flags, Mode::from_raw_mode(0o600))
            .map(Handle::of)
            .map_err(|e| io_error("creating", role, &e.into()))
    }

    /// Opens a file for writing, creating it with mode 0600. The second value says whether it was created.
    pub(crate) fn open_or_create(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<(Handle, bool), OpenError> {
        loop {
            match self.create_new(name, role) {
                Err(OpenError::Io { kind: io::ErrorKind::AlreadyExists, .. }) => {}
                created => return created.map(|file| (file, true)),
            }
            if let Some((file, _)) = self.open_existing(name, role)? {
                return Ok((file, false));
            }
        }
    }

    /// Opens a file of ours for writing and narrows its mode to 0600. Returns its length, too.
    fn open_existing(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<Option<(Handle, u64)>, OpenError> {
        if self.inspect_and_narrow(name, role)?.is_none() {
            return Ok(None);
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => Handle::of(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(OpenError::Symlink { role }),
            Err(e) => return Err(io_error("opening", role, &e.into())),
        };
        // The file may be another one than was inspected.
        let stat = rustix::fs::fstat(&*file).map_err(|e| io_error("opening", role, &e.into()))?;
        check(&stat, role)?;
        Ok(Some((file, u64::try_from(stat.st_size).unwrap_or(0))))
    }

    /// Fails unless the file under `name` is one that this process has open.
    ///
    /// SQLite is given a path. Anyone who may rename a directory above could give it another file between our checks
    /// and its opening. This is called after SQLite has opened the database, for the database and for its write-ahead
    /// log. No descriptor of ours is left on either, so the descriptor that is found is SQLite's, and it stays with it.
    /// The file that the path leads to now is compared instead where the descriptors of the process cannot be listed.
    pub(crate) fn confirm_opened(&self, name: &OsStr, role: FileRole) -> Result<(), OpenError> {
        let here =
            rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(
                |e| match e {
                    // SQLite could not make the file, which says nothing about the path.
                    Errno::NOENT if self.is_where_it_was() => {
                        io_error("opening", role, &io::ErrorKind::NotFound.into())
                    }
                    Errno::NOENT => OpenError::PathChanged { role },
                    e => io_error("looking for", role, &e.into()),
                },
            )?;
        let is_here = |meta: fs::Metadata| is_same_file(&here, &meta);
        let opened = match fs::read_dir("/proc/self/fd") {
            // The descriptors are read through the links of the directory: opening and closing a file would end
            // SQLite's locks on it.
            Ok(entries) => {
                let mut opened = false;
                for fd in entries {
                    let fd = fd.map_err(|e| io_error("looking for", role, &e))?;
                    opened |= fs::metadata(fd.path()).is_ok_and(is_here);
                }
                opened
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                fs::symlink_metadata(self.path(name)).is_ok_and(is_here)
            }
            Err(e) => return Err(io_error("opening", role, &e)),
        };
        if opened { Ok(()) } else { Err(OpenError::PathChanged { role }) }
    }

    /// Whether the path of the directory still leads to it.
    fn is_where_it_was(&self) -> bool {
        let there = fs::symlink_metadata(&self.dir_path);
        matches!((rustix::fs::fstat(&self.dir), there), (Ok(a), Ok(b)) if is_same_file(&a, &b))
    }

    /// The file system of the directory.
    pub(crate) fn file_system(&self) -> Result<Verdict, OpenError> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            let stat = rustix::fs::fstatfs(&*self.dir).map_err(|e| {
                io_error("reading the file system of", FileRole::Directory, &e.into())
            })?;
            // The type of the field differs between systems, and some sign-extend this 32-bit number.
            #[cfg(not(target_vendor = "apple"))]
            #[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation)]
            return Ok(file_system::fs_kind(stat.f_type as u32));
            #[cfg(target_vendor = "apple")]
            {
                let name = stat.f_fstypename.map(|c| c as u8);
                let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
                return Ok(file_system::fs_kind_named(&name[..end]));
            }
        }
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        Ok(Verdict::Good)
    }

    /// Whether nobody can write here, because the file system was mounted for reading only, or was remounted so by a
    /// failing disk.
    pub(crate) fn is_read_only(&self) -> bool {
        rustix::fs::fstatvfs(&*self.dir)
            .is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    }

    /// Whether `name` still leads to `file`.
    pub(crate) fn is_same(&self, name: &OsStr, file: &File) -> bool {
        let here = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((here, file.metadata()), (Ok(a), Ok(b)) if is_same_file(&a, &b))
    }
}

// The types of the fields differ between systems.
#[allow(clippy::unnecessary_cast)]
fn id_of(stat: &Stat) -> Id {
    (stat.st_dev as u64, stat.st_ino as u64)
}

fn is_same_file(stat: &Stat, meta: &fs::Metadata) -> bool {
    id_of(stat) == (meta.dev(), meta.ino())
}

fn permissions(stat: &Stat) -> u32 {
    // The type of `st_mode` differs between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let mode = stat.st_mode as u32;
    mode & 0o7777
}

fn check(stat: &Stat, role: FileRole) -> Result<(), OpenError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(OpenError::Symlink { role }),
        _ => return Err(OpenError::NotAFile { role }),
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(OpenError::ForeignOwner { role });
    }
    if stat.st_nlink > 1 {
        return Err(OpenError::HardLink { role });
    }
    Ok(())
}

/// Makes `dir` and its missing parents, each with mode 0700, and durable: content that is acknowledged in it must not
/// vanish with it. Returns the made directories, outermost first.
fn make_dirs(dir: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.exists()).collect();
    let mut made = Vec::new();
    for dir in missing.into_iter().rev() {
        let created = match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {
                made.push(dir.to_owned());
                sync_parent(dir)
            }
            // Another opener was faster.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                Err(OpenError::BadPath { role: FileRole::Directory })
            }
            Err(e) => Err(io_error("creating", FileRole::Directory, &e)),
        };
        if let Err(error) = created {
            remove_dirs(&made);
            return Err(error);
        }
    }
    Ok(made)
}

fn sync_parent(dir: &Path) -> Result<(), OpenError> {
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // A parent that may be written to but not read cannot be opened. Then there is no way to sync it.
    match File::open(parent) {
        Ok(parent) => parent.sync_all().map_err(|e| io_error("syncing", FileRole::Directory, &e)),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(e) => Err(io_error("opening", FileRole::Directory, &e)),
    }
}

fn remove_dirs(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        // This fails, rightly, when something else has been put there.
        let _ = fs::remove_dir(dir);
    }
}
