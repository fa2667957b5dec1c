"""What a test of a bot expects of it: reactions, edits, files, and what handlers raise."""

from __future__ import annotations

import pytest
from tests.client.bots import bot_of
from tests.client.people import PATIENCE

from mdk import Bot, Context
from mdk.testing import Chat, HandlerFailed, LocalBlossom, LocalRelay

SHORT = 0.05


def deeds(bot: Bot) -> None:
    """A bot that does what it is told."""

    @bot.command("react")
    async def react(ctx: Context) -> None:
        for emoji in ctx.args:
            await ctx.react(emoji)

    @bot.command("edit")
    async def edit(ctx: Context) -> None:
        sent = await ctx.reply("first")
        for text in ctx.args:
            await ctx.group.edit(sent.message, text)

    @bot.command("file")
    async def file(ctx: Context, name: str) -> None:
        await ctx.send_file(b"content", filename=name, caption="here")

    @bot.command("fail")
    async def fail(_ctx: Context) -> None:
        raise ZeroDivisionError

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(ctx.text)


async def test_reactions_are_expected_one_after_the_other(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    deeds(bot)
    async with Chat(bot, relay) as chat:
        said = await chat.say("/react 🏓 👍 🥣")
        # The user's own is none of the bot's.
        await chat.group.react(said, "👎")
        reaction = await chat.expect_reaction("🏓", timeout=PATIENCE)
        assert (reaction.message_id, reaction.sender) == (said.id, bot.client.public_key)
        with pytest.raises(AssertionError, match="expected '👎', got '👍'"):
            await chat.expect_reaction("👎", timeout=PATIENCE)
        assert (await chat.expect_reaction(timeout=PATIENCE)).emoji == "🥣"
        with pytest.raises(TimeoutError, match="the bot does not react"):
            await chat.expect_reaction(timeout=SHORT)


async def test_edits_are_expected_one_after_the_other(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    deeds(bot)
    async with Chat(bot, relay) as chat:
        mine = await chat.say("mine")
        await chat.expect("mine", timeout=PATIENCE)
        await chat.group.edit(mine, "mine!")
        await chat.say("/edit second")
        edited = await chat.expect_edit("second", timeout=PATIENCE)
        await chat.say("/edit third")
        with pytest.raises(AssertionError, match="expected 'x', got 'third'"):
            await chat.expect_edit("x", timeout=PATIENCE)
        await chat.say("/edit fourth")
        assert (await chat.expect_edit(timeout=PATIENCE)).text == "fourth"
        # The message itself is waited for apart, and it is the one that was edited.
        assert (await chat.expect(timeout=PATIENCE)).id == edited.id
        with pytest.raises(TimeoutError, match="the bot edits nothing"):
            await chat.expect_edit(timeout=SHORT)


async def test_a_file_is_expected_by_its_name(relay: LocalRelay) -> None:
    async with LocalBlossom() as blobs:
        bot = bot_of(relay, blossom=[blobs.url])
        deeds(bot)
        async with Chat(bot, relay) as chat:
            await chat.say("/file a.txt")
            message = await chat.expect_file("a.txt", timeout=PATIENCE)
            assert message.text == "here"
            await chat.say("/file b.txt")
            with pytest.raises(AssertionError, match=r"expected the file 'a.txt', got \['b.txt'\]"):
                await chat.expect_file("a.txt", timeout=PATIENCE)
            await chat.say("hello")
            with pytest.raises(AssertionError, match="expected a file, got 'hello'"):
                await chat.expect_file(timeout=PATIENCE)


@pytest.mark.parametrize("what", ["expect_reaction", "expect_edit", "expect_file"])
async def test_what_a_handler_raised_is_raised_in_the_test(relay: LocalRelay, what: str) -> None:
    bot = bot_of(relay, tries=1)
    deeds(bot)
    async with Chat(bot, relay) as chat:
        await chat.say("/fail")
        await chat._handled()
        with pytest.raises(HandlerFailed) as raised:
            await getattr(chat, what)(timeout=SHORT)
        assert isinstance(raised.value.__cause__, ZeroDivisionError)
        # It is told once.
        with pytest.raises(TimeoutError):
            await getattr(chat, what)(timeout=SHORT)
