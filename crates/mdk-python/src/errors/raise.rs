//! An exception to be raised, made without the interpreter.

use mdk_wire::WireError;
use pyo3::prelude::*;

macro_rules! classes {
    ($($name:ident),* $(,)?) => {
        /// The exception classes that are raised from here, named as in `mdk.errors`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Class { $($name),* }

        impl Class {
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

classes! {
    AccessDenied, AddressRefused, AlreadyEncrypted, CallbackFailed, Cancelled, Closed, CommitLost,
    CommitPending, CopyDiffers, CorruptDatabase, DatabaseBusy, DatabaseDamaged, DatabaseMissing,
    DestinationExists, DirectoryTooWide, DiskFull, EmptyDatabase, EncryptionMissing, EpochUnavailable,
    FileMissing, ForeignDatabase, ForeignOwner, Forked, GroupContested, GroupNotFound, GroupSettling, GroupTooLarge,
    GroupUnrecoverable, HardLink, InMemory, IncompatibleMember, InternalError, InvalidEvent,
    InvalidIdentifier, InvalidInput, InvalidKey, InvalidPassphrase, InvalidRelayUrl, InviteNotFound,
    KeyFileTooWide, KeyMalformed, KeyMissing, KeyNotGiven, KeyNotStored, KeyPackageNotFound, KeyRecordMalformed,
    KeyringAmbiguous, KeyringLocked, KeyringTimeout, KeyringUnavailable, KeysMissing, LastAdmin, LockLost,
    LogWithoutDatabase, MediaCorrupt, MediaError, MediaStale, MediaTooLarge, MediaUnavailable, MessageNotFound, NewKeyNeeded, NoAnswer, NoRelayAccepted, NotABackup, NotADatabase,
    NotARegularFile, NotAdmin, NotAllowed, NotConnected, NotEncrypted, NotEnoughSpace, NotFound, NotMember,
    OutboxFull, PathChanged, PortTaken, ReadOnlyDatabase, Reentered, RekeyInterrupted, RelayRefused, SameKey,
    SchemaTooNew, SchemaTooOld, SelfUpdateRequired, StorageError, SymbolicLink, TruncatedDatabase,
    UnsuitableFileSystem, VolatileStore, WrongAccount, WrongDatabasePassphrase, WrongKey, WrongKeyLength,
    WrongPassphrase, WrongPassword,
}

/// Names of the classes that Rust raises; a test compares them with `mdk.errors`.
#[pyfunction]
pub(crate) fn _error_classes() -> Vec<&'static str> {
    Class::NAMES.to_vec()
}

/// An attribute of an exception.
pub(crate) enum Detail {
    Number(u64),
    Signed(i64),
    Object(Py<PyAny>),
    Text(&'static str),
    Owned(String),
    /// Relay URLs and what they said.
    Reasons(Vec<(String, String)>),
    Accounts(Vec<mdk_wire::PublicKey>),
}

/// An exception to be raised, made without the interpreter.
pub(crate) struct Raise {
    pub(super) class: Class,
    pub(super) message: String,
    pub(super) details: Vec<(&'static str, Detail)>,
}

impl Raise {
    pub(crate) fn class(&self) -> &Class {
        &self.class
    }

    pub(crate) fn new(class: Class, message: impl ToString) -> Self {
        Self { class, message: message.to_string(), details: Vec::new() }
    }

    /// `InvalidInput` for an argument that is wrong in kind, not in size.
    pub(crate) fn input(field: &'static str, problem: &str) -> Self {
        Self::new(Class::InvalidInput, format!("{field}: {problem}")).text("field", field)
    }

    /// `InvalidInput` for a size over its limit.
    pub(crate) fn size(field: &'static str, problem: &str, limit: u64, value: u64) -> Self {
        Self::input(field, &format!("{problem} (limit {limit}, got {value})"))
            .number("limit", Some(limit))
            .number("value", Some(value))
    }

    /// `InvalidKey` for an argument.
    pub(crate) fn key(field: &'static str, problem: impl ToString) -> Self {
        Self::new(Class::InvalidKey, problem).text("field", field)
    }

    /// `InvalidEvent` for an argument.
    pub(crate) fn event(field: &'static str, error: &WireError) -> Self {
        let raise = Self::new(Class::InvalidEvent, error).text("field", field);
        match error.measured() {
            Some((limit, actual)) => raise.size_of(limit, actual),
            None => raise,
        }
    }

    /// `InvalidRelayUrl` for a URL that is too long.
    pub(crate) fn relay_url(limit: usize, actual: usize) -> Self {
        let message = format!("relays: URL too long (limit {limit} bytes, got {actual})");
        Self::new(Class::InvalidRelayUrl, message).text("field", "relays").size_of(limit, actual)
    }

    fn size_of(self, limit: usize, actual: usize) -> Self {
        self.number("limit", Some(limit as u64)).number("value", Some(actual as u64))
    }

    /// Notes for the log that a call failed: the class, whose name is public, and no more.
    pub(crate) fn log(&self) {
        tracing::debug!(target: "mdk_python", error = self.class.name(), "a call failed");
    }

    pub(crate) fn text(self, name: &'static str, value: &'static str) -> Self {
        self.detail(name, Detail::Text(value))
    }

    pub(crate) fn detail(mut self, name: &'static str, value: Detail) -> Self {
        self.details.push((name, value));
        self
    }

    pub(crate) fn number(mut self, name: &'static str, value: Option<u64>) -> Self {
        self.details.extend(value.map(|value| (name, Detail::Number(value))));
        self
    }
}
