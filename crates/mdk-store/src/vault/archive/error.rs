//! The errors of a backup.

use std::io;

/// Why an archive was not written or not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveError {
    /// It does not begin like one, or its version or parameters are not ours.
    NotABackup,
    /// It does not authenticate under this passphrase.
    Refused,
    /// It authenticates but its content makes no sense. A newer version wrote it, or we have a bug.
    Malformed,
    /// More than the format can hold.
    TooLong,
    /// There is no memory to derive the key.
    OutOfMemory,
    /// The file cannot be read or written.
    Io(io::ErrorKind),
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}
