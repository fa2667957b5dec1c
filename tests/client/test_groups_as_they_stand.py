"""What a client says of its groups is what it knows, however late the reader of its log is."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.client.people import PATIENCE, Account, join, until

from mdk import Client, Event, GroupId, GroupInfo, errors
from mdk._mdk import Mdk
from mdk.client.feed import Feed
from mdk.testing import LocalRelay

LATE = 0.3


@pytest.fixture
def late_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of the log comes late, as on a machine with more to do."""
    read = Feed._take

    async def late(self: Feed, group_id: GroupId, group: GroupInfo | None) -> None:
        await asyncio.sleep(LATE)
        await read(self, group_id, group)

    monkeypatch.setattr(Feed, "_take", late)


@pytest.mark.usefixtures("late_reader")
@pytest.mark.parametrize("how", ["entering", "ready", "sync"])
async def test_who_has_fetched_all_finds_the_groups_so(
    relay: LocalRelay, tmp_path: Path, how: str
) -> None:
    alice, bob = Account(tmp_path, "alice", relay), Account(tmp_path, "bob", relay)
    async with alice.open() as hers:
        async with bob.open() as his:
            group, room = await join(hers, his)
            if how == "sync":
                await group.update(name="Dinner")
                await hers.outbox.flush(PATIENCE)
                await his.sync()
                assert room.name == "Dinner"
                return
        await group.update(name="Dinner")
        await hers.outbox.flush(PATIENCE)
        async with bob.open(ready=how == "ready") as his:
            if how == "entering":
                await his._settle_in()
            assert his.groups[group.id].name == "Dinner"


async def test_what_was_read_early_does_not_take_the_place_of_what_was_read_later(
    alice: Client,
) -> None:
    group = await alice.groups.create("Lunch")
    session = alice._session
    look = session.look

    async def late(read: Callable[[Mdk], Any]) -> Any:
        session.look = look  # type: ignore[method-assign]
        found = await look(read)
        await group.update(name="Dinner")
        await until(lambda: group.name == "Dinner", alice)
        return found

    session.look = late  # type: ignore[method-assign]
    assert (await session.fresh(group.id)).name == "Dinner"
    assert group.name == "Dinner"


class Reading:
    """A reader of the log that is given what the test says, beside an engine that has this of the group."""

    def __init__(self, now: GroupInfo | None) -> None:
        self.now = now
        self.answers: asyncio.Queue[tuple[list[Event], list[GroupInfo], int]] = asyncio.Queue()
        parts: tuple[Any, Any] = self, self
        self.feed = Feed(*parts, started_at=datetime.now(UTC))

    def group(self, _id: GroupId) -> GroupInfo:
        if self.now is None:
            raise errors.GroupNotFound
        return self.now

    async def poll(self, _after: int, _limit: int) -> object:
        return await self.answers.get()

    async def gets(
        self, events: list[Event], groups: list[GroupInfo], position: int, after: Callable[[], None]
    ) -> None:
        """What it has asked for comes after a call of ours."""
        following = asyncio.create_task(self.feed._follow())
        try:
            await asyncio.sleep(0)
            after()
            self.answers.put_nowait((events, groups, position))
            async with asyncio.timeout(PATIENCE):
                while self.feed.position < position:
                    await self.feed.wait()
        finally:
            following.cancel()


@pytest.mark.parametrize("now", ["newer", "there", "gone", "deleted"])
async def test_what_the_reader_is_given_late_is_not_what_there_is(alice: Client, now: str) -> None:
    """The group changed, came, came and went, or was deleted by calls of ours before the reader got its answer."""
    info = (await alice.groups.create("Lunch")).info
    told = [event for event in alice.engine.events() if event.group_id == info.id]
    newer = dataclasses.replace(info, epoch=info.epoch + 1)
    reading = Reading({"newer": newer, "there": info}.get(now))
    feed = reading.feed
    if now == "newer":
        await reading.gets([], [info], 1, lambda: feed.keep(newer))
        assert feed.groups == {info.id: newer}
    elif now == "deleted":
        await reading.gets(told, [info], 9_000, lambda: feed.drop(info.id))
        assert feed.groups == {}
        assert await feed.read_group(8_999, info.id, 9) == ([], 9_000)
        assert list(feed._recent) == []
    else:
        early = dataclasses.replace(info, epoch=0)
        await reading.gets(told[:1], [], 1, lambda: feed.keep(early))
        assert feed.groups == ({info.id: info} if now == "there" else {})
