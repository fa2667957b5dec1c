"""Building the shim, arming it inside a process, and reading what it recorded."""

from __future__ import annotations

import ctypes
import errno
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")


class Kind(IntFlag):
    """Kinds of calls, as in shim.c."""

    WRITE = 1
    SYNC = 2
    RENAME = 4
    UNLINK = 8
    TRUNCATE = 16
    CREATE = 32
    OPEN = 64
    READ = 128
    MODE = 256
    SEND = 512


# What changes a file or a directory.
CHANGES = Kind.WRITE | Kind.SYNC | Kind.RENAME | Kind.UNLINK | Kind.TRUNCATE | Kind.CREATE
NAMES = [
    *("write", "pwrite", "writev", "pwritev", "fsync", "fdatasync", "rename", "exchange", "link"),
    *("unlink", "rmdir", "ftruncate", "fallocate", "create", "open", "mkdir", "read", "chmod"),
    *("copy", "mark", "symlink", "send"),
]


class Mode(IntEnum):
    """What becomes of the chosen call, as in shim.c."""

    COUNT = 0
    KILL_BEFORE = 1
    KILL_AFTER = 2
    KILL_TORN = 3
    FAIL = 4
    FAIL_TORN = 5


# Which calls a system can answer so.
ERRORS: dict[int, Kind] = {
    errno.ENOSPC: Kind.WRITE | Kind.SYNC | Kind.RENAME | Kind.TRUNCATE | Kind.CREATE,
    errno.EIO: CHANGES | Kind.OPEN | Kind.READ,
    errno.EMFILE: Kind.OPEN | Kind.CREATE,
    errno.EDQUOT: Kind.WRITE | Kind.SYNC | Kind.RENAME | Kind.TRUNCATE | Kind.CREATE,
    errno.EROFS: Kind.WRITE | Kind.RENAME | Kind.UNLINK | Kind.TRUNCATE | Kind.CREATE,
    # The bus behind which the keyring lives has gone.
    errno.EPIPE: Kind.SEND,
}


@cache
def compiled() -> bytes:
    """The shim; one compilation serves a whole process."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("cc")
    options = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    with tempfile.TemporaryDirectory(prefix="mdk-shim-") as folder:
        out = Path(folder) / "shim.so"
        command = [compiler, *options, "-o", str(out), str(SOURCE), "-ldl", "-pthread"]
        subprocess.run(command, check=True)
        return out.read_bytes()


def build(directory: Path) -> Path:
    """Puts the shim into `directory`."""
    out = directory / "shim.so"
    out.write_bytes(compiled())
    out.chmod(0o700)
    return out


class Shim:
    """The shim as seen from inside the process that it was preloaded into."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._arm = library.shim_arm
        number = ctypes.c_int
        places = [ctypes.c_uint64, ctypes.c_uint32]
        self._arm.argtypes = [ctypes.c_char_p, number, *places, number, number, number]
        self._mark = library.shim_mark
        self._mark.argtypes = [ctypes.c_char_p]
        self._mark.restype = None
        self._plain_renames = library.shim_plain_renames
        self._plain_renames.argtypes = [ctypes.c_int]
        self._plain_renames.restype = None
        self._no_locks = library.shim_no_locks
        self._no_locks.restype = None
        self.disarm = library.shim_disarm
        self.disarm.restype = None
        self._count, self._fired = library.shim_count, library.shim_fired
        self._count.restype = self._fired.restype = ctypes.c_uint64

    def arm(self, root: Path, plan: Plan, log_fd: int = -1) -> None:
        done = self._arm(
            str(root.resolve()).encode(),
            int(plan.mode),
            plan.target,
            int(plan.mask),
            plan.error,
            int(plan.sticky),
            log_fd,
        )
        assert done == 0

    def plain_renames(self, error: int) -> None:
        """From now on two names cannot be exchanged: the calls that would do it give this error."""
        self._plain_renames(error)

    def no_locks(self) -> None:
        """From now on pages are neither locked nor unlocked."""
        self._no_locks()

    def mark(self, text: str) -> None:
        self._mark(text.encode())

    @property
    def count(self) -> int:
        return int(self._count())

    @property
    def fired(self) -> int:
        return int(self._fired())


@dataclass(frozen=True)
class Plan:
    """Which call is hit, and how. Without a target all are only counted."""

    mode: Mode = Mode.COUNT
    target: int = 0
    mask: Kind = CHANGES
    error: int = 0
    sticky: bool = False


@dataclass(frozen=True)
class Record:
    """One call as the shim recorded it."""

    call: str
    kind: Kind
    inode: int
    offset: int
    length: int
    size: int
    result: int
    created: bool
    first: str
    second: str
    data: bytes


_HEADER = struct.Struct("<IIIIQQQQiiIIII")
_MAGIC = 0x4D494853


def read_log(path: Path) -> Iterator[Record]:
    """The records of a log, in the order of the calls."""
    raw = path.read_bytes()
    at = 0
    while at < len(raw):
        head = _HEADER.unpack_from(raw, at)
        magic, call, kind, _, inode, offset, length, size, result, _, first, second, data, made = (
            head
        )
        assert magic == _MAGIC, "the log of the shim is out of step"
        at += _HEADER.size
        parts = []
        for n in (first, second, data):
            parts.append(raw[at : at + n])
            at += n
        yield Record(
            NAMES[call],
            Kind(kind),
            inode,
            offset,
            length,
            size,
            result,
            bool(made),
            parts[0].decode().removesuffix(" (deleted)"),
            parts[1].decode(),
            parts[2],
        )
