"""The record beside a database of where its key is: what commands go by when they are given no key."""

import errno
import json
import os
import stat
from pathlib import Path

from mdk.errors import KeyMissing, KeyNotGiven
from mdk.paths import here
from mdk.values import KeyringStoreName

from .keys import KeySource

_KEPT = ("keyring", "file", "secret", "env", "passphrase")
_GIVEN = ("fd", "raw", "callback")
# A record has a few hundred bytes.
_MOST_BYTES = 128 * 1024
_STORES: dict[str, KeyringStoreName] = {
    "secret-service": "secret-service",
    "keyutils": "keyutils",
    "keychain": "keychain",
    "credential-manager": "credential-manager",
}


def source(database: Path, given: KeySource | None) -> KeySource:
    """Where the key of a database is: as the options say, else as is recorded, else in the keyring.

    Raises:
        KeyNotGiven: it was given by a program or a descriptor, and has to be given again.
        KeyMissing: the recorded key file, or the folder that it was in, is not there.
    """
    if given is not None:
        return given
    if _slot(database).get("source") in _GIVEN:
        raise KeyNotGiven(
            "the key of this database is not kept anywhere: it was given when the database was made",
            hint="Give it again, with --key fd:N or --key env:NAME.",
        )
    found = recorded(database) or KeySource("keyring", "")
    if found.kind == "file" and database.exists():
        _need_file(Path(found.value), _slot(database).get("generation"))
    return found


def _need_file(path: Path, generation: str | None) -> None:
    """Refuse to go on with a key file that is not there: only the user knows where it went."""
    names = [path, *([path.with_name(f"{path.name}.{generation}")] if generation else [])]
    if not any(name.exists() for name in names):
        raise KeyMissing(
            f"the key file of this database is not where it was: {names[-1]}",
            hint="If it was moved, name it once: --key file:PATH. If it is lost, so is the data, but for a backup.",
        )


def recorded(database: Path) -> KeySource | None:
    """Where the record says that the key is; None if it does not say or cannot be read."""
    slot = _slot(database)
    kind = slot.get("source")
    if kind not in _KEPT:
        return None
    try:
        match kind:
            case "file":
                # A relative path begins at the folder of the database: there the key moves with it. A `~` in it is the
                # name of a folder: it is what was found, and not what somebody wrote.
                return KeySource(kind, str(here(database.parent / slot["path"])))
            case "keyring":
                name = f"{slot['service']}/{slot['key_id']}"
                return KeySource(kind, name, _STORES.get(slot.get("store", "")))
            case "passphrase":
                return KeySource(kind, "")
            case _:
                return KeySource(kind, str(slot["key_id"]))
    except KeyError:
        return None


def _slot(database: Path) -> dict[str, str]:
    """The texts that the record has about the key. None at all if it cannot be read: opening says what is wrong."""
    try:
        slot = json.loads(_read(database.with_name(f"{database.name}.keyinfo")))["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(slot, dict):
        return {}
    return {name: value for name, value in slot.items() if isinstance(value, str)}


def _read(path: Path) -> bytes:
    """A regular file of a size that a record may have, and nothing else that may lie there: no pipe, device or link."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise OSError(errno.EINVAL, "no record", str(path))
        return file.read(_MOST_BYTES)
