"""`mdk rekey` between two kinds of keyring, each the real one."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.vault.torture import keyring

from mdk import DatabaseKey, Keys, Mdk

NEEDED = [*keyring.missing(), *([] if shutil.which("keyctl") else ["keyctl"])]
pytestmark = pytest.mark.skipif(bool(NEEDED), reason=f"not installed: {NEEDED}")

# What belongs to one session of the kernel's keyrings: both commands and the look at what is left.
MOVES = """
set -e
"$1" -m mdk rekey "$2" --to "keyring:torture/alice-$3" --keyring-store keyutils --allow-volatile --json
echo ---
cat "$2.keyinfo"
echo ---
rm "$2.keyinfo"
"$1" -m mdk rekey "$2" --key "keyring:torture/alice-$3" --to "keyring:torture/carol-$3" \\
  --keyring-store keyutils --allow-volatile --json
echo ---
cat "$2.keyinfo"
echo ---
"$1" -m mdk rekey "$2" --to keyring:mdk-torture/bob --keyring-store secret-service --json
echo ---
cat "$2.keyinfo"
echo ---
keyctl search @s user "keyring:carol-$3@torture" 2>&1 || true
keyctl purge user "keyring:alice-$3@torture"
"""


@pytest.fixture(autouse=True)
def secret_service() -> Iterator[None]:
    # (the name of a socket may not be long)
    with (
        tempfile.TemporaryDirectory(prefix="mdk-keyring-") as home,
        keyring.session(Path(home)),
    ):
        yield


def test_one_command_moves_the_key_into_another_keyring_and_back(tmp_path: Path) -> None:
    database = tmp_path / "account" / "mdk.db"
    key = DatabaseKey.keyring(keyring.SERVICE, key_id="first")
    keys = Keys.generate()
    # What the kernel keeps outlives the test.
    run = secrets.token_hex(4)
    Mdk.open(database, keys=keys, key=key).close()
    assert list(keyring.entries()) == ["first"]
    done = subprocess.run(
        ["keyctl", "session", "-", "bash", "-c", MOVES, "moves", sys.executable, database, run],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *documents, answer = done.stdout.split("---\n")
    said = [json.loads(document) for document in documents]
    assert [report["exit_code"] for report in said[::2]] == [0, 0, 0]
    places = [record["key"] for record in said[1::2]]
    assert [(p["store"], p["service"], p["key_id"]) for p in places] == [
        ("keyutils", "torture", f"alice-{run}"),
        # (without a record the option says where the present key is, too)
        ("keyutils", "torture", f"carol-{run}"),
        ("secret-service", keyring.SERVICE, "bob"),
    ]
    # Each time the key of before was removed, but where a lost record may be that of a copy.
    assert [report["old_key_kept"] for report in said[::2]] == [False, True, False]
    assert list(keyring.entries()) == ["bob"]
    assert "not available" in answer
    Mdk.open(database, keys=keys, key=DatabaseKey.keyring()).close()
