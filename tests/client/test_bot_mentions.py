"""Mentions of a bot, and which messages it hears in large groups."""

from __future__ import annotations

import pytest
from tests.client.bots import at_work, bot_of
from tests.client.people import PATIENCE

from mdk import Bot, Context, F, errors
from mdk.testing import Chat, LocalRelay
from mdk.testing.fixtures import MakeClient


def repeating(bot: Bot) -> None:
    """It repeats the first word of what it hears, with `!` where it is mentioned."""

    @bot.on_message
    async def repeat(ctx: Context) -> None:
        await ctx.send(ctx.text.split()[0] + "!" * ctx.mentioned)

    @bot.command("roll")
    async def roll(ctx: Context) -> None:
        await ctx.send("rolled")


@pytest.mark.parametrize(
    ("respond_to", "heard"),
    [
        ("all", ["rolled", "plain", "named!", "other", "tagged!", "about", "rolled"]),
        ("mentions", ["rolled", "named!", "tagged!", "about", "rolled"]),
        ("direct", ["rolled", "rolled"]),
    ],
)
async def test_a_bot_hears_in_large_groups_what_it_is_told_to(
    relay: LocalRelay, make_client: MakeClient, respond_to: str, heard: list[str]
) -> None:
    bot = bot_of(relay, respond_to=respond_to)
    repeating(bot)
    user, other = await make_client(), await make_client()
    async with at_work(bot):
        group = await user.groups.create("three", [bot.client.public_key, other.public_key])
        await group.send("/roll")
        answer = await group.next_message(PATIENCE)
        found = [answer.text]
        await group.send("plain")
        await group.send(f"named @{bot.client.npub}, please")
        await group.send(f"other nostr:{other.npub}")
        await group.send(f"tagged `{other.npub}` {bot.client.npub}")
        await group.send("about", reply_to=answer)
        await group.send("/roll")
        while found.count("rolled") < 2:
            found.append((await group.next_message(PATIENCE)).text)
    assert found == heard


@pytest.mark.parametrize("respond_to", ["mentions", "direct"])
async def test_a_bot_in_a_group_of_two_hears_everything(relay: LocalRelay, respond_to: str) -> None:
    bot = bot_of(relay, respond_to=respond_to)
    repeating(bot)
    async with Chat(bot, relay) as chat:
        await chat.say("plain")
        await chat.expect("plain", timeout=PATIENCE)


async def test_a_message_has_the_accounts_that_it_mentions(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.message(F.mentions_me)
    async def greet(ctx: Context) -> None:
        await ctx.reply(f"hello @{ctx.sender.npub}, not `{bot.client.npub}`")

    async with Chat(bot, relay) as chat:
        said = await chat.say(f"{bot.client.npub} and @{bot.client.npub}")
        assert said.mentions == (bot.client.public_key,)
        answer = await chat.expect(timeout=PATIENCE)
        assert answer.mentions == (chat.user.public_key,)
        assert ("p", chat.user.public_key.hex) in answer.tags


def test_a_bot_is_told_one_of_three_things_to_hear(relay: LocalRelay) -> None:
    with pytest.raises(errors.InvalidInput, match="respond_to"):
        bot_of(relay, respond_to="mention")
