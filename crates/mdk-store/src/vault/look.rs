//! Looks at a database file that nobody has open, without changing it.

use std::{cell::RefCell, fs::File, path::Path};

use mdk_wire::Secret;
use zeroize::Zeroizing;

use super::{VaultError, error::io, scratch::Scratch};
use crate::{
    DatabaseKey, FileRole, OpenError, StoreError,
    files::{self, Handle, OwnerLock, Place, names},
    keys::{key_metadata, location},
    recovery::{explain_refusal, of_wrong_key},
    sqlcipher::{MAGIC, PAGE, SALT, connection::Conn, read_at},
    store::open,
};

/// A database file under its owner lock. Dropping it leaves no file that was not there before.
pub(crate) struct Source {
    pub(crate) place: Place,
    pub(crate) file: Handle,
    pub(crate) size: u64,
    pub(crate) log_file: Option<File>,
    /// Keeps out programs that do not know the owner lock.
    guard: RefCell<Option<Conn>>,
    /// The folder of `place`, if it is a copy.
    copy: Option<Scratch>,
    lock: Option<OwnerLock>,
}

impl Source {
    /// Takes the lock of the database at `path` and opens its files for reading. The files are copies if there is a log
    /// and nothing can be written beside it.
    pub(crate) fn take(path: &Path) -> Result<Self, VaultError> {
        let mut source = Self::take_to_read(path)?;
        if source.has_log() && !source.is_plain()? && source.place.is_read_only() {
            let copy = Scratch::with_record(&source.place)?;
            source.place = copy.place.twin();
            source.copy = Some(copy);
            source.refresh()?;
        }
        Ok(source)
    }

    /// The same for a caller that makes nothing beside the files. They are the originals at `path`.
    pub(crate) fn take_to_read(path: &Path) -> Result<Self, VaultError> {
        let missing = VaultError::SourceMissing { role: FileRole::Database };
        names::check(path, FileRole::Database)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        // Looking must not make the directory.
        if parent.is_some_and(files::is_missing) {
            return Err(missing);
        }
        let place = Place::of(path, FileRole::Database)?;
        let Some(found) = place.inspect(place.name(), FileRole::Database)? else {
            return Err(missing);
        };
        let log = place.inspect(&files::with_suffix(place.name(), "-wal"), FileRole::Database)?;
        // The content that an empty file lacks may be in its log.
        if found.size == 0 && log.is_none_or(|log| log.size == 0) {
            return Err(OpenError::Empty.into());
        }
        let lock = match place.is_read_only() {
            true => OwnerLock::take_unwritable(&place)?,
            false => Some(open::lock(&place, std::time::Duration::ZERO)?),
        };
        let mut source = Self {
            place,
            file: found.file,
            size: found.size,
            log_file: None,
            guard: RefCell::new(None),
            copy: None,
            lock,
        };
        // The files are opened again under the lock: another owner may have replaced them before.
        source.refresh()?;
        Ok(source)
    }

    /// Fails if another owner may have taken the lock of the database meanwhile.
    pub(super) fn require_owner(&self) -> Result<(), StoreError> {
        self.lock.as_ref().map_or(Ok(()), OwnerLock::require)
    }

    /// Whether the files are a copy, since nothing can be written beside the original.
    pub(super) fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// The lock, for a caller that writes beside the file.
    pub(super) fn owner(&self) -> Result<&OwnerLock, StoreError> {
        self.lock.as_ref().ok_or(StoreError::ReadOnly)
    }

    /// Opens the files once more, after a change.
    pub(crate) fn refresh(&mut self) -> Result<(), VaultError> {
        let missing = VaultError::SourceMissing { role: FileRole::Database };
        let found = self.place.inspect(self.place.name(), FileRole::Database)?.ok_or(missing)?;
        (self.file, self.size) = (found.file, found.size);
        let log = files::with_suffix(self.place.name(), "-wal");
        self.log_file =
            self.place.inspect(&log, FileRole::Database)?.map(|found| found.file.into_file());
        Ok(())
    }

    /// Holds SQLite's own lock on the file as long as this lives.
    pub(super) fn guard_with(&self, conn: Conn) {
        *self.guard.borrow_mut() = Some(conn);
    }

    /// The bytes in front of page 1: the salt, or the magic of a plain file.
    pub(crate) fn head(&self) -> Result<[u8; SALT], VaultError> {
        let mut head = [0u8; SALT];
        if self.size < SALT as u64 {
            return Err(OpenError::Truncated { size: self.size }.into());
        }
        read_at(&self.file, &mut head, 0).map_err(|e| io("reading", &e))?;
        Ok(head)
    }

    /// Fails if a part of the files cannot be read. Inside a statement SQLite says "damaged" of a read that the system
    /// refused (`EIO`), and a page that could be read in one moment may not be in the next.
    pub(super) fn read_through(&self) -> Result<(), VaultError> {
        read_through(&self.file)?;
        for suffix in ["-wal", "-journal"] {
            let name = files::with_suffix(self.place.name(), suffix);
            if let Some(found) = self.place.inspect(&name, FileRole::Database)? {
                read_through(&found.file)?;
            }
        }
        Ok(())
    }

    /// Whether there is a log that may hold something.
    pub(crate) fn has_log(&self) -> bool {
        self.log_file.as_ref().is_some_and(|file| file.metadata().map_or(true, |m| m.len() > 0))
    }

    /// Whether the file is a plain SQLite database.
    pub(crate) fn is_plain(&self) -> Result<bool, VaultError> {
        Ok(self.size >= SALT as u64 && &self.head()? == MAGIC)
    }

    /// Refuses an encrypted file that was cut inside its first page. SQLite takes it for empty and removes its log.
    pub(crate) fn require_first_page(&self) -> Result<(), OpenError> {
        match self.size < PAGE as u64 {
            true => Err(OpenError::Truncated { size: self.size }),
            false => Ok(()),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.guard.borrow().is_some() && self.log_file.is_none() {
            // SQLite makes an empty log for its lock. It is removed under that lock, or it could be somebody else's.
            let log = files::with_suffix(self.place.name(), "-wal");
            let found = self.place.inspect(&log, FileRole::Database);
            if matches!(found, Ok(Some(found)) if found.size == 0) {
                self.place.remove(&log);
            }
        }
        self.guard.take();
        if let Some(lock) = self.lock.take() {
            lock.undo(&self.place);
        }
    }
}

fn read_through(file: &File) -> Result<(), VaultError> {
    let mut part = Zeroizing::new(vec![0; 1 << 16]);
    let size = file.metadata().map_err(|e| io("looking at", &e))?.len();
    for at in (0..size).step_by(part.len()) {
        let length = usize::try_from(size - at).map_or(part.len(), |left| left.min(part.len()));
        read_at(file, &mut part[..length], at).map_err(|e| io("reading", &e))?;
    }
    Ok(())
}

/// Refuses keys that give nothing any more, before a file is opened. A missing file is no error here: its reader
/// reports it first.
pub(super) fn check_keys<'a>(
    from: &Path,
    keys: impl IntoIterator<Item = &'a DatabaseKey>,
) -> Result<(), OpenError> {
    match from.try_exists() {
        Ok(false) => Ok(()),
        _ => keys.into_iter().try_for_each(location::check_open),
    }
}

/// The meaning of SQLite's error about an encrypted source that exists. It is damage only where a page does not
/// authenticate or is missing.
pub(super) fn doubted(place: &Place, key: &Secret<32>, error: OpenError) -> VaultError {
    match explain_refusal(place, key, error) {
        OpenError::Store(StoreError::Corrupt) | OpenError::Truncated { .. } => VaultError::Damaged,
        OpenError::Store(error) => error.into(),
        error => error.into(),
    }
}

/// An error about a file that is read with this key, as opening says it.
pub(super) fn judged(place: &Place, key: &Secret<32>, error: VaultError) -> VaultError {
    match (error, key_metadata::read(place)) {
        (VaultError::Open(error), Ok(record)) => of_wrong_key(record.as_ref(), key, error).into(),
        (error, _) => error,
    }
}
