"""Bots of the client's tests: on a relay, in memory or on disk, and at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.client.people import KEY, PATIENCE

from mdk import Bot, Client, DatabaseKey
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient


def bot_of(relay: LocalRelay, **options: object) -> Bot:
    bot = Bot(":memory:", relays=[relay.url], **({"allow": "anyone"} | options))  # type: ignore[arg-type]
    impatient(bot.client)
    bot._first_pause = 0.01
    return bot


def bot_on_disk(relay: LocalRelay, folder: Path, **options: object) -> Bot:
    """The same account each time."""
    bot = Bot(
        folder / "bot" / "mdk.db",
        relays=[relay.url],
        key=DatabaseKey.raw(KEY),
        **({"allow": "anyone"} | options),  # type: ignore[arg-type]
    )
    impatient(bot.client)
    bot._first_pause = 0.01
    return bot


async def going(bot: Bot) -> asyncio.Task[None]:
    """Set a bot going and wait until it can be invited."""
    started = asyncio.Event()

    async def note(_client: Client) -> None:
        started.set()

    bot.on_start(note)
    serving = asyncio.create_task(bot.serve())
    await asyncio.wait_for(started.wait(), PATIENCE)
    await bot.client.ready(PATIENCE)
    return serving


async def end(bot: Bot, serving: asyncio.Task[None]) -> None:
    bot.stop()
    await serving


@asynccontextmanager
async def at_work(bot: Bot) -> AsyncIterator[None]:
    """A bot that can be invited, until the end of the block."""
    serving = await going(bot)
    try:
        yield
    finally:
        await end(bot, serving)
