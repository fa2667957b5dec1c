//! The findings of an opening, in the words of the table.

use crate::keys::key_metadata::DatabaseStage;

/// The stage in the key metadata beside the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metadata {
    Missing,
    Unreadable,
    /// A first opening has begun.
    Creating,
    /// The same for a database whose content comes from elsewhere, from a backup for example.
    Filling,
    /// The same for a database that takes the place of a plain one.
    Encrypting,
    Ready,
    /// The plain database whose place it took may still be there.
    ReadyWithPlainCopy,
}

impl From<DatabaseStage> for Metadata {
    fn from(stage: DatabaseStage) -> Self {
        match stage {
            DatabaseStage::Creating => Self::Creating,
            DatabaseStage::Filling => Self::Filling,
            DatabaseStage::Encrypting => Self::Encrypting,
            DatabaseStage::Ready => Self::Ready,
            DatabaseStage::ReadyWithPlainCopy => Self::ReadyWithPlainCopy,
        }
    }
}

/// The file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    Absent,
    /// A file without a byte, and without a log.
    Empty,
    /// A file shorter than a page, or one without a log that is no whole number of pages. A log may repair a
    /// half-written page.
    Cut,
    Plain,
    Whole,
}

/// Its write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogState {
    Missing,
    /// A log that is sound, or has a torn end. Nobody was told that a torn end is stored.
    Sound,
    /// A log that lost acknowledged content, or belongs to another database.
    Damaged,
}

/// The intent of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Open,
    /// A new file with the content of another: restore, salvage, copy.
    Make,
    EncryptInPlace,
}

/// The findings before a key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) file: FileState,
    pub(crate) log: LogState,
    pub(crate) metadata: Metadata,
}

/// The number of keys in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    One,
    /// A re-key is not finished: page 1 says which of the two counts.
    Two,
}

/// The key that has opened the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRole {
    /// The key that the metadata calls the database's.
    Recorded,
    /// The key that it calls the other.
    Other,
    /// One of them, in another key file.
    Moved,
    /// A key that the metadata does not name.
    Another,
}

/// The keys that were found in their places, if none of them opens the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeysFound {
    /// The key that the metadata calls the database's.
    pub(crate) recorded: bool,
    /// The key that it calls the other.
    pub(crate) other: bool,
    /// Any key.
    pub(crate) another: bool,
    /// A place could not be asked, or its content is no key.
    pub(crate) unreachable: bool,
}

/// The content of the place for the key of a new database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtLocation {
    /// A key that the caller gives. Nothing of it is stored.
    Given,
    Nothing,
    /// The key of an interrupted making.
    Begun,
    /// The key file of another passphrase, from an interrupted making.
    OtherPassphrase,
    /// The key of somebody else.
    Another,
}

/// The facts about a key that the metadata calls the other one of a re-key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherKey {
    /// The key has opened the database, or has its place, or is not kept by this software.
    pub(crate) counts: bool,
    /// Another database may need it.
    pub(crate) shared: bool,
    /// It was bound under the key that has opened the database.
    pub(crate) bound: bool,
}
