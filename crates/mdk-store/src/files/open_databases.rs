//! Files that SQLite has open in this process, and descriptors that must stay open until it has closed them.
//!
//! SQLite's locks are record locks. All locks of a process on a file end when it closes any descriptor of that file,
//! even an unrelated one (<https://sqlite.org/howtocorrupt.html>, 2.2). A connection without its lock goes on writing
//! into a log. The next program that looks at the database moves that log into the file and removes it, and
//! acknowledged content is lost. So every descriptor that this crate opens by name is a [`Handle`]. A handle that is
//! dropped while SQLite has the file open, under any name, is kept here. It is closed when SQLite has closed the file.
//!
//! A child of `fork` inherits SQLite's state of these files, with connections that it cannot close and mutexes that may
//! be locked for ever. So this crate refuses everything in a child that was made while a connection was there.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::{Deref, DerefMut},
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use crate::StoreError;

/// The identity of a file, independent of its name: its device and its number there.
pub(crate) type Id = (u64, u64);

/// A file with connections that lock it, and descriptors that wait for their end.
struct Used {
    id: Id,
    connections: usize,
    kept: Vec<File>,
}

static FILES: Mutex<Vec<Used>> = Mutex::new(Vec::new());

/// The process that has used SQLite first (0 before that), and the number of its connections.
static OWNER: AtomicU32 = AtomicU32::new(0);
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

/// Counts a connection as long as it lives.
pub(crate) struct InProcess(u32);

impl InProcess {
    pub(crate) fn begin() -> Self {
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Self(std::process::id())
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // A connection that a child has inherited stays counted in the child: it is never closed there.
        if self.0 == std::process::id() {
            CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether this is a child that was forked while a connection was there, or a child of one.
fn is_forked() -> bool {
    let pid = std::process::id();
    match OWNER.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed) {
        Err(owner) if owner != pid && CONNECTIONS.load(Ordering::Relaxed) > 0 => true,
        _ => {
            OWNER.store(pid, Ordering::Relaxed);
            false
        }
    }
}

/// Fails in a child that was forked while any database was open.
pub(crate) fn refuse_forked() -> Result<(), StoreError> {
    if is_forked() { Err(StoreError::WrongProcess) } else { Ok(()) }
}

/// The files in use. `None` in a child that is refused: a thread of its parent may have held the lock.
fn used() -> Option<MutexGuard<'static, Vec<Used>>> {
    (!is_forked()).then(|| FILES.lock().unwrap_or_else(PoisonError::into_inner))
}

fn find(used: &mut [Used], id: Option<Id>) -> Option<&mut Used> {
    used.iter_mut().find(|used| Some(used.id) == id)
}

/// Files that a connection locks, from before it opens them. It is dropped after the connection is closed.
#[derive(Default)]
pub(crate) struct InUse(Vec<Id>);

impl InUse {
    /// Notes that this file, if there is one, is locked from now on.
    pub(crate) fn note_open(&mut self, id: Option<Id>) {
        let Some(id) = id.filter(|id| !self.0.contains(id)) else { return };
        let Some(mut used) = used() else { return };
        self.0.push(id);
        match find(&mut used, Some(id)) {
            Some(used) => used.connections += 1,
            None => used.push(Used { id, connections: 1, kept: Vec::new() }),
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let Some(mut used) = used() else { return };
        for id in self.0.drain(..) {
            if let Some(found) = find(&mut used, Some(id)) {
                found.connections -= 1;
            }
        }
        // The kept descriptors are closed before another connection can have a lock to lose.
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

    /// A kept handle that is free, as if it were just opened, for reading. Without it each look at an open database
    /// would cost a descriptor.
    pub(super) fn kept(id: Id) -> Option<Self> {
        let file = find(&mut used()?, Some(id))?.kept.pop()?;
        let mut handle = Self::of(file);
        handle.seek(SeekFrom::Start(0)).ok().map(|_| handle)
    }

    /// The file alone, for a file that SQLite never opens.
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
        let Some(mut used) = used() else { return };
        match find(&mut used, id) {
            Some(used) => used.kept.push(file),
            // The guard is still held, so no connection can begin to use it.
            None => drop(file),
        }
    }
}

/// Opens a file that the user has named, for reading. Links are followed. It may turn out to be a database that is
/// open.
///
/// # Errors
/// The error of the system.
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

/// Locks belong to the descriptor that took them on other systems.
#[cfg(not(unix))]
fn id_of(_meta: &std::fs::Metadata) -> Option<Id> {
    None
}
