//! The errors, sorted by who must act. Opening has its own enum, because its failures have their own remedies.
//!
//! No message contains a path, a key, an identifier or SQL. Files are named by their role.

use std::io;

/// Result of an operation on an open database.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// An operation on an open database failed. Its transaction is rolled back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk or the quota is full. Free space, then call again: nothing was changed.
    #[error("the disk is full; nothing was changed")]
    DiskFull,
    /// The operating system refused to read or write. `code` is SQLite's extended result code. Look at the disk
    /// and the system log, then call again.
    #[error("reading or writing the database file failed (SQLite code {code})")]
    Io {
        /// SQLite's extended result code (<https://sqlite.org/rescode.html>).
        code: i32,
    },
    /// The database file is damaged: a page fails its authentication or the structure is broken. Restore a backup.
    #[error("the database file is damaged")]
    Corrupt,
    /// A row cannot be understood although the file is intact. Another program wrote it, or this is our bug.
    #[error("a stored row cannot be decoded: {what}")]
    Decode {
        /// The kind of row or field.
        what: &'static str,
    },
    /// The file or its file system is read-only. Give the process write access.
    #[error("the database file is read-only")]
    ReadOnly,
    /// Another connection holds the database. Close it, or wait and call again.
    #[error("the database is in use by another connection")]
    Busy,
    /// A value given by the caller cannot be stored. The field names it; it is the caller's mistake.
    #[error("cannot be stored: {what}")]
    Invalid {
        /// The field and the rule that it breaks.
        what: &'static str,
    },
    /// This process was forked while a database was open, and is the child: it can use no database. Open it in a
    /// process that is started anew.
    #[error(
        "a database was open when this process was forked; only a process that is started anew can open one"
    )]
    WrongProcess,
    /// The lock file was removed or replaced while the database was open, so another process may have opened it too.
    /// Nothing more is written here. Close it and open it again; remove no lock file of an open database.
    #[error("the lock file was removed or replaced while the database was open")]
    LockLost,
    /// A re-key could open neither the new nor the old file again, for a reason that its error told. Open the database
    /// anew: that finishes or undoes it.
    #[error("the database was closed by a re-key that failed; open it again")]
    Closed,
    /// Our bug: SQL that does not fit the schema, a constraint that should hold, a value out of range. Report it.
    #[error("internal error in the store: {what} (SQLite code {code})")]
    Internal {
        /// The action.
        what: &'static str,
        /// SQLite's extended result code, or 0.
        code: i32,
    },
}

impl StoreError {
    /// An internal error that has no SQLite code.
    pub(crate) fn internal(what: &'static str) -> Self {
        Self::Internal { what, code: 0 }
    }
}

/// A database could not be opened. Nothing was created, and no key was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The key does not open this file, or the file is not an MDK database at all: encrypted data and garbage look
    /// alike. Check that key and file belong together.
    #[error("the key does not open the database file, or the file is not an encrypted database")]
    WrongKey,
    /// The key is the one in the record beside the file, but it does not open the file. The file was damaged at its
    /// beginning or replaced by another one. Put the right file back, or restore a backup.
    #[error("the file is not the database that the key belongs to: it was damaged or replaced")]
    NotADatabase,
    /// The file is a plain, unencrypted SQLite database. Open another file, or encrypt a copy of this one.
    #[error("the database file is an unencrypted SQLite database")]
    NotEncrypted,
    /// The file exists but is empty, and there is no write-ahead log beside it. Remove it to create a new database, or
    /// restore a backup.
    #[error("the database file is empty")]
    Empty,
    /// The file does not end at a page border, or ends before its last page. A copy was cut short, or the file is empty
    /// and its log is not. Restore a complete copy, or salvage the intact rows.
    #[error(
        "the database file is truncated: it ends after {size} bytes, before the end of its last page"
    )]
    Truncated {
        /// Its size in bytes.
        size: u64,
    },
    /// The key opens the file, but another program made it. Use another path.
    #[error("the database file belongs to another application (application id {found:#010x})")]
    ForeignDatabase {
        /// The `application_id` in its header.
        found: i32,
    },
    /// The file was written by a newer version of this software. Update, then open it again.
    #[error("the database has schema {found}; this version reads up to {supported}")]
    SchemaTooNew {
        /// The schema version of the file.
        found: u32,
        /// The newest one that this version knows.
        supported: u32,
    },
    /// The file is ours, and its schema is older than any that this version reads, or it has none (0). No release
    /// leaves a file like that: put back a copy of the file, or restore a backup.
    #[error("the database has schema {found}; this version reads from {oldest} on")]
    SchemaTooOld {
        /// The schema version of the file.
        found: u32,
        /// The oldest one that this version reads.
        oldest: u32,
    },
    /// The library that was linked is plain SQLite without a cipher. Rebuild with the bundled SQLCipher.
    #[error("SQLCipher is not linked into this build")]
    CipherMissing,
    /// A setting that protects the data was refused by SQLite or SQLCipher. Rebuild with the bundled SQLCipher.
    #[error("the database library does not honour the setting {setting}")]
    SettingRefused {
        /// Name of the `PRAGMA`.
        setting: &'static str,
    },
    /// Another [`Store`](crate::Store), in this process or another one, has the database open. Close that one.
    #[error("the database is already open{}", .pid.map(|p| format!(" in process {p}")).unwrap_or_default())]
    Busy {
        /// Process id of the holder, when it could be read.
        pid: Option<u32>,
    },
    /// The database exists but its key is not where it should be (`source`). Put the key back, or name the place where
    /// it is; a new key cannot open old data.
    #[error("the {source} holds no key for the database", source = source_text(source))]
    KeyMissing {
        /// The kind of place, as in [`StoreInfo::key_source`](crate::StoreInfo::key_source).
        r#source: &'static str,
    },
    /// No key was given, and the record beside the database says that one has to be given (`source`): the key is kept
    /// nowhere, or opened with a passphrase. Give it.
    #[error("the key of the database has to be given each time; it was last given as: {source}")]
    KeyNotGiven {
        /// The kind of source, as in [`StoreInfo::key_source`](crate::StoreInfo::key_source).
        r#source: &'static str,
    },
    /// The key file is readable or writable by others. Run `chmod 600` on it.
    #[error("the key file has mode {mode:03o}; run `chmod 600` on it")]
    KeyFileTooWide {
        /// Its permission bits.
        mode: u32,
    },
    /// The content of the place of the key (`source`) is not a key as this software writes or reads it. Put the right
    /// one back.
    #[error("the {source} does not contain a key", source = source_text(source))]
    KeyMalformed {
        /// The kind of place, as in [`StoreInfo::key_source`](crate::StoreInfo::key_source).
        r#source: &'static str,
    },
    /// The key has another length than 32 bytes. Give the whole key.
    #[error("the key has {found} bytes; 32 are needed")]
    KeyLength {
        /// The number of bytes.
        found: usize,
    },
    /// An identifier is empty, too long or holds a character that cannot be stored (NUL among them). Choose another
    /// one.
    #[error(
        "the {which} is empty, longer than {limit} bytes, or has a character that is not allowed"
    )]
    BadIdentifier {
        /// The identifier: `service`, `key id`, `secret name`, `variable name`.
        which: &'static str,
        /// The most bytes that it may have.
        limit: usize,
    },
    /// The passphrase is empty or too long. Choose another one.
    #[error("the passphrase has {length} bytes; 1 to {limit} are possible")]
    BadPassphrase {
        /// Its length in bytes.
        length: usize,
        /// The longest one.
        limit: usize,
    },
    /// The passphrase is too short for a new key or a new backup. Choose a longer one; what has a shorter one still opens.
    #[error(
        "the passphrase has {length} characters; one for a new key or backup has at least {least}"
    )]
    ShortPassphrase {
        /// Its length in characters.
        length: usize,
        /// The shortest one.
        least: usize,
    },
    /// The passphrase does not open the key file beside the database, or that file was changed. Both look alike on
    /// purpose. Try again, or restore the key file.
    #[error("the passphrase is wrong, or its key file was changed")]
    WrongPassphrase,
    /// The callback that should give the key failed. Its error may hold a secret and is not shown. Look at the
    /// callback.
    #[error("the callback that gives the key failed")]
    CallbackFailed,
    /// There is no keyring: no D-Bus session, no service behind it, or this system has no store of the kind that was
    /// asked for. Start one, or choose another place for the key, for example a key file.
    #[error("the keyring cannot be reached")]
    KeyringUnavailable,
    /// The keyring is locked and was not unlocked, or it refuses this program. Unlock it, then open again.
    #[error("the keyring is locked, or it refused access")]
    KeyringLocked,
    /// The keyring did not answer in time; it may be waiting for somebody to unlock it. Unlock it, or allow more time.
    #[error("the keyring did not answer within {seconds} s")]
    KeyringTimeout {
        /// The time that was waited.
        seconds: u64,
    },
    /// The store keeps keys only until a reboot or logout, and the database would be lost with them. Choose another
    /// store, or say that this is wanted (`allow_volatile`).
    #[error("the key store is volatile: it forgets its keys at reboot or logout")]
    VolatileStore,
    /// More than one entry of the keyring has this service and key id. Remove the one that is not ours.
    #[error("the keyring has more than one entry for this service and key id")]
    KeyringAmbiguous,
    /// The record of where the key is (`.keyinfo` beside the database) cannot be read, or a newer version wrote it.
    /// Update, or move it away: a key that is named in full (service and key id, path, passphrase) opens the database
    /// without it.
    #[error("the key record beside the database cannot be read")]
    KeyRecordMalformed,
    /// A re-key was interrupted after the new key took effect, and the key that was given is the old one. Open the
    /// database with the new key (`source` says where it comes from); that completes it.
    #[error("a re-key was interrupted: the database needs the new key, from: {source}")]
    RekeyInterrupted {
        /// The source of the new key.
        r#source: &'static str,
    },
    /// The key was stored but reads back differently. Check its store; the new files were removed.
    #[error("the key does not read back as it was stored")]
    KeyReadBack,
    /// A key of this name, or the record of one (`.keyinfo`), exists, but the database does not. Put the database back.
    /// If it is really gone and you want to start anew, remove the record and the key, or choose another key id.
    #[error("a key or its record exists, but the database does not")]
    DatabaseMissingButKeyPresent,
    /// A restore, a salvage or a copy that was to make this database was interrupted. Call it again. To have an empty
    /// database instead, remove its leftovers: `NAME.tmp`, the record (`NAME.keyinfo`) and the key that it has made.
    #[error("a restore, salvage or copy that was to make the database was interrupted")]
    RestoreInterrupted,
    /// A write-ahead log exists beside a database that does not. It may hold the only copy of the newest messages: put
    /// the database file back, or move the log away to start anew.
    #[error("the database file is missing, but its write-ahead log exists")]
    DatabaseMissingButLogPresent,
    /// The directory is open to other users and cannot safely be tightened. Run `chmod 700` on it, or use a
    /// directory of your own below it.
    #[error(
        "the directory of the {role} has mode {mode:04o}; run `chmod 700` on it or use a directory of its own"
    )]
    DirectoryTooWide {
        /// The file whose directory it is.
        role: FileRole,
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link is in the place of a file. Give the path of the file itself.
    #[error("the {role} is a symbolic link")]
    Symlink {
        /// The file.
        role: FileRole,
    },
    /// A FIFO, a device, a socket or a directory is in the place of a file. Use another path.
    #[error("the {role} is not a regular file")]
    NotAFile {
        /// The file.
        role: FileRole,
    },
    /// The file has more than one name, so another path leads to it too. Remove the other link.
    #[error("the {role} has more than one hard link")]
    HardLink {
        /// The file.
        role: FileRole,
    },
    /// The file or directory belongs to another user. Run as that user, or use another path.
    #[error("the {role} belongs to another user")]
    ForeignOwner {
        /// The file.
        role: FileRole,
    },
    /// The file system of the directory cannot hold a database: it is shared between machines (NFS, SMB, 9p and their
    /// like), where SQLite's write-ahead log does not hold, or it has no modes (FAT, exFAT, NTFS). Use a directory on a
    /// local disk.
    #[error(
        "the directory of the {role} is on {kind}, which {why}; use a directory on a local disk"
    )]
    UnsuitableFileSystem {
        /// The file whose directory it is.
        role: FileRole,
        /// The name of the file system, for example `NFS`.
        kind: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// Windows: the directory is open to other accounts and holds other files, so that it is not tightened. Run the
    /// command of the message on it, or use a directory of your own below it.
    #[error(
        "the directory of the {role} is open to other accounts; run `icacls . /inheritance:r /grant:r \
         \"%USERNAME%:(OI)(CI)F\" \"SYSTEM:(OI)(CI)F\"` in it or use a directory of its own"
    )]
    DirectoryTooOpen {
        /// The file whose directory it is.
        role: FileRole,
    },
    /// A directory on the path was moved or replaced during the opening, so that another file than the checked one was
    /// opened. Find out who may rename the directories above, then open it again.
    #[error("a directory on the path of the {role} was replaced while it was being opened")]
    PathChanged {
        /// The file.
        role: FileRole,
    },
    /// The path cannot be used. It has no file name, or a parent is not a directory, or it (or a name that is made from
    /// it) is the path of another file, such as one that the database keeps beside it. Use another path.
    #[error("the path of the {role} cannot be used")]
    BadPath {
        /// The file.
        role: FileRole,
    },
    /// The file cannot have this name. It would have the name of a file beside another database, or names made from it
    /// would be too long or cannot be recorded. The message says which. Use another name.
    #[error("the {role} cannot have this name: {why}")]
    BadName {
        /// The file.
        role: FileRole,
        /// The fault of the name, and the remedy.
        why: &'static str,
    },
    /// The path of the database, made absolute and with its links followed, is longer than SQLite takes. Use a shorter
    /// one.
    #[error(
        "the absolute path of the database file has {length} bytes; {limit} are possible, because SQLite opens none of more \
         than 512 with what stands behind the name of the files beside it"
    )]
    PathTooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest one.
        limit: usize,
    },
    /// A file has a name that is made from the name of the database, and nothing shows that it belongs to the database.
    /// Move it away, or use another path.
    #[error("a file that is not of this database has its name with `{suffix}` behind it")]
    NameTaken {
        /// The suffix behind the name of the database.
        suffix: &'static str,
    },
    /// The operating system refused. The kind says why; see the system log.
    #[error("{action} the {role} failed: {kind}")]
    Io {
        /// The action.
        action: &'static str,
        /// The file.
        role: FileRole,
        /// The reason.
        kind: io::ErrorKind,
    },
    /// The database is open but setting it up failed. See the inner error.
    #[error("the database could not be set up: {0}")]
    Store(#[from] StoreError),
}

/// A key source in words.
fn source_text(source: &str) -> &'static str {
    match source {
        "keyring" => "keyring",
        "file" => "key file",
        "fd" => "file descriptor",
        "secret" => "secret directory",
        "passphrase" => "key file of the passphrase",
        "callback" => "callback",
        "env" => "environment variable",
        _ => "key",
    }
}

/// A file by its purpose. Errors name files so, never by path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileRole {
    /// The database itself.
    Database,
    /// The file that holds the owner lock.
    Lock,
    /// The file that holds the key.
    Key,
    /// The record of where the key is.
    KeyRecord,
    /// The directory that holds them.
    Directory,
    /// A backup.
    Backup,
}

impl std::fmt::Display for FileRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Database => "database file",
            Self::Lock => "lock file",
            Self::Key => "key file",
            Self::KeyRecord => "key record",
            Self::Directory => "directory",
            Self::Backup => "backup file",
        })
    }
}
