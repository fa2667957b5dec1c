//! Changes of the directory of a [`Place`]: renames, removals, wiping, and the room that is left.

use std::{
    ffi::OsStr,
    io::{self, Seek, SeekFrom, Write},
};

use rustix::{
    fs::{AtFlags, RenameFlags},
    io::Errno,
};

use super::Place;
use crate::{FileRole, OpenError, files::io_error};

/// Bytes that are overwritten at a time.
const CHUNK: usize = 64 * 1024;

/// The first bytes of a file, which are overwritten before all others: fewer than a disk writes at once, and more than
/// the header of a log.
const HEAD: usize = 512;

impl Place {
    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &OsStr) {
        // A failure is ignored: code that needs the name to be free fails on its own.
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
            // Some file systems do not know the flag. The plain rename below then serves, under the owner lock.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            other => return other.map_err(|e| io_error("renaming", role, &e.into())),
        }
        if rustix::fs::statat(&self.dir, to, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(io_error("renaming", role, &io::ErrorKind::AlreadyExists.into()));
        }
        self.replace(from, to, role)
    }

    /// Renames a file over another one, or to a name that is free.
    pub(crate) fn replace(
        &self,
        from: &OsStr,
        to: &OsStr,
        role: FileRole,
    ) -> Result<(), OpenError> {
        rustix::fs::renameat(&self.dir, from, &self.dir, to)
            .map_err(|e| io_error("renaming", role, &e.into()))
    }

    /// Exchanges the names of two existing files in one step. Returns `false`, with nothing done, where the system or
    /// the file system cannot.
    pub(crate) fn exchange(&self, a: &OsStr, b: &OsStr, role: FileRole) -> Result<bool, OpenError> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        return match rustix::fs::renameat_with(&self.dir, a, &self.dir, b, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
            Err(e) => Err(io_error("renaming", role, &e.into())),
        };
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        {
            let _ = (a, b, role);
            Ok(false)
        }
    }

    /// Overwrites a file with random bytes, makes that durable and removes it, if it is there. A file that is not ours
    /// alone (a link, another name for it, another owner) is refused and left alone.
    ///
    /// The first bytes are overwritten first, and durably. A loss of power may leave a log half overwritten. That must
    /// not be taken for a log, or its first frames would be moved over newer pages of the file.
    ///
    /// On flash, and on file systems that write changed blocks elsewhere (btrfs, zfs), old blocks can survive this.
    pub(crate) fn wipe(&self, name: &OsStr, role: FileRole) -> Result<(), OpenError> {
        let Some((mut file, size)) = self.open_existing(name, role)? else {
            return Ok(());
        };
        let failed = |e: &io::Error| io_error("overwriting", role, e);
        // One random block is repeated: zeros would become holes where the file system compresses.
        let mut block = vec![0u8; CHUNK];
        getrandom::fill(&mut block).map_err(|_| failed(&io::ErrorKind::Other.into()))?;
        file.seek(SeekFrom::Start(0)).map_err(|e| failed(&e))?;
        if size > HEAD as u64 {
            file.write_all(&block[..HEAD]).map_err(|e| failed(&e))?;
            file.sync_all().map_err(|e| failed(&e))?;
            file.seek(SeekFrom::Start(0)).map_err(|e| failed(&e))?;
        }
        let mut left = size;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            file.write_all(&block[..part]).map_err(|e| failed(&e))?;
            left -= part as u64;
        }
        file.sync_all().map_err(|e| failed(&e))?;
        rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())
            .map_err(|e| io_error("removing", role, &e.into()))
    }

    /// Makes creations, renames and removals in the directory durable.
    pub(crate) fn sync_dir(&self) -> Result<(), OpenError> {
        rustix::fs::fsync(&self.dir)
            .map_err(|e| io_error("syncing", FileRole::Directory, &e.into()))
    }

    /// The identity of this directory, independent of its path. It stays the same after a rename, and differs for a
    /// copy. `None` where the system does not give one.
    // The types of the fields differ between systems.
    #[allow(clippy::unnecessary_cast)]
    pub(crate) fn directory_id(&self) -> Option<String> {
        let stat = rustix::fs::fstat(&self.dir).ok()?;
        // The number of a device may change after a restart. The number of a file system mostly stays.
        let volume = rustix::fs::fstatvfs(&self.dir).map_or(0, |volume| volume.f_fsid as u64);
        let volume = if volume == 0 { stat.st_dev as u64 } else { volume };
        Some(format!("{volume:x}-{:x}", stat.st_ino as u64))
    }

    /// Bytes that this user may still write on the file system of the directory.
    pub(crate) fn free_bytes(&self) -> Result<u64, OpenError> {
        let stat = rustix::fs::fstatvfs(&self.dir)
            .map_err(|e| io_error("reading the free space of", FileRole::Directory, &e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Removes the directories that were made for this place, as far as they are empty.
    pub(crate) fn remove_made_dirs(&self) {
        super::remove_dirs(&self.made);
    }
}
