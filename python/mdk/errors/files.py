"""Files and directories that cannot be trusted or used."""

from .storage import StorageError


class AccessDenied(StorageError):
    """The operating system does not let this user read or write a file or directory."""

    code = "access_denied"
    hint: str | None = "Run as the user who owns the account's directory, or give that user access."


class InsecureFile(StorageError):
    """A file or directory cannot be trusted: others may read or change it, or a path does not lead where it seems.

    `mode` holds its permission bits, if they are what is wrong.
    """

    code = "insecure_file"
    hint: str | None = (
        "chmod 600 for files, chmod 700 for directories; give the path of the file itself."
    )

    def __init__(
        self, message: str = "", *, mode: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.mode = mode


class KeyFileTooWide(InsecureFile):
    """Others may read or write the key file."""

    code = "key_file_too_wide"
    hint: str | None = (
        "If others have access to this machine, change the key afterwards: `mdk rekey`."
    )


class DirectoryTooWide(InsecureFile):
    """The directory is open to others and cannot safely be tightened."""

    code = "directory_too_wide"
    hint: str | None = "chmod 700 DIRECTORY, or use a directory of its own below it."


class SymbolicLink(InsecureFile):
    """A symbolic link stands where a file should be."""

    code = "symbolic_link"
    hint: str | None = "Give the path of the file itself."


class NotARegularFile(InsecureFile):
    """A FIFO, a device, a socket or a directory stands where a file should be."""

    code = "not_a_regular_file"
    hint: str | None = "Use another path."


class HardLink(InsecureFile):
    """The file has more than one name, so that another path leads to it too."""

    code = "hard_link"
    hint: str | None = "Remove the other name: find DIRECTORY -samefile FILE."


class ForeignOwner(InsecureFile):
    """The file or its directory belongs to another user."""

    code = "foreign_owner"
    hint: str | None = "Run as that user, or use another path."


class PathChanged(InsecureFile):
    """A directory on the path was replaced while the file was being opened."""

    code = "path_changed"
    hint: str | None = "Find out who may rename the directories above it, then open it again."


class LockLost(StorageError):
    """The lock file was removed or replaced while the database was open, so nothing more is written."""

    code = "lock_lost"
    hint: str | None = "Close it and open it again. Never remove the lock file of an open database."


class UnsuitableFileSystem(StorageError):
    """The file system cannot hold a database: shared between machines, or without permissions."""

    code = "unsuitable_file_system"
    hint: str | None = "Use a directory on a local disk."


class DestinationExists(StorageError, FileExistsError):
    """A file stands where a new one is to be written; it was not touched."""

    code = "destination_exists"
    hint: str | None = "Choose another path, or move that file away."


class FileMissing(StorageError, FileNotFoundError):
    """The file that is to be read does not exist."""

    code = "file_missing"
    hint: str | None = "Check the path."
