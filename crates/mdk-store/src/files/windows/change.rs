//! Changes of the directory of a [`Place`], and the owner lock.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    os::windows::io::AsRawHandle,
};

use windows_sys::Win32::{
    Foundation::{ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, GENERIC_READ, GENERIC_WRITE},
    Storage::FileSystem::{
        GetDiskFreeSpaceExW, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx,
        MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW, UnlockFileEx,
    },
    System::IO::OVERLAPPED,
};

use super::{Place, information, wide};
use crate::{FileRole, OpenError, files::io_error};

const CHUNK: usize = 64 * 1024;

/// The first bytes of a file, which are overwritten before all others: see `unix/change.rs`.
const HEAD: usize = 512;

/// The offset of the lock: far beyond the pid, because others cannot read a locked range.
const LOCK_OFFSET_HIGH: u32 = 0x4000_0000;

impl Place {
    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &OsStr) {
        // A failure is ignored: code that needs the name to be free fails on its own.
        let _ = fs::remove_file(self.path(name));
    }

    /// Renames a file to a name that must be free.
    pub(crate) fn rename_new(
        &self,
        from: &OsStr,
        to: &OsStr,
        role: FileRole,
    ) -> Result<(), OpenError> {
        self.rename(from, to, MOVEFILE_WRITE_THROUGH, role)
    }

    /// Renames a file over another one, or to a name that is free.
    pub(crate) fn replace(
        &self,
        from: &OsStr,
        to: &OsStr,
        role: FileRole,
    ) -> Result<(), OpenError> {
        self.rename(from, to, MOVEFILE_WRITE_THROUGH | MOVEFILE_REPLACE_EXISTING, role)
    }

    fn rename(
        &self,
        from: &OsStr,
        to: &OsStr,
        flags: u32,
        role: FileRole,
    ) -> Result<(), OpenError> {
        let (from, to) = (wide(self.path(from).as_os_str()), wide(self.path(to).as_os_str()));
        // SAFETY: both texts end with a zero and live beyond the call.
        if unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) } == 0 {
            return Err(io_error("renaming", role, &io::Error::last_os_error()));
        }
        Ok(())
    }

    /// Returns `false`, with nothing done: Windows cannot exchange two names in one step.
    #[allow(clippy::unused_self)]
    pub(crate) fn exchange(
        &self,
        _a: &OsStr,
        _b: &OsStr,
        _role: FileRole,
    ) -> Result<bool, OpenError> {
        Ok(false)
    }

    /// Overwrites a file with random bytes, makes that durable and removes it, if it is there. A file that is not ours
    /// alone (a link, another name for it, another owner) is refused and left alone.
    pub(crate) fn wipe(&self, name: &OsStr, role: FileRole) -> Result<(), OpenError> {
        let Some(found) = self.inspect(name, role)? else {
            return Ok(());
        };
        let failed = |e: &io::Error| io_error("overwriting", role, e);
        let mut file =
            self.open_file(name, GENERIC_READ | GENERIC_WRITE, role).map_err(|e| failed(&e))?;
        // The file that is opened now must be the one that was inspected.
        if !self.is_same(name, &found.file) {
            return Err(failed(&io::ErrorKind::NotFound.into()));
        }
        let mut block = vec![0u8; CHUNK];
        getrandom::fill(&mut block).map_err(|_| failed(&io::ErrorKind::Other.into()))?;
        file.seek(SeekFrom::Start(0)).map_err(|e| failed(&e))?;
        if found.size > HEAD as u64 {
            file.write_all(&block[..HEAD]).map_err(|e| failed(&e))?;
            file.sync_all().map_err(|e| failed(&e))?;
            file.seek(SeekFrom::Start(0)).map_err(|e| failed(&e))?;
        }
        let mut left = found.size;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            file.write_all(&block[..part]).map_err(|e| failed(&e))?;
            left -= part as u64;
        }
        file.sync_all().map_err(|e| failed(&e))?;
        drop((file, found));
        fs::remove_file(self.path(name)).map_err(|e| io_error("removing", role, &e))
    }

    /// Nothing to do: NTFS keeps its directories in a journal, and renames here write through.
    #[allow(clippy::unused_self)]
    pub(crate) fn sync_dir(&self) -> Result<(), OpenError> {
        Ok(())
    }

    /// The identity of this directory, independent of its path. It stays the same after a rename, and differs for a
    /// copy. `None` where the system does not give one.
    pub(crate) fn directory_id(&self) -> Option<String> {
        let facts = information(&self.dir).ok()?;
        let index = u64::from(facts.nFileIndexHigh) << 32 | u64::from(facts.nFileIndexLow);
        Some(format!("{:x}-{index:x}", facts.dwVolumeSerialNumber))
    }

    /// Bytes that this user may still write on the volume of the directory.
    pub(crate) fn free_bytes(&self) -> Result<u64, OpenError> {
        let path = wide(self.dir_path.as_os_str());
        let mut free = 0u64;
        // SAFETY: the text ends with a zero; null stands for the numbers that are not wanted.
        let done = unsafe {
            GetDiskFreeSpaceExW(
                path.as_ptr(),
                &raw mut free,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if done == 0 {
            let error = io::Error::last_os_error();
            return Err(io_error("reading the free space of", FileRole::Directory, &error));
        }
        Ok(free)
    }

    /// Removes the directories that were made for this place, as far as they are empty.
    pub(crate) fn remove_made_dirs(&self) {
        super::remove_dirs(&self.made);
    }
}

fn lock_place() -> OVERLAPPED {
    let mut place = OVERLAPPED::default();
    place.Anonymous.Anonymous.OffsetHigh = LOCK_OFFSET_HIGH;
    place
}

/// Takes the owner lock without waiting. Windows releases it when the handle is closed or its process dies.
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    let mut place = lock_place();
    let flags = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;
    // SAFETY: the handle is open for as long as `file` lives; it is synchronous, so `place` is not kept.
    if unsafe { LockFileEx(file.as_raw_handle(), flags, 0, 1, 0, &raw mut place) } != 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error().map(i32::cast_unsigned) {
        Some(ERROR_LOCK_VIOLATION | ERROR_IO_PENDING) => Err(TryLockError::WouldBlock),
        _ => Err(TryLockError::Error(error)),
    }
}

/// Releases the owner lock.
pub(crate) fn unlock(file: &File) {
    let mut place = lock_place();
    // SAFETY: as in `try_lock`. A failure does not matter: the handle is closed next.
    unsafe { UnlockFileEx(file.as_raw_handle(), 0, 1, 0, &raw mut place) };
}
