"""Bots of the client's tests: on a relay, in memory or on disk, and at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.client.people import KEY, PATIENCE, hear

from mdk import Bot, Client, Context, DatabaseKey, Group, GroupId
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient


def bot_of(relay: LocalRelay, **options: object) -> Bot:
    bot = Bot(":memory:", relays=[relay.url], **({"allow": "anyone"} | options))  # type: ignore[arg-type]
    impatient(bot.client)
    bot._delivery.first_pause = 0.01
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
    bot._delivery.first_pause = 0.01
    return bot


def answering(bot: Bot) -> list[str]:
    """It answers what it hears: `done TEXT`. What it has heard."""
    heard: list[str] = []

    @bot.on_message
    async def answer(ctx: Context) -> None:
        heard.append(ctx.text)
        await ctx.reply(f"done {ctx.text}")

    return heard


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


@asynccontextmanager
async def in_a_chat(bot: Bot, user: Client) -> AsyncIterator[Group]:
    """A bot at work, in a group that this user made with it: the user's handle."""
    async with at_work(bot):
        yield await user.groups.create("chat", [bot.client.public_key])


async def comes_again(relay: LocalRelay, folder: Path, group: Group, *texts: str) -> None:
    """The account on disk is closed, and another bot that opens it gets these messages."""
    again = bot_on_disk(relay, folder)
    heard = answering(again)
    async with at_work(again):
        assert await hear(group, len(texts)) == [f"done {text}" for text in texts]
    assert heard == list(texts)


async def has(bot: Bot, group_id: GroupId, text: str) -> None:
    """Wait until a message is stored."""
    await bot.client._session.until(
        lambda mdk: any(one.text == text for one in mdk.messages(group_id)) or None, PATIENCE
    )


async def answered(bot: Bot) -> None:
    """Wait until no invite waits, and no handler is at work."""
    await bot.client._session.until(lambda mdk: not mdk.invites() or None, PATIENCE)
    while tasks := bot._lanes.tasks:
        await asyncio.wait(tasks, timeout=PATIENCE)
