"""A handler that ends as none should: whatever it was, its message is not lost, and the bot says what happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.bots import at_work, bot_on_disk, end, going
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, Event, errors
from mdk.testing import LocalRelay
from mdk.testing.fixtures import MakeClient

SECRET = "nobody else reads this"


class Panic(BaseException):
    """As other extensions raise it."""


async def panics() -> None:
    raise Panic(SECRET)


async def leaves() -> None:
    raise GeneratorExit(SECRET)


async def fails_in_a_group() -> None:
    raise BaseExceptionGroup(SECRET, [GeneratorExit()])


async def cancels_itself() -> None:
    me = asyncio.current_task()
    assert me is not None
    me.cancel(SECRET)
    await asyncio.Event().wait()


async def leaves_itself_cancelled() -> None:
    me = asyncio.current_task()
    assert me is not None
    me.cancel(SECRET)


async def awaits_a_cancelled_task() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel(SECRET)
    await task


End = Callable[[], Awaitable[None]]
ends = pytest.mark.parametrize(
    ("ending", "name"),
    [
        (panics, "Panic"),
        (leaves, "GeneratorExit"),
        (fails_in_a_group, "BaseExceptionGroup"),
        (cancels_itself, "CancelledError"),
        (leaves_itself_cancelled, "CancelledError"),
        (awaits_a_cancelled_task, "CancelledError"),
    ],
)


def require_no_word_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """What a handler put into an exception is in the traceback of that, and in no sentence of the bot's."""
    assert caplog.records
    assert not any(SECRET in record.getMessage() for record in caplog.records)


@ends
async def test_a_handler_is_called_again(
    relay: LocalRelay,
    make_client: MakeClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    ending: End,
    name: str,
) -> None:
    user = await make_client("user")
    bot = bot_on_disk(relay, tmp_path)
    handled: list[str] = []
    told: list[tuple[BaseException, int]] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        handled.append(ctx.text)
        if handled == ["one"]:
            await ending()
            await asyncio.sleep(0)
        await ctx.reply(f"done {ctx.text}")

    @bot.on_error
    async def note(_event: Event, error: Exception, attempts: int) -> None:
        told.append((error, attempts))

    async with at_work(bot):
        group = await user.groups.create("chat", [bot.client.public_key])
        await group.send("one")
        await group.send("two")
        assert await hear(group, 2) == ["done one", "done two"]
    assert handled == ["one", "one", "two"]
    ((error, attempts),) = told
    assert isinstance(error, RuntimeError)
    assert (type(error.__cause__).__name__, attempts) == (name, 1)
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.name for record in said] == ["mdk.bot"]
    handler = handle.__qualname__
    assert said[0].getMessage() == f"the handler {handler} raised {name} (attempt 1)"
    require_no_word_of_ours(caplog)


async def test_a_handler_that_returns_with_its_task_cancelled_has_not_returned(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path
) -> None:
    user = await make_client("user")
    bot = bot_on_disk(relay, tmp_path)
    handled: list[str] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        handled.append(ctx.text)
        if len(handled) == 1:
            await leaves_itself_cancelled()
        else:
            await ctx.reply(f"done {ctx.text}")

    async with at_work(bot):
        group = await user.groups.create("chat", [bot.client.public_key])
        await group.send("one")
        assert await hear(group, 1) == ["done one"]
    assert handled == ["one", "one"]


@ends
async def test_an_error_handler_decides_nothing_by_it(
    relay: LocalRelay,
    make_client: MakeClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    ending: End,
    name: str,
) -> None:
    user = await make_client("user")
    bot = bot_on_disk(relay, tmp_path)
    handled: list[str] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        handled.append(ctx.text)
        if handled == ["one"]:
            raise ValueError(SECRET)
        await ctx.reply(f"done {ctx.text}")

    @bot.on_error
    async def judge(_event: Event, _error: Exception, _attempts: int) -> None:
        await ending()
        await asyncio.sleep(0)

    async with at_work(bot):
        group = await user.groups.create("chat", [bot.client.public_key])
        await group.send("one")
        await group.send("two")
        assert await hear(group, 2) == ["done one", "done two"]
    assert handled == ["one", "one", "two"]
    assert f"the error handler {judge.__qualname__} raised {name}" in caplog.text
    require_no_word_of_ours(caplog)


@ends
async def test_a_timer_goes_on(
    relay: LocalRelay, tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: End, name: str
) -> None:
    bot = bot_on_disk(relay, tmp_path)
    ticks = 0
    again = asyncio.Event()

    @bot.every(timedelta(milliseconds=10))
    async def tick(_client: Client) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 1:
            await ending()
            await asyncio.sleep(0)
        again.set()

    serving = await going(bot)
    await asyncio.wait({serving, asyncio.create_task(again.wait())}, return_when="FIRST_COMPLETED")
    assert again.is_set()
    await end(bot, serving)
    assert f"the timer's handler {tick.__qualname__} raised {name}" in caplog.text
    require_no_word_of_ours(caplog)


async def test_the_wish_to_end_the_process_is_one_in_a_group_too(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path
) -> None:
    user = await make_client("user")

    def handling(bot: Bot, *, ends: bool) -> Bot:
        @bot.on_message
        async def handle(ctx: Context) -> None:
            if ends:
                raise BaseExceptionGroup("several", [ValueError(), SystemExit(3)])
            await ctx.reply(f"done {ctx.text}")

        return bot

    bot = handling(bot_on_disk(relay, tmp_path), ends=True)
    serving = await going(bot)
    group = await user.groups.create("chat", [bot.client.public_key])
    await group.send("one")
    with pytest.raises(BaseExceptionGroup) as raised:
        await asyncio.wait_for(serving, PATIENCE)
    assert raised.group_contains(SystemExit)
    bot = handling(bot_on_disk(relay, tmp_path), ends=False)
    async with at_work(bot):
        assert await hear(group, 1) == ["done one"]


async def test_what_was_open_in_a_task_that_somebody_cancelled_comes_again(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path
) -> None:
    """The bot ends by it, rather than going on without that group; another group's message moves nothing past it."""
    user = await make_client("user")
    begun = asyncio.Event()

    def handling(bot: Bot, *, hangs: bool) -> Bot:
        @bot.on_message
        async def handle(ctx: Context) -> None:
            if hangs and ctx.text == "one":
                begun.set()
                await asyncio.Event().wait()
            await ctx.reply(f"done {ctx.text}")

        return bot

    bot = handling(bot_on_disk(relay, tmp_path), hangs=True)
    serving = await going(bot)
    group = await user.groups.create("chat", [bot.client.public_key])
    other = await user.groups.create("other", [bot.client.public_key])
    await group.send("one")
    await asyncio.wait_for(begun.wait(), PATIENCE)
    await other.send("meanwhile")
    assert await hear(other, 1) == ["done meanwhile"]
    for task in bot._lanes.tasks:
        task.cancel()
    await group.send("two")
    with pytest.raises(errors.Closed):
        await asyncio.wait_for(serving, PATIENCE)
    bot = handling(bot_on_disk(relay, tmp_path), hangs=False)
    async with at_work(bot):
        assert await hear(group, 2) == ["done one", "done two"]
