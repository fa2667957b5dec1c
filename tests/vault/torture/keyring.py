"""A GNOME Keyring of our own behind a D-Bus session of its own, and what it keeps for the accounts under test."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
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


# Nothing is started on this bus by being asked for: a keyring that has died stays dead until it is revived here.
BUS = """\
<busconfig>
  <type>session</type>
  <listen>unix:dir={folder}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
OPTIONS = ("--nofork", "--nopidfile", "--print-address=1")
# The home of the keyring that is running.
_homes: list[Path] = []


@contextmanager
def session(folder: Path) -> Iterator[None]:
    """An unlocked keyring for this process and those that it starts."""
    (folder / "run").mkdir(mode=0o700)
    (folder / "bus.conf").write_text(BUS.format(folder=folder), encoding="utf-8")
    bus = subprocess.Popen(
        ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", *OPTIONS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    before = os.environ.get(ADDRESS)
    try:
        assert bus.stdout is not None
        os.environ[ADDRESS] = bus.stdout.readline().strip()
        _homes.append(folder)
        _start()
        yield
    finally:
        _homes.remove(folder)
        if before is None:
            os.environ.pop(ADDRESS, None)
        else:
            os.environ[ADDRESS] = before
        bus.terminate()
        bus.wait(timeout=30)
        assert bus.stdout is not None
        bus.stdout.close()


def _start() -> None:
    folder = _homes[-1]
    own = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run")}
    # It ends with the bus.
    subprocess.run(
        ["gnome-keyring-daemon", "--unlock", "--components=secrets"],
        env={k: v for k, v in os.environ.items() if k != "DISPLAY"} | own,
        input=b"password",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    # It comes back before it has its name on the bus, which nothing else gives.
    deadline = time.monotonic() + 60
    while not _answers():
        assert time.monotonic() < deadline, "the keyring does not come to the bus"


def _answers() -> bool:
    """Whether somebody is asked at all; that there is no such entry is no error to the tool."""
    return not _run("lookup", "service", SERVICE, "username", "nobody").stderr


def pid() -> int | None:
    """The process of the keyring, if it lives: now and then it dies of a client that was killed while it spoke."""
    with socket.socket(socket.AF_UNIX) as control:
        try:
            control.connect(str(_homes[-1] / "run" / "keyring" / "control"))
        except OSError:
            return None
        peer = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[0])


def _run(*arguments: str, secret: str | None = None) -> subprocess.CompletedProcess[str]:
    # The shim of a child under test is none of its business.
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    try:
        return subprocess.run(
            ["secret-tool", *arguments],
            env=environment,
            input=secret,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except subprocess.TimeoutExpired:
        # It lives and answers nobody: who looks whether it has died is to see that.
        stop()
        raise


def stop() -> None:
    """Kills the keyring, and waits until it is gone."""
    if (found := pid()) is None:
        return
    watched = os.pidfd_open(found)
    try:
        os.kill(found, signal.SIGKILL)
        assert select.select([watched], [], [], 60)[0], "the keyring cannot be killed"
    finally:
        os.close(watched)


def _tool(*arguments: str, secret: str | None = None) -> str:
    return _run(*arguments, secret=secret).stdout


def entries() -> dict[str, str]:
    """The keys of all accounts under test: key id and text."""
    said = _tool("search", "--all", "--unlock", "service", SERVICE)
    return dict(re.findall(rf"^label = keyring:(.+)@{SERVICE}\nsecret = (.*)$", said, re.MULTILINE))


def put(wanted: dict[str, str]) -> None:
    """Makes these the only ones, in a keyring that lives."""
    if pid() is None:
        _start()
    _tool("clear", "service", SERVICE)
    for name, text in wanted.items():
        label = f"--label=keyring:{name}@{SERVICE}"
        _tool("store", label, "service", SERVICE, "username", name, secret=text)
    assert entries() == wanted, "the keyring does not keep what it is given"
