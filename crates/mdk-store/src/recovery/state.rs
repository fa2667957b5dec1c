//! What an opening finds, in the words of the table.

use crate::keys::key_metadata::DatabaseStage;

/// What the key metadata beside the database says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metadata {
    Missing,
    Unreadable,
    /// A first opening has begun.
    Creating,
    /// The same for what has its content from elsewhere, from a backup for example.
    Filling,
    /// The same for what takes the place of a plain database.
    Encrypting,
    Ready,
    /// The plain database, of which it took the place, may still be there.
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
    /// Without a byte, and without a log.
    Empty,
    /// Shorter than a page; or no whole number of pages without a log, which may repair a half-written one.
    Cut,
    Plain,
    Whole,
}

/// Its write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogState {
    Missing,
    /// A torn end, of which nobody was told that it is stored, is sound.
    Sound,
    /// What was acknowledged is lost, or it is another database's.
    Damaged,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Open,
    /// A new file with the content of another: restore, salvage, copy.
    Make,
    EncryptInPlace,
}

/// All that is seen before a key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) file: FileState,
    pub(crate) log: LogState,
    pub(crate) metadata: Metadata,
}

/// How many keys the metadata speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    One,
    /// A re-key is not finished: page 1 says which of the two counts.
    Two,
}

/// Which key has opened the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRole {
    /// The one that the metadata calls the database's.
    Recorded,
    /// The one that it calls the other.
    Other,
    /// One of them, in another key file.
    Moved,
    /// None that it speaks of.
    Another,
}

/// What was found where keys may be, if none of it opens the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeysFound {
    /// The key that the metadata calls the database's.
    pub(crate) recorded: bool,
    /// The one that it calls the other.
    pub(crate) other: bool,
    /// Any key.
    pub(crate) another: bool,
    /// A place could not be asked, or what stands there is no key.
    pub(crate) unreachable: bool,
}

/// What stands where the key of a new database is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtLocation {
    /// A key that the caller gives, and that nothing is stored of.
    Given,
    Nothing,
    /// The key that an interrupted making has begun with.
    Begun,
    /// The key file of another passphrase, of an interrupted making.
    OtherPassphrase,
    /// Somebody's.
    Another,
}

/// What is known of a key that the metadata calls the other one of a re-key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherKey {
    /// It is the one that has opened the database, or has its place, or is not kept by this software.
    pub(crate) counts: bool,
    /// Another database may need it.
    pub(crate) shared: bool,
    /// It was bound under the key that has opened the database.
    pub(crate) bound: bool,
}
