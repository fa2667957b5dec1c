"""`/help` lists what who asks may call."""

from __future__ import annotations

import functools
from datetime import timedelta

import pytest
from tests.client.bots import bot_of, in_a_chat
from tests.client.people import PATIENCE, hear

from mdk import Bot, Context, Router
from mdk.arguments import Rest
from mdk.testing import Chat, LocalRelay
from mdk.testing.fixtures import MakeClient


def with_commands(bot: Bot) -> None:
    @bot.command("remind", "r")
    async def remind(_ctx: Context, after: timedelta, what: Rest) -> None:
        """Remind the group of something.

        It is said again.
        """

    @bot.command("close", admin_only=True)
    async def close(_ctx: Context) -> None:
        """Close the shop."""

    @bot.command("debug", hidden=True)
    async def debug(_ctx: Context) -> None:
        """Show what is inside."""

    async def undocumented(_ctx: Context, n: int) -> None: ...

    router = Router()
    router.command("count")(functools.partial(undocumented))
    bot.include(router)


async def test_help_lists_what_the_asker_may_call(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    admin, member = await make_client("admin"), await make_client("member")
    bot = bot_of(relay, prefix="!")
    with_commands(bot)
    remind = "!remind <after: duration> <what…> – Remind the group of something."
    close, count = "!close – Close the shop.", "!count <n: number>"
    async with in_a_chat(bot, admin) as group:
        await group.add(member.public_key)
        room = await member.invites.accept(await member.invites.next(PATIENCE))
        await group.send("!HELP")
        assert await hear(group, 1) == [f"{remind}\n{close}\n{count}"]
        await room.send("!help")
        assert await hear(room, 3) == ["!HELP", f"{remind}\n{close}\n{count}", f"{remind}\n{count}"]


async def test_a_command_of_ones_own_replaces_help(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    with_commands(bot)

    @bot.command("help")
    async def mine(ctx: Context) -> None:
        await ctx.send("ask Alice")

    async with Chat(bot, relay) as chat:
        await chat.say("/help")
        await chat.expect("ask Alice", timeout=PATIENCE)


@pytest.mark.parametrize("commands", [True, False])
async def test_without_a_list_it_is_a_message(relay: LocalRelay, commands: bool) -> None:
    """Because it is turned off, or because there is nothing to list."""
    bot = bot_of(relay, help=not commands)
    if commands:
        with_commands(bot)
    else:
        bot.command("debug", hidden=True)(silent)

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(ctx.text)

    async with Chat(bot, relay) as chat:
        await chat.say("/help")
        await chat.expect("/help", timeout=PATIENCE)


async def silent(_ctx: Context) -> None: ...


async def test_nobody_hears_of_commands_that_are_not_theirs(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    admin, member = await make_client("admin"), await make_client("member")
    bot = bot_of(relay)
    bot.command("close", admin_only=True)(silent)

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(f"re: {ctx.text}")

    async with in_a_chat(bot, admin) as group:
        await group.add(member.public_key)
        room = await member.invites.accept(await member.invites.next(PATIENCE))
        await room.send("/help")
        await room.send("hello")
        assert await hear(room, 1) == ["re: hello"]
        await group.send("/help")
        assert await hear(room, 2) == ["/help", "/close"]
