"""Another program that looks at an open database with plain SQLite takes nothing away, whatever was called before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.vault.kit import python

from mdk import DatabaseKey, Keys, Mdk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc/locks")

# Opens an account, makes one call that is refused, and is killed after it has acknowledged messages. Its
# SHARED lock tells SQLite elsewhere that somebody is there: without it the log is moved into the file and removed.
CALLS = """
import os, subprocess, sys
from pathlib import Path
from mdk import DatabaseKey, Keys, Mdk
from mdk.client import files

path, call = Path(sys.argv[1]), sys.argv[2]
keys = Keys.parse(sys.stdin.readline().strip())
raw = DatabaseKey.raw(b"k" * 32)

def stop(_):
    raise ValueError("stop")

def locked():
    inode = path.stat().st_ino
    lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    ours = (words for words in lines if words[1] == "POSIX" and int(words[4]) == os.getpid())
    return any(int(words[5].split(":")[2]) == inode and int(words[6]) > 1 << 30 for words in ours)

account = Mdk.open(path, keys=keys, key=raw)
with account.create_group("g", relays=["wss://relay.example"]) as pending:
    group = pending.confirm().id
calls = {
    "nothing": lambda: stop(None),
    "keys_from_it": lambda: Keys.from_file(path),
    "sent_as_a_file": lambda: stop(files.read(path, 1 << 30)),
}
assert locked()
try:
    calls[call]()
except Exception as error:
    print(type(error).__name__, flush=True)
else:
    raise SystemExit("not refused")
print("locked" if locked() else "unlocked", flush=True)
look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1])"
look += chr(10) + "try: c.execute('select 1 from sqlite_master').fetchall()"
look += chr(10) + "except sqlite3.DatabaseError: print('looked', flush=True)"
look += chr(10) + "c.close()"
for number in range(5):
    account.create_message(group, f"message {number}")
    subprocess.run([sys.executable, "-c", look, str(path)], check=True)
os.kill(os.getpid(), 9)
"""


# The calls of the vault are in crates/mdk-store/tests/vault/locks.rs.
@pytest.mark.parametrize("call", ["nothing", "keys_from_it", "sent_as_a_file"])
def test_what_was_acknowledged_survives_a_look_from_outside(call: str, tmp_path: Path) -> None:
    path, keys = tmp_path / "account" / "m.db", Keys.generate()
    told = python(CALLS, path, call, input=keys.reveal_nsec())
    assert told.returncode == -9, told
    lines = told.stdout.splitlines()
    assert lines.count("looked") == 5
    with Mdk.open(path, keys=keys, key=DatabaseKey.raw(b"k" * 32)) as account:
        (group,) = account.groups()
        kept = {message.text for message in account.messages(group.id)}
    assert kept == {f"message {number}" for number in range(5)}
    assert "locked" in lines
