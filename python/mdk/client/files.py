"""Files of the user: read and written on threads, completely or not at all."""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from mdk._mdk import _read_file
from mdk.errors import (
    AccessDenied,
    DestinationExists,
    DiskFull,
    FileMissing,
    InvalidInput,
    MediaTooLarge,
    NotARegularFile,
    StorageError,
)
from mdk.paths import expanded
from mdk.values import PathArg

_FULL = {errno.ENOSPC, errno.EDQUOT}


def read(source: PathArg | bytes, limit: int) -> bytes:
    """The whole file, or the bytes themselves.

    Raises:
        FileMissing, AccessDenied, NotARegularFile, StorageError: it cannot be read.
        MediaTooLarge: it has more than `limit` bytes; no more than these were read.
    """
    if isinstance(source, bytes):
        _check(len(source), limit)
        return source
    try:
        # Before opening, which would wait for the writer of a FIFO.
        path = expanded("source", source)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise NotARegularFile("the file to be sent is not a regular file")
        _check(found.st_size, limit)
        # It may be the database itself, whose locks a close would end.
        data = _read_file(path, limit + 1)
    except OSError as error:
        raise _ours(error, "read", source) from None
    _check(len(data), limit)
    return data


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise MediaTooLarge(
            f"the file is too large: {size} bytes, the limit is {limit}", limit=limit, value=size
        )


def write(target: PathArg, data: bytes, *, replace: bool = True) -> None:
    """Write a file that only its owner can read: under a temporary name first, so that it is there entirely or not.

    Folders above it are made. A symbolic link in its place is replaced, not followed.

    Raises:
        DestinationExists: there is one, and `replace` is not set.
        AccessDenied, DiskFull, StorageError: it cannot be written.
    """
    path = expanded("to", target)
    if not path.name or path.name in {".", ".."}:
        raise InvalidInput("to: not the name of a file", field="to")
    temporary = path.with_name(f".mdk-{secrets.token_hex(8)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                _place(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise _ours(error, "written", target) from None


def _place(temporary: Path, path: Path) -> None:
    """Give the file its name, unless it is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links: the look and the renaming are two steps there.
        if os.path.lexists(path):
            raise FileExistsError from None
        temporary.rename(path)
    else:
        temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the new name last."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _ours(error: OSError, what: str, given: PathArg) -> StorageError:
    """What the operating system refused, by who must act. A path that is wrong is named as the caller wrote it."""
    if isinstance(error, StorageError):
        return error
    text = f"the file could not be {what}: {error.strerror or 'an error of the system'}"
    if isinstance(error, FileExistsError):
        return DestinationExists(f"the file to be written exists already: {str(given)!r}")
    if isinstance(error, FileNotFoundError):
        return FileMissing(f"there is no such file: {str(given)!r}")
    if isinstance(error, PermissionError):
        return AccessDenied(text)
    if error.errno in _FULL:
        return DiskFull(text)
    return StorageError(text)
