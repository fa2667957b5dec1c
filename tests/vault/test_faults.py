"""Disks that are full, broken, over quota or read-only, and processes out of descriptors, at every call.

A sample that begins elsewhere for each commit; `make torture` runs the whole.
"""

from __future__ import annotations

import errno

import pytest
from tests import sampling
from tests.vault.conftest import NEEDS_SHIM
from tests.vault.torture import operations
from tests.vault.torture.faults import fault_once, sweep
from tests.vault.torture.kill import Bench, Tally
from tests.vault.torture.operations import by_name
from tests.vault.torture.shim import CHANGES, ERRORS, Kind, Mode, Plan

pytestmark = NEEDS_SHIM

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


def each_fails(
    stand: Bench,
    name: str,
    kind: Kind,
    error: int = errno.EIO,
    *,
    targets: range = range(1, 1000),
    sticky: bool = False,
    reopen: bool = False,
) -> tuple[int, Tally]:
    """Calls of these kinds fail, one after the other, to the last: its number, and what came of all."""
    operation, all_of_them = by_name(name), Tally()
    stand.ready(operation)
    for target in targets:
        plan = Plan(Mode.FAIL, target, kind, error, sticky=sticky)
        fired, tally = fault_once(stand, operation, plan, reopen=reopen and target % 2 == 0)
        all_of_them.add(tally)
        assert not tally.failures, "\n".join(tally.failures)
        if not fired:
            break
    return target, all_of_them


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
    targets = range(1, 1000, 1 if name == "receive" else 4)
    target, tally = each_fails(stand, name, Kind.WRITE, errno.ENOSPC, targets=targets, sticky=True)
    # The log is moved after the message is on disk: without room it is moved another time.
    assert set(tally.errors) == {"DiskFull"}
    assert tally.tolerated == 0 or name != "receive"
    assert target > writes


# proves: R5
def test_a_commit_that_fails_where_the_log_begins_anew_is_not_found_later(stand: Bench) -> None:
    """Its frames are whole when only their sync fails, and they stand where the old log began, not behind it."""
    lasting = CHANGES | Kind.OPEN | Kind.READ
    each_fails(
        stand,
        "receive_restart",
        lasting & ~Kind.UNLINK,
        targets=range(1, 9),
        sticky=True,
        reopen=True,
    )


# proves: R5
@pytest.mark.parametrize(("name", "every"), [("first_open", 9), ("encrypt_existing", 29)])
def test_a_new_database_that_cannot_be_read_back_is_not_called_damaged(
    stand: Bench, name: str, every: int
) -> None:
    """SQLCipher takes what it could not read for what does not authenticate."""
    _, tally = each_fails(stand, name, Kind.READ, targets=range(2, 1000, every))
    assert set(tally.errors) == {"StorageError"}


# proves: R5
def test_a_log_that_cannot_be_read_is_not_called_damaged(stand: Bench) -> None:
    """It holds what was acknowledged last, and a re-key reads it before it reads anything else."""
    targets = range(1, 25, 2)
    target, _ = each_fails(stand, "rekey_file", Kind.READ, targets=targets, reopen=True)
    assert target > 20


# proves: R5
@pytest.mark.parametrize("name", ["first_open", "restore", "salvage", "rekey"])
def test_a_removal_that_fails_leaves_nothing_in_the_end(stand: Bench, name: str) -> None:
    assert each_fails(stand, name, Kind.UNLINK)[0] > 1


# proves: R5
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
def test_an_opening_that_fails_leaves_the_log_of_a_killed_owner(stand: Bench, error: int) -> None:
    """SQLite opens the log's index for reading only when it cannot otherwise, and then takes the log for empty."""
    # Files can be opened for reading and removed, and not be made or written.
    each_fails(stand, "reopen", Kind.CREATE, error, targets=range(1, 40), sticky=True)
    some = range(1 + SEED % 4, 40, 4)
    each_fails(stand, "reopen", ERRORS[error] & ~Kind.OPEN, error, targets=some, sticky=True)
