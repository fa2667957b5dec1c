"""The database and its files."""

from .base import MdkError


class StorageError(MdkError, OSError):
    """Reading, writing or opening a file failed. Of an operation on an open database nothing was changed."""

    code = "storage_error"
    hint: str | None = "Look at the disk and the system log, then call again."


class DiskFull(StorageError):
    """The disk or the quota is full; nothing was changed."""

    code = "disk_full"
    hint: str | None = "Free space, then call again."


class NotEnoughSpace(DiskFull):
    """There is too little room for the operation, so it was not begun. `needed` and `available` are bytes.

    `path` is the folder that has too little, and not in the message.
    """

    code = "not_enough_space"
    hint: str | None = "Free space, or use another disk, then call again."

    def __init__(
        self,
        message: str = "",
        *,
        needed: int | None = None,
        available: int | None = None,
        path: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.needed = needed
        self.available = available


class ReadOnlyDatabase(StorageError):
    """The database file or its file system is read-only."""

    code = "read_only_database"
    hint: str | None = "Give the process write access."


class CorruptDatabase(StorageError):
    """The database file is damaged, cut short or empty, or holds a row that cannot be understood."""

    code = "corrupt_database"
    hint: str | None = (
        "`mdk verify` says what is damaged, `mdk salvage` saves the rest; or restore a copy."
    )


class EmptyDatabase(CorruptDatabase):
    """The database file exists but holds nothing, and no write-ahead log lies beside it."""

    code = "empty_database"
    hint: str | None = "Restore a copy, or remove the empty file to start anew."


class TruncatedDatabase(CorruptDatabase):
    """The database file ends before its last page does: a copy was cut short, or it is no database.

    An empty file beside a write-ahead log that holds something is one, too. `size` is in bytes.
    """

    code = "truncated_database"
    hint: str | None = "Restore a complete copy; `mdk salvage` saves what is left of this one."

    def __init__(
        self, message: str = "", *, size: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.size = size


class NotADatabase(CorruptDatabase):
    """The key is the right one, but the file is not the database that it belongs to: it was damaged or replaced."""

    code = "not_a_database"
    hint: str | None = (
        "Put the right file back, or restore a backup: without its beginning nothing of this one can be read."
    )


class DatabaseDamaged(CorruptDatabase):
    """Pages or rows are damaged, so the operation wrote nothing."""

    code = "database_damaged"
    hint: str | None = "`mdk verify` says what is damaged, `mdk salvage` saves the rest."


class WrongKey(StorageError):
    """The key does not open the database, or the file is no database at all: encrypted data and noise look alike."""

    code = "wrong_key"
    hint: str | None = "Check that the key and the file belong together."


class WrongDatabasePassphrase(WrongKey):
    """The passphrase does not open the database's key, or the small key file beside the database was changed."""

    code = "wrong_database_passphrase"
    hint: str | None = "Try again; nobody can recover a forgotten passphrase."


class WrongAccount(StorageError):
    """The database belongs to another account than the keys that were given."""

    code = "wrong_account"
    hint: str | None = "Open it with the keys of its account, or use another path."


class EncryptionMissing(StorageError):
    """Data would not be encrypted: this build lacks SQLCipher or one of its protections."""

    code = "encryption_missing"
    hint: str | None = "This installation is broken: reinstall it."


class NotEncrypted(EncryptionMissing):
    """The file is a plain, unencrypted SQLite database."""

    code = "not_encrypted"
    hint: str | None = (
        "Encrypt it with `mdk encrypt` or mdk.vault.encrypt_existing(), or use another path."
    )


class ForeignDatabase(StorageError):
    """The key opens the file, but another program made it."""

    code = "foreign_database"
    hint: str | None = "Use another path."


class DatabaseBusy(StorageError):
    """The database is open already, here or in another process. `pid` is the holder's process id, if known."""

    code = "database_busy"
    hint: str | None = "Close the other one; one account is open in one place at a time."

    def __init__(
        self, message: str = "", *, pid: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.pid = pid


class DatabaseMissing(StorageError):
    """The key of a database exists, the database does not. A new one is not made over the key of a lost one.

    Also where a restore, salvage or copy was cut off: an empty account is not taken for it. Call it again.
    """

    code = "database_missing"
    hint: str | None = "Put the database back. To start anew, move its key away or use another key."


class LogWithoutDatabase(DatabaseMissing):
    """The write-ahead log of a database exists, the database does not. The log may hold the newest messages."""

    code = "log_without_database"
    hint: str | None = (
        "Put the database back. To start anew, move the log (the file ending in -wal) away."
    )


class SchemaTooNew(StorageError):
    """The database was written by a newer version of this software.

    `found` is its schema, `bound` the newest that is read here.
    """

    code = "schema_too_new"
    hint: str | None = "Update this package."

    def __init__(
        self,
        message: str = "",
        *,
        found: int | None = None,
        bound: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.found = found
        self.bound = bound


class SchemaTooOld(StorageError):
    """The database has a schema that is older than any that is read here, or none at all (0).

    `found` is its schema, `bound` the oldest that is read here. No release has left a database like that.
    """

    code = "schema_too_old"
    hint: str | None = "Put back a copy of the file, or restore a backup."

    def __init__(
        self,
        message: str = "",
        *,
        found: int | None = None,
        bound: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.found = found
        self.bound = bound


class AlreadyEncrypted(StorageError):
    """The database is encrypted already."""

    code = "already_encrypted"
    hint: str | None = (
        "To change its key use rekey() or `mdk rekey`; to copy it give from_key and to (--from-key, --to)."
    )


class CopyDiffers(StorageError):
    """A copy does not hold what its source holds; nothing was replaced."""

    code = "copy_differs"
    hint: str | None = "Check the disk, and report it if the disk is sound."


class InMemory(StorageError):
    """The account is in memory; there is no file to work on."""

    code = "in_memory"
    hint: str | None = "Use an account on disk: Mdk.open()."


class KeyMalformed(StorageError):
    """The file, descriptor or variable does not hold a database key."""

    code = "key_malformed"
    hint: str | None = "Put the right one back. A new key cannot open old data."


class KeyRecordMalformed(StorageError):
    """The record of where the key is (the file ending in .keyinfo) cannot be read, or a newer version wrote it."""

    code = "key_record_malformed"
    hint: str | None = (
        "Update this package, or move the record away and name the key in full, for example "
        "DatabaseKey.keyring(service, key_id=...) or from_file(path)."
    )


class KeyNotStored(StorageError):
    """A new key did not read back as it was stored; the database was not made or changed."""

    code = "key_not_stored"
    hint: str | None = "Check the disk or the keyring, then call again."
