"""A model of what a phone shows live, over what a client of ours at the same relay receives.

Other apps wait for a second after a commit or a join. A message that comes meanwhile is not shown until their next full
sync. They sort a group by (second, id).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.client.people import PATIENCE

from mdk import Client, Message
from mdk.events import EpochChanged, Joined, MessageReceived

SETTLES = 1.0
"""Seconds after a commit or a join in which what comes is not shown."""


class Phone:
    """Watches what comes to `client` from when it is entered on: `async with Phone(client) as phone:`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._after = client.cursor
        self._settled: dict[str, float] = {}
        self.shown: list[str] = []
        self.hidden: list[str] = []
        self._heard = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self.watch())
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    async def watch(self) -> None:
        """Watch until the client is closed."""
        clock = asyncio.get_running_loop().time
        async for event in self._client.events(after=self._after):
            if isinstance(event, EpochChanged | Joined):
                assert event.group_id is not None
                self._settled[event.group_id] = clock() + SETTLES
            elif isinstance(event, MessageReceived) and not event.message.is_mine:
                message = event.message
                late = clock() >= self._settled.get(message.group_id, 0.0)
                (self.shown if late else self.hidden).append(message.text)
                self._heard.set()

    async def hears(self, count: int) -> list[str]:
        """Wait until `count` messages came in all; those that are not shown."""
        async with asyncio.timeout(PATIENCE):
            while len(self.shown) + len(self.hidden) < count:
                self._heard.clear()
                await self._heard.wait()
        return self.hidden


def timeline(messages: Iterable[Message]) -> list[str]:
    """Texts in the order in which a phone shows them."""
    return [m.text for m in sorted(messages, key=lambda m: (int(m.created_at.timestamp()), m.id))]
