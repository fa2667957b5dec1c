//! One owner per database: an exclusive lock of the operating system on a sibling file. It dies with its holder.

use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    time::{Duration, Instant},
};

use super::{Place, io_error};
use crate::{FileRole, OpenError};

/// How often a waiting opener looks again.
const POLL: Duration = Duration::from_millis(5);

/// The lock, held until dropped.
pub(crate) struct OwnerLock {
    file: File,
    name: OsString,
    created: bool,
    pid: u32,
}

impl OwnerLock {
    /// Takes the lock that belongs to `place`, waiting up to `wait` for its holder to let go.
    pub(crate) fn take(place: &Place, wait: Duration) -> Result<Self, OpenError> {
        let name = super::with_suffix(place.name(), ".lock");
        let deadline = Instant::now().checked_add(wait);
        loop {
            let (mut file, created) = place.open_or_create(&name, FileRole::Lock)?;
            match file.try_lock() {
                // An opener that failed may have removed the file between our opening and locking it.
                Ok(()) if !place.is_same(&name, &file) => {}
                Ok(()) => {
                    write_pid(&mut file).map_err(|e| io_error("writing", FileRole::Lock, &e))?;
                    return Ok(Self { file, name, created, pid: std::process::id() });
                }
                Err(TryLockError::WouldBlock) => {
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Err(OpenError::Busy { pid: read_pid(&mut file) });
                    }
                    std::thread::sleep(POLL.min(wait));
                }
                Err(TryLockError::Error(e)) => return Err(io_error("locking", FileRole::Lock, &e)),
            }
        }
    }

    /// Removes the lock file if this opener created it: a failed open leaves no new file.
    pub(crate) fn undo(self, place: &Place) {
        if self.created {
            // While the lock is still held, so that nobody can hold a lock on the removed file unnoticed.
            place.remove(&self.name);
        }
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Said aloud, because a forked child may have inherited the file and would keep the lock alive. That
        // child in turn must not release what its parent still holds.
        if self.pid == std::process::id() {
            let _ = self.file.unlock();
        }
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}
