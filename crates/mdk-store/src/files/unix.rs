//! [`Place`] on Unix.

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
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
};

use super::{Found, io_error};
use crate::{FileRole, OpenError};

/// A directory, held open, and the name of a file in it.
pub(crate) struct Place {
    dir: OwnedFd,
    dir_path: PathBuf,
    name: OsString,
    /// Directories that this call made, outermost first; taken back if nothing was put into them.
    made: Vec<PathBuf>,
}

impl Place {
    /// Opens the directory of `path`; makes it, with mode 0700, if it is missing.
    pub(crate) fn of(path: &Path, role: FileRole) -> Result<Self, OpenError> {
        let name = path.file_name().ok_or(OpenError::BadPath { role })?.to_owned();
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let made = make_dirs(parent)?;
        let opened = fs::canonicalize(parent).and_then(|dir_path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok((rustix::fs::open(&dir_path, flags, Mode::empty())?, dir_path))
        });
        match opened {
            Ok((dir, dir_path)) => Ok(Self { dir, dir_path, name, made }),
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

    /// A path of a file in the directory without symbolic links in front of its name.
    pub(crate) fn path(&self, name: &OsStr) -> PathBuf {
        self.dir_path.join(name)
    }

    /// Makes the directory private, or refuses it. It is tightened if we own it and it holds nothing but files
    /// that `ours` accepts.
    pub(crate) fn secure(
        &self,
        role: FileRole,
        ours: impl Fn(&OsStr) -> bool,
    ) -> Result<(), OpenError> {
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
        // Looked at before it is opened, because opening a device can do things.
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => check(&stat, role)?,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(io_error("looking for", role, &e.into())),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::LOOP) => return Err(OpenError::Symlink { role }),
            Err(e) => return Err(io_error("opening", role, &e.into())),
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| io_error("opening", role, &e.into()))?;
        check(&stat, role)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Some(Found { file, size, mode: permissions(&stat) }))
    }

    /// Like `inspect`, and a wider mode than 0600 is narrowed.
    pub(crate) fn inspect_and_narrow(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<Option<Found>, OpenError> {
        let found = self.inspect(name, role)?;
        if let Some(found) = &found
            && found.mode & 0o177 != 0
        {
            rustix::fs::fchmod(&found.file, Mode::from_raw_mode(0o600))
                .map_err(|e| io_error("narrowing the mode of", role, &e.into()))?;
        }
        Ok(found)
    }

    /// Creates a file with mode 0600 that must not exist yet.
    pub(crate) fn create_new(&self, name: &OsStr, role: FileRole) -> Result<File, OpenError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, name, flags, Mode::from_raw_mode(0o600))
            .map(File::from)
            .map_err(|e| io_error("creating", role, &e.into()))
    }

    /// Opens a file for writing, creating it with mode 0600. The second value says whether it was created.
    pub(crate) fn open_or_create(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<(File, bool), OpenError> {
        loop {
            match self.create_new(name, role) {
                Err(OpenError::Io { kind: io::ErrorKind::AlreadyExists, .. }) => {}
                created => return created.map(|file| (file, true)),
            }
            if self.inspect_and_narrow(name, role)?.is_none() {
                continue;
            }
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
                Ok(fd) => return Ok((File::from(fd), false)),
                Err(Errno::NOENT) => {}
                Err(Errno::LOOP) => return Err(OpenError::Symlink { role }),
                Err(e) => return Err(io_error("opening", role, &e.into())),
            }
        }
    }

    /// Whether `name` still is the file that `file` is.
    pub(crate) fn is_same(&self, name: &OsStr, file: &File) -> bool {
        let here = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((here, file.metadata()), (Ok(a), Ok(b)) if a.st_dev == b.dev() && a.st_ino == b.ino())
    }

    /// Removes a file; that it is not there is fine.
    pub(crate) fn remove(&self, name: &OsStr) {
        // Nothing to be done about a failure: what needs the name to be free fails on its own.
        let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
    }

    /// Renames a file to a name that must be free.
    pub(crate) fn rename_new(
        &self,
        from: &OsStr,
        to: &OsStr,
        role: FileRole,
    ) -> Result<(), OpenError> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        match rustix::fs::renameat_with(&self.dir, from, &self.dir, to, RenameFlags::NOREPLACE) {
            // Some file systems do not know the flag; the plain rename below then serves, under the owner lock.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            other => return other.map_err(|e| io_error("renaming", role, &e.into())),
        }
        if rustix::fs::statat(&self.dir, to, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(io_error("renaming", role, &io::ErrorKind::AlreadyExists.into()));
        }
        rustix::fs::renameat(&self.dir, from, &self.dir, to)
            .map_err(|e| io_error("renaming", role, &e.into()))
    }

    /// Makes creations, renames and removals in the directory durable.
    pub(crate) fn sync_dir(&self) -> Result<(), OpenError> {
        rustix::fs::fsync(&self.dir)
            .map_err(|e| io_error("syncing", FileRole::Directory, &e.into()))
    }

    /// Removes the directories that were made for this place, as far as they are empty.
    pub(crate) fn remove_made_dirs(&self) {
        remove_dirs(&self.made);
    }
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

/// Makes `dir` and what is missing above it, each with mode 0700. Returns those made, outermost first.
fn make_dirs(dir: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.exists()).collect();
    let mut made = Vec::new();
    for dir in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => made.push(dir.to_owned()),
            // Another opener was faster.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => {
                remove_dirs(&made);
                return Err(match e.kind() {
                    io::ErrorKind::NotADirectory => {
                        OpenError::BadPath { role: FileRole::Directory }
                    }
                    _ => io_error("creating", FileRole::Directory, &e),
                });
            }
        }
    }
    Ok(made)
}

fn remove_dirs(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        // Fails, rightly, when something else has been put there.
        let _ = fs::remove_dir(dir);
    }
}
