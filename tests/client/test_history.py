"""Reading a history while messages of it expire: what is still there comes once, and nothing of it is left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from mdk import Client, EventId, Group, Message, errors
from mdk.client import pages
from mdk.testing import Clock
from mdk.testing.fixtures import MakeClient

HOUR = timedelta(hours=1)
STORIES = (
    "x x x x x x x x x",
    "a x x x x x x x x",
    "x x x x x x x x a",
    "a b x x x x c d x x x x x e",
    "x x x x a x x x x b x x x x",
)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 4)


class Story:
    """A group in which some messages stay, and the others expire all at once."""

    def __init__(self, client: Client, group: Group, clock: Clock) -> None:
        self.client = client
        self.group = group
        self.clock = clock
        self.said: list[Message] = []

    async def say(self, *words: str) -> None:
        """Those that are an x expire after an hour."""
        for at, word in enumerate(words):
            lasting = word != "x"
            if lasting != (self.group.info.retention is None):
                await self.group.update(retention=timedelta(0) if lasting else HOUR)
            self.clock.advance(timedelta(seconds=1))
            self.said.append((await self.group.send(f"{word}{at}")).message)

    async def expire(self) -> None:
        self.clock.advance(2 * HOUR)
        await asyncio.to_thread(self.client.engine.tick)

    async def read(self, history: AsyncIterator[Message], expire_after: int) -> list[str]:
        found: list[str] = []
        async for message in history:
            found.append(message.text)
            if len(found) == expire_after:
                await self.expire()
                await self.group.send("new")
        return found


Tell = Callable[[str], Awaitable[Story]]


@pytest_asyncio.fixture
async def tell(make_client: MakeClient) -> Tell:
    """`tell(words)`: a group of its own in which this was said."""
    clock = Clock(datetime.now(UTC))
    client = await make_client("alice", clock=clock)

    async def told(words: str) -> Story:
        story = Story(client, await client.groups.create("chat"), clock)
        await story.say(*words.split())
        return story

    return told


@pytest.mark.parametrize("before", [False, True], ids=["all", "before"])
@pytest.mark.parametrize("newest_first", [True, False], ids=["newest", "oldest"])
async def test_messages_that_expire_meanwhile_take_no_others_along(
    tell: Tell, newest_first: bool, before: bool
) -> None:
    for words, expire_after in product(STORIES, (4, 6, 8)):
        told = await tell(words)
        said = told.said[:-1] if before else told.said
        history = told.group.history(
            newest_first=newest_first, before=told.said[-1].id if before else None
        )
        found = await told.read(history, expire_after)
        whole = [message.text for message in said]
        if newest_first:
            whole.reverse()
        elif not before:
            whole.append("new")
        # Each once, and in order; of what is missing, all has expired.
        assert found == [text for text in whole if text in found]
        assert [text for text in whole if text not in found and not text.startswith("x")] == []
        assert len(found) >= expire_after


async def test_a_message_that_is_not_there_is_no_beginning(tell: Tell) -> None:
    told = await tell("x a b")
    await told.expire()
    for newest_first in (True, False):
        with pytest.raises(errors.MessageNotFound):
            await anext(told.group.history(before=told.said[0].id, newest_first=newest_first))


async def test_both_directions_pages_and_limits(tell: Tell) -> None:
    told = await tell("a b c d e f g h i j k")
    said = [message.text for message in told.said]

    async def read(**asked: Any) -> list[str]:
        return [message.text async for message in told.group.history(**asked)]

    before = told.said[8].id
    assert await read(newest_first=False) == said
    assert await read(limit=6) == said[:-7:-1]
    assert await read(limit=5, newest_first=False) == said[-5:]
    assert await read(before=before, limit=2) == ["h7", "g6"]
    assert await read(before=before, newest_first=False) == said[:8]
    for newest_first in (True, False):
        with pytest.raises(errors.MessageNotFound):
            await read(before=EventId("ab" * 32), newest_first=newest_first)
        assert await read(limit=0, newest_first=newest_first) == []
        with pytest.raises(errors.InvalidInput) as caught:
            await read(limit=-1, newest_first=newest_first)
        assert (caught.value.field, caught.value.limit, caught.value.value) == ("limit", 0, -1)


async def test_a_record_goes_on_too(tell: Tell) -> None:
    """As `mdk export` reads it."""
    told = await tell("x x x x a b c d e")
    found = []
    for message in pages.every(told.client.engine, told.group.id):
        found.append(message.text)
        if len(found) == 4:
            await told.expire()
    assert found == [message.text for message in told.said]
