"""Encrypting a plain database that another program, which knows nothing of our lock, has open."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.vault.scene import RELAYS
from tests.vault.sqlcipher_format import Encrypted

from mdk import DatabaseKey, Keys, Mdk, errors, vault

RAW = bytes(range(32))
KEYS = Keys.generate()

OTHER = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute(sys.argv[2])
other.execute("SELECT count(*) FROM meta").fetchone()
print("ready", flush=True)
sys.stdin.read()
if sys.argv[2] == "BEGIN IMMEDIATE":
    other.execute("INSERT INTO meta VALUES ('later', x'00')")
other.execute("COMMIT")
"""


def plain(folder: Path, mode: str) -> Path:
    encrypted = folder / "vault" / "a.db"
    with (
        Mdk.open(encrypted, keys=KEYS, key=DatabaseKey.raw(RAW)) as account,
        account.create_group("Lunch", relays=RELAYS) as pending,
    ):
        pending.confirm()
    path = folder / "plain" / "a.db"
    path.parent.mkdir(mode=0o700)
    found = Encrypted(encrypted, RAW).sqlite()
    target = sqlite3.connect(path)
    found.backup(target)
    target.execute(f"PRAGMA journal_mode = {mode}")
    target.close()
    path.chmod(0o600)
    return path


# proves: K3
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("begun", ["BEGIN IMMEDIATE", "BEGIN"])
def test_a_plain_database_in_use_is_busy_and_left_alone(
    tmp_path: Path, mode: str, begun: str
) -> None:
    path = plain(tmp_path, mode)
    before = path.read_bytes()
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(path), begun],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    for to in (None, tmp_path / "new" / "a.db"):
        with pytest.raises(errors.DatabaseBusy):
            vault.encrypt_existing(path, key=DatabaseKey.raw(RAW), to=to)
    assert path.read_bytes() == before
    other.communicate()
    assert other.returncode == 0, "it was not disturbed"
    vault.encrypt_existing(path, key=DatabaseKey.raw(RAW))
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.db", "a.db.keyinfo"]
    found = Encrypted(path, RAW).sqlite().execute("SELECT * FROM meta WHERE name = 'later'")
    assert bool(found.fetchall()) == (begun == "BEGIN IMMEDIATE")
