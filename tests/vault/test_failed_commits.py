"""A commit that was answered with an error is gone, and what it left in the log is not taken for damage."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from tests.vault.conftest import NEEDS_SHIM
from tests.vault.kit import python
from tests.vault.torture.shim import build

from mdk import DatabaseKey, Keys, Mdk
from mdk._mdk import _states

pytestmark = NEEDS_SHIM

RAW = bytes(range(32))
# Stores values of the sizes it is told; the sync of those marked with "!" fails. Then it is killed.
PROGRAM = """
import errno, os, sys
from pathlib import Path
from mdk import DatabaseKey, Keys, Mdk
from mdk._mdk import _set_state, _states
from mdk.errors import StorageError
from tests.vault.torture.shim import Kind, Mode, Plan, Shim

path, shim = Path(sys.argv[1]), Shim()
account = Mdk.open(path, keys=Keys.parse("11" * 32), key=DatabaseKey.raw(bytes(range(32))))
_set_state(account, "first", b"1")
for n, word in enumerate(sys.argv[2].split(",")):
    value = bytes([n]) * int(word.strip("!"))
    if word.endswith("!"):
        shim.arm(path.parent, Plan(Mode.FAIL, 1, Kind.SYNC, errno.EIO))
        try:
            _set_state(account, f"v{n}", value)
        except StorageError:
            assert shim.fired == 1
        else:
            raise SystemExit("stored")
        shim.disarm()
        assert not _states(account, f"v{n}")
    else:
        _set_state(account, f"v{n}", value)
print("ready", flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shim"))


# proves: R5
@pytest.mark.parametrize(
    "sizes",
    [
        "100!",
        "60000!",
        "60000!,100",
        "100!,60000!,100",
        # What is left of the longest stands behind what is left of a shorter one, and both look like transactions.
        "60000!,20000!,100",
        "60000!,20000!,9000!,100",
        "900000!,100,60000!,20000!,100",
        # The log was moved into the file, and is begun anew or goes on.
        "900000,900000,60000!,20000!,100",
        "900000,900000,100,60000!,20000!,100,100!",
    ],
)
def test_what_failed_is_gone_and_what_was_stored_is_there(
    tmp_path: Path, shim: Path, sizes: str
) -> None:
    path = tmp_path / "home" / "m.db"
    path.parent.mkdir(mode=0o700)
    preloaded = {"LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = python(PROGRAM, path, sizes, env=os.environ | preloaded)
    assert done.stdout == "ready\n", done.stderr
    assert done.returncode == -signal.SIGKILL
    with Mdk.open(path, keys=Keys.parse("11" * 32), key=DatabaseKey.raw(RAW)) as account:
        assert _states(account, "first") == {"first": b"1"}
        for n, word in enumerate(sizes.split(",")):
            stored = _states(account, f"v{n}").get(f"v{n}")
            assert stored == (None if word.endswith("!") else bytes([n]) * int(word))
