"""What the log of events says while nothing can be written down."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.vault.kit import founded

from mdk import DatabaseKey, Event, Keys, Mdk, MessageDeleted, MessageReceived
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


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


def test_a_cursor_is_never_given_twice(tmp_path: Path) -> None:
    """That a message has expired is told when it is written down: its number would be the next event's."""
    clock = Clock(datetime.now(UTC) - timedelta(minutes=1))
    alice = Mdk.open(
        tmp_path / "a.db", keys=Keys.generate(), key=DatabaseKey.raw(bytes(32)), clock=clock
    )
    bob = Mdk.in_memory(Keys.generate(), clock=clock)
    group = founded(alice, bob, retention=timedelta(seconds=100))
    alice.process(bob.create_message(group, "first").event)
    last = list(alice.events())[-1].cursor
    clock.advance(timedelta(seconds=200))
    second = bob.create_message(group, "second").event

    with no_room():
        told = list(alice.events(after=last))
    assert told == []

    alice.process(second)
    after = list(alice.events(after=last))
    assert set(kinds(after)) == {MessageDeleted, MessageReceived}
    assert [event.message.text for event in after if isinstance(event, MessageReceived)] == [
        "second"
    ]
    alice.close()
