//! The sources of the key of a database.

mod descriptor;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use mdk_wire::{Secret, SecretVec};

use crate::{OpenError, keys::environment};
pub use descriptor::Descriptor;

/// Gives the 32 bytes of a key. The text of its error is not shown anywhere: it may hold a secret.
pub type KeyCallback = Arc<dyn Fn() -> Result<SecretVec, String> + Send + Sync>;

/// The source of the 32-byte key of a database.
///
/// Keyring, file and passphrase make a fresh random key when the database is created. The other sources are given one.
/// The caller keeps it safe, for without it the data is lost. One key belongs to one database.
#[derive(Clone)]
#[non_exhaustive]
pub enum DatabaseKey {
    /// The keyring of the operating system.
    Keyring(KeyringKey),
    /// A file with the key as text. Created with mode 0600 when the database is created.
    File(PathBuf),
    /// A file descriptor, read to its end on first use and then closed. So it serves one opening: see [`Descriptor`].
    /// It holds 32 raw bytes, 64 hex digits, base64, or `mdk-key-1:` and base64, with or without a line end.
    Fd(Descriptor),
    /// A file of this name below `$CREDENTIALS_DIRECTORY` (systemd) or, if that is not set, `/run/secrets` (Docker),
    /// with one of the forms of a file descriptor. It may be a link and may belong to root. It is never created.
    Secret(String),
    /// A passphrase of 1 to 1,024 bytes. It wraps a random key in a file beside the database, whose name ends in
    /// `.key`.
    Passphrase(SecretVec),
    /// A function that gives the key.
    Callback(KeyCallback),
    /// The name of an environment variable that holds 64 hex digits, base64, or `mdk-key-1:` and base64.
    Env(String),
    /// The key of such a variable, already read: see [`Self::take_env`].
    Taken {
        /// Its name.
        name: String,
        /// The key.
        key: Secret<32>,
    },
    /// The key itself.
    Raw(Secret<32>),
}

/// A key in the keyring of the operating system, found by service and key id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyringKey {
    /// The service id, 1 to 512 bytes without NUL; `mdk` by default.
    pub service: String,
    /// The key id, 1 to 512 bytes without NUL. `None`, the default, makes a random one on first open and remembers it
    /// in the record beside the database.
    pub key_id: Option<String>,
    /// The keyring.
    pub store: KeyringStore,
    /// Whether a key may be made when the database is created; `true` by default.
    pub create: bool,
    /// Whether a store may be used that forgets its keys at reboot; `false` by default.
    pub allow_volatile: bool,
    /// The longest time that a call to the keyring may take; 10 seconds by default.
    pub timeout: Duration,
}

impl Default for KeyringKey {
    fn default() -> Self {
        Self {
            service: "mdk".to_owned(),
            key_id: None,
            store: KeyringStore::Platform,
            create: true,
            allow_volatile: false,
            timeout: Duration::from_secs(10),
        }
    }
}

/// The kind of a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyringStore {
    /// The usual keyring of this system: the login Keychain on macOS, the Credential Manager on Windows, the Secret
    /// Service on Linux. Never kernel keyutils.
    #[default]
    Platform,
    /// The Secret Service over D-Bus (GNOME Keyring, KWallet, KeePassXC); Linux.
    SecretService,
    /// The key retention service of the Linux kernel. It forgets at reboot, so it needs `allow_volatile`.
    Keyutils,
    /// The login Keychain; macOS.
    Keychain,
    /// The Credential Manager; Windows.
    CredentialManager,
}

impl DatabaseKey {
    /// The key from the file descriptor of this number. The descriptor is given away with it.
    #[must_use]
    pub fn fd(number: i32) -> Self {
        Self::Fd(Descriptor::new(number))
    }

    /// The key in the environment variable `name`. It is read now, so the caller may remove the variable then.
    ///
    /// # Errors
    /// [`OpenError::KeyMissing`], [`OpenError::KeyMalformed`], [`OpenError::KeyLength`], [`OpenError::BadIdentifier`].
    pub fn take_env(name: &str) -> Result<Self, OpenError> {
        let key = environment::variable(name)?;
        Ok(Self::Taken { name: name.to_owned(), key })
    }

    /// The kind of the source: `keyring`, `file`, `fd`, `secret`, `passphrase`, `callback`, `env` or `raw`.
    #[must_use]
    pub fn source(&self) -> &'static str {
        match self {
            Self::Keyring(_) => "keyring",
            Self::File(_) => "file",
            Self::Fd(_) => "fd",
            Self::Secret(_) => "secret",
            Self::Passphrase(_) => "passphrase",
            Self::Callback(_) => "callback",
            Self::Env(_) | Self::Taken { .. } => "env",
            Self::Raw(_) => "raw",
        }
    }

    /// The same source, with a path that does not depend on the working directory.
    pub(crate) fn settled(&self) -> Self {
        match self {
            // A path that cannot be made absolute has no file name either, and is refused for that.
            Self::File(path) => Self::File(std::path::absolute(path).unwrap_or(path.clone())),
            other => other.clone(),
        }
    }

    /// Whether this source makes and keeps keys itself, so that a re-key can put a fresh one there.
    pub(crate) fn makes_keys(&self) -> bool {
        matches!(self, Self::Keyring(_) | Self::File(_) | Self::Passphrase(_))
    }
}

impl fmt::Debug for DatabaseKey {
    /// Writes only the kind: no key, no path, no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyring(_) => "Keyring(..)",
            Self::File(_) => "File(..)",
            Self::Fd(_) => "Fd(..)",
            Self::Secret(_) => "Secret(..)",
            Self::Passphrase(_) => "Passphrase(..)",
            Self::Callback(_) => "Callback(..)",
            Self::Env(_) | Self::Taken { .. } => "Env(..)",
            Self::Raw(_) => "Raw(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_key_nor_path_nor_name() {
        for (key, text) in [
            (DatabaseKey::Raw(Secret::new([0xab; 32])), "Raw(..)"),
            (DatabaseKey::File(PathBuf::from("/home/alice/key")), "File(..)"),
            (DatabaseKey::Env("ALICE".into()), "Env(..)"),
            (DatabaseKey::Taken { name: "ALICE".into(), key: Secret::new([0xab; 32]) }, "Env(..)"),
            (DatabaseKey::Secret("alice".into()), "Secret(..)"),
            (DatabaseKey::Passphrase(SecretVec::new(b"alice".to_vec())), "Passphrase(..)"),
            (DatabaseKey::Callback(Arc::new(|| Err("alice".into()))), "Callback(..)"),
            (DatabaseKey::Keyring(KeyringKey::default()), "Keyring(..)"),
            (DatabaseKey::fd(7), "Fd(..)"),
        ] {
            assert_eq!(format!("{key:?}"), text);
        }
    }
}
