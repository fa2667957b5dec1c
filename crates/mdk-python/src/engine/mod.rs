//! `mdk.Mdk`: every method unwraps its arguments, calls the engine behind the guard, and maps the result.

mod groups;
mod history;
mod key_packages;
pub(crate) mod media;
mod messages;
mod open_account;
mod vault;

pub(crate) use self::open_account::_open_account;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mdk_core::Engine;
use mdk_store::OpenOptions;
use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::clock::Clock;
use crate::config::Config;
use crate::database_key::{self, DatabaseKey};
use crate::engine_guard::Guard;
use crate::errors::{Raise, end_block};
use crate::keys::Keys;
use crate::pending::PendingCommit;
use crate::public_key::PublicKey;
use crate::text::PathText;
use crate::views::ToPy;
use crate::{logging, panics};

type Object<'py> = PyResult<Bound<'py, PyAny>>;
type Objects<'py> = PyResult<Vec<Bound<'py, PyAny>>>;

/// The protocol engine of one account (Marmot v2): events in, events out. No sockets, no background threads.
///
/// All state is in one encrypted file; each call is one transaction, so it happened entirely or not at all. An object,
/// and an iterator that it gives, may be used from several threads: calls wait for each other without holding the GIL.
/// One process has an account open at a time. Close it, or use it as a context manager.
///
/// Units: times are aware datetimes (UTC), durations are timedeltas in whole seconds, sizes are bytes. Ids are
/// lower-case hex. Lists that are returned are new; the values in them are frozen.
///
/// A wrong value of an argument raises InvalidInput with its field, a wrong Python type TypeError. Every method that makes
/// an event raises GroupTooLarge if it would be larger than Config.max_event_bytes.
///
/// Every method that makes a commit raises CommitPending while one of ours waits, and GroupSettling for a second after
/// others' came, rivals or not: call again after its `millis`, or settle() when all that relays have was taken in.
///
/// Every method may raise StorageError (the disk; nothing was changed), Closed, Forked (used in a child of os.fork())
/// and InternalError (a bug; open it again). What a peer sends never raises: it ends as an Outcome.
#[pyclass(frozen, module = "mdk")]
pub(crate) struct Mdk {
    /// Shared with the client, which works on while Python does other things.
    pub(crate) guard: Arc<Guard>,
    public_key: PublicKey,
    database: Database,
    /// Default of `needs_self_update`, in seconds.
    self_update_every: u64,
}

/// Which database an object has open; the same for two objects that have opened the same one in turn.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum Database {
    File(PathBuf),
    Memory(u64),
}

impl Database {
    fn new_in_memory() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::Memory(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Mdk {
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    fn open_with(
        py: Python<'_>,
        config: Option<Config>,
        open: impl FnOnce(mdk_core::Config) -> mdk_core::Result<Engine> + Send,
    ) -> PyResult<Self> {
        let config: mdk_core::Config = config.map(|config| config.0).unwrap_or_default();
        let self_update_every = config.self_update_every;
        let start = || {
            let mut engine = open(config)?;
            let info = engine.info()?;
            let (source, schema, bytes) = (info.key_source, info.schema_version, info.size_bytes);
            tracing::info!(target: "mdk_python", source, schema, bytes, "an account was opened");
            Ok((engine.public_key(), engine, info.path))
        };
        logging::refresh(py)?;
        let started = py
            .detach(|| panics::catch(start)?.map_err(|error: mdk_core::Error| Raise::from(error)))
            .inspect_err(Raise::log);
        logging::drain(py);
        let (public_key, engine, path) = started.map_err(|raise| raise.into_err(py))?;
        let database = path.map_or_else(Database::new_in_memory, Database::File);
        let guard = Arc::new(Guard::new(engine));
        Ok(Self { guard, public_key: PublicKey(public_key), database, self_update_every })
    }

    fn call<T: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut Engine) -> mdk_core::Result<T> + Send,
    ) -> PyResult<T> {
        self.guard.call(py, f)
    }
}

/// Calls a method that stages a commit.
fn stage(
    slf: &Bound<'_, Mdk>,
    f: impl FnOnce(&mut Engine) -> mdk_core::Result<mdk_core::Pending> + Send,
) -> PyResult<PendingCommit> {
    Ok(PendingCommit::new(slf, slf.get().call(slf.py(), f)?))
}

#[pymethods]
impl Mdk {
    /// Opens the account's database, or creates it: the file with mode 0600 in a directory with mode 0700.
    ///
    /// Args:
    ///     path: the database file. Its directory is made if it is missing. `:memory:` is refused: see `in_memory()`.
    ///     keys: the account. A database belongs to one account for ever.
    ///     key: where the key of the database is kept. None: where the record beside it says, or `DatabaseKey.keyring()`
    ///         for a new one.
    ///     config: limits and lifetimes; None means `Config()`.
    ///     clock: for tests; None means the system's clock.
    ///
    /// Raises:
    ///     InvalidInput: the path or the Config.
    ///     WrongKey, WrongAccount, DatabaseBusy, NotEncrypted, CorruptDatabase, SchemaTooNew, InsecureFile and others of
    ///     StorageError; KeyMissing, KeyringUnavailable, KeyringLocked and others of KeyringError. Nothing is created or
    ///     changed then, and no key is ever overwritten.
    ///     Forked: this process was forked while an account was open.
    #[staticmethod]
    #[pyo3(signature = (path, *, keys, key=None, config=None, clock=None))]
    fn open(
        py: Python<'_>,
        path: PathText,
        keys: &Keys,
        key: Option<&DatabaseKey>,
        config: Option<Config>,
        clock: Option<&Clock>,
    ) -> PyResult<Self> {
        let path = path.get()?;
        if path.as_os_str() == ":memory:" {
            let problem = "':memory:' is no file; Mdk.in_memory() keeps an account in memory";
            return Err(Raise::input("path", problem).into());
        }
        let clock = Clock::for_engine(clock);
        let options = OpenOptions::default();
        let keys = keys.0.clone();
        Self::open_with(py, config, |config| {
            let key = database_key::or_recorded(key, &path)?;
            Engine::open(&path, keys, &key, &options, config, clock)
        })
    }

    /// An account whose state is in memory, not encrypted, and gone when it is closed. `keys=None` makes new ones.
    ///
    /// The logger `mdk.store` gets a warning that says so.
    #[staticmethod]
    #[pyo3(signature = (keys=None, *, config=None, clock=None))]
    fn in_memory(
        py: Python<'_>,
        keys: Option<&Keys>,
        config: Option<Config>,
        clock: Option<&Clock>,
    ) -> PyResult<Self> {
        let clock = Clock::for_engine(clock);
        let keys = keys.map_or_else(mdk_wire::Keys::generate, |keys| keys.0.clone());
        logging::refresh(py)?;
        tracing::warn!(target: "mdk_store", "an account in memory is not encrypted");
        Self::open_with(py, config, |config| Engine::in_memory(keys, config, clock))
    }

    /// Closes the database. Waits for calls in other threads; closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.guard.close(py)
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().guard.require_open(slf.py())?;
        Ok(slf)
    }

    #[pyo3(signature = (_type, _value, _traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _type: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        end_block(_value, "closing the database failed", self.guard.close(py))
    }

    fn __repr__(&self) -> String {
        format!("<Mdk {}>", self.public_key.0.to_npub())
    }

    /// The account.
    #[getter]
    fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// Facts about the open database: a StoreInfo.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> Object<'py> {
        self.call(py, Engine::info)?.to_py(py)
    }

    /// SHA-256 over all rows of the database in key order, 32 bytes: equal digests mean equal logical state.
    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.call(py, Engine::digest)?))
    }
}

impl Drop for Mdk {
    fn drop(&mut self) {
        if matches!(self.database, Database::Memory(_)) || !self.guard.is_open() {
            return;
        }
        Python::try_attach(|py| {
            // An exception that is on its way must survive the warning.
            let raised = PyErr::take(py);
            let category = py.get_type::<PyResourceWarning>();
            let message = c"unclosed Mdk: call close() or use `with`";
            if let Err(error) = PyErr::warn(py, &category, message, 1) {
                error.write_unraisable(py, None);
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}
