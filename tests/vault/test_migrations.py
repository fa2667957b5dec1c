"""Databases of earlier schemas open with all that was in them. The kills at their migrations are in test_kill.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.vault.sqlcipher_format import PAGE, encrypt
from tests.vault.torture.kill import Bench, bench
from tests.vault.torture.migration import Migrate, decoded, migrations, tables
from tests.vault.torture.world import Broken, Place

from mdk import GroupId, Mdk

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the shim"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the shim reads /proc"),
]
MIGRATIONS = [operation for operation in migrations() if isinstance(operation, Migrate)]


@pytest.fixture(scope="module")
def stand() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.fixture(params=[operation.name for operation in MIGRATIONS])
def operation(request: pytest.FixtureRequest) -> Migrate:
    return next(o for o in MIGRATIONS if o.name == request.param)


def set_version(account: Path, version: int) -> None:
    """Another number of its schema for a closed database, and not a byte else."""
    database = account / "mdk.db"
    found = decoded(account)
    plain = bytearray(found.pages[1])
    plain[60:64] = version.to_bytes(4, "big")
    page = encrypt(found.key, 1, bytes(plain), found.salt)
    database.write_bytes(page + database.read_bytes()[PAGE:])
    assert decoded(account).header.user_version == version


@pytest.fixture
def migrated(stand: Bench, operation: Migrate) -> Place:
    place = stand.fresh(operation)
    place.alice().close()
    return place


# proves: R12
def test_every_earlier_schema_has_a_world_whose_migration_is_swept() -> None:
    with Mdk.in_memory() as account:
        newest = account.info.schema_version
    assert [operation.version for operation in MIGRATIONS] == list(range(1, newest))


# proves: R12
def test_every_row_survives_and_the_groups_go_on(stand: Bench, operation: Migrate) -> None:
    """`ready` runs and checks it; here it is seen that this means something."""
    _, state, run = stand.ready(operation)
    assert run.result > operation.version
    assert {g["name"]: len(g["messages"]) for g in state["groups"]} == {"Lunch": 6, "Dinner": 0}
    rows = {name: rows.total() for name, (_, rows) in tables(operation.account).items()}
    assert min(rows[name] for name in ("mls_rows", "groups", "nodes", "messages", "events")) > 0


# ------------------------------------------------------------------ whether the instrument can be trusted


def test_the_checks_notice_a_row_that_changed(operation: Migrate, migrated: Place) -> None:
    with migrated.alice() as alice:
        operation.repeat(migrated, alice)
        # A message's row is emptied, and nothing else of it goes.
        alice.delete(GroupId(migrated.facts["group"]), migrated.facts["own"])
        with pytest.raises(Broken, match=r"lost: rows of .*'messages': 1"):
            operation.repeat(migrated, alice)


def test_the_checks_notice_a_group_that_moved(operation: Migrate, migrated: Place) -> None:
    with migrated.alice() as alice:
        pending = alice.update_group(GroupId(migrated.facts["group"]), name="Supper")
        with pytest.raises(Broken, match="lost: rows of"):
            # A staged commit changes rows of MLS only.
            operation.repeat(migrated, alice)
        pending.confirm()
        with pytest.raises(Broken, match="lost: rows of"):
            operation.repeat(migrated, alice)


def test_the_checks_notice_a_database_that_is_not_migrated(
    stand: Bench, operation: Migrate
) -> None:
    """The files of before, and an account that says what it would say after it."""
    place = stand.fresh(operation)
    other = stand.world.copy(stand.root / "other")
    with other.alice() as alice, pytest.raises(Broken, match=f"user_version={operation.version}"):
        operation.repeat(place, alice)


def test_what_a_fault_left_is_judged_before_it_is_opened_again(
    stand: Bench, operation: Migrate
) -> None:
    """Whole in either schema is good; a row that went, or the rows of one schema under another's number, are not."""

    def unchanged(place: Place) -> bool:
        context = operation.prepare(place)
        report = operation.recover(place, context, operation.version, reopen=False)
        operation.finish(place, context)
        return bool(report["unchanged"])

    assert unchanged(stand.fresh(operation)), "not begun"
    place = stand.fresh(operation)
    place.alice().close()
    assert unchanged(place), "done before the error"
    with place.alice() as alice:
        alice.delete(GroupId(place.facts["group"]), place.facts["own"])
    assert not unchanged(place), "done, and a row has changed"

    place = stand.fresh(operation)
    set_version(place.account, operation.version - 1)
    assert not unchanged(place), "neither schema"
    place = stand.fresh(operation)
    place.alice().close()
    set_version(place.account, operation.version)
    assert not unchanged(place), "new tables in an old schema"
