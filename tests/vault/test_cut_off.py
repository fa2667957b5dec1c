"""An encryption and a restore that were killed half-way: nobody says that all is well, and the same call ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.vault.scene import RELAYS
from tests.vault.test_encrypt_alone import KEYS, RAW, plain

from mdk import DatabaseKey, Mdk, errors, vault

PASSPHRASE = "only for this test"

# Kills itself when the stage comes that is asked for; the callback runs between two steps of the work.
CHILD = """
import os, signal, sys
from pathlib import Path
from mdk import DatabaseKey, vault

what, stage, source, target = sys.argv[1:]

def kill(progress):
    if progress.stage == stage:
        os.kill(os.getpid(), signal.SIGKILL)

key = DatabaseKey.from_file(Path(target).with_name("key"))
if what == "encrypt":
    vault.encrypt_existing(target, key=key, progress=kill)
else:
    vault.restore(source, target, passphrase="only for this test", key=key, progress=kill)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills a process")


def killed(what: str, stage: str, source: Path, target: Path) -> DatabaseKey:
    call = [sys.executable, "-c", CHILD, what, stage, str(source), str(target)]
    assert subprocess.run(call, check=False).returncode == -signal.SIGKILL
    return DatabaseKey.from_file(target.with_name("key"))


def test_an_encryption_cut_off_while_it_wiped_is_finished_by_the_same_call(tmp_path: Path) -> None:
    path = plain(tmp_path, "DELETE")
    path.chmod(0o644)
    key = killed("encrypt", "wiping", path, path)
    left = path.with_name("a.db.encrypt")
    assert left.read_bytes().startswith(b"SQLite format 3\0")
    assert left.stat().st_mode & 0o777 == 0o600
    report = vault.verify(path, key=key)
    assert not report.ok
    assert not report.bad_pages
    assert any(".encrypt" in problem for problem in report.problems)
    with pytest.raises(errors.WrongKey):
        vault.encrypt_existing(path, key=DatabaseKey.raw(RAW))
    assert left.exists()
    assert vault.encrypt_existing(path, key=key).rows > 0
    assert not left.exists()
    assert vault.verify(path, key=key).ok
    with pytest.raises(errors.AlreadyEncrypted):
        vault.encrypt_existing(path, key=key)


def test_where_a_restore_was_cut_off_no_empty_account_is_opened(tmp_path: Path) -> None:
    first = tmp_path / "first" / "a.db"
    with Mdk.open(first, keys=KEYS, key=DatabaseKey.raw(RAW)) as account:
        with account.create_group("Lunch", relays=RELAYS) as pending:
            group = pending.confirm().id
        account.backup(tmp_path / "archive", passphrase=PASSPHRASE)
    path = tmp_path / "second" / "a.db"
    path.parent.mkdir(mode=0o700)
    key = killed("restore", "writing", tmp_path / "archive", path)
    with pytest.raises(errors.DatabaseMissing) as caught:
        Mdk.open(path, keys=KEYS, key=key)
    assert "interrupted" in str(caught.value)
    assert "again" in str(caught.value.hint)
    vault.restore(tmp_path / "archive", path, passphrase=PASSPHRASE, key=key)
    with Mdk.open(path, keys=KEYS, key=key) as account:
        assert [found.id for found in account.groups()] == [group]
