//! What an opening finds, in the words of the table.

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

/// The second key that the metadata may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondKey {
    None,
    /// The one that the database is to have.
    Next,
    /// The one that it had.
    Last,
}

/// Which key has opened the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRole {
    /// The one that the metadata calls the database's, where it says.
    Recorded,
    /// The same, in another key file.
    Moved,
    /// The one that it was to have.
    Next,
    /// None that it speaks of.
    Another,
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
