//! [`Place`] where there is no Unix: the standard library only. Access rules are inherited from the directory.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{Found, io_error};
use crate::{FileRole, OpenError};

/// A directory and the name of a file in it.
pub(crate) struct Place {
    dir_path: PathBuf,
    name: OsString,
}

impl Place {
    pub(crate) fn of(path: &Path, role: FileRole) -> Result<Self, OpenError> {
        let name = path.file_name().ok_or(OpenError::BadPath { role })?.to_owned();
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let dir_path = fs::create_dir_all(parent)
            .and_then(|()| fs::canonicalize(parent))
            .map_err(|e| io_error("opening", FileRole::Directory, &e))?;
        Ok(Self { dir_path, name })
    }

    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn path(&self, name: &OsStr) -> PathBuf {
        self.dir_path.join(name)
    }

    pub(crate) fn secure(
        &self,
        _role: FileRole,
        _ours: impl Fn(&OsStr) -> bool,
    ) -> Result<(), OpenError> {
        Ok(())
    }

    pub(crate) fn inspect(&self, name: &OsStr, role: FileRole) -> Result<Option<Found>, OpenError> {
        let path = self.path(name);
        let meta = match fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("looking for", role, &e)),
        };
        if meta.is_symlink() {
            return Err(OpenError::Symlink { role });
        }
        if !meta.is_file() {
            return Err(OpenError::NotAFile { role });
        }
        let file = File::open(&path).map_err(|e| io_error("opening", role, &e))?;
        Ok(Some(Found { file, size: meta.len(), mode: 0o600 }))
    }

    pub(crate) fn inspect_and_narrow(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<Option<Found>, OpenError> {
        self.inspect(name, role)
    }

    pub(crate) fn create_new(&self, name: &OsStr, role: FileRole) -> Result<File, OpenError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name))
            .map_err(|e| io_error("creating", role, &e))
    }

    pub(crate) fn open_or_create(
        &self,
        name: &OsStr,
        role: FileRole,
    ) -> Result<(File, bool), OpenError> {
        match self.create_new(name, role) {
            Err(OpenError::Io { kind: io::ErrorKind::AlreadyExists, .. }) => OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path(name))
                .map(|file| (file, false))
                .map_err(|e| io_error("opening", role, &e)),
            created => created.map(|file| (file, true)),
        }
    }

    pub(crate) fn is_same(&self, name: &OsStr, _file: &File) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn remove(&self, name: &OsStr) {
        let _ = fs::remove_file(self.path(name));
    }

    pub(crate) fn rename_new(
        &self,
        from: &OsStr,
        to: &OsStr,
        role: FileRole,
    ) -> Result<(), OpenError> {
        let to = self.path(to);
        if to.exists() {
            return Err(io_error("renaming", role, &io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(self.path(from), to).map_err(|e| io_error("renaming", role, &e))
    }

    pub(crate) fn sync_dir(&self) -> Result<(), OpenError> {
        Ok(())
    }

    pub(crate) fn remove_made_dirs(&self) {}
}
