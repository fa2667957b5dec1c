"""A GNOME Keyring of our own behind a D-Bus session of its own, and what it keeps for the accounts under test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What the accounts under test are called there.
SERVICE = "mdk-torture"
ADDRESS = "DBUS_SESSION_BUS_ADDRESS"
TOOLS = ("dbus-daemon", "gnome-keyring-daemon", "secret-tool")


def missing() -> list[str]:
    """The programs that are needed and not there."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@contextmanager
def session(folder: Path) -> Iterator[None]:
    """An unlocked keyring for this process and those that it starts."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    before = os.environ.get(ADDRESS)
    try:
        assert bus.stdout is not None
        os.environ[ADDRESS] = bus.stdout.readline().strip()
        own = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime)}
        # It comes back when it is ready, and ends with the bus.
        subprocess.run(
            ["gnome-keyring-daemon", "--unlock", "--components=secrets"],
            env={k: v for k, v in os.environ.items() if k != "DISPLAY"} | own,
            input=b"password",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        yield
    finally:
        if before is None:
            os.environ.pop(ADDRESS, None)
        else:
            os.environ[ADDRESS] = before
        bus.terminate()
        bus.wait(timeout=30)
        assert bus.stdout is not None
        bus.stdout.close()


def _tool(*arguments: str, secret: str | None = None) -> str:
    # The shim of a child under test is none of its business.
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    done = subprocess.run(
        ["secret-tool", *arguments], env=environment, input=secret, capture_output=True, text=True
    )
    return done.stdout


def entries() -> dict[str, str]:
    """The keys of all accounts under test: key id and text."""
    said = _tool("search", "--all", "--unlock", "service", SERVICE)
    return dict(re.findall(rf"^label = keyring:(.+)@{SERVICE}\nsecret = (.*)$", said, re.MULTILINE))


def put(wanted: dict[str, str]) -> None:
    """Makes these the only ones."""
    _tool("clear", "service", SERVICE)
    for name, text in wanted.items():
        label = f"--label=keyring:{name}@{SERVICE}"
        _tool("store", label, "service", SERVICE, "username", name, secret=text)
    assert entries() == wanted, "the keyring does not keep what it is given"
