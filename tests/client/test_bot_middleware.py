"""What is called around handlers, and what is called at the end."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.client.bots import answered, at_work, bot_of, bot_on_disk, in_a_chat
from tests.client.people import PATIENCE, hear

from mdk import Client, Context, F, Router, errors
from mdk import bot as bots
from mdk.routers import Next
from mdk.testing import Chat, LocalRelay


def noting(router: Router, name: str, seen: list[str]) -> None:
    @router.middleware
    async def note(ctx: Context, call_next: Next) -> None:
        seen.append(f"{name} before")
        await call_next(ctx)
        seen.append(f"{name} after")


async def test_middleware_is_around_handlers_in_the_order_of_definition(relay: LocalRelay) -> None:
    bot, inner, beside = bot_of(relay), Router(), Router()
    bot.include(inner)
    bot.include(beside)
    seen: list[str] = []
    noting(inner, "inner", seen)
    noting(bot, "first", seen)
    noting(bot, "second", seen)
    noting(beside, "beside", seen)

    @inner.command("inner")
    async def command(ctx: Context) -> None:
        seen.append("command")
        await ctx.send("done")

    @bot.message(F.text == "bot")
    async def message(ctx: Context) -> None:
        """Answer."""
        seen.append("message")
        await ctx.send("done")

    async def through(said: str, answer: str) -> list[str]:
        seen.clear()
        await chat.say(said)
        await chat.expect(answer, timeout=PATIENCE)
        await answered(bot)
        return list(seen)

    outer = ["first before", "second before"]
    end = ["second after", "first after"]
    async with Chat(bot, relay) as chat:
        assert await through("/inner", "done") == [
            *outer,
            "inner before",
            "command",
            "inner after",
            *end,
        ]
        assert await through("bot", "done") == [*outer, "message", *end]
        assert await through("/help", "/inner") == [*outer, *end]


async def test_middleware_may_leave_the_handler_out_and_change_what_it_gets(
    relay: LocalRelay,
) -> None:
    bot = bot_of(relay)

    @bot.middleware
    async def judge(ctx: Context, call_next: Next) -> None:
        if ctx.text == "no":
            await ctx.send("left out")
        else:
            await call_next(ctx)
            await call_next(ctx)

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(ctx.text)

    async with Chat(bot, relay) as chat:
        await chat.say("no")
        await chat.expect("left out", timeout=PATIENCE)
        await chat.say("twice")
        for _ in range(2):
            await chat.expect("twice", timeout=PATIENCE)


async def test_what_middleware_raises_is_tried_again(relay: LocalRelay, alice: Client) -> None:
    bot = bot_of(relay)
    attempts: list[int] = []

    @bot.middleware
    async def fail(ctx: Context, call_next: Next) -> None:
        attempts.append(len(attempts))
        if len(attempts) < 3:
            raise ValueError
        await call_next(ctx)

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send("done")

    async with in_a_chat(bot, alice) as group:
        await group.send("hello")
        assert await hear(group, 1) == ["done"]
    assert attempts == [0, 1, 2]


def test_middleware_takes_two_arguments() -> None:
    router: Any = Router()

    async def one(_ctx: Context) -> None: ...

    for wrong in (one, None, "text"):
        with pytest.raises(errors.InvalidInput):
            router.middleware(wrong)


async def test_the_end_is_told_before_the_account_closes(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last one first, whatever the others do."""
    monkeypatch.setattr(bots, "_GRACE", 0.05)
    bot = bot_of(relay)
    told: list[object] = []

    @bot.on_stop
    async def last(client: Client) -> None:
        told.append(await client.invites.pending())

    @bot.on_stop
    async def failing(_client: Client) -> None:
        told.append("failing")
        raise ValueError

    @bot.on_stop
    async def hanging(_client: Client) -> None:
        told.append("hanging")
        await asyncio.Event().wait()

    async with at_work(bot):
        assert told == []
    assert told == ["hanging", "failing", []]
    assert "raised ValueError" in caplog.text
    assert "raised TimeoutError" in caplog.text


async def test_the_end_is_told_when_all_handlers_have_returned(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay)
    begun, let_go = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    @bot.on_message
    async def slow(_ctx: Context) -> None:
        begun.set()
        await let_go.wait()
        order.append("handler")

    @bot.on_stop
    async def stopped(_client: Client) -> None:
        order.append("end")

    async with in_a_chat(bot, alice) as group:
        await group.send("hello")
        await asyncio.wait_for(begun.wait(), PATIENCE)
        bot.stop()
        let_go.set()
    assert order == ["handler", "end"]


async def test_the_end_is_told_if_a_start_failed_and_not_without_an_account(
    relay: LocalRelay, tmp_path: Path
) -> None:
    bot, told = bot_of(relay), list[str]()

    @bot.on_start
    async def start(_client: Client) -> None:
        raise ValueError

    @bot.on_stop
    async def stopped(_client: Client) -> None:
        told.append("end")

    with pytest.raises(ValueError, match=r"^$"):
        await bot.serve()
    assert told == ["end"]

    first, second = bot_on_disk(relay, tmp_path), bot_on_disk(relay, tmp_path)
    second.on_stop(stopped)
    async with at_work(first):
        with pytest.raises(errors.MdkError):
            await second.serve()
    assert told == ["end"]


async def test_who_ends_the_process_at_the_end_ends_it_with_a_closed_account(
    relay: LocalRelay,
) -> None:
    bot = bot_of(relay)

    @bot.on_start
    async def start(_client: Client) -> None:
        bot.stop()

    @bot.on_stop
    async def stopped(_client: Client) -> None:
        sys.exit(3)

    with pytest.raises(SystemExit):
        await bot.serve()
    with pytest.raises(errors.Closed):
        await bot.client.outbox.pending()
