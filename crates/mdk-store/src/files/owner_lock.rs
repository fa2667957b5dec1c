//! One owner per database: an exclusive lock of the operating system on a sibling file. It dies with its holder.
//!
//! The lock belongs to the open file, so it also keeps out a second opener in the same process. A child that was forked
//! while the database was open has the same open file, and closes it at once: see [`let_go_in_child`]. A child that was
//! forked behind Python's back does not call that. The lock then lasts until the child ends too, or starts another
//! program.

use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::{Place, io_error};
use crate::{FileRole, OpenError, StoreError};

/// The time between two tries of a waiting opener.
const POLL: Duration = Duration::from_millis(5);

/// The time that a holder may take from getting the lock to writing its pid.
const GRACE: Duration = Duration::from_millis(20);

/// The locked file; `None` in a child that has let go of it.
type Held = Arc<Mutex<Option<File>>>;

/// All locks of this process.
static ALL: Mutex<Vec<Weak<Mutex<Option<File>>>>> = Mutex::new(Vec::new());

/// The lock, held until dropped.
pub(crate) struct OwnerLock {
    file: Held,
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
            let (file, created) = place.open_or_create(&name, FileRole::Lock)?;
            let mut file = file.into_file();
            match try_lock(&file) {
                // An opener that failed may have removed the file between our opening and locking it.
                Ok(()) if !place.is_same(&name, &file) => {}
                Ok(()) => {
                    let written = write_pid(&file);
                    let lock = Self::of(file, place, name, created);
                    return match written {
                        // A full disk hides the holder's pid from others, but the lock is held all the same. Callers
                        // that only read, or write elsewhere, are needed most when a disk is full.
                        Ok(()) => Ok(lock),
                        Err(e) if is_without_room(&e) => Ok(lock),
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

    /// Takes the lock where no file can be made or written to, if there is a lock file at all. Without a lock file
    /// nobody has opened the database before, and nobody can now.
    pub(crate) fn take_unwritable(place: &Place) -> Result<Option<Self>, OpenError> {
        let name = super::with_suffix(place.name(), ".lock");
        let Some(found) = place.inspect(&name, FileRole::Lock)? else { return Ok(None) };
        let mut file = found.file.into_file();
        match try_lock(&file) {
            Ok(()) => Ok(Some(Self::of(file, place, name, false))),
            Err(TryLockError::WouldBlock) => Err(OpenError::Busy { pid: holder(&mut file) }),
            Err(TryLockError::Error(e)) => Err(io_error("locking", FileRole::Lock, &e)),
        }
    }

    fn of(file: File, place: &Place, name: OsString, created: bool) -> Self {
        let file = Arc::new(Mutex::new(Some(file)));
        let mut all = guard(&ALL);
        all.retain(|held| held.strong_count() > 0);
        all.push(Arc::downgrade(&file));
        Self { file, place: place.twin(), name, created, pid: std::process::id() }
    }

    /// Whether the lock file is still the one that is locked. If it was removed or replaced, another opener may hold a
    /// lock of its own by now.
    pub(crate) fn is_intact(&self) -> bool {
        guard(&self.file).as_ref().is_some_and(|file| self.place.is_same(&self.name, file))
    }

    /// Fails if another opener may hold a lock of its own by now. It is called before each step that would undo the
    /// other opener's work.
    pub(crate) fn require(&self) -> Result<(), StoreError> {
        if self.is_intact() { Ok(()) } else { Err(StoreError::LockLost) }
    }

    /// Removes the lock file if this opener created it: a failed open leaves no new file. A file that another opener
    /// has put in its place stays.
    pub(crate) fn undo(self, place: &Place) {
        if self.created && self.is_intact() {
            // The lock is still held here, so that nobody can hold a lock on the removed file unnoticed.
            place.remove(&self.name);
        }
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // The lock is released explicitly, because a forked child may have inherited the file and would keep the lock
        // alive. That child in turn must not release a lock that its parent still holds.
        if self.pid == std::process::id()
            && let Some(file) = guard(&self.file).take()
        {
            // The next holder must not be taken for this one until it has written its own pid.
            let _ = file.set_len(0);
            unlock(&file);
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes the locks that a child has inherited, and leaves them to its parent. They then end with the parent and not
/// with the child. A child of `fork` must call this before anything else of this crate. If a database was open at the
/// fork, neither the child nor its own children can open one: [`StoreError::WrongProcess`].
pub fn let_go_in_child() {
    // A thread of the parent may have held one of these mutexes. That thread does not exist here, so nothing waits for
    // it.
    let Ok(all) = ALL.try_lock() else { return };
    for held in all.iter().filter_map(Weak::upgrade) {
        if let Ok(mut file) = held.try_lock() {
            *file = None;
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

fn is_without_room(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The pid of the holder. A new holder may not have written its pid yet, and a dead one has not removed its own. So
/// there is a little patience for both.
fn holder(file: &mut File) -> Option<u32> {
    let start = Instant::now();
    loop {
        let pid = read_pid(file);
        // A process that is not seen may still live, in a container of its own.
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
