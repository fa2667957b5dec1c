"""`with` blocks: what leaves them, and what stays pending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mdk import DatabaseKey, GroupId, Keys, Mdk, PendingCommit, errors

RELAYS = ["wss://relay.example"]
ERRORS = [RuntimeError("mine"), KeyboardInterrupt(), SystemExit(3)]


def leave(pending: PendingCommit, before: Callable[[], object], error: BaseException) -> None:
    with pending:
        before()
        raise error


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_the_users_exception_wins(error: BaseException) -> None:
    alice = Mdk.in_memory()
    pending = alice.create_group("Lunch", relays=RELAYS)
    with pytest.raises(type(error)) as caught:
        leave(pending, alice.close, error)
    assert caught.value is error
    (note,) = error.__notes__
    assert "not discarded" in note
    assert "closed" in note
    # Without one the failure is raised.
    alice = Mdk.in_memory()
    with pytest.raises(errors.Closed), alice.create_group("Lunch", relays=RELAYS):
        alice.close()


def test_a_commit_that_a_relay_has_is_not_discarded(alice: Mdk, pair: GroupId) -> None:
    pending = alice.update_group(pair, name="Dinner")
    event = pending.event
    assert event is not None
    error = RuntimeError("mine")
    with pytest.raises(RuntimeError) as caught:
        leave(pending, lambda: alice.process(event), error)
    assert caught.value is error
    assert "confirm it" in error.__notes__[0]
    assert alice.pending() == [pending]
    with pytest.raises(errors.NotAllowed) as refused, pending:
        pass
    assert refused.value.hint
    with pytest.raises(errors.NotAllowed):
        pending.discard()
    # A failed end of a block leaves the object as it was.
    with pending:
        pending.confirm()
    assert alice.pending() == []
    assert alice.group(pair).name == "Dinner"


def test_objects_of_one_commit_are_equal(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    pending = alice.update_group(pair, name="Dinner")
    (again,) = alice.pending()
    assert again is not pending
    assert again == pending
    assert len({again, pending}) == 1
    others = [
        alice.create_group("Other", relays=RELAYS),
        bob.self_update(pair),
        bob.create_group("Other", relays=RELAYS),
    ]
    assert len({pending, *others}) == 4
    assert pending != "something else"
    again.discard()
    later = alice.update_group(pair, name="Dinner")
    assert later != pending


def test_equal_after_opening_again(tmp_path: Path) -> None:
    keys = Keys.generate()
    key = DatabaseKey.raw(bytes(range(32)))
    path = tmp_path / "account" / "mdk.db"
    with Mdk.open(path, keys=keys, key=key) as alice:
        pending = alice.create_group("Lunch", relays=RELAYS)
    with Mdk.open(path, keys=keys, key=key) as alice:
        (again,) = alice.pending()
        assert again == pending
        assert hash(again) == hash(pending)
    with Mdk.open(tmp_path / "other" / "mdk.db", keys=keys, key=key) as other:
        assert other.create_group("Lunch", relays=RELAYS) != pending
