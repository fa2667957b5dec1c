"""Kills while a re-key removes the key that it leaves, and whether the checks after them can be trusted.

A sample of the kills at every other call is in test_key_sources.py.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from tests.vault.conftest import NEEDS_SHIM
from tests.vault.torture import keyring
from tests.vault.torture.key_sources import RekeyWithId, further_operations
from tests.vault.torture.kill import (
    Bench,
    Tally,
    bench,
    despite_deaths,
    examine,
    kill_once,
    with_keyring,
)
from tests.vault.torture.operations import by_name
from tests.vault.torture.runner import Run
from tests.vault.torture.shim import Kind, Mode, Plan, read_log
from tests.vault.torture.world import Broken, Place

from mdk import DatabaseKey, Keys, Mdk, errors

pytestmark = [
    *NEEDS_SHIM,
    pytest.mark.skipif(
        bool(keyring.missing()) and os.environ.get("MDK_REQUIRE_KEYRINGS") != "1",
        reason=f"not installed: {keyring.missing()}",
    ),
]


def done(stand: Bench, name: str) -> Place:
    """The place after an undisturbed run."""
    operation = by_name(name)

    def once() -> Place:
        place = stand.fresh(operation)
        run = stand.zygote.operation(name, place.root, Plan(mask=operation.mask))
        assert run.acknowledged, run
        return place

    return despite_deaths(operation, once)


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


def test_every_way_of_a_key_into_a_keyring_and_out_of_it_is_killed() -> None:
    ways = {o.name for o in further_operations() if o.mask & Kind.SEND and "rekey" in o.name}
    assert ways >= {"rekey_keyring", "rekey_file_to_keyring", "rekey_keyring_to_file"}
    assert ways >= {"rekey_key_id", "rekey_file_to_key_id", "rekey_key_id_to_file"}
    assert ways >= {"rekey_keyring_to_key_id", "rekey_keyring_to_passphrase"}


@pytest.mark.parametrize("name", ["rekey_keyring_to_file", "rekey_key_id_to_file"])
def test_a_key_that_the_database_has_left_is_noticed(stand: Bench, name: str) -> None:
    place = done(stand, name)
    by_name(name).check(place, acknowledged=True)
    place = done(stand, name)
    keyring.put(place.facts["keyring"])
    with pytest.raises(Broken, match="left_over: 1 keys are in the keyring, not 0"):
        by_name(name).check(place, acknowledged=True)


@pytest.mark.parametrize("name", ["rekey_key_id", "rekey_keyring_to_key_id"])
def test_a_second_key_and_a_lost_one_are_noticed(stand: Bench, name: str) -> None:
    place = done(stand, name)
    keyring.put(keyring.entries() | {"another": "mdk-key-1:"})
    with pytest.raises(Broken, match="left_over: 2 keys"):
        by_name(name).check(place, acknowledged=True)
    place = done(stand, name)
    keyring.put({})
    with pytest.raises(Broken, match="unopenable"):
        by_name(name).check(place, acknowledged=False)


def test_a_message_that_only_the_log_had_is_missed(stand: Bench) -> None:
    """The place of before: the key is right, and what was acknowledged just before the re-key is not there."""
    operation = by_name("rekey_file_to_key_id")
    place = stand.fresh(operation)
    with pytest.raises(Broken, match=r"lost: \['message 0'\]"):
        operation.check(place, acknowledged=False)


def test_a_keyring_that_was_started_answers_at_once(tmp_path: Path) -> None:
    key = DatabaseKey.keyring(keyring.SERVICE, create=False)
    for _ in range(10):
        with (
            tempfile.TemporaryDirectory(prefix="mdk-keyring-") as home,
            keyring.session(Path(home)),
            pytest.raises(errors.KeyMissing),
        ):
            Mdk.open(tmp_path / "mdk.db", keys=Keys.generate(), key=key)


def test_a_keyring_that_died_is_revived_and_its_run_repeated(stand: Bench) -> None:
    operation = by_name("rekey_key_id")
    deaths: list[int] = []

    def once() -> tuple[str, Tally]:
        place = stand.fresh(operation)
        tally = Tally()
        if not deaths:
            keyring.stop()
            deaths.append(1)
        examine(operation, place, Run(), None, tally, "here")
        return "done", tally

    stand.ready(operation)
    # The fresh place lacks the message of the run, and nothing else.
    _, tally = with_keyring(operation, once)
    assert len(deaths) == 1
    assert [f.split(": ")[1] for f in tally.failures] == ["lost"], "not an unreachable keyring"


def test_a_keyring_that_died_while_a_world_was_prepared_is_revived() -> None:
    class Deadly(RekeyWithId):
        deaths = 0

        def setup(self, place: Place) -> None:
            if not self.deaths:
                keyring.stop()
                self.deaths += 1
            super().setup(place)

    operation = Deadly()
    with bench() as own:
        _, _, run = own.ready(operation)
    assert operation.deaths == 1
    assert run.acknowledged


def test_what_fails_while_the_keyring_lives_is_not_repeated(stand: Bench) -> None:
    operation = by_name("rekey_key_id")
    stand.ready(operation)
    tries: list[int] = []

    def once() -> None:
        tries.append(1)
        raise Broken("lost", "a message")

    with pytest.raises(Broken):
        despite_deaths(operation, once)
    assert len(tries) == 1


def test_the_runs_of_an_operation_are_in_the_same_directory(stand: Bench) -> None:
    """Another directory would be that of a copy."""
    rekey, first = by_name("rekey_key_id"), by_name("first_open_key_id")
    seen = set()
    for _ in range(2):
        place = stand.fresh(rekey)
        seen.add(place.account.stat().st_ino)
        (place.account / "stranger").touch()
        (place.root / "folder").mkdir()
        place = stand.fresh(first)
        assert place.root == stand.run
        assert not place.account.exists()
        done(stand, "first_open_key_id")
        place = stand.fresh(rekey)
        seen.add(place.account.stat().st_ino)
        assert not (place.account / "stranger").exists()
        assert not (place.root / "folder").exists()
    assert len(seen) == 1
