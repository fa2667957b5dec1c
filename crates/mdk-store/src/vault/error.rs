//! The errors of operations on a whole database, sorted by who must act.

use std::{io, path::PathBuf};

use crate::{FileRole, OpenError, StoreError};

/// An operation on a whole database failed. The database before it still stands, and no temporary file is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Opening the database, its key or its directory failed. See the inner error.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing the open database failed. See the inner error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk has too little room. Free space, then call again.
    #[error("the disk has {available} bytes free, {needed} are needed")]
    NoSpace {
        /// The directory without room. It is not in the message.
        directory: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free for this user.
        available: u64,
    },
    /// The caller's progress callback asked to stop. Nothing was changed.
    #[error("cancelled; nothing was changed")]
    Cancelled,
    /// A file exists where a new one is to be written. Choose another path, or move it away.
    #[error("the {role} to be written exists already")]
    DestinationExists {
        /// The file.
        role: FileRole,
    },
    /// The keyring holds a key already under the id that the new one is to have. That key belongs to somebody and
    /// stays. Choose another id, or remove the key if nothing needs it.
    #[error("the keyring holds a key of this service and key id already")]
    KeyExists,
    /// The source file does not exist. Check the path.
    #[error("the {role} does not exist")]
    SourceMissing {
        /// The file.
        role: FileRole,
    },
    /// The database is in memory only; there is no file to work on. Use a database on disk.
    #[error("the database is in memory; it has no file")]
    InMemory,
    /// The database is encrypted already. Use `rekey`, or give its key to copy it.
    #[error("the database is encrypted already")]
    AlreadyEncrypted,
    /// Pages or rows are damaged, so nothing was written. Run `verify` to see what, `salvage` to save the rest.
    #[error("the database is damaged; nothing was written")]
    Damaged,
    /// The copy does not hold what its source holds. Nothing was replaced. Check the disk and report it.
    #[error("the copy differs from its source; nothing was replaced")]
    CopyDiffers,
    /// The passphrase does not open the backup, or the backup was changed. Both look alike on purpose.
    #[error("the passphrase is wrong, or the backup was damaged or changed")]
    BackupRefused,
    /// The file is not a backup of this software, or one of a newer version. Update, or choose another file.
    #[error("the file is not a backup that this version can read")]
    NotABackup,
    /// The passphrase is empty or too long. Choose another one.
    #[error("the passphrase has {length} bytes; 1 to {limit} are possible")]
    BadPassphrase {
        /// Its length in bytes.
        length: usize,
        /// The longest one.
        limit: usize,
    },
    /// The key source cannot make a key by itself. Give the new key.
    #[error("this key source cannot make a new key; give one")]
    NewKeyNeeded,
    /// The new key is the one that the database has already. Give another one.
    #[error("the new key is the old one")]
    SameKey,
    /// The operating system refused. The kind says why; see the system log.
    #[error("{action} the {role} failed: {kind}")]
    Io {
        /// The action.
        action: &'static str,
        /// Its file.
        role: FileRole,
        /// The reason.
        kind: io::ErrorKind,
    },
}

/// The error of a system call on a database file outside of SQLite.
pub(super) fn io(action: &'static str, error: &io::Error) -> VaultError {
    VaultError::Io { action, role: FileRole::Database, kind: error.kind() }
}
