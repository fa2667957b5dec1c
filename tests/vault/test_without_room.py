"""What is shown and told while nothing can be written down."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.vault.kit import founded

from mdk import DatabaseKey, Keys, Mdk, MessageDeleted, MessageReceived, errors
from mdk.testing import Clock


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process grows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# proves: R5
def test_what_has_had_its_time_is_not_shown_and_no_cursor_is_given_twice(tmp_path: Path) -> None:
    """That a message has expired is told when it is written down: its number would be the next event's."""
    clock = Clock(datetime.now(UTC) - timedelta(minutes=1))
    key = DatabaseKey.raw(bytes(32))
    bob = Mdk.in_memory(Keys.generate(), clock=clock)
    with Mdk.open(tmp_path / "a.db", keys=Keys.generate(), key=key, clock=clock) as alice:
        group = founded(alice, bob, retention=timedelta(seconds=100))
        alice.process(bob.create_message(group, "goes").event)
        (goes,) = alice.messages(group)
        clock.advance(timedelta(seconds=60))
        stays = alice.create_message(group, "stays").message
        last = list(alice.events())[-1].cursor
        clock.advance(timedelta(seconds=60))
        second = bob.create_message(group, "second").event
        with no_room():
            for _ in range(2):
                assert [m.text for m in alice.messages(group)] == ["stays"]
                assert alice.message(group, stays.id).text == "stays"
                assert alice.search("goes") == []
                assert [m.text for m in alice.search("stay")] == ["stays"]
                assert [g.name for g in alice.groups()] == ["Lunch"]
                with pytest.raises(errors.MessageNotFound):
                    alice.message(group, goes.id)
            with pytest.raises(errors.StorageError):
                alice.create_message(group, "no room")
            assert list(alice.events(after=last)) == []
        alice.process(second)
        told = list(alice.events(after=last))
        assert {type(event) for event in told} == {MessageDeleted, MessageReceived}
        heard = [event.message.text for event in told if isinstance(event, MessageReceived)]
        assert heard == ["second"]
        assert alice.verify().ok
