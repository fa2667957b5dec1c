"""A key from a file descriptor: it gives the key once, and its number is that of something else afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mdk import DatabaseKey, Keys, Mdk, vault
from mdk.errors import KeyMissing

RELAYS = ["wss://relay.example"]
KEYS = Keys.generate()
RAW = bytes(range(32))

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the descriptors are listed in /proc"
)


def from_pipe() -> DatabaseKey:
    reading, writing = os.pipe()
    os.write(writing, RAW)
    os.close(writing)
    return DatabaseKey.from_fd(reading)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def descriptors() -> dict[str, str]:
    found = {}
    for number in Path("/proc/self/fd").iterdir():
        try:
            found[number.name] = str(number.readlink())
        except FileNotFoundError:
            continue
    # Without that of the list itself, and without what a client of an earlier test still says goodbye through.
    others = ("socket:", "anon_inode:")
    return {
        n: to for n, to in found.items() if not to.endswith("/fd") and not to.startswith(others)
    }


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names(account: Mdk) -> list[str]:
    return sorted(group.name for group in account.groups())


# proves: K8
@pytest.mark.parametrize("again", ["opening", "rekey"])
def test_used_again_it_closes_nothing(tmp_path: Path, again: str) -> None:
    key = from_pipe()
    first = Mdk.open(tmp_path / "one" / "a.db", keys=KEYS, key=key)
    pending = first.create_group("kept", relays=RELAYS)
    before = descriptors()
    calls: dict[str, Callable[[], object]] = {
        "opening": lambda: Mdk.open(tmp_path / "two" / "b.db", keys=Keys.generate(), key=key),
        "rekey": lambda: first.rekey(key),
    }
    with pytest.raises(KeyMissing):
        calls[again]()
    assert descriptors() == before
    notes = tmp_path / "notes.txt"
    with notes.open("w", encoding="utf-8") as file:
        pending.confirm()
        file.write("my notes\n" * 100)
    assert names(first) == ["kept"]
    first.close()
    assert notes.read_text(encoding="utf-8") == "my notes\n" * 100
    with Mdk.open(tmp_path / "one" / "a.db", keys=KEYS, key=from_pipe()) as account:
        assert names(account) == ["kept"]


def calls(path: Path) -> dict[str, Callable[[DatabaseKey], object]]:
    new, raw = path.with_name("new.db"), DatabaseKey.raw(bytes(32))
    return {
        "verify": lambda key: vault.verify(path, key=key),
        "backup": lambda key: vault.backup(path, new, passphrase="p" * 12, key=key),
        "salvage": lambda key: vault.salvage(path, new, key=key, to_key=raw),
        "rekey": lambda key: vault.rekey(path, raw, key=key),
        "encrypt": lambda key: vault.encrypt_existing(path, key=raw, to=new, from_key=key),
    }


# proves: K8
@pytest.mark.parametrize("name", ["verify", "backup", "salvage", "rekey", "encrypt"])
def test_a_number_that_is_not_open_is_no_key(tmp_path: Path, name: str) -> None:
    path = tmp_path / "home" / "a.db"
    Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(RAW)).close()
    before = (descriptors(), files(path.parent))
    free = [number for number in range(3, 200) if not is_open(number)][:12]
    for number in free:
        with pytest.raises(KeyMissing):
            calls(path)[name](DatabaseKey.from_fd(number))
        assert (descriptors(), files(path.parent)) == before
    assert vault.verify(path, key=from_pipe()).ok


# proves: K8
@pytest.mark.parametrize("number", range(3, 9))
def test_the_command_says_that_it_has_no_key(tmp_path: Path, number: int) -> None:
    path = tmp_path / "home" / "a.db"
    Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(RAW)).close()
    done = subprocess.run(
        [sys.executable, "-m", "mdk", "verify", path, "--key", f"fd:{number}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    assert "the file descriptor holds no key" in done.stderr


# proves: K8
def test_what_is_open_for_writing_only_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "home" / "a.db"
    Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(RAW)).close()
    # Standard output is a pipe here.
    done = subprocess.run(
        [sys.executable, "-m", "mdk", "verify", path, "--key", "fd:1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    assert "the file descriptor holds no key" in done.stderr
