"""Ctrl-C ends the commands that look after the file, also while they wait for a key."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.kit import Home

from mdk import DatabaseKey, Keys, Mdk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals")

COMMANDS = {
    "verify": (),
    "rekey": (),
    "backup": ("x.bak", "--backup-passphrase-fd", "0"),
    "salvage": ("new/m.db", "--to-key", "file:new.key"),
    "encrypt": ("--from-key", "", "--to", "new/m.db", "--key", "file:new.key"),
}


@pytest.fixture
def alone(tmp_path: Path) -> Home:
    """A user of a machine without a keyring and without a relay."""
    return Home(tmp_path, "")


@pytest.fixture
def database(alone: Home) -> Path:
    """One that nobody has open."""
    path = alone.folder / "account" / "m.db"
    Mdk.open(path, keys=Keys.generate(), key=DatabaseKey.raw(b"k" * 32)).close()
    return path


def files(folder: Path) -> dict[str, bytes]:
    """What is on disk."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


@contextmanager
def waiting(
    home: Home, database: Path, *arguments: str, descriptor: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command that has the lock of the database and waits."""
    (home.folder / "words").write_text("words")
    with (home.folder / "words").open() as words:
        process = subprocess.Popen(
            home.command(*arguments),
            stdin=words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=home.folder,
            env=home.environment,
            pass_fds=[] if descriptor is None else [descriptor],
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )
        lock = database.with_name(database.name + ".lock")
    try:
        deadline = time.monotonic() + 30
        while not (lock.exists() and lock.read_text() == f"{process.pid}\n"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # The key is asked for next.
        time.sleep(0.3)
        yield process
    finally:
        process.kill()
        process.communicate()


def ends(process: subprocess.Popen[str]) -> None:
    """Within a second or so, with the words and the code of an interrupt."""
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert (process.returncode, out) == (130, ""), errors
    # (what Python itself notices begins a new line, after the ^C of the terminal)
    assert errors.removeprefix("\n") == "mdk: interrupted\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_while_a_descriptor_says_nothing(command: str, alone: Home, database: Path) -> None:
    reads, writes = os.pipe()
    key = f"fd:{reads}"
    rest = [key if word == "" else word for word in COMMANDS[command]]
    if "--key" not in rest:
        rest += ["--key", key]
    before = files(database.parent)
    try:
        with waiting(alone, database, command, str(database), *rest, descriptor=reads) as process:
            ends(process)
    finally:
        os.close(reads)
        os.close(writes)
    assert files(database.parent) == before
    assert not (alone.folder / "new" / "m.db").exists()


def test_ctrl_c_while_a_keyring_does_not_answer(alone: Home, database: Path) -> None:
    bus = alone.folder / "bus"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bus))
        listener.listen()
        alone.more["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
        options = ("--keyring-store", "secret-service", "--keyring-timeout", "20")
        arguments = ("verify", str(database), "--key", "keyring:mdk/x", *options)
        with waiting(alone, database, *arguments) as process:
            ends(process)
