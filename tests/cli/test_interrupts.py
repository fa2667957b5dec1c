"""Ctrl-C ends the commands that look after the file, also while they wait for a key."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.cli.kit import Home

from mdk import DatabaseKey, Keys, Mdk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

PATIENCE = 120.0
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


def reads(process: subprocess.Popen[str], descriptor: int) -> bool:
    """Whether a thread of the process is in a call of `read` on the pipe, by whatever number it has there."""
    pipe = Path(f"/proc/self/fd/{descriptor}").readlink()
    for call in Path(f"/proc/{process.pid}/task").glob("*/syscall"):
        # A thread, and what it reads from, may go while it is looked at.
        with suppress(FileNotFoundError, ProcessLookupError):
            number, *arguments = call.read_text().split()
            if (
                number == "0"
                and Path(f"/proc/{process.pid}/fd/{int(arguments[0], 16)}").readlink() == pipe
            ):
                return True
    return False


@contextmanager
def waiting(
    home: Home,
    database: Path,
    *arguments: str,
    asked: Callable[[subprocess.Popen[str]], bool],
    descriptor: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A command that has the lock of the database, has asked for the key, and waits."""
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
        )
        lock = database.with_name(database.name + ".lock")
    try:
        deadline = time.monotonic() + PATIENCE
        while not (lock.exists() and lock.read_text() == f"{process.pid}\n" and asked(process)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def ends(process: subprocess.Popen[str]) -> None:
    """With the words and the code of an interrupt. Nothing else would end it while anybody waits here."""
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, ""), errors
    # (what Python itself notices begins a new line, after the ^C of the terminal)
    assert errors.removeprefix("\n") == "mdk: interrupted\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_while_a_descriptor_says_nothing(command: str, alone: Home, database: Path) -> None:
    source, end = os.pipe()
    key = f"fd:{source}"
    rest = [key if word == "" else word for word in COMMANDS[command]]
    if "--key" not in rest:
        rest += ["--key", key]
    before = files(database.parent)
    try:
        with waiting(
            alone,
            database,
            command,
            str(database),
            *rest,
            asked=lambda process: reads(process, source),
            descriptor=source,
        ) as process:
            ends(process)
    finally:
        os.close(source)
        os.close(end)
    assert files(database.parent) == before
    assert not (alone.folder / "new" / "m.db").exists()


def test_ctrl_c_while_a_keyring_does_not_answer(alone: Home, database: Path) -> None:
    bus = alone.folder / "bus"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bus))
        listener.listen()
        alone.more["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
        options = ("--keyring-store", "secret-service", "--keyring-timeout", "3600")
        arguments = ("verify", str(database), "--key", "keyring:mdk/x", *options)
        listener.settimeout(0)
        # Whoever has connected has asked, and is not answered.
        heard: list[socket.socket] = []

        def asked(_process: subprocess.Popen[str]) -> bool:
            with suppress(BlockingIOError):
                heard.append(listener.accept()[0])
            return bool(heard)

        with waiting(alone, database, *arguments, asked=asked) as process:
            ends(process)
        for connection in heard:
            connection.close()
