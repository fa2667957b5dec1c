"""What docs/guide/bots.md promises beyond a good day: who is heard, in which order, and what an end leaves behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from tests.client.bots import (
    answered,
    at_work,
    bot_of,
    bot_on_disk,
    comes_again,
    going,
    has,
    in_a_chat,
)
from tests.client.people import PATIENCE, event_of, hear, texts, until

from mdk import (
    Bot,
    Client,
    Context,
    Event,
    GroupId,
    GroupUpdated,
    Invited,
    Joined,
    MembersChanged,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ReactionAdded,
    errors,
)
from mdk import bot as bots
from mdk.client import runtime
from mdk.delivery import FIRST_PAUSE
from mdk.testing import Clock, LocalRelay
from mdk.testing.fixtures import MakeClient


async def test_a_conversation_hears_only_who_is_allowed_and_takes_nothing_from_others(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    friend, stranger = await make_client("friend"), await make_client("stranger")
    bot = bot_of(relay, allow=[friend.npub])
    asked = asyncio.Event()
    handled: list[str] = []

    @bot.command("ask")
    async def ask(ctx: Context) -> None:
        await ctx.send("what?")
        asked.set()
        answer = await ctx.group.next_message(PATIENCE)
        await ctx.send(f"so {answer.text}")

    @bot.on_message
    async def note(ctx: Context) -> None:
        handled.append(ctx.text)
        await ctx.send(f"handled {ctx.text}")

    async with at_work(bot):
        group = await friend.groups.create("ours", [bot.client.public_key, stranger.public_key])
        room = await stranger.invites.accept(await stranger.invites.next(PATIENCE))
        await group.send("/ask")
        await asyncio.wait_for(asked.wait(), PATIENCE)
        assert await hear(group, 1) == ["what?"]
        await room.send("me!")
        assert await hear(group, 1) == ["me!"]
        mine = bot.client.groups[group.id]
        await has(bot, group.id, "me!")
        await group.send("me")
        # The conversation heard it, and then the handler of messages does.
        assert await hear(group, 2) == ["so me", "handled me"]
        assert handled == ["me"]
        # What nobody handles is stored all the same.
        assert await texts(mine) == ["/ask", "what?", "me!", "me", "so me", "handled me"]


async def test_a_message_that_fails_comes_again_and_holds_up_its_own_group_only(
    relay: LocalRelay, alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bot_of(relay)
    attempts: list[str] = []
    mended, tried = asyncio.Event(), asyncio.Event()

    @bot.on_message
    async def handle(ctx: Context) -> None:
        attempts.append(ctx.text)
        if ctx.text == "trouble" and not mended.is_set():
            if len(attempts) >= 3:
                tried.set()
            raise errors.NotConnected(ctx.text)
        await ctx.reply(f"done {ctx.text}")

    async with in_a_chat(bot, alice) as group:
        await group.send("trouble")
        await group.send("behind")
        await until(lambda: bot.client.groups.get(group.id) is not None, bot.client)
        await has(bot, group.id, "behind")
        tried.clear()
        attempts.clear()
        await asyncio.wait_for(tried.wait(), PATIENCE)
        assert set(attempts) == {"trouble"}
        good = await alice.groups.create("good", [bot.client.public_key])
        await good.send("elsewhere")
        assert await hear(good, 1) == ["done elsewhere"]
        mended.set()
        assert await hear(group, 2) == ["done trouble", "done behind"]
    said = [r.getMessage() for r in caplog.records if r.name == "mdk.bot"]
    assert said
    assert not any("trouble" in line for line in said)


async def test_an_event_is_given_again_until_its_handler_returns(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay)
    attempts: list[str] = []
    done = asyncio.Event()

    @bot.on(Joined)
    async def joined(event: Joined) -> None:
        attempts.append(event.group.name)
        if len(attempts) < 3:
            raise ValueError
        done.set()

    async with in_a_chat(bot, alice):
        await asyncio.wait_for(done.wait(), PATIENCE)
    assert attempts == ["chat"] * 3


def test_the_pauses_between_attempts() -> None:
    pauses = list(islice(runtime.growing(FIRST_PAUSE), 12))
    assert pauses[:4] == [0.5, 1, 2, 4]
    assert pauses[-2:] == [300, 300]
    assert runtime.LONGEST_PAUSE == 300


@pytest.mark.parametrize("backlog", [True, False])
async def test_what_was_sent_while_it_was_down(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path, backlog: bool
) -> None:
    # So far behind that it does not follow what the bot says.
    clock = Clock(datetime.now(UTC) - timedelta(minutes=2))
    user = await make_client("user", clock=clock)
    order: list[str] = []

    def handling(bot: Bot) -> Bot:
        @bot.on_start
        async def started(_client: Client) -> None:
            order.append("start")

        @bot.on_message
        async def handle(ctx: Context) -> None:
            order.append(ctx.text)
            await ctx.reply(f"done {ctx.text}")

        return bot

    async with in_a_chat(handling(bot_on_disk(relay, tmp_path)), user) as group:
        await group.send("up")
        assert await hear(group, 1) == ["done up"]
    order.clear()
    await (await group.send("away")).delivered(PATIENCE)
    # Messages say in whole seconds when they were sent: this one was before the start, the next one is behind it.
    second = handling(bot_on_disk(relay, tmp_path, backlog=backlog))
    async with at_work(second):
        clock.set(datetime.now(UTC))
        await group.send("live")
        wanted = ["done away", "done live"] if backlog else ["done live"]
        assert await hear(group, len(wanted)) == wanted
        assert order == ["start", *(word.removeprefix("done ") for word in wanted)]
        assert "away" in await texts(second.client.groups[group.id])


async def test_a_handler_that_does_not_end_in_time_gets_the_message_again(
    relay: LocalRelay, alice: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bots, "_GRACE", 0.05)
    begun, cancelled = asyncio.Event(), asyncio.Event()
    slow = bot_on_disk(relay, tmp_path)

    @slow.on_message
    async def hang(_ctx: Context) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with in_a_chat(slow, alice) as group:
        await group.send("long")
        await asyncio.wait_for(begun.wait(), PATIENCE)
    assert cancelled.is_set()
    await comes_again(relay, tmp_path, group, "long")


@pytest.mark.parametrize("how", ["stopped by its handler", "cancelled"])
async def test_what_a_handler_sent_is_out_when_the_bot_has_ended_and_it_runs_once(
    relay: LocalRelay, alice: Client, how: str
) -> None:
    bot = bot_of(relay)
    bot.client._settings.drain = PATIENCE
    sent = asyncio.Event()

    @bot.on_message
    async def handle(ctx: Context) -> None:
        await ctx.reply("last words")
        sent.set()
        if how != "cancelled":
            bot.stop()

    serving = await going(bot)
    group = await alice.groups.create("chat", [bot.client.public_key])
    await group.send("hello")
    await asyncio.wait_for(sent.wait(), PATIENCE)
    if how == "cancelled":
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    else:
        await serving
    assert await hear(group, 1) == ["last words"]
    for call in (bot.client.outbox.pending, bot.serve):
        with pytest.raises(errors.Closed):
            await call()


async def test_handlers_hear_only_who_is_allowed(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    friend, stranger = await make_client("friend"), await make_client("stranger")
    bot = bot_of(relay, allow=[friend.npub])
    heard: list[object] = []
    done = asyncio.Event()

    @bot.on(Event)
    async def note(event: Event) -> None:
        match event:
            case Invited(invite):
                # Handlers of an invite are called when it has been answered.
                heard.append((invite.group_name, await bot.client.invites.pending()))
            case Joined(group):
                heard.append(group.name)
            case MessageReceived(message) | MessageEdited(message):
                heard.append(message.text)
            case ReactionAdded(reaction):
                heard.append(reaction.emoji)
            case MessageDeleted():
                heard.append(event.message_id)
            case MembersChanged() | GroupUpdated():
                heard.append(type(event))
        if isinstance(event, GroupUpdated):
            done.set()

    async with at_work(bot):
        await stranger.groups.create("theirs", [bot.client.public_key])
        # It is not even opened, so no event tells of it.
        await until(lambda: bot.client.stats().events_rejected > 0, bot.client)
        group = await friend.groups.create("ours", [bot.client.public_key, stranger.public_key])
        room = await stranger.invites.accept(await stranger.invites.next(PATIENCE))
        theirs = (await room.send("theirs")).message
        assert await hear(group, 1) == ["theirs"]
        # A message that is read after its edit arrived has the edited text.
        await room.edit(theirs, "theirs!")
        await room.react(theirs, "👎")
        ours = (await group.send("ours")).message
        await group.react(ours, "👍")
        await event_of(bot.client, ReactionAdded, "0", lambda e: e.reaction.emoji == "👍")
        await event_of(bot.client, ReactionAdded, "0", lambda e: e.reaction.emoji == "👎")
        await room.delete(theirs)
        await event_of(bot.client, MessageDeleted, "0", lambda e: e.message_id == theirs.id)
        await group.delete(ours)
        await event_of(bot.client, MessageDeleted, "0", lambda e: e.message_id == ours.id)
        # Somebody who is not allowed, in a group that the bot is in: what is told is what the group is.
        await group.remove(stranger.public_key)
        await group.update(name="renamed")
        await asyncio.wait_for(done.wait(), PATIENCE)
        assert heard[:2] == [("ours", []), "ours"]
        assert heard[2:] == ["ours", "👍", ours.id, MembersChanged, GroupUpdated]
        assert [one.name for one in bot.client.groups] == ["renamed"]
        assert await bot.client.invites.pending() == []
        elsewhere = GroupUpdated(
            GroupId("ff" * 16), bot.client.cursor, frozenset({"name"}), None, None
        )
        assert await bot._handlers.calls(elsewhere) == []


async def test_an_empty_list_refuses_everybody(relay: LocalRelay, alice: Client) -> None:
    bot = bot_of(relay, allow=[])
    heard: list[Event] = []

    @bot.on(Event)
    async def note(event: Event) -> None:
        heard.append(event)

    async with at_work(bot):
        await alice.groups.create("come", [bot.client.public_key])
        await until(lambda: bot.client.stats().events_rejected > 0, bot.client)
        await answered(bot)
        assert await bot.client.invites.pending() == []
        assert list(bot.client.groups) == []
        assert heard == []


async def test_an_expired_message_has_no_author_any_more(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    """Nobody can say whose it was: with a list in allow= it reaches no handler, with anyone it does."""
    clock = Clock(datetime.now(UTC))
    friend = await make_client("friend", clock=clock)
    bots = {
        name: bot_of(relay, allow=who)
        for name, who in (("list", [friend.npub]), ("anyone", "anyone"))
    }
    heard: list[str] = []
    for name, bot in bots.items():
        bot.client._settings.clock = clock

        @bot.on(MessageDeleted)
        async def deleted(_event: MessageDeleted, name: str = name) -> None:
            heard.append(name)

    async with at_work(bots["list"]), at_work(bots["anyone"]):
        group = await friend.groups.create(
            "short", [bot.client.public_key for bot in bots.values()], retention=timedelta(hours=1)
        )
        said = (await group.send("gone soon")).message
        for bot in bots.values():
            await event_of(bot.client, MessageReceived, "0", lambda e: e.message.id == said.id)
        clock.advance(timedelta(hours=2))
        for bot in bots.values():
            await event_of(bot.client, MessageDeleted, "0", lambda e: e.message_id == said.id)
            await answered(bot)
    assert heard == ["anyone"]
