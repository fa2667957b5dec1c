"""Disks that are full, broken, over quota or read-only, and processes out of descriptors, at every call.

A sample that begins elsewhere for each commit; `make torture` runs the whole.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import sampling
from tests.vault.torture import operations
from tests.vault.torture.faults import fault_once, sweep
from tests.vault.torture.kill import Bench, bench
from tests.vault.torture.operations import by_name
from tests.vault.torture.shim import CHANGES, ERRORS, Kind, Mode, Plan

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the shim"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the shim reads /proc"),
]

EVERY = {
    "first_open": 59,
    "receive_checkpoint": 41,
    "receive_restart": 31,
    "restore": 199,
    "encrypt_existing": 97,
}
EVERY |= {"rekey": 31, "backup": 2, "reopen": 23, "create_group": 29, "welcome": 17}
STRIDE, SEED = sampling.count("torture_stride"), sampling.first_seed()
NAMES = [o.name for o in operations.all_operations()]


@pytest.fixture(scope="module")
def stand() -> Iterator[Bench]:
    with bench() as made:
        yield made


# proves: R5
@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_an_error_without_a_change(stand: Bench, name: str) -> None:
    tally = sweep(stand, by_name(name), every=EVERY.get(name, 13) * STRIDE, seed=SEED)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.faults > 0


# proves: R5
@pytest.mark.parametrize(("name", "writes"), [("receive", 1), ("receive_checkpoint", 5)])
def test_a_full_disk_says_so_and_the_message_comes_when_there_is_room(
    stand: Bench, name: str, writes: int
) -> None:
    """The case that every user meets, at every write of it."""
    operation = by_name(name)
    target = 0
    while True:
        target += 1
        plan = Plan(Mode.FAIL, target, Kind.WRITE, errno.ENOSPC, sticky=True)
        fired, tally = fault_once(stand, operation, plan, reopen=False)
        assert not tally.failures, "\n".join(tally.failures)
        if not fired:
            break
        # The log is moved after the message is on disk: without room it is moved another time.
        assert set(tally.errors) == {"DiskFull"} or (tally.tolerated and name != "receive")
    assert target > writes


# proves: R5
def test_a_commit_that_fails_where_the_log_begins_anew_is_not_found_later(stand: Bench) -> None:
    """Its frames are whole when only their sync fails, and they stand where the old log began, not behind it."""
    operation = by_name("receive_restart")
    stand.ready(operation)
    for target in range(1, 9):
        lasting = CHANGES | Kind.OPEN | Kind.READ
        plan = Plan(Mode.FAIL, target, lasting & ~Kind.UNLINK, errno.EIO, sticky=True)
        _, tally = fault_once(stand, operation, plan, reopen=target % 2 == 0)
        assert not tally.failures, "\n".join(tally.failures)


# proves: R5
@pytest.mark.parametrize(("name", "every"), [("first_open", 5), ("encrypt_existing", 19)])
def test_a_new_database_that_cannot_be_read_back_is_not_called_damaged(
    stand: Bench, name: str, every: int
) -> None:
    """SQLCipher takes what it could not read for what does not authenticate."""
    operation = by_name(name)
    stand.ready(operation)
    errors: set[str] = set()
    for target in range(2, 1000, every):
        plan = Plan(Mode.FAIL, target, Kind.READ, errno.EIO)
        fired, tally = fault_once(stand, operation, plan, reopen=False)
        assert not tally.failures, "\n".join(tally.failures)
        errors |= set(tally.errors)
        if not fired:
            break
    assert errors == {"StorageError"}


# proves: R5
def test_a_log_that_cannot_be_read_is_not_called_damaged(stand: Bench) -> None:
    """It holds what was acknowledged last, and a re-key reads it before it reads anything else."""
    operation = by_name("rekey_file")
    stand.ready(operation)
    for target in range(1, 25):
        plan = Plan(Mode.FAIL, target, Kind.READ, errno.EIO)
        fired, tally = fault_once(stand, operation, plan, reopen=target % 2 == 0)
        assert not tally.failures, "\n".join(tally.failures)
        if not fired:
            break
    assert target > 20


# proves: R5
@pytest.mark.parametrize("name", ["first_open", "restore", "salvage", "rekey"])
def test_a_removal_that_fails_leaves_nothing_in_the_end(stand: Bench, name: str) -> None:
    operation = by_name(name)
    stand.ready(operation)
    for target in range(1, 1000):
        plan = Plan(Mode.FAIL, target, Kind.UNLINK, errno.EIO)
        fired, tally = fault_once(stand, operation, plan, reopen=False)
        assert not tally.failures, "\n".join(tally.failures)
        if not fired:
            break
    assert target > 1


# proves: R5
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
def test_an_opening_that_fails_leaves_the_log_of_a_killed_owner(stand: Bench, error: int) -> None:
    """SQLite opens the log's index for reading only when it cannot otherwise, and then takes the log for empty."""
    operation = by_name("reopen")
    stand.ready(operation)
    # Files can be opened for reading and removed, and not be made or written.
    for kind in (Kind.CREATE, ERRORS[error] & ~Kind.OPEN):
        for target in range(1, 40):
            plan = Plan(Mode.FAIL, target, kind, error, sticky=True)
            fired, tally = fault_once(stand, operation, plan, reopen=False)
            assert not tally.failures, "\n".join(tally.failures)
            if not fired:
                break
