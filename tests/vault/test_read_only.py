"""Files and disks that may only be read: an error by name that leaves nothing, and all that reads still works."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.vault.conftest import Disk
from tests.vault.kit import python, ran, succeeded

from mdk import vault

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="modes and mounts of Linux")

# Root may write everywhere, so a child becomes somebody else. All is loaded before: another user may not be able to
# read the package.
AS_USER = """
import importlib, json, os, pkgutil, sys
from pathlib import Path
import mdk, mdk.cli
from mdk import DatabaseKey, Keys, Mdk, errors, vault
for module in pkgutil.walk_packages(mdk.__path__, "mdk."):
    if "testing" not in module.name and "__main__" not in module.name:
        importlib.import_module(module.name)
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.environ["HOME"] = sys.argv[1]
folder = Path(sys.argv[1])
path, raw, keys = folder / "a.db", DatabaseKey.raw(bytes(range(32))), Keys.generate()

def left():
    return sorted(file.name for file in folder.iterdir())

def refused(call, error):
    before = left()
    try:
        call()
    except error as caught:
        assert left() == before, (before, left())
        return caught
    else:
        raise AssertionError(f"no {error.__name__}")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below the folder of the tests, which is closed to other users."""
    made = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(made, 65534, 65534)
    yield made
    shutil.rmtree(made)


def as_user(folder: Path, code: str) -> None:
    succeeded(python(AS_USER + code, folder))


# proves: R5
def test_what_may_only_be_read_is_refused_and_can_be_written_again_when_it_may(
    folder: Path,
) -> None:
    as_user(
        folder,
        """
folder.chmod(0o500)
assert "lock file" in str(refused(lambda: Mdk.open(path, keys=keys, key=raw), errors.StorageError))
folder.chmod(0o700)
Mdk.open(path, keys=keys, key=raw).close()
# Side files that an earlier failure has made read-only are ours to write, not before the database is.
beside = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
for file in beside:
    file.touch()
    file.chmod(0o400)
path.chmod(0o400)
other = DatabaseKey.raw(bytes(32))
for _ in range(2):
    refused(lambda: Mdk.open(path, keys=keys, key=raw), errors.ReadOnlyDatabase)
    refused(lambda: vault.rekey(path, other, key=raw), errors.ReadOnlyDatabase)
    backup = lambda: vault.backup(path, folder / "b", passphrase="a passphrase", key=raw)
    refused(backup, errors.ReadOnlyDatabase)
    assert {file.stat().st_mode & 0o777 for file in beside} == {0o400}
path.chmod(0o600)
with Mdk.open(path, keys=keys, key=raw) as account:
    assert {file.stat().st_mode & 0o777 for file in beside} == {0o600}
    account.new_key_package(relays=["wss://relay.example"])
""",
    )


def test_a_file_that_may_not_be_read_is_no_mistake_of_the_command_line(folder: Path) -> None:
    as_user(folder, "Mdk.open(path, keys=keys, key=raw).close()\npath.chmod(0)")
    (folder / "k").write_bytes(bytes(range(32)))
    (folder / "k").chmod(0o600)
    if os.geteuid() == 0:
        os.chown(folder / "k", 65534, 65534)
    as_user(
        folder,
        """
import io
from contextlib import redirect_stderr, redirect_stdout
from mdk.cli.app import run
database, key = str(path), f"file:{folder / 'k'}"
for arguments in (
    ["verify", database, "--key", key],
    ["groups", "--account", database, "--key", key],
    ["salvage", database, str(folder / "b.db"), "--key", key, "--to-key", f"{key}2"],
):
    with redirect_stderr(io.StringIO()) as said:
        assert run(arguments) == 77, arguments
    assert "--help" not in said.getvalue()
with redirect_stdout(io.StringIO()) as said:
    assert run(["doctor", database]) == 2
lines = said.getvalue().splitlines()
error, hint = [line for line in lines if "0000" in line or "chmod 600" in line]
assert error.startswith("ERROR")
assert hint.strip().startswith("->")
""",
    )


MAKE = """
import os, sys
from pathlib import Path
from mdk import DatabaseKey, Keys, Mdk
folder, end = Path(sys.argv[1]), sys.argv[2]
(folder / "home").mkdir(mode=0o700)
key = (
    DatabaseKey.passphrase("a passphrase") if "passphrase" in end
    else DatabaseKey.from_file(folder / "home" / "k")
)
keys = Keys.generate()
(folder / "nsec").write_text(keys.reveal_nsec())
account = Mdk.open(folder / "home" / "a.db", keys=keys, key=key)
with account.create_group("Lunch", relays=["wss://relay.example"]) as pending:
    group = pending.confirm()
for number in range(20):
    account.create_message(group.id, f"message {number}")
(folder / "digest").write_bytes(account.digest())
if "killed" in end:
    os.kill(os.getpid(), 9)
account.close()
if end == "without a lock file":
    (folder / "home" / "a.db.lock").unlink()
"""

LOOK = """
import json, os, sys
from pathlib import Path
from mdk import DatabaseKey, Keys, Mdk, errors, vault
folder, to = Path(sys.argv[1]), Path(sys.argv[2])
path, end = folder / "home" / "a.db", sys.argv[3]
key = (
    DatabaseKey.passphrase("a passphrase") if "passphrase" in end
    else DatabaseKey.from_file(path.with_name("k"))
)
before = sorted(file.name for file in path.parent.iterdir())
log = path.with_name("a.db-wal")
report = vault.doctor(path, key=key)
said = [f.text for f in report.findings if f.topic == "filesystem" and f.level == "error"]
try:
    Mdk.open(path, keys=Keys.generate(), key=key)
except errors.ReadOnlyDatabase as error:
    opened = type(error).__name__
verified = vault.verify(path, key=key)
new = DatabaseKey.raw(bytes(range(32)))
salvaged = vault.salvage(path, to / "salvaged" / "a.db", key=key, to_key=new)
vault.encrypt_existing(path, to=to / "copied" / "a.db", from_key=key, key=new)
vault.backup(path, to / "backup", passphrase="a passphrase", key=key)
vault.restore(to / "backup", to / "restored" / "a.db", passphrase="a passphrase", key=new)
assert sorted(file.name for file in path.parent.iterdir()) == before
print(json.dumps({
    "doctor": [report.exit_code, said],
    "opened": opened,
    "verified": [verified.ok, verified.log_pages > 0],
    "log": log.exists() and log.stat().st_size > 0,
    "missing": [*salvaged.missing],
    "rows": {
        name: vault.verify(to / name / "a.db", key=new).ok
        for name in ("salvaged", "copied", "restored")
    },
    "messages": salvaged.saved["messages"],
}))
"""


@pytest.mark.parametrize("end", ["killed, with a passphrase", "without a lock file"])
def test_on_a_read_only_disk_all_that_reads_works(
    tmp_path: Path, small_disk: Disk, end: str
) -> None:
    """A failing disk is made read-only by the kernel: then what is on it has to be brought elsewhere."""
    disk, to, scratch = tmp_path / "disk", tmp_path / "to", tmp_path / "scratch"
    for made in (to, scratch):
        made.mkdir(mode=0o700)
    make, look = f'"$1" -c "$2" "{disk}" "{end}"', f'"$1" -c "$3" "{disk}" "{to}" "{end}"'
    script = f'({make}; mount -o remount,ro "{disk}") && {look}'
    done = ran(
        [*small_disk("size=64m"), "sh", "-c", script, "sh", sys.executable, MAKE, LOOK],
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    found = json.loads(succeeded(done))
    assert found == {
        "doctor": [2, found["doctor"][1]],
        "opened": "ReadOnlyDatabase",
        "verified": [True, "killed" in end],
        "log": "killed" in end,
        "missing": [],
        "rows": {"salvaged": True, "copied": True, "restored": True},
        "messages": 20,
    }
    assert any("read-only" in text for text in found["doctor"][1])
    assert list(scratch.iterdir()) == [], "copies are removed"


# proves: K5
def test_a_folder_that_may_not_be_entered_is_not_taken_for_an_empty_one(folder: Path) -> None:
    as_user(
        folder,
        """
closed = folder / "closed"
path, file = closed / "a.db", DatabaseKey.from_file(closed / "k")
Mdk.open(path, keys=keys, key=file).close()
Mdk.open(folder / "b.db", keys=keys, key=DatabaseKey.from_file(closed / "b")).close()
for mode in (0o000, 0o600):
    closed.chmod(mode)
    for call in (
        lambda: vault.verify(path),
        lambda: vault.verify(path, key=file),
        lambda: vault.backup(path, folder / "backup", passphrase="long enough", key=file),
        lambda: vault.salvage(path, folder / "saved.db", key=file, to_key=raw),
        lambda: Mdk.open(path, keys=keys),
        lambda: Mdk.open(folder / "b.db", keys=keys),
    ):
        refused(call, errors.AccessDenied)
    for key in (None, file):
        report = vault.doctor(path, key=key)
        told = [finding.text for finding in report.findings]
        assert report.exit_code == 2 and "there is no database yet" not in told, told
    assert vault.doctor(folder / "b.db").exit_code == 2
closed.chmod(0o700)
vault.verify(path)
""",
    )


def test_what_can_be_no_database_is_no_beginning(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in ("", "/", ".", "..", str(tmp_path / "file" / "x.db"), str(tmp_path / "a.db.key")):
        report = vault.doctor(path)
        assert report.exit_code == 2, path
        assert "there is no database yet" not in [finding.text for finding in report.findings]
    report = vault.doctor(tmp_path / "new" / "x.db")
    assert report.exit_code == 0
    assert "there is no database yet" in [finding.text for finding in report.findings]
