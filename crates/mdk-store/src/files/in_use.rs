//! Files that SQLite has open in this process, and descriptors that must not be closed before it has closed them.
//!
//! SQLite's locks are record locks, and those of a process on a file end when it closes any descriptor of that file, also
//! one that had nothing to do with them (<https://sqlite.org/howtocorrupt.html>, 2.2). Without its lock, a connection goes
//! on writing into a log that the next program to look at the database moves into the file and removes: what was
//! acknowledged is lost. So every descriptor that this crate opens by name is a [`Handle`]. Dropped while SQLite has the
//! file open, under whatever name, it is kept here, and closed when SQLite has closed the file.
//!
//! What SQLite knows of the files that it has open belongs to the process, by device and number, and a child of `fork`
//! inherits it with connections that it cannot close. Opened there once more, such a file is taken for one that is open
//! already: no lock is asked for, and the index of its log is that of the parent, who may have closed the file since. The
//! log of a later owner then counts as empty, and is cut off. So no connection is opened there to a file that was open at
//! the fork. Its number may have gone to another file since, if the child has closed what it inherited: that one is
//! refused, too.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::{Deref, DerefMut},
    path::Path,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::Place;
use crate::StoreError;

/// Which file it is, whatever its name: its device and its number there.
pub(crate) type Id = (u64, u64);

/// A file with connections that lock it, and descriptors that wait for their end.
struct Used {
    id: Id,
    connections: usize,
    kept: Vec<File>,
}

struct Register {
    /// Whose it is; 0 before it is used.
    pid: AtomicU32,
    files: Mutex<Vec<Used>>,
    /// Files that were open when this process was forked; `None` if that is not known.
    inherited: Option<Vec<Id>>,
    /// That of a child which `fork` made of this process. There nobody may be left to release the lock of this one.
    child: OnceLock<Box<Self>>,
}

static FIRST: Register = Register::new(0, Some(Vec::new()));

impl Register {
    const fn new(pid: u32, inherited: Option<Vec<Id>>) -> Self {
        Self {
            pid: AtomicU32::new(pid),
            files: Mutex::new(Vec::new()),
            inherited,
            child: OnceLock::new(),
        }
    }

    /// That of this process. In a child that was forked behind Python's back it is made when it is first asked for.
    fn here() -> &'static Self {
        let mut found = &FIRST;
        while let Some(child) = found.child.get() {
            found = child;
        }
        let pid = std::process::id();
        match found.pid.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed) {
            Err(owner) if owner != pid => {
                found.child.get_or_init(|| Box::new(Self::new(pid, found.left_to_child())))
            }
            _ => found,
        }
    }

    /// What a child inherits: all that is open here, and what was inherited here.
    fn left_to_child(&self) -> Option<Vec<Id>> {
        let used = match self.files.try_lock() {
            Ok(used) => used,
            Err(TryLockError::Poisoned(used)) => used.into_inner(),
            // A thread of the parent was changing it.
            Err(TryLockError::WouldBlock) => return None,
        };
        let mut ids = self.inherited.clone()?;
        ids.extend(used.iter().map(|used| used.id));
        Some(ids)
    }

    fn is_inherited(&self, id: Option<Id>) -> bool {
        self.inherited.as_ref().is_none_or(|ids| id.is_some_and(|id| ids.contains(&id)))
    }
}

/// In a child nothing is in use yet: locks stay with its parent. What the parent has open is never opened here.
pub(super) fn begin_in_child() {
    Register::here();
}

/// Fails in a child that was forked while the file that stands under `name` was open, or may have been.
pub(crate) fn refuse_inherited(place: &Place, name: &OsStr) -> Result<(), StoreError> {
    match Register::here().is_inherited(place.id(name)) {
        true => Err(StoreError::WrongProcess),
        false => Ok(()),
    }
}

fn used() -> MutexGuard<'static, Vec<Used>> {
    Register::here().files.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(used: &mut [Used], id: Option<Id>) -> Option<&mut Used> {
    used.iter_mut().find(|used| Some(used.id) == id)
}

/// A connection locks these files from before it opens them. To be dropped after it is closed.
#[derive(Default)]
pub(crate) struct InUse(Vec<Id>);

impl InUse {
    /// The file that stands under `name` now is locked from now on.
    pub(crate) fn add(&mut self, place: &Place, name: &OsStr) {
        let Some(id) = place.id(name).filter(|id| !self.0.contains(id)) else { return };
        self.0.push(id);
        let mut used = used();
        match find(&mut used, Some(id)) {
            Some(used) => used.connections += 1,
            None => used.push(Used { id, connections: 1, kept: Vec::new() }),
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut used = used();
        for id in self.0.drain(..) {
            if let Some(found) = find(&mut used, Some(id)) {
                found.connections -= 1;
            }
        }
        // What was kept is closed before another connection can have a lock to lose.
        used.retain(|used| used.connections > 0);
    }
}

/// A file that was opened by its name.
pub(crate) struct Handle(Option<File>);

impl Handle {
    /// A file that was just opened.
    pub(crate) fn of(file: impl Into<File>) -> Self {
        Self(Some(file.into()))
    }

    /// One that was kept and is free, as if it were just opened, for reading. Without it each look at an open database
    /// would cost a descriptor.
    pub(super) fn kept(id: Id) -> Option<Self> {
        let file = find(&mut used(), Some(id))?.kept.pop()?;
        let mut handle = Self::of(file);
        handle.seek(SeekFrom::Start(0)).ok().map(|_| handle)
    }

    /// The file alone, for one that SQLite never opens.
    pub(crate) fn into_file(mut self) -> File {
        self.0.take().expect("it is there until it is dropped")
    }
}

impl Deref for Handle {
    type Target = File;

    fn deref(&self) -> &File {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Handle {
    fn deref_mut(&mut self) -> &mut File {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl Read for Handle {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read(buf)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let Some(file) = self.0.take() else { return };
        let id = id(&file);
        let mut used = used();
        match find(&mut used, id) {
            Some(used) => used.kept.push(file),
            // While no connection can begin to use it.
            None => drop(file),
        }
    }
}

/// Opens a file that somebody has named, for reading; links are followed. It may turn out to be a database that is open.
///
/// # Errors
/// What the system says.
pub fn open_to_read(path: &Path) -> io::Result<impl Deref<Target = File> + Read> {
    open(path)
}

/// The same, for this crate.
pub(crate) fn open(path: &Path) -> io::Result<Handle> {
    match path.metadata().ok().and_then(|meta| id_of(&meta)).and_then(Handle::kept) {
        Some(handle) => Ok(handle),
        None => File::open(path).map(Handle::of),
    }
}

fn id(file: &File) -> Option<Id> {
    file.metadata().ok().and_then(|meta| id_of(&meta))
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)]
fn id_of(meta: &std::fs::Metadata) -> Option<Id> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.dev(), meta.ino()))
}

/// Elsewhere locks belong to the descriptor that took them.
#[cfg(not(unix))]
fn id_of(_meta: &std::fs::Metadata) -> Option<Id> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_inherits_what_was_open_or_everything_if_that_is_not_known() {
        let (open, before, other) = ((1, 2), (1, 3), (1, 4));
        let parent = Register::new(1, Some(vec![before]));
        let used = Used { id: open, connections: 1, kept: Vec::new() };
        parent.files.lock().unwrap_or_else(PoisonError::into_inner).push(used);
        let child = Register::new(2, parent.left_to_child());
        let refused = |of: &Register| {
            [Some(open), Some(before), Some(other), None].map(|id| of.is_inherited(id))
        };
        assert_eq!(refused(&child), [true, true, false, false]);
        assert_eq!(refused(&parent), [false, true, false, false]);
        // A thread of the parent is in it.
        let held = parent.files.lock();
        let child = Register::new(2, parent.left_to_child());
        assert_eq!(refused(&child), [true; 4]);
        drop(held);
        let grandchild = Register::new(3, child.left_to_child());
        assert_eq!(refused(&grandchild), [true; 4]);
    }
}
