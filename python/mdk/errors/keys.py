"""Where keys are kept, and backups."""

from .base import MdkError


class KeyringError(MdkError):
    """The key of a database could not be had from where it is kept."""

    code = "keyring_error"


class KeyMissing(KeyringError):
    """The database is there, its key is not."""

    code = "key_missing"
    hint: str | None = (
        "Put the key back; a new key cannot open old data. `mdk doctor` says where it was kept."
    )


class KeyNotGiven(KeyMissing):
    """No key was given, and that of the database is kept nowhere, or is opened with a passphrase."""

    code = "key_not_given"
    hint: str | None = "Give the key that the database was made or last re-keyed with: key=..."


class KeyringUnavailable(KeyringError):
    """There is no keyring service here that can be used."""

    code = "keyring_unavailable"
    hint: str | None = (
        "Without a desktop use DatabaseKey.from_file(path), or from_secret(name) under systemd and Docker."
    )


class KeyringLocked(KeyringError):
    """The keyring is locked, and nobody unlocked it."""

    code = "keyring_locked"
    hint: str | None = (
        "Unlock it (log in to the desktop, or open its password manager), then call again."
    )


class KeyringTimeout(KeyringError):
    """The keyring did not answer in time; it may be waiting for a person. `seconds` is how long it was waited for."""

    code = "keyring_timeout"
    hint: str | None = (
        "Look for a dialog that asks for a password, or give DatabaseKey.keyring() a longer timeout."
    )

    def __init__(
        self, message: str = "", *, seconds: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


class KeyringAmbiguous(KeyringError):
    """More than one entry of the keyring has this service and key id."""

    code = "keyring_ambiguous"
    hint: str | None = "Remove the entry that is not ours, with the password manager of the system."


class VolatileStore(KeyringError):
    """The store forgets its keys when the machine restarts, and the data would be lost with them."""

    code = "volatile_store"
    hint: str | None = (
        "Use another source, or allow_volatile=True for data that may be lost at a restart."
    )


class CallbackFailed(KeyringError):
    """The key callback raised, or did not return 32 bytes. What it raised is not shown: it may hold a secret."""

    code = "callback_failed"
    hint: str | None = "Call it yourself to see what is wrong with it."


class NewKeyNeeded(KeyringError):
    """The key comes from a source that this software cannot write, so a new key has to be given."""

    code = "new_key_needed"
    hint: str | None = (
        "rekey(key) with the DatabaseKey to use from now on, for example DatabaseKey.keyring()."
    )


class RekeyInterrupted(KeyringError):
    """A re-key was interrupted after the new key took effect, and the key that was given is the old one."""

    code = "rekey_interrupted"
    hint: str | None = "Open the database with the new key; that completes the re-key."


class KeysMissing(MdkError):
    """The database is there, but it does not keep the account's Nostr keys: they were given each time."""

    code = "keys_missing"
    hint: str | None = "Give keys=..., the account that the database belongs to."


class BackupError(MdkError):
    """A backup could not be read."""

    code = "backup_error"


class WrongPassphrase(BackupError):
    """The passphrase does not open the backup, or the backup was damaged or changed: both look alike on purpose."""

    code = "wrong_passphrase"
    hint: str | None = (
        "Try again; if you are sure of the passphrase, use another copy of the backup."
    )


class NotABackup(BackupError):
    """The file is not a backup of this software, or one of a newer version."""

    code = "not_a_backup"
    hint: str | None = "Choose another file, or update this package."
