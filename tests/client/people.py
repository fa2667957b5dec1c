"""Words of the client's tests: people in a group, what they hear, and waiting for it without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar

from mdk import Client, DatabaseKey, Event, Group, Keys, Message
from mdk.testing import Clock, LocalBlossom, LocalRelay, client

T = TypeVar("T")
E = TypeVar("E", bound=Event)

PATIENCE = 90.0
"""Longest wait for anything, seconds: far beyond what it takes, also on a busy machine."""
LOOK_AGAIN = 0.05
KEY = bytes(range(32))
Two: TypeAlias = tuple[Client, Client, Group, Group]
"""Alice, Bob, and the handle of each of the group that they are in."""


async def hear(group: Group, count: int) -> list[str]:
    """The texts of the next `count` messages of others."""
    return [(await group.next_message(PATIENCE)).text for _ in range(count)]


async def event_of(
    who: Client,
    kind: type[E],
    after: str | None = None,
    where: Callable[[E], bool] = lambda _: True,
) -> E:
    """The next event of a kind behind `after`."""
    async with asyncio.timeout(PATIENCE):
        async for event in who.events(after=after):
            if isinstance(event, kind) and where(event):
                return event
    raise AssertionError("the client was closed")


async def until(check: Callable[[], bool], who: Client) -> None:
    """Wait until `check` is true, looking again whenever something happened at `who`.

    And without that: counters change beside the log.
    """
    async with asyncio.timeout(PATIENCE):
        while not check():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await who._session.feed.wait()


class Metronome:
    """A clock for one account, a second later with each message: what relays sort by tells the order of sending."""

    def __init__(self) -> None:
        self.clock = Clock(datetime.now(UTC))

    def tick(self) -> None:
        self.clock.advance(timedelta(seconds=1))

    async def say(self, group: Group, *said: str) -> None:
        """Send messages, each in a second of its own."""
        for text in said:
            self.tick()
            await group.send(text)


async def join(founder: Client, *others: Client, name: str = "group") -> tuple[Group, ...]:
    """A group of all: the handle of each, the founder's first."""
    group = await founder.groups.create(name, [other.public_key for other in others])
    rooms = [await other.invites.accept(await other.invites.next(PATIENCE)) for other in others]
    return group, *rooms


async def texts(group: Group) -> list[str]:
    """The whole history, oldest first."""
    return [message.text async for message in group.history(newest_first=False)]


async def all_messages(group: Group) -> list[Message]:
    """The whole history, oldest first."""
    return [message async for message in group.history(newest_first=False)]


class Account:
    """An account on disk that can be opened again and again."""

    def __init__(self, folder: Path, name: str, *relays: LocalRelay) -> None:
        self.path = folder / name / "mdk.db"
        self.name = name
        self.relays = relays
        self.keys = Keys.generate()

    @asynccontextmanager
    async def open(
        self,
        *,
        ready: bool = True,
        clock: Clock | None = None,
        blobs: Sequence[LocalBlossom] = (),
    ) -> AsyncIterator[Client]:
        opened = await client(
            self.relays,
            self.name,
            account=self.path,
            keys=self.keys,
            key=DatabaseKey.raw(KEY),
            ready=ready,
            clock=clock,
            blobs=blobs,
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(opened.close)
            yield opened
