"""Keyrings that are absent, mute or locked, disks that are full or read-only: an error by name, and no file left."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path

import pytest
from tests.vault.conftest import Disk
from tests.vault.kit import ran, succeeded

# Without any keyring, as on a server.
DESKTOP = re.compile(r"DBUS|XDG|DISPLAY|WAYLAND")
NO_BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}

OPEN = """
import json, os, sys
from pathlib import Path
import mdk
folder, source = Path(sys.argv[1]), sys.argv[2]
key = {
    "default": lambda: None,
    "raw": lambda: mdk.DatabaseKey.raw(bytes(range(32))),
    "keyring": lambda: mdk.DatabaseKey.keyring(timeout=float(os.environ.get("KEYRING_TIMEOUT", "30"))),
}[source]()
found = None
try:
    mdk.Mdk.open(folder / "mdk.db", keys=mdk.Keys.generate(), key=key).close()
except mdk.errors.MdkError as error:
    found = {"class": type(error).__name__, "hint": error.hint}
left = sorted(p.name for p in folder.rglob("*")) if folder.exists() else []
print(json.dumps({"error": found, "left": left}))
"""


def attempt(
    folder: Path, source: str, *, env: dict[str, str] | None = None, before: list[str] | None = None
) -> dict[str, object]:
    """Open in a child. `before` wraps the command."""
    environment = {k: v for k, v in os.environ.items() if not DESKTOP.match(k)} | (env or {})
    done = ran([*(before or []), sys.executable, "-c", OPEN, folder, source], env=environment)
    result: dict[str, object] = json.loads(succeeded(done))
    assert done.stderr == ""
    return result


def refused(result: dict[str, object], name: str) -> None:
    error = result["error"]
    assert isinstance(error, dict)
    assert error["class"] == name
    assert error["hint"]


# proves: S29
@pytest.mark.parametrize("source", ["default", "keyring"])
def test_no_keyring_at_all(tmp_path: Path, source: str) -> None:
    folder = tmp_path / "new" / "account"
    result = attempt(folder, source, env=NO_BUS)
    refused(result, "KeyringUnavailable")
    assert not (tmp_path / "new").exists()


def test_a_keyring_that_does_not_answer(tmp_path: Path) -> None:
    with SilentBus(tmp_path / "bus") as address:
        folder = tmp_path / "new"
        result = attempt(
            folder, "keyring", env={"DBUS_SESSION_BUS_ADDRESS": address, "KEYRING_TIMEOUT": "1"}
        )
        refused(result, "KeyringTimeout")
        assert not folder.exists()


class SilentBus:
    """A D-Bus address where somebody listens and never says a word."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> str:
        self.socket.bind(str(self.path))
        self.socket.listen(8)
        return f"unix:path={self.path}"

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.mark.parametrize("room", [32, 280])
def test_the_disk_is_full(tmp_path: Path, small_disk: Disk, room: int) -> None:
    result = attempt(tmp_path / "disk", "raw", before=small_disk(f"size={room}k"))
    refused(result, "DiskFull")
    assert result["left"] == []


def test_the_disk_is_read_only(tmp_path: Path, small_disk: Disk) -> None:
    result = attempt(tmp_path / "disk", "raw", before=small_disk("size=4m,ro"))
    refused(result, "ReadOnlyDatabase")
    assert result["left"] == []


# An account on the small disk, with so many pages of it left.
FILL = """
import json, os, shutil, sys
from pathlib import Path
import mdk
disk, account = Path(sys.argv[1]), Path(sys.argv[1]) / "account"
keys, key = mdk.Keys.generate(), mdk.DatabaseKey.raw(bytes(range(32)))
mdk.Mdk.open(account / "mdk.db", keys=keys, key=key).close()
kept = lambda: {path.name: path.read_bytes() for path in account.iterdir()}
filler, volume, found = disk / "filler", os.statvfs(disk), []
before = kept()
for pages in range(16):
    filler.write_bytes(bytes((os.statvfs(disk).f_bavail - pages) * volume.f_frsize))
    try:
        mdk.Mdk.open(account / "mdk.db", keys=keys, key=key).close()
        said = None
    except mdk.errors.MdkError as error:
        said = type(error).__name__
    found.append((said, [name for name, now in kept().items() if before.get(name) != now]))
    filler.unlink()
mdk.Mdk.open(account / "mdk.db", keys=keys, key=key).close()
print(json.dumps(found))
"""


# proves: R5
def test_a_full_disk_gets_no_log_that_was_not_there(tmp_path: Path, small_disk: Disk) -> None:
    disk = tmp_path / "disk"
    said = succeeded(ran([*small_disk("size=4m"), sys.executable, "-c", FILL, disk]))
    found = json.loads(said)
    assert [refusal for refusal, _ in found] == [None] * 16, "it is opened, and read"
    assert not any(changed for _, changed in found[:3]), found


# ------------------------------------------------------------------ a real keyring


@pytest.fixture
def session(tmp_path: Path) -> Disk:
    """A command prefix: a D-Bus session of its own, and a GNOME keyring that is started with the given options."""
    needed = ("dbus-run-session", "gnome-keyring-daemon")
    if missing := [tool for tool in needed if shutil.which(tool) is None]:
        if os.environ.get("MDK_REQUIRE_KEYRINGS") == "1":
            pytest.fail(f"not installed: {missing}")
        pytest.skip(f"not installed: {missing}")

    def prefix(options: str) -> list[str]:
        # The daemon of the session before may live a moment longer, and would be found in its folder.
        run = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        run.mkdir(mode=0o700)
        environment = f'export HOME="{tmp_path}/home" XDG_RUNTIME_DIR="{run}"; unset DISPLAY'
        daemon = f"printf password | gnome-keyring-daemon {options} --components=secrets"
        shell = f'{environment}; {daemon} >/dev/null 2>&1; exec "$@" 2>/dev/null'
        return ["dbus-run-session", "--", "sh", "-c", shell, "sh"]

    (tmp_path / "home").mkdir(mode=0o700)
    return prefix


def in_session(folder: Path, prefix: list[str]) -> dict[str, object]:
    done = ran([*prefix, sys.executable, "-c", OPEN, folder, "keyring"])
    result: dict[str, object] = json.loads(succeeded(done))
    return result


# proves: S17, K7
def test_the_default_key_is_in_the_keyring_and_a_locked_one_says_so(
    tmp_path: Path, session: Disk
) -> None:
    folder = tmp_path / "account"
    assert in_session(folder, session("--unlock"))["error"] is None
    files = sorted(path.name for path in folder.iterdir())
    record = json.loads((folder / "mdk.db.keyinfo").read_text())["key"]
    assert (record["source"], record["store"]) == ("keyring", "secret-service")
    # The same keyring without its password, and nobody who could be asked for it.
    refused(in_session(folder, session("--start")), "KeyringLocked")
    assert sorted(path.name for path in folder.iterdir()) == files
    refused(in_session(tmp_path / "another", session("--start")), "KeyringLocked")
    assert not (tmp_path / "another").exists()
    # It was created for another account, so opening it now shows that the key was found again.
    refused(in_session(folder, session("--unlock")), "WrongAccount")
