"""Kills while a re-key removes the key that it leaves, and whether the checks after them can be trusted.

A sample of the kills at every other call is in test_key_sources.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.vault.conftest import NEEDS_SHIM
from tests.vault.torture import keyring
from tests.vault.torture.kill import Bench, Tally, despite_deaths, examine, kill_once, with_keyring
from tests.vault.torture.operations import by_name
from tests.vault.torture.runner import Run
from tests.vault.torture.shim import Kind, Mode, Plan, read_log
from tests.vault.torture.world import Broken, Place

pytestmark = [
    *NEEDS_SHIM,
    pytest.mark.skipif(
        bool(keyring.missing()) and os.environ.get("MDK_REQUIRE_KEYRINGS") != "1",
        reason=f"not installed: {keyring.missing()}",
    ),
]


# proves: R2, K2, K8
def test_killed_while_the_old_key_file_is_removed_none_is_left(
    stand: Bench, tmp_path: Path
) -> None:
    """From before its first byte is overwritten until it is gone."""
    operation = by_name("rekey_file_to_key_id")
    place, log = stand.fresh(operation), tmp_path / "log"
    plan = Plan(mask=operation.mask)
    assert stand.zygote.operation(operation.name, place.root, plan, log=log).acknowledged
    key = str(place.account / "key")
    calls = [r for r in read_log(log) if r.call != "mark"]
    ours = [n for n, record in enumerate(calls, 1) if record.first == key]
    assert {calls[n - 1].kind for n in ours} >= {Kind.WRITE, Kind.SYNC, Kind.UNLINK}
    # The messages to the keyring before it are not always as many.
    for target in range(ours[0] - 2, ours[-1] + 3):
        for mode in (Mode.KILL_BEFORE, Mode.KILL_TORN):
            run, tally = kill_once(stand, operation, Plan(mode, target, operation.mask))
            assert run.killed or target > ours[-1]
            assert not tally.failures, tally.failures


# ------------------------------------------------------------------ whether the instrument can be trusted


def done(stand: Bench, name: str) -> Place:
    """The place after an undisturbed run."""
    operation = by_name(name)

    def once() -> Place:
        place = stand.fresh(operation)
        run = stand.zygote.operation(name, place.root, Plan(mask=operation.mask))
        assert run.acknowledged, run
        return place

    return despite_deaths(operation, once)


def test_a_key_too_many_a_lost_one_and_a_message_that_only_the_log_had_are_noticed(
    stand: Bench,
) -> None:
    operation = by_name("rekey_key_id_to_file")
    operation.check(done(stand, operation.name), acknowledged=True)
    place = done(stand, operation.name)
    keyring.put(place.facts["keyring"])
    with pytest.raises(Broken, match="left_over: 1 keys are in the keyring, not 0"):
        operation.check(place, acknowledged=True)
    operation = by_name("rekey_key_id")
    place = done(stand, operation.name)
    keyring.put(keyring.entries() | {"another": "mdk-key-1:"})
    with pytest.raises(Broken, match="left_over: 2 keys"):
        operation.check(place, acknowledged=True)
    place = done(stand, operation.name)
    keyring.put({})
    with pytest.raises(Broken, match="unopenable"):
        operation.check(place, acknowledged=False)
    # The place of before: what was acknowledged just before the re-key is not there.
    place = stand.fresh(operation)
    with pytest.raises(Broken, match=r"lost: \['message 0'\]"):
        operation.check(place, acknowledged=False)


def test_a_keyring_that_died_is_revived_and_only_then_the_run_is_repeated(stand: Bench) -> None:
    operation = by_name("rekey_key_id")
    tries: list[bool] = []

    def once(*, dies: bool) -> tuple[str, Tally]:
        place, tally = stand.fresh(operation), Tally()
        if dies and not tries:
            keyring.stop()
        tries.append(dies)
        examine(operation, place, Run(), None, tally, "here")
        return "done", tally

    stand.ready(operation)
    for dies, times in ((True, 2), (False, 1)):
        tries.clear()
        # The fresh place lacks the message of the run, and nothing else.
        _, tally = with_keyring(operation, lambda: once(dies=dies))  # noqa: B023
        assert len(tries) == times
        assert [f.split(": ")[1] for f in tally.failures] == ["lost"], "not an unreachable keyring"
