"""What a handler has to be, how often it is called, and what a bot does about what cannot be done now."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.bots import at_work, bot_of, bot_on_disk, end, going
from tests.client.people import PATIENCE, hear, until

from mdk import Bot, Client, Context, Event, Joined, Message, errors
from mdk.client import Group, InvitePolicy, invites
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient


def offline() -> Any:
    """A bot that is never run, without the types that would say what the tests say."""
    return Bot(":memory:", allow=[], relays=["wss://relay.example"])


@pytest.mark.parametrize("decorator", ["on_message", "on_start", "on_error"])
def test_a_handler_has_to_take_what_it_gets(decorator: str) -> None:
    bot = offline()

    async def none() -> None: ...

    async def five(_a: int, _b: int, _c: int, _d: int, _e: int) -> None: ...

    for wrong in (none, five, "echo", None):
        with pytest.raises(errors.InvalidInput) as raised:
            getattr(bot, decorator)(wrong)
        assert raised.value.field == "handler"

    async def right(*_arguments: object) -> None: ...

    assert getattr(bot, decorator)(right) is right


def test_handlers_behind_a_decorator_with_an_argument_are_looked_at_too() -> None:
    bot = offline()

    async def none() -> None: ...

    for decorator in (bot.command("add"), bot.on(Joined), bot.every(timedelta(seconds=1))):
        with pytest.raises(errors.InvalidInput) as raised:
            decorator(none)
        assert raised.value.field == "handler"
    # What was refused has not taken the name.
    bot.command("add")


def test_a_decorator_without_its_argument_is_refused() -> None:
    bot = offline()

    async def handler(_ctx: Context) -> None: ...

    for decorator, field in ((bot.command, "name"), (bot.on, "kind"), (bot.every, "interval")):
        with pytest.raises(errors.InvalidInput) as raised:
            decorator(handler)
        assert raised.value.field == field
        assert str(raised.value.hint).startswith("@bot.")
    with pytest.raises(errors.InvalidInput):
        bot.every(5)
    with pytest.raises(errors.InvalidInput):
        bot.on(Message)


async def test_a_handler_without_async_ends_the_bot_and_its_message_comes_again(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path
) -> None:
    user = await make_client("user")
    wrong: Any = bot_on_disk(relay, tmp_path)

    def forgotten(_ctx: Context) -> None: ...

    wrong.on_message(forgotten)
    serving = await going(wrong)
    group = await user.groups.create("chat", [wrong.client.public_key])
    await group.send("hello")
    with pytest.raises(errors.InvalidInput) as raised:
        await asyncio.wait_for(serving, PATIENCE)
    assert "async def" in str(raised.value.hint)
    right = bot_on_disk(relay, tmp_path)

    @right.on_message
    async def answer(ctx: Context) -> None:
        await ctx.reply(f"done {ctx.text}")

    async with at_work(right):
        assert await hear(group, 1) == ["done hello"]


@pytest.mark.parametrize("which", ["on_start", "every"])
async def test_neither_do_the_others_go_on_without_async(relay: LocalRelay, which: str) -> None:
    bot: Any = bot_of(relay)

    def forgotten(_client: Client) -> None: ...

    if which == "on_start":
        bot.on_start(forgotten)
    else:
        bot.every(timedelta(milliseconds=1))(forgotten)
    with pytest.raises(errors.InvalidInput):
        await asyncio.wait_for(bot.serve(), PATIENCE)


async def test_a_judge_without_async_ends_the_bot(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = await make_client("alice")
    bot: Any = bot_of(relay)

    async def fail(_ctx: Context) -> None:
        raise ValueError

    def forgotten(_event: Event, _error: Exception, _attempts: int) -> bool:
        return True

    bot.on_message(fail)
    bot.on_error(forgotten)
    serving = await going(bot)
    group = await alice.groups.create("chat", [bot.client.public_key])
    await group.send("hello")
    with pytest.raises(errors.InvalidInput):
        await asyncio.wait_for(serving, PATIENCE)


async def test_a_handler_that_returned_is_not_called_again_because_another_raises(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = await make_client("alice")
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

    async with at_work(bot):
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("hello")
        assert await hear(group, 2) == ["first", "second"]
    assert called == ["first", "second", "second", "second"]


async def test_what_a_bot_has_been_through_is_read(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = await make_client("alice")
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
    relay: LocalRelay, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example because the disk is full for a moment."""
    monkeypatch.setattr(invites, "_FIRST_PAUSE", 0.01)
    alice = await make_client("alice")
    bot = bot_of(relay)
    open_to_all = impatient(
        Client.open(":memory:", relays=[relay.url], invites=InvitePolicy.anyone())
    )
    failures: dict[int, int] = {}
    accept = invites.Invites.accept

    async def flaky(self: invites.Invites, *which: Any) -> Group:
        failures[id(self)] = failures.get(id(self), 0) + 1
        if failures[id(self)] <= 2:
            raise errors.StorageError("not now")
        return await accept(self, *which)

    monkeypatch.setattr(invites.Invites, "accept", flaky)
    serving = await going(bot)
    async with open_to_all:
        try:
            members = [bot.client.public_key, open_to_all.public_key]
            group = await alice.groups.create("chat", members)
            await until(lambda: len(bot.client.groups) == 1, bot.client)
            await until(lambda: len(open_to_all.groups) == 1, open_to_all)
            assert group.id in open_to_all.groups
        finally:
            await end(bot, serving)
    assert list(failures.values()) == [3, 3]


async def test_answering_goes_on_after_the_list_of_invites_could_not_be_read(
    relay: LocalRelay, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invites, "_FIRST_PAUSE", 0.01)
    alice = await make_client("alice")
    pending, failed = invites.Invites.pending, False

    async def flaky(self: invites.Invites) -> Any:
        nonlocal failed
        if not failed:
            failed = True
            raise errors.StorageError("not now")
        return await pending(self)

    monkeypatch.setattr(invites.Invites, "pending", flaky)
    bob = impatient(Client.open(":memory:", relays=[relay.url], invites=InvitePolicy.anyone()))
    async with bob:
        await alice.groups.create("chat", [bob.public_key])
        await until(lambda: len(bob.groups) == 1, bob)
    assert failed
