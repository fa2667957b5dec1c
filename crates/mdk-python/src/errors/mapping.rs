//! Every error of the engine and the store, and the class that it is raised as. A test compares the variants with this file.

use std::{io::ErrorKind, path::Path};

use mdk_core::Error;
use mdk_store::{FileRole, OpenError, StoreError, VaultError};

use super::{Class, Detail, Raise};

impl From<Error> for Raise {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let new = |class| Self::new(class, message);
        match error {
            Error::InvalidInput { field, limit, actual, .. } => new(Class::InvalidInput)
                .text("field", field)
                .number("limit", limit)
                .number("value", actual),
            Error::InvalidEvent(_) => new(Class::InvalidEvent),
            Error::InvalidKey(_) => new(Class::InvalidKey),
            Error::InvalidRelayUrl(_) => new(Class::InvalidRelayUrl).text("field", "relays"),
            Error::GroupNotFound => new(Class::GroupNotFound),
            Error::MessageNotFound => new(Class::MessageNotFound),
            Error::InviteNotFound => new(Class::InviteNotFound),
            Error::NotFound("KeyPackage") => new(Class::KeyPackageNotFound),
            Error::NotFound(_) => new(Class::NotFound),
            Error::NotAdmin => new(Class::NotAdmin),
            Error::NotMember(_) => new(Class::NotMember),
            Error::LastAdmin => new(Class::LastAdmin),
            Error::NotAllowed(_) => new(Class::NotAllowed),
            Error::CommitPending => new(Class::CommitPending),
            Error::Settling { millis } => new(Class::GroupSettling).number("millis", Some(millis)),
            Error::Contested => new(Class::GroupContested),
            Error::CommitLost => new(Class::CommitLost),
            Error::IncompatibleMember { reason, rule, who } => new(Class::IncompatibleMember)
                .text("missing", reason)
                .text("rule", rule)
                .detail("who", Detail::Accounts(who)),
            Error::GroupTooLarge { size, limit } => {
                new(Class::GroupTooLarge).number("size", Some(size)).number("limit", Some(limit))
            }
            Error::EpochUnavailable => new(Class::EpochUnavailable),
            Error::Unrecoverable(_) | Error::RunsElsewhere => new(Class::GroupUnrecoverable),
            Error::SelfUpdateRequired => new(Class::SelfUpdateRequired),
            Error::WrongAccount => new(Class::WrongAccount),
            Error::OutboxFull { limit } => new(Class::OutboxFull).number("limit", Some(limit)),
            Error::MediaTooLarge { limit, actual, .. } => {
                new(Class::MediaTooLarge).number("limit", Some(limit)).number("value", Some(actual))
            }
            Error::MediaCorrupt(_) => new(Class::MediaCorrupt),
            Error::MediaStale => new(Class::MediaStale),
            Error::Media(_) => new(Class::MediaError),
            Error::KeysMissing => new(Class::KeysMissing),
            Error::Open(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Vault(error) => error.into(),
            Error::Internal(_) => new(Class::InternalError),
            // The enum may grow; a test compares its variants with this file.
            _ => new(Class::InternalError),
        }
    }
}

impl From<OpenError> for Raise {
    fn from(error: OpenError) -> Self {
        let message = error.to_string();
        let new = |class| Self::new(class, message);
        match error {
            OpenError::WrongKey => new(Class::WrongKey),
            OpenError::NotADatabase => new(Class::NotADatabase),
            OpenError::NotEncrypted => new(Class::NotEncrypted),
            OpenError::CipherMissing | OpenError::SettingRefused { .. } => {
                new(Class::EncryptionMissing)
            }
            OpenError::Empty => new(Class::EmptyDatabase),
            OpenError::Truncated { size } => {
                new(Class::TruncatedDatabase).number("size", Some(size))
            }
            OpenError::ForeignDatabase { .. } => new(Class::ForeignDatabase),
            OpenError::SchemaTooNew { found, supported } => {
                new(Class::SchemaTooNew).versions(found, supported)
            }
            OpenError::SchemaTooOld { found, oldest } => {
                new(Class::SchemaTooOld).versions(found, oldest)
            }
            OpenError::Busy { pid } => new(Class::DatabaseBusy).number("pid", pid.map(u64::from)),
            OpenError::KeyMissing { .. } => new(Class::KeyMissing),
            OpenError::KeyNotGiven { .. } => new(Class::KeyNotGiven),
            OpenError::KeyMalformed { .. } => new(Class::KeyMalformed),
            OpenError::KeyLength { found } => new(Class::WrongKeyLength)
                .text("field", "key")
                .number("limit", Some(32))
                .number("value", Some(found as u64)),
            OpenError::BadIdentifier { which, limit } => new(Class::InvalidIdentifier)
                .text("field", which)
                .number("limit", Some(limit as u64)),
            OpenError::BadPassphrase { length, limit } => {
                passphrase(new(Class::InvalidPassphrase), length, limit)
            }
            OpenError::ShortPassphrase { length, least } => {
                passphrase(new(Class::InvalidPassphrase), length, least)
            }
            OpenError::WrongPassphrase => new(Class::WrongDatabasePassphrase),
            OpenError::CallbackFailed => new(Class::CallbackFailed),
            OpenError::KeyringUnavailable => new(Class::KeyringUnavailable),
            OpenError::KeyringLocked => new(Class::KeyringLocked),
            OpenError::KeyringTimeout { seconds } => {
                new(Class::KeyringTimeout).number("seconds", Some(seconds))
            }
            OpenError::KeyringAmbiguous => new(Class::KeyringAmbiguous),
            OpenError::VolatileStore => new(Class::VolatileStore),
            OpenError::KeyRecordMalformed => new(Class::KeyRecordMalformed),
            OpenError::RekeyInterrupted { .. } => new(Class::RekeyInterrupted),
            OpenError::KeyReadBack => new(Class::KeyNotStored),
            OpenError::DatabaseMissingButKeyPresent => new(Class::DatabaseMissing),
            OpenError::RestoreInterrupted => new(Class::DatabaseMissing).text("hint", OF_A_RESTORE),
            OpenError::DatabaseMissingButLogPresent => new(Class::LogWithoutDatabase),
            OpenError::KeyFileTooWide { mode } => {
                new(Class::KeyFileTooWide).number("mode", Some(mode.into()))
            }
            OpenError::DirectoryTooWide { mode, .. } => {
                new(Class::DirectoryTooWide).number("mode", Some(mode.into()))
            }
            OpenError::DirectoryTooOpen { .. } => new(Class::DirectoryTooWide),
            OpenError::Symlink { .. } => new(Class::SymbolicLink),
            OpenError::NotAFile { .. } => new(Class::NotARegularFile),
            OpenError::HardLink { .. } => new(Class::HardLink),
            OpenError::ForeignOwner { .. } => new(Class::ForeignOwner),
            OpenError::UnsuitableFileSystem { .. } => new(Class::UnsuitableFileSystem),
            OpenError::PathChanged { .. } => new(Class::PathChanged),
            OpenError::BadPath { role } | OpenError::BadName { role, .. } => {
                new(Class::InvalidInput)
                    .text("field", if role == FileRole::Key { "key" } else { "path" })
            }
            OpenError::PathTooLong { length, limit } => new(Class::InvalidInput)
                .text("field", "path")
                .number("limit", Some(limit as u64))
                .number("value", Some(length as u64)),
            OpenError::NameTaken { suffix: ".rekey" } => {
                new(Class::DestinationExists).text("hint", OF_A_REKEY)
            }
            OpenError::NameTaken { .. } => new(Class::DestinationExists),
            OpenError::Io { kind, .. } => new(class_of(kind)),
            OpenError::Store(error) => error.into(),
            // The enum may grow; a test compares its variants with this file.
            _ => new(Class::InternalError),
        }
    }
}

impl From<StoreError> for Raise {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        let new = |class| Self::new(class, message);
        match error {
            StoreError::DiskFull => new(Class::DiskFull),
            StoreError::Io { .. } => new(Class::StorageError),
            StoreError::Corrupt | StoreError::Decode { .. } => new(Class::CorruptDatabase),
            StoreError::ReadOnly => new(Class::ReadOnlyDatabase),
            StoreError::Busy => new(Class::DatabaseBusy),
            StoreError::WrongProcess => new(Class::Forked),
            StoreError::Closed => new(Class::Closed),
            StoreError::LockLost => new(Class::LockLost),
            StoreError::Invalid { what } => new(Class::InvalidInput).text("field", what),
            StoreError::Internal { .. } => new(Class::InternalError),
            // The enum may grow; a test compares its variants with this file.
            _ => new(Class::InternalError),
        }
    }
}

impl From<VaultError> for Raise {
    fn from(error: VaultError) -> Self {
        let message = error.to_string();
        let new = |class| Self::new(class, message);
        match error {
            VaultError::Open(error) => error.into(),
            VaultError::Store(error) => error.into(),
            VaultError::NoSpace { directory, needed, available } => {
                new(Class::NotEnoughSpace).room(&directory, needed, available)
            }
            VaultError::Cancelled => new(Class::Cancelled),
            VaultError::DestinationExists { .. } => new(Class::DestinationExists),
            VaultError::KeyExists => new(Class::DestinationExists).text(
                "hint",
                "Choose another key_id, or remove that entry from the keyring if nothing needs it.",
            ),
            VaultError::SourceMissing { .. } => new(Class::FileMissing),
            VaultError::InMemory => new(Class::InMemory),
            VaultError::AlreadyEncrypted => new(Class::AlreadyEncrypted),
            VaultError::Damaged => new(Class::DatabaseDamaged),
            VaultError::CopyDiffers => new(Class::CopyDiffers),
            VaultError::BackupRefused => new(Class::WrongPassphrase),
            VaultError::NotABackup => new(Class::NotABackup),
            VaultError::BadPassphrase { length, limit } => {
                passphrase(new(Class::InvalidPassphrase), length, limit)
            }
            VaultError::NewKeyNeeded => new(Class::NewKeyNeeded),
            VaultError::SameKey => new(Class::SameKey).text("field", "key"),
            VaultError::Io { kind, .. } => new(class_of(kind)),
            // The enum may grow; a test compares its variants with this file.
            _ => new(Class::InternalError),
        }
    }
}

/// Nothing tells whether it is somebody's, or the only copy that a lost key opens.
const OF_A_RESTORE: &str = "Call it again. To begin with an empty account instead, remove what it has left beside the \
     database (its .tmp and .keyinfo) and the key that it has made.";

const OF_A_REKEY: &str =
    "It may be what an interrupted re-key has left: `mdk doctor` says what to do.";

fn passphrase(raise: Raise, length: usize, limit: usize) -> Raise {
    raise
        .text("field", "passphrase")
        .number("limit", Some(limit as u64))
        .number("value", Some(length as u64))
}

/// What the operating system refused, by who must act.
pub(crate) fn class_of(kind: ErrorKind) -> Class {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Class::DiskFull,
        ErrorKind::ReadOnlyFilesystem => Class::ReadOnlyDatabase,
        ErrorKind::PermissionDenied => Class::AccessDenied,
        _ => Class::StorageError,
    }
}

impl Raise {
    fn room(self, directory: &Path, needed: u64, available: u64) -> Self {
        self.detail("path", Detail::Owned(directory.to_string_lossy().into_owned()))
            .number("needed", Some(needed))
            .number("available", Some(available))
    }

    fn versions(self, found: u32, bound: u32) -> Self {
        self.number("found", Some(found.into())).number("bound", Some(bound.into()))
    }
}
