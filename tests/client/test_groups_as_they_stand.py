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

from mdk import Event, GroupId, GroupInfo, errors
from mdk._mdk import Mdk
from mdk.client.feed import Feed
from mdk.testing import LocalRelay
from mdk.testing.fixtures import MakeClient

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
    make_client: MakeClient,
) -> None:
    alice = await make_client("alice")
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


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_group_that_was_not_there_when_the_log_was_read(
    make_client: MakeClient, is_there: bool
) -> None:
    """It came, or came and went, by calls of ours before the reader is given what it asked for."""
    alice = await make_client("alice")
    info = (await alice.groups.create("Lunch")).info
    (joined,) = [e for e in alice.engine.events() if e.group_id == info.id][:1]
    answers: asyncio.Queue[tuple[list[Event], list[GroupInfo], int]] = asyncio.Queue()

    class Native:
        async def poll(self, _after: int, _limit: int) -> object:
            return await answers.get()

    class Engine:
        def group(self, _id: GroupId) -> GroupInfo:
            if is_there:
                return info
            raise errors.GroupNotFound

    parts: tuple[Any, Any] = Engine(), Native()
    feed = Feed(*parts, started_at=datetime.now(UTC))
    following = asyncio.create_task(feed._follow())
    try:
        await asyncio.sleep(0)
        feed.keep(dataclasses.replace(info, epoch=0))
        answers.put_nowait(([joined], [], 1))
        async with asyncio.timeout(PATIENCE):
            while feed.position < 1:
                await feed.wait()
        assert feed.groups == ({info.id: info} if is_there else {})
    finally:
        following.cancel()
