//! `mdk.vault`: what can be done with a database file without the keys of its account.

use std::path::Path;

use mdk_client::remembered;
use mdk_store::{OpenOptions, Store, VaultError};
use pyo3::prelude::*;

use crate::database_key::{self, DatabaseKey};
use crate::errors::Raise;
use crate::passphrase::Passphrase;
use crate::progress::{Callback, Teller};
use crate::text::PathText;
use crate::views::ToPy;
use crate::{logging, panics};

type Object<'py> = PyResult<Bound<'py, PyAny>>;

/// Runs an operation with the interpreter detached.
fn detached<T: Send>(
    py: Python<'_>,
    name: &'static str,
    progress: Callback,
    operation: impl FnOnce(&mut Teller) -> Result<T, VaultError> + Send,
) -> PyResult<T> {
    logging::refresh(py)?;
    let result = progress.run(|teller| {
        let done = py.detach(|| panics::catch(|| operation(teller))?.map_err(Raise::from));
        match &done {
            Ok(_) => tracing::info!(target: "mdk_python", operation = name, "done"),
            Err(raise) => raise.log(),
        }
        done.map_err(|raise| raise.into_err(py))
    });
    logging::drain(py);
    result
}

/// Opens the database, does something with it and closes it.
fn opened<T>(
    path: &Path,
    key: &mdk_store::DatabaseKey,
    operation: impl FnOnce(&mut Store) -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    let missing = !path.try_exists().unwrap_or(true);
    if missing {
        // Opening would create it.
        return Err(VaultError::SourceMissing { role: mdk_store::FileRole::Database });
    }
    let mut store = Store::open(path, key, &OpenOptions::default())?;
    let value = operation(&mut store)?;
    store.close()?;
    Ok(value)
}

/// Proves a database intact that nobody has open: a VerifyReport. Nothing is changed.
///
/// Every page authenticates, the structure holds, groups and messages fit together. Whether every group's MLS state loads is
/// only known to `Mdk.verify()`. A plain copy that an interrupted `encrypt_existing()` has left is reported as a problem, too.
///
/// Args:
///     path: the database file.
///     key: how it is encrypted. None: where the record beside it says, or `DatabaseKey.keyring()`.
///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
///
/// Raises:
///     FileMissing, WrongKey, DatabaseBusy and others of StorageError and KeyringError. Damage is reported, not raised.
#[pyfunction]
#[pyo3(signature = (path, *, key=None, progress=Callback::none()))]
#[pyo3(text_signature = "(path, *, key=None, progress=None)")]
pub(crate) fn verify<'py>(
    py: Python<'py>,
    path: PathText,
    key: Option<&DatabaseKey>,
    progress: Callback,
) -> Object<'py> {
    let path = path.get()?;
    let report = detached(py, "verify", progress, |t| {
        let key = database_key::or_recorded(key, &path)?;
        t.with(|p| mdk_store::verify(&path, &key, p))
    })?;
    report.to_py(py)
}

/// Encrypts a whole database anew, as `Mdk.rekey()` does: a DatabaseRekeyReport.
///
/// Args:
///     path: the database file, which nobody has open.
///     to: where the new key is kept, as in `Mdk.rekey()`; None: where the old one is.
///     key: the present key. None: where the record beside it says, or `DatabaseKey.keyring()`.
///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
#[pyfunction]
#[pyo3(signature = (path, to=None, *, key=None, progress=Callback::none()))]
#[pyo3(text_signature = "(path, to=None, *, key=None, progress=None)")]
pub(crate) fn rekey<'py>(
    py: Python<'py>,
    path: PathText,
    to: Option<&DatabaseKey>,
    key: Option<&DatabaseKey>,
    progress: Callback,
) -> Object<'py> {
    let path = path.get()?;
    let to = to.map(|to| &to.key);
    let report = detached(py, "rekey", progress, |t| {
        let key = database_key::or_recorded(key, &path)?;
        opened(&path, &key, |store| t.with(|p| store.rekey(to, p)))
    })?;
    report.to_py(py)
}

/// Writes an encrypted backup, as `Mdk.backup()` does: a BackupReport.
///
/// Args:
///     path: the database file, which nobody has open.
///     to: the new file, which must not exist.
///     passphrase: 8 characters or more, at most 1,024 bytes; str or bytes.
///     key: how the database is encrypted. None: where the record beside it says, or `DatabaseKey.keyring()`.
///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
#[pyfunction]
#[pyo3(signature = (path, to, *, passphrase, key=None, progress=Callback::none()))]
#[pyo3(text_signature = "(path, to, *, passphrase, key=None, progress=None)")]
pub(crate) fn backup<'py>(
    py: Python<'py>,
    path: PathText,
    to: PathText,
    passphrase: Passphrase,
    key: Option<&DatabaseKey>,
    progress: Callback,
) -> Object<'py> {
    let (path, to) = (path.get()?, to.get()?);
    let passphrase = passphrase.get("passphrase")?;
    let report = detached(py, "backup", progress, |t| {
        let key = database_key::or_recorded(key, &path)?;
        t.with(|p| mdk_store::backup(&path, &key, &to, &passphrase, p))
    })?;
    report.to_py(py)
}

/// Restores a backup into a new database, as `Mdk.restore()` does: a RestoreReport.
#[pyfunction]
#[pyo3(signature = (backup, path, *, passphrase, key=None, progress=Callback::none()))]
#[pyo3(text_signature = "(backup, path, *, passphrase, key=None, progress=None)")]
pub(crate) fn restore<'py>(
    py: Python<'py>,
    backup: PathText,
    path: PathText,
    passphrase: Passphrase,
    key: Option<&DatabaseKey>,
    progress: Callback,
) -> Object<'py> {
    let (backup, path, key) = (backup.get()?, path.get()?, database_key::or_keyring(key));
    let passphrase = passphrase.get("passphrase")?;
    let report = detached(py, "restore", progress, |t| {
        t.with(|p| mdk_store::restore(&backup, &path, &passphrase, &key, p))
    })?;
    report.to_py(py)
}

/// Encrypts a plain database in place, or copies a database into a new file under another key: an EncryptReport.
///
/// Every row of the copy is compared with its source before anything is replaced; then the plain file is overwritten and
/// removed. What a disk keeps behind the file system (snapshots, worn cells of a flash disk) is out of reach.
///
/// Killed at any point, it leaves the plain database or the encrypted one, whole. If that was in place and while it wiped,
/// the plain file is still there, as `NAME.encrypt`, with mode 0600, and `verify()` says so: call this once more with the
/// same key, or open the account, and it is wiped.
///
/// A copy of an encrypted database continues it, as a restored backup does: only one of the two may be used from then on,
/// because both would use the same message keys. The copy renews its keys in every group with its next connection (`Client`), or
/// where `Mdk.needs_self_update()` names the groups.
///
/// Args:
///     path: the database file, which nobody has open.
///     key: how it is to be encrypted; None means `DatabaseKey.keyring()`.
///     to: a new file for the copy; None: in place.
///     from_key: the present key, if the database is encrypted already; then `to` is needed.
///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
///
/// Raises:
///     FileMissing, AlreadyEncrypted, DestinationExists, NotEnoughSpace, DatabaseDamaged and others of StorageError.
#[pyfunction]
#[pyo3(signature = (path, *, key=None, to=None, from_key=None, progress=Callback::none()))]
#[pyo3(text_signature = "(path, *, key=None, to=None, from_key=None, progress=None)")]
pub(crate) fn encrypt_existing<'py>(
    py: Python<'py>,
    path: PathText,
    key: Option<&DatabaseKey>,
    to: Option<PathText>,
    from_key: Option<&DatabaseKey>,
    progress: Callback,
) -> Object<'py> {
    let (path, key) = (path.get()?, database_key::or_keyring(key));
    let to = to.map(PathText::get).transpose()?;
    let from = from_key.map(|from| &from.key);
    if from.is_some() && to.is_none() {
        let problem = "needed with from_key; to change the key in place use rekey()";
        return Err(Raise::input("to", problem).into());
    }
    let report = detached(py, "encrypt_existing", progress, |t| {
        t.with(|p| mdk_store::encrypt_existing(&path, from, to.as_deref(), &key, p))
    })?;
    report.to_py(py)
}

/// Reads what can still be read of a damaged database into a new one: a SalvageReport. The damaged file is not changed.
///
/// A damaged page costs the rows on it; one that leads to others may cost a table, and page 1 or one of the list of tables costs
/// everything, as does what stands behind damage in the write-ahead log. A backup is what helps then.
///
/// The new one continues the damaged one, as a restored backup does: only one of the two may be used from then on. Its keys in
/// every group are renewed with its next connection (`Client`), or where `Mdk.needs_self_update()` names the groups.
///
/// Args:
///     path: the damaged file.
///     to: the new file, which must not exist.
///     key: how the damaged one is encrypted. None: where the record beside it says, or `DatabaseKey.keyring()`.
///     to_key: how the new one is to be encrypted; None means `DatabaseKey.keyring()`.
///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
#[pyfunction]
#[pyo3(signature = (path, to, *, key=None, to_key=None, progress=Callback::none()))]
#[pyo3(text_signature = "(path, to, *, key=None, to_key=None, progress=None)")]
pub(crate) fn salvage<'py>(
    py: Python<'py>,
    path: PathText,
    to: PathText,
    key: Option<&DatabaseKey>,
    to_key: Option<&DatabaseKey>,
    progress: Callback,
) -> Object<'py> {
    let (path, to) = (path.get()?, to.get()?);
    let to_key = database_key::or_keyring(to_key);
    let report = detached(py, "salvage", progress, |t| {
        let key = database_key::or_recorded(key, &path)?;
        t.with(|p| mdk_store::salvage(&path, &key, &to, &to_key, p))
    })?;
    report.to_py(py)
}

/// The relays of the account in a database that nobody has open. Changes nothing.
#[pyfunction]
#[pyo3(signature = (path, *, key))]
pub(crate) fn _remembered_relays(
    py: Python<'_>,
    path: PathText,
    key: &DatabaseKey,
) -> PyResult<Vec<String>> {
    let (path, key) = (path.get()?, &key.key);
    let read = |_: &mut Teller| mdk_store::remembered(&path, key, remembered::RELAYS);
    let found = detached(py, "remembered", Callback::none(), read)?;
    Ok(remembered::urls(found.as_deref()))
}

/// Looks at everything that a database depends on, and changes nothing: a DoctorReport, in less than two seconds.
///
/// It works while another process has the database open, without a key, and without a database.
///
/// Args:
///     path: the database file.
///     key: how it is encrypted; None: the file is looked at from outside only.
///     progress: called with a Progress for each part of the report; an exception in it cancels and is passed on.
#[pyfunction]
#[pyo3(signature = (path, *, key=None, progress=Callback::none()))]
#[pyo3(text_signature = "(path, *, key=None, progress=None)")]
pub(crate) fn doctor<'py>(
    py: Python<'py>,
    path: PathText,
    key: Option<&DatabaseKey>,
    progress: Callback,
) -> Object<'py> {
    let (path, key) = (path.get()?, key.map(|key| &key.key));
    let report =
        detached(py, "doctor", progress, |t| t.with(|p| mdk_store::doctor(&path, key, p)))?;
    report.to_py(py)
}
