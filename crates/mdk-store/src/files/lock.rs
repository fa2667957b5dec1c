//! One owner per database: an exclusive lock of the operating system on a sibling file. It dies with its holder.
//!
//! The lock belongs to the open file, so it also keeps out a second opener in the same process. A child that was forked
//! while the database was open has the same open file: if the holder is killed, the lock lasts until such a child ends
//! too, or starts another program.

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

/// How long a holder may take from getting the lock to having written its pid.
const GRACE: Duration = Duration::from_millis(20);

/// The lock, held until dropped.
pub(crate) struct OwnerLock {
    file: File,
    place: Place,
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
            match try_lock(&file) {
                // An opener that failed may have removed the file between our opening and locking it.
                Ok(()) if !place.is_same(&name, &file) => {}
                Ok(()) => {
                    let lock =
                        Self { file, place: place.twin(), name, created, pid: std::process::id() };
                    return match write_pid(&lock.file) {
                        Ok(()) => Ok(lock),
                        Err(e) => {
                            lock.undo(place);
                            Err(io_error("writing", FileRole::Lock, &e))
                        }
                    };
                }
                Err(TryLockError::WouldBlock) => {
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Err(OpenError::Busy { pid: holder(&mut file) });
                    }
                    std::thread::sleep(POLL.min(wait));
                }
                Err(TryLockError::Error(e)) => return Err(io_error("locking", FileRole::Lock, &e)),
            }
        }
    }

    /// Whether the lock file is still the one that is locked. If it was removed or replaced, another opener may hold
    /// a lock of its own by now.
    pub(crate) fn is_intact(&self) -> bool {
        self.place.is_same(&self.name, &self.file)
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
            // The next holder must not be taken for this one until it has written its own pid.
            let _ = self.file.set_len(0);
            unlock(&self.file);
        }
    }
}

#[cfg(windows)]
use super::windows::{try_lock, unlock};

#[cfg(not(windows))]
fn try_lock(file: &File) -> Result<(), TryLockError> {
    file.try_lock()
}

#[cfg(not(windows))]
fn unlock(file: &File) {
    // A failure does not matter: the file is closed next.
    let _ = file.unlock();
}

fn write_pid(mut file: &File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// The pid of the holder. A new one may not have written its pid yet, and a dead one has not removed its own, so there
/// is a little patience for both.
fn holder(file: &mut File) -> Option<u32> {
    let start = Instant::now();
    loop {
        let pid = read_pid(file);
        // One that is not seen may still live, in a container of its own.
        if pid.is_some_and(is_alive) || start.elapsed() >= GRACE {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

#[cfg(unix)]
fn is_alive(pid: u32) -> bool {
    use rustix::{io::Errno, process};
    let pid = i32::try_from(pid).ok().and_then(process::Pid::from_raw);
    pid.is_some_and(|pid| matches!(process::test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
}

#[cfg(not(unix))]
fn is_alive(_pid: u32) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests;
