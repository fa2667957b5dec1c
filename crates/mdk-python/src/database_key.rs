//! `mdk.DatabaseKey`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mdk_store::{KeyringKey, KeyringStore, OpenError};
use mdk_wire::secret::apart;
use mdk_wire::{Secret, SecretVec};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;

use crate::args::Int;
use crate::errors::{Class, Detail, Raise};
use crate::passphrase::Passphrase;
use crate::text::{PathText, Text};
use crate::{interrupts, secret_bytes};

/// Longest wait for a keyring, in seconds.
const MAX_TIMEOUT: f64 = 3600.0;

/// Where the 32-byte key of an encrypted database comes from. `repr()` shows the kind of source, neither key nor path.
///
/// `keyring()`, `from_file()` and `passphrase()` make a key when the database is created; the others only read one.
/// Nothing is read before a database is opened. An existing key is never changed or deleted by opening.
#[pyclass(frozen, module = "mdk")]
pub(crate) struct DatabaseKey {
    pub(crate) key: mdk_store::DatabaseKey,
}

#[pymethods]
impl DatabaseKey {
    /// A random key in the keyring of the operating system: the default of `Mdk.open()`.
    ///
    /// Args:
    ///     service: the name under which keyrings file it; 1 to 512 bytes, no NUL. Not secret.
    ///     key_id: which of the service's keys. None: a random id that is noted beside the database.
    ///     store: "platform" (Keychain, Credential Manager, or Secret Service), or one of them by name:
    ///         "keychain", "credential-manager", "secret-service", "keyutils". None means "platform".
    ///     create: make the key when the database is created.
    ///     allow_volatile: accept a store that forgets its keys when the machine restarts ("keyutils").
    ///     timeout: most seconds to wait for the keyring, up to 3,600.
    ///
    /// Raises:
    ///     InvalidIdentifier: service or key_id.
    ///     InvalidInput: store or timeout.
    #[staticmethod]
    #[pyo3(signature = (
        service=Text::Fixed("mdk"), *, key_id=None, store=None, create=true, allow_volatile=false, timeout=10.0
    ))]
    #[pyo3(
        text_signature = "(service='mdk', *, key_id=None, store=None, create=True, allow_volatile=False, \
                             timeout=10.0)"
    )]
    fn keyring(
        service: Text,
        key_id: Option<Text>,
        store: Option<Text>,
        create: bool,
        allow_volatile: bool,
        timeout: f64,
    ) -> PyResult<Self> {
        let service = identifier("service", &service)?;
        let key_id = key_id.as_ref().map(|id| identifier("key_id", id)).transpose()?;
        let store = match store.as_ref().map(|store| store.get("store")).transpose()? {
            None | Some("platform") => KeyringStore::Platform,
            Some("secret-service") => KeyringStore::SecretService,
            Some("keyutils") => KeyringStore::Keyutils,
            Some("keychain") => KeyringStore::Keychain,
            Some("credential-manager") => KeyringStore::CredentialManager,
            Some(_) => return Err(Raise::input("store", "not the name of a keyring store").into()),
        };
        if !(timeout > 0.0 && timeout <= MAX_TIMEOUT) {
            return Err(bad_timeout(timeout).into());
        }
        let mut keyring = KeyringKey::default();
        keyring.service = service;
        keyring.key_id = key_id;
        keyring.store = store;
        keyring.create = create;
        keyring.allow_volatile = allow_volatile;
        keyring.timeout = Duration::from_secs_f64(timeout);
        Ok(Self { key: mdk_store::DatabaseKey::Keyring(keyring) })
    }

    /// A key file. It is created, with mode 0600 and a fresh key, when the database is created, and never changed.
    ///
    /// `~` at the beginning of the path is the home folder, as wherever a path is taken.
    ///
    /// Raises:
    ///     InvalidInput: nothing says where that home folder is.
    #[staticmethod]
    fn from_file(path: PathText) -> PyResult<Self> {
        Ok(Self { key: mdk_store::DatabaseKey::File(path.get()?) })
    }

    /// A file descriptor that another program opened, read to its end and closed when the database is opened.
    ///
    /// It holds 32 raw bytes, 64 hex digits, base64 of 32 bytes, or what a key file holds, with or without a line end.
    /// It gives the key once: used again, or if it was not open for reading, it raises KeyMissing, and whatever has its
    /// number by then is neither read nor closed.
    #[staticmethod]
    fn from_fd(fd: Int) -> PyResult<Self> {
        let fd = crate::args::range("fd", fd, 0, i32::MAX as u32)?;
        mdk_store::on_signal(interrupts::interrupted);
        Ok(Self { key: mdk_store::DatabaseKey::fd(fd) })
    }

    /// A secret that systemd (LoadCredential=, SetCredential=) or Docker and its kin hand to the service, by its name.
    ///
    /// It is looked for in $CREDENTIALS_DIRECTORY, then in /run/secrets. The same forms as for from_fd().
    ///
    /// Raises:
    ///     InvalidIdentifier: the name is empty, has a slash or NUL, or is too long.
    #[staticmethod]
    fn from_secret(name: Text) -> PyResult<Self> {
        let name = identifier("name", &name)?;
        if name.contains('/') || name == "." || name == ".." {
            return Err(bad_identifier("name", "a name, not a path").into());
        }
        Ok(Self { key: mdk_store::DatabaseKey::Secret(name) })
    }

    /// A passphrase that a person remembers. It wraps a random key, in a small file beside the database (Argon2id, 64 MiB, 3
    /// passes), and is needed each time.
    ///
    /// Args:
    ///     text: 1 to 1,024 bytes of UTF-8; str or bytes. A str cannot be wiped by anybody. For a new database, and as the
    ///         new key of an old one, at least 8 characters: else opening it, or the re-key, raises InvalidPassphrase.
    ///     wipe: overwrite `text`, a bytearray or writable memoryview, with zeros.
    ///
    /// Raises:
    ///     InvalidPassphrase: empty or too long.
    #[staticmethod]
    #[pyo3(signature = (text, *, wipe=false))]
    fn passphrase(py: Python<'_>, text: &Bound<'_, PyAny>, wipe: bool) -> PyResult<Self> {
        let secret = text.extract::<Passphrase>()?.get("text")?;
        if wipe {
            wipe_buffer(py, "text", text)?;
        }
        crate::passphrase::check("text", &secret)?;
        Ok(Self { key: mdk_store::DatabaseKey::Passphrase(secret) })
    }

    /// A function without arguments that returns the key, 32 bytes as `bytes` or `bytearray`. A bytearray is wiped.
    ///
    /// It is called when the database is opened, on whichever thread opens it. What it raises is not shown: it may hold a
    /// secret.
    #[staticmethod]
    fn callback(function: Py<PyAny>) -> PyResult<Self> {
        Python::attach(|py| {
            if function.bind(py).is_callable() {
                Ok(())
            } else {
                Err(PyTypeError::new_err("a key callback must be callable"))
            }
        })?;
        let call = move || Python::attach(|py| called(py, &function));
        Ok(Self { key: mdk_store::DatabaseKey::Callback(Arc::new(call)) })
    }

    /// The key in an environment variable, read when the database is opened: 64 hex digits or base64 of 32 bytes.
    ///
    /// Other programs of the same user can read the environment of this one: a file is better.
    ///
    /// Args:
    ///     name: the name of the variable.
    ///     remove: read it now, and remove it, so that programs that this one starts do not get it. The system shows the
    ///         environment that this program was started with (/proc/PID/environ) as long as it runs.
    ///
    /// Raises:
    ///     KeyMissing, KeyMalformed, WrongKeyLength, InvalidIdentifier: with `remove`, at once.
    #[staticmethod]
    #[pyo3(
        signature = (name=Text::Fixed("MDK_DB_KEY"), *, remove=false),
        text_signature = "(name='MDK_DB_KEY', *, remove=False)"
    )]
    fn from_env(py: Python<'_>, name: Text, remove: bool) -> PyResult<Self> {
        let name = name.get("name")?;
        if !remove {
            return Ok(Self { key: mdk_store::DatabaseKey::Env(name.to_owned()) });
        }
        let key = apart(|| mdk_store::DatabaseKey::take_env(name)).map_err(Raise::from)?;
        crate::args::remove_environment(py, name)?;
        Ok(Self { key })
    }

    /// The key itself: exactly 32 random bytes. Without it the data is lost, so keep it safe.
    ///
    /// Args:
    ///     key: bytes, bytearray or memoryview.
    ///     wipe: overwrite `key`, a bytearray or writable memoryview, with zeros. `bytes` cannot be wiped by anybody.
    ///
    /// Raises:
    ///     WrongKeyLength: not 32 bytes.
    ///     InvalidInput: wipe=True for what cannot be written.
    #[staticmethod]
    #[pyo3(signature = (key, *, wipe=false))]
    fn raw(py: Python<'_>, key: &Bound<'_, PyAny>, wipe: bool) -> PyResult<Self> {
        let buffer = PyBuffer::<u8>::get(key)?;
        let size = buffer.item_count();
        if size != 32 {
            // What was read from a file with its line end is a key nevertheless.
            if wipe {
                secret_bytes::wipe(py, "key", &buffer)?;
            }
            let message = format!("key: not exactly 32 bytes (got {size})");
            return Err(Raise::new(Class::WrongKeyLength, message)
                .text("field", "key")
                .number("limit", Some(32))
                .number("value", Some(size as u64))
                .into());
        }
        let mut copied = Ok(());
        let copy = |bytes: &mut [u8; 32]| copied = buffer.copy_to_slice(py, bytes);
        let secret = apart(|| Secret::init(copy));
        copied?;
        let key = mdk_store::DatabaseKey::Raw(secret);
        if wipe {
            secret_bytes::wipe(py, "key", &buffer)?;
        }
        Ok(Self { key })
    }

    fn __repr__(&self) -> String {
        format!("<DatabaseKey {}>", self.key.source())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("DatabaseKey cannot be pickled or copied: it may hold a secret"))
    }
}

/// The key that was given, or what the record beside the database says.
pub(crate) fn or_recorded(
    key: Option<&DatabaseKey>,
    path: &Path,
) -> Result<mdk_store::DatabaseKey, OpenError> {
    key.map_or_else(|| mdk_store::DatabaseKey::recorded(path), |key| Ok(key.key.clone()))
}

/// The key of a new database that was given, or the default.
pub(crate) fn or_keyring(key: Option<&DatabaseKey>) -> mdk_store::DatabaseKey {
    match key {
        Some(key) => key.key.clone(),
        None => mdk_store::DatabaseKey::Keyring(KeyringKey::default()),
    }
}

/// Most bytes of a service, a key id or the name of a secret.
const MAX_IDENTIFIER: usize = 512;

fn identifier(field: &'static str, text: &Text) -> Result<String, Raise> {
    let text = text.get(field)?;
    if text.is_empty() {
        let empty = bad_identifier(field, "empty");
        return Err(empty.number("limit", Some(1)).number("value", Some(0)));
    }
    if text.contains('\0') {
        return Err(bad_identifier(field, "contains NUL"));
    }
    if text.len() > MAX_IDENTIFIER {
        let problem = format!("too long (limit {MAX_IDENTIFIER} bytes, got {})", text.len());
        return Err(bad_identifier(field, &problem)
            .number("limit", Some(MAX_IDENTIFIER as u64))
            .number("value", Some(text.len() as u64)));
    }
    Ok(text.to_owned())
}

fn bad_identifier(field: &'static str, problem: &str) -> Raise {
    Raise::new(Class::InvalidIdentifier, format!("{field}: {problem}")).text("field", field)
}

/// In whole seconds, the fraction counted as one beyond.
fn bad_timeout(timeout: f64) -> Raise {
    let raise =
        Raise::input("timeout", &format!("must be more than 0 and at most {MAX_TIMEOUT} seconds"));
    let (limit, value) = match timeout {
        over if over > MAX_TIMEOUT => (MAX_TIMEOUT, over.ceil()),
        below => (0.0, below.floor()),
    };
    // What is no number, or has no end, is not measured; nor what is beyond all time.
    match value.abs() <= i64::MAX as f64 {
        true => raise
            .detail("limit", Detail::Signed(limit as i64))
            .detail("value", Detail::Signed(value as i64)),
        false => raise,
    }
}

fn wipe_buffer(py: Python<'_>, field: &'static str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let buffer = PyBuffer::<u8>::get(value).map_err(|_| {
        Raise::input(field, "wipe=True needs a bytearray or a writable memoryview").into_err(py)
    })?;
    secret_bytes::wipe(py, field, &buffer)
}

/// What a key callback returns. Its error stays here: it may quote the key.
fn called(py: Python<'_>, function: &Py<PyAny>) -> Result<SecretVec, String> {
    // What ended an earlier one, in a call that made no error of it, is not what ends this one.
    drop(interrupts::interrupt());
    let call = || {
        let value = function.bind(py).call0()?;
        let buffer = PyBuffer::<u8>::get(&value)?;
        let key = secret_bytes::copy(py, &buffer)?;
        if !buffer.readonly() {
            secret_bytes::wipe(py, "key", &buffer)?;
        }
        Ok::<_, PyErr>(key)
    };
    let key = apart(call);
    key.map_err(|error| {
        // Whoever interrupts at the prompt for a key is not told that a callback failed.
        if !error.is_instance_of::<PyException>(py) {
            interrupts::keep(error);
        }
        "the key callback raised".to_owned()
    })
}
