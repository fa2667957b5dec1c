//! A file descriptor that gives a key, once.

use std::{
    fmt,
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

use crate::OpenError;

/// A file descriptor that another program opened for the key of a database.
///
/// The file behind the number is held from here on, and the number stays open until the key is read. Then both are
/// closed. All clones share them. The result is [`OpenError::KeyMissing`] on a second use, and if the number was closed
/// or given to another file meanwhile. Then nothing is read or closed: the number may belong to an open database by
/// then, whose locks would end with it.
#[derive(Clone)]
pub struct Descriptor {
    #[cfg(unix)]
    number: i32,
    state: Arc<Mutex<State>>,
}

enum State {
    /// A duplicate, which holds the file behind the number: no other file can get its inode as long as it lives.
    #[cfg(unix)]
    Open(std::os::fd::OwnedFd),
    /// The system gave no duplicate.
    #[cfg(unix)]
    Failed(OpenError),
    /// The key was read, or there never was one.
    Spent,
}

impl Descriptor {
    /// The descriptor of this number, which is given away with it. A descriptor has no key if it is not open for
    /// reading, or leads to something other than a file, pipe, socket or terminal.
    #[must_use]
    pub fn new(number: i32) -> Self {
        #[cfg(unix)]
        return Self { number, state: Arc::new(Mutex::new(unix::hold(number))) };
        #[cfg(not(unix))]
        {
            let _ = number;
            Self { state: Arc::new(Mutex::new(State::Spent)) }
        }
    }

    /// Fails unless the key can still be read from it.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            #[cfg(unix)]
            State::Open(held) if unix::is_same(self.number, held) => Ok(()),
            #[cfg(unix)]
            State::Failed(error) => Err(error.clone()),
            _ => Err(OpenError::KeyMissing { source: "fd" }),
        }
    }

    /// The file to read. The number is closed.
    pub(crate) fn take(&self) -> Result<File, OpenError> {
        self.check()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Spent) {
            #[cfg(unix)]
            State::Open(held) if unix::is_same(self.number, &held) => {
                unix::close(self.number);
                Ok(held.into())
            }
            _ => Err(OpenError::KeyMissing { source: "fd" }),
        }
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Descriptor(..)")
    }
}

#[cfg(unix)]
mod unix {
    use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

    use rustix::{
        fs::{FileType, OFlags, fcntl_getfl},
        io::{Errno, fcntl_dupfd_cloexec},
    };

    use super::State;
    use crate::{FileRole, files};

    /// Numbers below are reserved for the standard streams, also where these are closed.
    const FIRST: i32 = 3;

    /// A borrowed descriptor, only for asking the system about the number.
    fn borrowed(number: &i32) -> Option<BorrowedFd<'_>> {
        // SAFETY: the system reports a number that is not open; -1 is the only number that is not allowed.
        (*number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(*number) })
    }

    pub(super) fn hold(number: i32) -> State {
        let Some(given) = borrowed(&number) else { return State::Spent };
        let held = match fcntl_dupfd_cloexec(given, FIRST) {
            Ok(held) => held,
            Err(Errno::BADF) => return State::Spent,
            Err(error) => {
                return State::Failed(files::io_error("opening", FileRole::Key, &error.into()));
            }
        };
        if !is_for_reading(&held) {
            return State::Spent;
        }
        // A directory, an event queue or the like never holds a key. The caller has given a wrong number.
        match rustix::fs::fstat(&held).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(
                FileType::RegularFile
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice,
            ) => State::Open(held),
            _ => State::Spent,
        }
    }

    /// Whether it was opened for reading. Standard output often was not.
    fn is_for_reading(held: &OwnedFd) -> bool {
        let Ok(flags) = fcntl_getfl(held) else { return false };
        // A descriptor that is open for its path alone has the access mode of a readable one.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let flags = if flags.contains(OFlags::PATH) { OFlags::WRONLY } else { flags };
        flags & OFlags::RWMODE != OFlags::WRONLY
    }

    /// Whether the number still leads to the same file.
    pub(super) fn is_same(number: i32, held: &OwnedFd) -> bool {
        let now = borrowed(&number).and_then(|given| rustix::fs::fstat(given).ok());
        matches!((now, rustix::fs::fstat(held)), (Some(a), Ok(b))
            if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    pub(super) fn close(number: i32) {
        // SAFETY: it is open, and the caller has given it away.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}
