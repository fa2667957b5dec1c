"""Where the system refuses to lock memory, where a process has forked, and where more is held than is locked."""

from __future__ import annotations

import os
import sys

import pytest
from tests.vault.kit import python, ran, succeeded
from tests.vault.scene import Home

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


# proves: Z2
def test_one_warning_where_the_system_refuses_to_lock(bob: Home) -> None:
    """With no locked memory allowed everything works, and the memory is still wiped and not dumped."""
    code = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0));"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    # Root may lock without limit, so that the refusal needs a process without that capability.
    drop = ["setpriv", "--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock"]
    prefix = drop if os.geteuid() == 0 else []
    script = (
        "import logging, sys; logging.basicConfig(level=logging.DEBUG, format='%(name)s %(levelname)s %(message)s');"
        "from pathlib import Path; from mdk import *;"
        "f = Path(sys.argv[1]);"
        "m = [Mdk.open(f / n / 'a.db', keys=Keys.generate(), key=DatabaseKey.raw(bytes(range(32)))) for n in 'xy'];"
        "[x.close() for x in m]; print(open('/proc/self/smaps').read().count(' lo'))"
    )
    done = ran([*prefix, sys.executable, "-c", code, "-c", script, bob.folder])
    succeeded(done)
    assert done.stdout.split() == ["0"], "nothing could be locked"
    warnings = [line for line in done.stderr.splitlines() if "locked in memory" in line]
    assert len(warnings) == 1, done.stderr
    assert "WARNING" in warnings[0]


# proves: Z2
def test_a_forked_child_locks_its_own_secrets() -> None:
    """Locking is not inherited, being left out of dumps is: the child's new keys go to pages of its own."""
    script = """
import os, re
from pathlib import Path
from mdk import Keys
first = Keys.generate()
def flags():
    text = Path("/proc/self/smaps").read_text()
    found = [set(line.split()[1:]) for line in re.findall("^VmFlags:.*$", text, re.M)]
    return sum({"lo", "dd"} <= f for f in found), sum("dd" in f and "lo" not in f for f in found)
locked, unlocked = flags()
assert locked == 1, locked
if os.fork():
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert first.public_key == Keys.parse(first.reveal_nsec()).public_key
else:
    assert flags() == (0, unlocked + 1)
    mine = Keys.generate()
    assert flags() == (1, unlocked + 1)
    del mine, first
    os._exit(0)
"""
    succeeded(python(script))


# proves: Z2
def test_one_warning_where_more_is_held_than_is_locked() -> None:
    """A MiB is locked, in slots of 64 bytes: what is beyond them serves, and one warning says that it is not.

    What was noted reaches `logging` with the next call of an account.
    """
    script = """
import logging
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(levelname)s %(message)s")
from mdk import Keys, Mdk
many = [Keys.generate() for _ in range(16 * 1024 - 500)]
Mdk.in_memory().close()
print("a little room is left", flush=True)
many += [Keys.generate() for _ in range(600)]
Mdk.in_memory().close()
assert all(keys.public_key == Keys.parse(keys.reveal_nsec()).public_key for keys in many[-3:])
"""
    said = succeeded(ran(["sh", "-c", 'exec "$@" 2>&1', "sh", sys.executable, "-c", script]))
    before, _, after = said.partition("a little room is left")
    assert "locked memory" not in before
    (warning,) = (line for line in after.splitlines() if "locked memory" in line)
    assert warning.startswith("mdk.")
    assert "WARNING" in warning
