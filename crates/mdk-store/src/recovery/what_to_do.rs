//! The action for each finding of an opening: one table in four parts, each read from top to bottom. Nothing here looks
//! at a file.

use super::state::{
    AtLocation, FileState, Intent, KeyRole, Keys, KeysFound, LogState, Metadata, OtherKey, Seen,
};

/// The action before a key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A new database: see [`begin`].
    Make,
    /// Opens the database that is there.
    Connect,
    /// Copies the plain database, encrypted.
    Export,
    /// The database is encrypted. Wipes the leftover of that.
    Finish,
}

/// The reason why nothing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    SourceMissing,
    LogWithoutDatabase,
    MetadataUnreadable,
    KeyWithoutDatabase,
    RestoreInterrupted,
    DestinationExists,
    Empty,
    NotEncrypted,
    Cut,
    LogDamaged,
    AlreadyEncrypted,
    KeyMissing,
}

/// The first part: before a key is asked for.
pub(crate) fn before_keys(seen: Seen, intent: Intent) -> Result<Next, Refusal> {
    use FileState::{Absent, Cut, Empty, Plain, Whole};
    use Intent::{EncryptInPlace, Make, Open};
    use LogState::{Damaged, Missing as NoLog, Sound};
    use Metadata::{Creating, Encrypting, Filling, Missing, Ready, ReadyWithPlainCopy, Unreadable};
    match (seen.file, seen.log, seen.metadata, intent) {
        (Absent, _, _, EncryptInPlace) => Err(Refusal::SourceMissing),
        (Absent, Sound | Damaged, _, Open | Make) => Err(Refusal::LogWithoutDatabase),
        (Absent, NoLog, Unreadable, Open | Make) => Err(Refusal::MetadataUnreadable),
        (Absent, NoLog, Ready | ReadyWithPlainCopy, Open | Make) => {
            Err(Refusal::KeyWithoutDatabase)
        }
        (Absent, NoLog, Filling, Open) => Err(Refusal::RestoreInterrupted),
        (Absent, NoLog, Filling, Make)
        | (Absent, NoLog, Missing | Creating | Encrypting, Open | Make) => Ok(Next::Make),

        (Empty | Cut | Plain | Whole, _, _, Make) => Err(Refusal::DestinationExists),
        (Empty, _, _, Open | EncryptInPlace) => Err(Refusal::Empty),
        (Cut, _, _, Open | EncryptInPlace) => Err(Refusal::Cut),
        (Plain, _, _, Open) => Err(Refusal::NotEncrypted),
        (Plain, _, _, EncryptInPlace) => Ok(Next::Export),

        (Whole, _, Unreadable, Open | EncryptInPlace) => Err(Refusal::MetadataUnreadable),
        (Whole, _, Missing | Creating | Filling | Ready, EncryptInPlace) => {
            Err(Refusal::AlreadyEncrypted)
        }
        (Whole, Damaged, Missing | Creating | Filling | Ready, Open)
        | (Whole, Damaged, Encrypting | ReadyWithPlainCopy, Open | EncryptInPlace) => {
            Err(Refusal::LogDamaged)
        }
        (Whole, NoLog | Sound, Encrypting | ReadyWithPlainCopy, EncryptInPlace) => Ok(Next::Finish),
        (
            Whole,
            NoLog | Sound,
            Missing | Creating | Filling | Encrypting | Ready | ReadyWithPlainCopy,
            Open,
        ) => Ok(Next::Connect),
    }
}

/// The source of the key of a new database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The key that is there. Nothing is stored.
    Use,
    /// The key of the interrupted making. Others may need it, unless it is shown to be this database's.
    GoOn,
    /// A fresh key.
    Fresh,
    /// A fresh key in place of the leftover of an earlier try.
    Replace,
}

/// The second part: the key of a database that is made. The metadata is `Missing`, `Creating`, `Filling` or
/// `Encrypting` by now.
pub(crate) fn begin(at: AtLocation, may_create: bool) -> Result<Begin, Refusal> {
    match (at, may_create) {
        (AtLocation::Given, _) => Ok(Begin::Use),
        (AtLocation::Begun, _) => Ok(Begin::GoOn),
        (AtLocation::Another, _) => Err(Refusal::KeyWithoutDatabase),
        (AtLocation::Nothing, true) => Ok(Begin::Fresh),
        (AtLocation::OtherPassphrase, true) => Ok(Begin::Replace),
        (AtLocation::Nothing | AtLocation::OtherPassphrase, false) => Err(Refusal::KeyMissing),
    }
}

/// The reason why none of the found keys is the database's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// All keys that it may have are there, so the file was damaged or replaced.
    NotADatabase,
    /// One of two was found, and the other one counts.
    OtherNeeded,
    WrongKey,
    /// A place did not give its key.
    Unreachable,
    Missing,
}

/// The third part: several keys were looked for, and none fits.
pub(crate) fn none_fits(keys: Keys, found: KeysFound) -> NoKey {
    match (keys, found.recorded, found.other, found.unreachable, found.another) {
        (Keys::One, true, _, _, _) | (Keys::Two, true, true, _, _) => NoKey::NotADatabase,
        (Keys::Two, true, false, _, _) | (Keys::Two, false, true, _, _) => NoKey::OtherNeeded,
        (Keys::One, false, _, true, _) | (Keys::Two, false, false, true, _) => NoKey::Unreachable,
        (Keys::One, false, _, false, true) | (Keys::Two, false, false, false, true) => {
            NoKey::WrongKey
        }
        (Keys::One, false, _, false, false) | (Keys::Two, false, false, false, false) => {
            NoKey::Missing
        }
    }
}

/// The work after a database was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The metadata is written if the salt differs.
    NoteSalt,
    /// The metadata is written anew with the findings.
    Adopt,
    /// The metadata gets the new place of the key file.
    NoteMove,
    /// The other key becomes the database's. The key before it goes, and its file.
    TakeOther,
    /// The other key goes, and its file.
    DropOther,
}

/// The fourth part: the key of this role has opened the database.
pub(crate) fn after_opening(metadata: Metadata, keys: Keys, role: KeyRole) -> Step {
    use Metadata::{Creating, Encrypting, Filling, Missing, Ready, ReadyWithPlainCopy, Unreadable};
    match (metadata, keys, role) {
        (Ready | ReadyWithPlainCopy, Keys::One | Keys::Two, KeyRole::Moved) => Step::NoteMove,
        (Ready | ReadyWithPlainCopy, Keys::Two, KeyRole::Other) => Step::TakeOther,
        (Ready | ReadyWithPlainCopy, Keys::Two, KeyRole::Recorded) => Step::DropOther,
        (Ready | ReadyWithPlainCopy, Keys::One, KeyRole::Recorded) => Step::NoteSalt,
        // A file that was put back together with its key.
        (Ready | ReadyWithPlainCopy, Keys::One, KeyRole::Other | KeyRole::Another)
        | (Ready | ReadyWithPlainCopy, Keys::Two, KeyRole::Another)
        // A making that was killed just before its end; or lost metadata.
        | (Creating | Filling | Encrypting | Missing | Unreadable, _, _) => Step::Adopt,
    }
}

/// The fate of a key that the metadata calls the other one of a re-key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays as it is.
    Kept,
    /// It stays, and the metadata says so: nothing shows that it is this database's.
    Foreign,
    /// It goes, unless others may need it.
    Ours,
}

/// Decides the fate. Anyone who can write to the directory can write metadata. So its word on a key costs no other
/// database its key.
pub(crate) fn fate(other: OtherKey) -> Fate {
    match (other.counts, other.shared, other.bound) {
        (true, _, _) => Fate::Kept,
        // (a shared key is never removed)
        (false, true, _) | (false, false, true) => Fate::Ours,
        (false, false, false) => Fate::Foreign,
    }
}

#[cfg(test)]
mod tests;
