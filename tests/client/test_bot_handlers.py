"""What a handler has to be, how often it is called, and what a bot does about what cannot be done now."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from tests.client.bots import at_work, bot_of, end, going, in_a_chat
from tests.client.people import hear, until

from mdk import Bot, Client, Context, Joined, Message, Sent, errors
from mdk.client import InvitePolicy, invites
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient


def offline() -> Any:
    """A bot that is never run, without the types that would say what the tests say."""
    return Bot(":memory:", allow=[], relays=["wss://relay.example"])


def test_a_handler_has_to_take_what_it_gets() -> None:
    async def none() -> None: ...

    async def five(_a: int, _b: int, _c: int, _d: int, _e: int) -> None: ...

    async def right(*_arguments: object) -> None: ...

    async def answering(ctx: Context) -> Sent:
        return await ctx.reply("done")

    bot = offline()
    typed: Bot = bot  # for the type checkers, which take it as it is
    typed.command("answer")(answering)
    decorators = [bot.on_message, bot.on_start, bot.on_error]
    decorators += [bot.command("add"), bot.on(Joined), bot.every(timedelta(seconds=1))]
    for decorator in decorators:
        for wrong in (none, five, "echo", None):
            with pytest.raises(errors.InvalidInput) as raised:
                decorator(wrong)
            assert raised.value.field == "handler"
    # What was refused has not taken the name.
    for decorator in (*decorators[:3], bot.command("add")):
        assert decorator(right) is right


def test_a_decorator_without_its_argument_is_refused() -> None:
    bot = offline()

    async def handler(_ctx: Context) -> None: ...

    for decorator, field in ((bot.command, "name"), (bot.on, "kind"), (bot.every, "interval")):
        with pytest.raises(errors.InvalidInput) as raised:
            decorator(handler)
        assert raised.value.field == field
        assert str(raised.value.hint).startswith("@bot.")
    for decorator, wrong in ((bot.every, 5), (bot.on, Message)):
        with pytest.raises(errors.InvalidInput):
            decorator(wrong)


async def test_a_handler_that_returned_is_not_called_again_because_another_raises(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay)
    called: list[str] = []

    @bot.on_message
    async def first(ctx: Context) -> None:
        called.append("first")
        await ctx.send("first")

    @bot.on_message
    async def second(ctx: Context) -> None:
        called.append("second")
        if called.count("second") < 3:
            raise ValueError
        await ctx.send("second")

    async with in_a_chat(bot, alice) as group:
        await group.send("hello")
        assert await hear(group, 2) == ["first", "second"]
    assert called == ["first", "second", "second", "second"]


async def test_what_a_bot_has_been_through_is_read(relay: LocalRelay, alice: Client) -> None:
    bot = bot_of(relay)
    let_go = asyncio.Event()

    @bot.on_message
    async def answer(ctx: Context) -> None:
        await ctx.send(f"re: {ctx.text}")
        await let_go.wait()

    serving = await going(bot)
    try:
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("one")
        assert await hear(group, 1) == ["re: one"]
        mine = bot.client.groups[group.id]
        # Not before its handler has returned.
        assert mine.info.unread_count == 1
    finally:
        let_go.set()
        await end(bot, serving)
    assert mine.info.unread_count == 0


async def test_an_invite_that_cannot_be_answered_now_is_answered_later(
    relay: LocalRelay, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example because the disk is full for a moment; neither is the list of invites read then."""
    monkeypatch.setattr(invites, "_FIRST_PAUSE", 0.01)
    bot = bot_of(relay)
    open_to_all = impatient(
        Client.open(":memory:", relays=[relay.url], invites=InvitePolicy.anyone())
    )
    failures: Counter[tuple[str, int]] = Counter()

    def flaky(name: str) -> None:
        call = getattr(invites.Invites, name)

        async def failing(self: invites.Invites, *which: Any) -> Any:
            failures[name, id(self)] += 1
            if failures[name, id(self)] <= 2:
                raise errors.StorageError("not now")
            return await call(self, *which)

        monkeypatch.setattr(invites.Invites, name, failing)

    flaky("accept")
    async with at_work(bot):
        flaky("pending")
        async with open_to_all:
            members = [bot.client.public_key, open_to_all.public_key]
            group = await alice.groups.create("chat", members)
            await until(lambda: len(bot.client.groups) == 1, bot.client)
            await until(lambda: len(open_to_all.groups) == 1, open_to_all)
            assert group.id in open_to_all.groups
    for name, who in (("accept", bot.client), ("accept", open_to_all), ("pending", open_to_all)):
        assert failures[name, id(who.invites)] >= 3
