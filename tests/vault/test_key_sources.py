"""Kills and faults while the key is in a passphrase's file or a keyring, at salvage, and without exchange of names.

Seeded samples; `make torture` goes through every call. Messages to the keyring are calls like those to files.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests import sampling
from tests.vault.conftest import NEEDS_SHIM
from tests.vault.torture import faults, keyring, kill
from tests.vault.torture.key_sources import further_operations
from tests.vault.torture.kill import Bench
from tests.vault.torture.operations import by_name
from tests.vault.torture.shim import Kind, Mode, Plan, read_log

pytestmark = NEEDS_SHIM

NAMES = [operation.name for operation in further_operations()]
KEYRING = [name for name in NAMES if by_name(name).mask & Kind.SEND]
# One of each: the steps with key and record are the same for all that make a database.
FAULTS = ["first_open_passphrase", "rekey_passphrase", "rekey_plain_rename", "salvage"]
FAULTS += ["restore_keyring", "encrypt_keyring", "rekey_keyring_to_file"]
# Argon2id takes its time on purpose.
EVERY = 61 * sampling.count("torture_stride")
SEED = sampling.first_seed()


@pytest.fixture(scope="module")
def stand(stand: Bench) -> Bench:
    if keyring.missing() and os.environ.get("MDK_REQUIRE_KEYRINGS") == "1":
        pytest.fail(f"not installed: {keyring.missing()}")
    return stand


# proves: R2, K2, K3, K6, K8
@pytest.mark.parametrize("name", NAMES)
def test_killed_at_a_call_one_key_opens_it(stand: Bench, name: str) -> None:
    tally = kill.sweep(stand, by_name(name), every=EVERY, seed=SEED)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.killed == tally.runs - 1 > 0


# proves: R5
@pytest.mark.parametrize("name", [name for name in FAULTS if name in NAMES])
def test_a_fault_changes_neither_database_nor_key(stand: Bench, name: str) -> None:
    tally = faults.sweep(stand, by_name(name), every=2 * EVERY, seed=SEED)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.faults > 0


# proves: R2, R5, K6
@pytest.mark.parametrize("name", ["first_open_key_id", "rekey_keyring"])
def test_a_bus_that_goes_away_at_any_message(stand: Bench, name: str) -> None:
    if name not in KEYRING:
        pytest.skip(f"not installed: {keyring.missing()}")
    operation = by_name(name)
    stand.ready(operation)
    for target in range(1 + SEED % 3, 1000, 6):
        plan = Plan(Mode.FAIL, target, Kind.SEND, errno.EPIPE, sticky=True)
        fired, tally = faults.fault_once(stand, operation, plan, reopen=True)
        assert not tally.failures, "\n".join(tally.failures)
        if not fired:
            break
    assert target > 10, "messages to the keyring are seen"


def test_without_exchange_nothing_is_exchanged(stand: Bench, tmp_path: Path) -> None:
    """Whether the instrument can be trusted: with it, and without it."""
    for name, exchanges in (("rekey_file", True), ("rekey_plain_rename", False)):
        operation = by_name(name)
        stand.ready(operation)
        stand.zygote.operation(name, stand.fresh(operation).root, log=tmp_path / name)
        assert ("exchange" in [r.call for r in read_log(tmp_path / name)]) == exchanges
