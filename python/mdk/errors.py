"""Every exception that `mdk` raises.

Each has `.code`, a stable snake_case name to branch on, and `.hint`, what to do next (or None). All of them can be
pickled. No message, attribute or hint contains a key, a group id, a URL or the content of a message. What a *peer*
sends never raises: it ends as an `mdk.Outcome`.
"""

from typing import ClassVar


class MdkError(Exception):
    """Base of every exception of this package."""

    code: ClassVar[str] = "mdk_error"
    hint: str | None = None

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


# ------------------------------------------------------------------ the caller's arguments


class InvalidInput(MdkError, ValueError):
    """An argument is not acceptable; nothing was changed.

    `field` names the argument, if it is about one. If it is a matter of size, `limit` is the bound that was passed (the
    largest that is accepted, or the smallest for a value below it) and `value` what was given, both in the unit that
    the message or the documentation of the argument names. `value` is never the content of an argument.
    """

    code = "invalid_input"
    hint: str | None = "Correct the argument named by .field."

    def __init__(
        self,
        message: str = "",
        *,
        field: str | None = None,
        limit: int | None = None,
        value: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.field = field
        self.limit = limit
        self.value = value


class InvalidEvent(InvalidInput):
    """An event given by the caller is malformed, or its id or signature does not verify (NIP-01)."""

    code = "invalid_event"
    hint: str | None = "Fetch the event again, from another relay."


class InvalidKey(InvalidInput):
    """A public key, a secret key or a database key does not parse. The text itself is not repeated here."""

    code = "invalid_key"
    hint: str | None = (
        "Public: npub, nprofile or 64 hex digits. Secret: nsec, ncryptsec or 64 hex digits."
    )


class InvalidRelayUrl(InvalidInput):
    """A relay URL is not ws:// or wss:// with a host, is too long, or has a user name or a fragment.

    Hosts of private networks and the loopback are accepted: whether to connect to them is for the transport to decide.
    """

    code = "invalid_relay_url"
    hint: str | None = (
        "Use wss://host or ws://host, at most 512 bytes, without user name and fragment."
    )


# ------------------------------------------------------------------ things that are not there


class NotFound(MdkError, LookupError):
    """The thing named by an id is not in this database."""

    code = "not_found"
    hint: str | None = "List what there is: pending(), key_packages()."


class GroupNotFound(NotFound):
    """No such group in this database."""

    code = "group_not_found"
    hint: str | None = "List groups()."


class MessageNotFound(NotFound):
    """No such message in this group."""

    code = "message_not_found"
    hint: str | None = "Check that the id and the group belong together."


class InviteNotFound(NotFound):
    """No such invite; it may have been accepted or declined already."""

    code = "invite_not_found"
    hint: str | None = "List invites()."


class KeyPackageNotFound(NotFound):
    """No such KeyPackage in this database."""

    code = "key_package_not_found"
    hint: str | None = "List key_packages()."


# ------------------------------------------------------------------ things that may not be done


class NotAllowed(MdkError, PermissionError):
    """The protocol forbids this to anybody in this situation; the message says why."""

    code = "not_allowed"
    hint: str | None = "Do what the message says; the same call again fails again."


class NotAdmin(NotAllowed):
    """Only an admin of the group may do this (Marmot v2, admin policy component 0x8003)."""

    code = "not_admin"
    hint: str | None = "Ask an admin: group(id).admins."


class NotMember(NotAllowed):
    """This account is not, or no longer, an active member of the group."""

    code = "not_member"
    hint: str | None = "Only a new invite helps."


class LastAdmin(NotAllowed):
    """The group would be left without an admin."""

    code = "last_admin"
    hint: str | None = "Promote another member first."


# ------------------------------------------------------------------ the state of a group


class GroupError(MdkError):
    """The state of the group does not permit the operation."""

    code = "group_error"


class CommitPending(GroupError):
    """An earlier commit of ours in this group, perhaps an automatic one, is neither confirmed nor discarded."""

    code = "commit_pending"
    hint: str | None = (
        "pending() lists it: confirm it if its event was published, otherwise discard it."
    )


class GroupSettling(GroupError):
    """Commits of others came just now, and which one counts is not settled yet: no commit of ours is made meanwhile."""

    code = "group_settling"
    hint: str | None = "Call again after .millis milliseconds, at most five seconds."

    def __init__(
        self, message: str = "", *, millis: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.millis = millis


class CommitLost(GroupError):
    """The commit is no longer pending: another member's commit won, or it was confirmed or discarded before."""

    code = "commit_lost"
    hint: str | None = "Nothing was changed. Look at the group, then do the operation again."


class IncompatibleMember(GroupError):
    """An invitee's KeyPackage cannot be used in this group.

    `missing` says what does not fit, `rule` is the id of the check (Marmot v2 state, table A2).
    """

    code = "incompatible_member"
    hint: str | None = "Use another KeyPackage of that account."

    def __init__(
        self,
        message: str = "",
        *,
        missing: str | None = None,
        rule: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.missing = missing
        self.rule = rule


class GroupTooLarge(GroupError):
    """A message, a commit or a Welcome would not fit into an event. `size` and `limit` are bytes of its JSON."""

    code = "group_too_large"
    hint: str | None = (
        "Send less or invite fewer members at once, or raise Config.max_event_bytes if your relays accept it."
    )

    def __init__(
        self,
        message: str = "",
        *,
        size: int | None = None,
        limit: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.size = size
        self.limit = limit


class EpochUnavailable(GroupError):
    """The state of that epoch is not retained any more (Config.max_past_epochs)."""

    code = "epoch_unavailable"
    hint: str | None = "Nothing brings it back; use the present epoch: group(id).epoch."


class GroupUnrecoverable(GroupError):
    """State that the group needs is missing from storage; the rest of the database is usable."""

    code = "group_unrecoverable"
    hint: str | None = "Ask an admin for a new invite."


# ------------------------------------------------------------------ the database and its files


class StorageError(MdkError, OSError):
    """Reading, writing or opening a file failed. Of an operation on an open database nothing was changed."""

    code = "storage_error"
    hint: str | None = "Look at the disk and the system log, then call again."


class DiskFull(StorageError):
    """The disk or the quota is full; nothing was changed."""

    code = "disk_full"
    hint: str | None = "Free space, then call again."


class ReadOnlyDatabase(StorageError):
    """The database file or its file system is read-only."""

    code = "read_only_database"
    hint: str | None = "Give the process write access."


class CorruptDatabase(StorageError):
    """The database file is damaged, cut short or empty, or holds a row that cannot be understood."""

    code = "corrupt_database"
    hint: str | None = "Restore a copy. An empty file can be removed to start anew."


class WrongKey(StorageError):
    """The key does not open the database, or the file is no database at all: encrypted data and noise look alike."""

    code = "wrong_key"
    hint: str | None = "Check that the key and the file belong together."


class WrongAccount(StorageError):
    """The database belongs to another account than the keys that were given."""

    code = "wrong_account"
    hint: str | None = "Open it with the keys of its account, or use another path."


class EncryptionMissing(StorageError):
    """The file is a plain SQLite database, or this build lacks SQLCipher or one of its protections."""

    code = "encryption_missing"
    hint: str | None = (
        "Use another path; if there was no file, this installation is broken: reinstall it."
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
    """The key file or the write-ahead log exists but its database does not."""

    code = "database_missing"
    hint: str | None = "Put the database back. To start anew, move the files beside it away."


class SchemaTooNew(StorageError):
    """The database was written by a newer version of this software."""

    code = "schema_too_new"
    hint: str | None = "Update this package."


class SchemaTooOld(StorageError):
    """The database was written by a version that is too old to migrate from."""

    code = "schema_too_old"
    hint: str | None = "Open it with a version in between first."


class InsecureFile(StorageError):
    """A file or directory is open to others, belongs to another user, is a link, or is no regular file."""

    code = "insecure_file"
    hint: str | None = (
        "chmod 600 for files, chmod 700 for directories; give the path of the file itself."
    )


class KeyFileMalformed(StorageError):
    """The key file does not hold a key, or did not read back as it was written."""

    code = "key_file_malformed"
    hint: str | None = "Put the right file back. A new key cannot open old data."


class KeyringError(MdkError):
    """The key of a database could not be had from where it is kept."""

    code = "keyring_error"


class KeyMissing(KeyringError):
    """The database is there, its key (file or environment variable) is not."""

    code = "key_missing"
    hint: str | None = "Put the key back; a new key cannot open old data."


# ------------------------------------------------------------------ the object itself


class Closed(MdkError):
    """The object was closed."""

    code = "closed"
    hint: str | None = "Open it again with Mdk.open()."


class Forked(MdkError):
    """The object was opened before `os.fork()` and is used in the child: two owners would destroy the ratchets."""

    code = "forked"
    hint: str | None = (
        "Open the account after the fork, in one process only (multiprocessing: start method 'spawn')."
    )


class InternalError(MdkError):
    """A bug in this package. After a panic the object refuses all work until it is opened again; the process lives."""

    code = "internal_error"
    hint: str | None = (
        "Please report it with the text. Close the object and open it again; the database is unharmed."
    )
