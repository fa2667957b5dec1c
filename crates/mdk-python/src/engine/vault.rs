//! `mdk.Mdk`: what can be done with the whole database of an open account.

use mdk_store::VerifyReport;
use pyo3::prelude::*;

use super::{Mdk, Object};
use crate::database_key::DatabaseKey;
use crate::passphrase::Passphrase;
use crate::progress::Callback;
use crate::text::PathText;
use crate::vault;
use crate::views::ToPy;

#[pymethods]
impl Mdk {
    /// Encrypts the whole database anew, with a fresh random key: a DatabaseRekeyReport.
    ///
    /// Afterwards the old key opens nothing and no byte of the old ciphertext is left in the file system's view of it (what a
    /// disk keeps behind that, for example a snapshot, is out of reach). Killed at any point, the database opens
    /// with the old key or with the new one. The old key is removed from where it was kept, unless the database is a copy
    /// and another one may need it: then the report says so.
    ///
    /// Args:
    ///     key: where the key is kept from now on. None: where it was, for keyring, file and passphrase. A keyring without
    ///         a key_id, of the service that it was in or of "mdk", is the place where it was, too; another service, or a
    ///         store that is named, is another place.
    ///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
    ///
    /// Raises:
    ///     NewKeyNeeded: the key came from a source that cannot keep a new one.
    ///     LockLost: the lock file was removed meanwhile. What was begun is left to whoever opens it next.
    ///     NotEnoughSpace: a second copy of the database does not fit.
    ///     InMemory: there is no file.
    ///     StorageError: the disk. If neither the old file nor the new one can be opened again, the account is closed, as the hint
    ///     says and every later call: open it again, which finishes or undoes the re-key.
    #[pyo3(signature = (key=None, *, progress=Callback::none()))]
    #[pyo3(text_signature = "($self, key=None, *, progress=None)")]
    fn rekey<'py>(
        &self,
        py: Python<'py>,
        key: Option<&DatabaseKey>,
        progress: Callback,
    ) -> Object<'py> {
        let key = key.map(|key| &key.key);
        let report = progress.run(|teller| self.call(py, |e| teller.with(|p| e.rekey(key, p))))?;
        report.to_py(py)
    }

    /// Writes the account into one encrypted file, which must not exist yet: a BackupReport.
    ///
    /// Restoring it is a move: two running copies of one account destroy each other's message keys.
    ///
    /// Args:
    ///     path: the new file, made with mode 0600.
    ///     passphrase: 8 characters or more, at most 1,024 bytes; str or bytes. All that protects the backup.
    ///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
    ///
    /// Raises:
    ///     DestinationExists, NotEnoughSpace, InvalidPassphrase, and others of StorageError.
    #[pyo3(signature = (path, *, passphrase, progress=Callback::none()))]
    #[pyo3(text_signature = "($self, path, *, passphrase, progress=None)")]
    fn backup<'py>(
        &self,
        py: Python<'py>,
        path: PathText,
        passphrase: Passphrase,
        progress: Callback,
    ) -> Object<'py> {
        let (path, passphrase) = (path.get()?, passphrase.get("passphrase")?);
        let report = progress
            .run(|teller| self.call(py, |e| teller.with(|p| e.backup(&path, &passphrase, p))))?;
        report.to_py(py)
    }

    /// Restores a backup into a new database: a RestoreReport. Nothing of the backup is used before all of it is proven.
    ///
    /// The backup's account must not run anywhere else from then on. In each group that needs_self_update() names, messages
    /// raise SelfUpdateRequired until self_update() is confirmed.
    ///
    /// Args:
    ///     backup: the file that backup() wrote.
    ///     path: the new database, which must not exist.
    ///     passphrase: that of the backup.
    ///     key: how the new database is encrypted; None means `DatabaseKey.keyring()`.
    ///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
    ///
    /// Raises:
    ///     WrongPassphrase: or the backup was damaged or changed, which looks alike on purpose.
    ///     NotABackup, DestinationExists, NotEnoughSpace, and others of StorageError.
    #[staticmethod]
    #[pyo3(signature = (backup, path, *, passphrase, key=None, progress=Callback::none()))]
    #[pyo3(text_signature = "(backup, path, *, passphrase, key=None, progress=None)")]
    fn restore<'py>(
        py: Python<'py>,
        backup: PathText,
        path: PathText,
        passphrase: Passphrase,
        key: Option<&DatabaseKey>,
        progress: Callback,
    ) -> Object<'py> {
        vault::restore(py, backup, path, passphrase, key, progress)
    }

    /// Proves the database intact: every page authenticates, its structure holds, every group loads. A VerifyReport.
    ///
    /// Nothing is changed. Damage is reported, not raised.
    ///
    /// Args:
    ///     progress: called with a Progress now and then; an exception in it cancels and is passed on.
    ///
    /// Raises:
    ///     InMemory: there is no file.
    #[pyo3(signature = (*, progress=Callback::none()))]
    #[pyo3(text_signature = "($self, *, progress=None)")]
    fn verify<'py>(&self, py: Python<'py>, progress: Callback) -> Object<'py> {
        self.verified(py, progress)?.to_py(py)
    }

    /// verify() as a list of sentences, one for each thing that is wrong; empty when nothing is.
    fn check(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let report = self.verified(py, Callback::none())?.to_py(py)?;
        report.getattr("problems")?.extract()
    }
}

impl Mdk {
    fn verified(&self, py: Python<'_>, progress: Callback) -> PyResult<VerifyReport> {
        progress.run(|teller| self.call(py, |e| teller.with(|p| e.verify(p))))
    }
}
