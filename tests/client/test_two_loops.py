"""A client that is used from two event loops: an error, and no hang."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from mdk import Client, Event, Group
from mdk.errors import WrongLoop
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which a call hangs. It fails the test, and passes none."""


async def first(client: Client) -> Event:
    async for happened in client.events(after=client.cursor):
        return happened
    raise AssertionError


async def elsewhere(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` on a second event loop, in another thread, while this one turns."""

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            return await work()

    with ThreadPoolExecutor(1) as thread:
        return await asyncio.wrap_future(thread.submit(lambda: asyncio.run(bounded())))


async def test_a_second_loop_is_told_what_to_do(relay: LocalRelay) -> None:
    async with impatient(Client.open(":memory:", relays=[relay.url])) as client:
        group = await client.groups.create("mine")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: group.send("hello"),
            group.next_message,
            client.sync,
            lambda: first(client),
            client.start,
            client.close,
        ]
        for call in calls:
            with pytest.raises(WrongLoop) as caught:
                await elsewhere(call)
            assert caught.value.code == "wrong_loop"
            assert "run_coroutine_threadsafe" in (caught.value.hint or "")
        # Nothing was harmed, and what waits for nothing may be asked anywhere.
        assert isinstance(group, Group)
        await group.send("hello")
        assert await asyncio.to_thread(lambda: client.stats().events_false) == 0


def test_a_client_whose_loop_has_ended_can_only_be_closed() -> None:
    async def begin() -> tuple[Client, Group]:
        client = impatient(Client.open(":memory:", relays=["ws://127.0.0.1:1"]))
        await client.start()
        return client, await client.groups.create("mine")

    async def go_on() -> None:
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(WrongLoop, match="has ended"):
                await group.next_message()
            await client.close()

    client, group = asyncio.run(begin())
    asyncio.run(go_on())
