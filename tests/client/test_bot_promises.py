"""What docs/guide/bots.md promises beyond a good day: who is heard, in which order, and what an end leaves behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from tests.client.bots import at_work, bot_of, bot_on_disk, going
from tests.client.people import PATIENCE, hear, texts, until

from mdk import (
    Bot,
    Client,
    Context,
    Event,
    GroupId,
    Joined,
    MessageEdited,
    MessageReceived,
    ReactionAdded,
    errors,
)
from mdk import bot as bots
from mdk.client import runtime
from mdk.testing import Clock, LocalRelay
from mdk.testing.fixtures import MakeClient


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


async def test_handlers_of_events_hear_only_who_is_allowed(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    friend, stranger = await make_client("friend"), await make_client("stranger")
    bot = bot_of(relay, allow=[friend.npub])
    heard: list[tuple[str, str]] = []
    done = asyncio.Event()

    @bot.on(ReactionAdded)
    async def reaction(event: ReactionAdded) -> None:
        heard.append((event.reaction.sender.npub, event.reaction.emoji))
        done.set()

    @bot.on(MessageEdited)
    async def edited(event: MessageEdited) -> None:
        heard.append((event.message.sender.npub, event.message.text))

    @bot.on(MessageReceived)
    async def received(event: MessageReceived) -> None:
        heard.append((event.message.sender.npub, event.message.text))

    async with at_work(bot):
        group = await friend.groups.create("ours", [bot.client.public_key, stranger.public_key])
        room = await stranger.invites.accept(await stranger.invites.next(PATIENCE))
        said = (await room.send("hello")).message
        # A message that is read after its edit arrived has the edited text.
        assert await hear(group, 1) == ["hello"]
        await room.edit(said, "hello!")
        await room.react(said, "👎")
        mine = (await group.send("mine")).message
        await group.react(mine, "👍")
        await asyncio.wait_for(done.wait(), PATIENCE)
        assert heard == [(friend.npub, "mine"), (friend.npub, "👍")]


async def test_an_empty_list_refuses_everybody(relay: LocalRelay, make_client: MakeClient) -> None:
    alice = await make_client("alice")
    bot = bot_of(relay, allow=[])
    heard: list[Event] = []

    @bot.on(Event)
    async def note(event: Event) -> None:
        heard.append(event)

    async with at_work(bot):
        await alice.groups.create("come", [bot.client.public_key])
        # It is not even opened, so no event tells of it.
        await until(lambda: bot.client.stats().events_rejected > 0, bot.client)
        await answered(bot)
        assert await bot.client.invites.pending() == []
        assert list(bot.client.groups) == []
        assert heard == []


async def test_its_own_messages_reach_no_handler(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = await make_client("alice")
    bot = bot_of(relay)
    heard: list[str] = []

    @bot.on_message
    async def answer(ctx: Context) -> None:
        heard.append(ctx.text)
        await ctx.send(f"re: {ctx.text}")

    @bot.on(MessageReceived)
    async def note(event: MessageReceived) -> None:
        heard.append(event.message.text)

    async with at_work(bot):
        group = await alice.groups.create("chat", [bot.client.public_key])
        for text in ("one", "two"):
            await group.send(text)
            assert await hear(group, 1) == [f"re: {text}"]
    assert heard == ["one", "one", "two", "two"]


async def test_what_is_behind_a_message_that_fails_waits_for_it(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = await make_client("alice")
    bot = bot_of(relay)
    attempts: list[str] = []
    mended, tried = asyncio.Event(), asyncio.Event()

    @bot.on_message
    async def handle(ctx: Context) -> None:
        attempts.append(ctx.text)
        if ctx.text == "trouble" and not mended.is_set():
            if len(attempts) >= 3:
                tried.set()
            raise ValueError
        await ctx.reply(f"done {ctx.text}")

    async with at_work(bot):
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("trouble")
        await group.send("behind")
        await until(lambda: bot.client.groups.get(group.id) is not None, bot.client)
        await has(bot, group.id, "behind")
        tried.clear()
        attempts.clear()
        await asyncio.wait_for(tried.wait(), PATIENCE)
        assert set(attempts) == {"trouble"}
        mended.set()
        assert await hear(group, 2) == ["done trouble", "done behind"]


async def test_an_event_is_given_again_until_its_handler_returns(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = await make_client("alice")
    bot = bot_of(relay)
    attempts = 0
    done = asyncio.Event()

    @bot.on(Joined)
    async def joined(_event: Joined) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ValueError
        done.set()

    async with at_work(bot):
        await alice.groups.create("chat", [bot.client.public_key])
        await asyncio.wait_for(done.wait(), PATIENCE)
    assert attempts == 3


def test_the_pauses_between_attempts() -> None:
    pauses = list(islice(runtime.growing(bots._FIRST_PAUSE), 12))
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

    first = handling(bot_on_disk(relay, tmp_path))
    async with at_work(first):
        group = await user.groups.create("chat", [first.client.public_key])
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
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bots, "_GRACE", 0.05)
    user = await make_client("user")
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

    async with at_work(slow):
        group = await user.groups.create("chat", [slow.client.public_key])
        await group.send("long")
        await asyncio.wait_for(begun.wait(), PATIENCE)
    assert cancelled.is_set()
    quick = bot_on_disk(relay, tmp_path)

    @quick.on_message
    async def answer(ctx: Context) -> None:
        await ctx.reply(f"done {ctx.text}")

    async with at_work(quick):
        assert await hear(group, 1) == ["done long"]


async def test_cancelling_serve_ends_it_in_good_order_and_it_runs_once(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = await make_client("alice")
    bot = bot_of(relay)
    bot.client._settings.drain = PATIENCE
    sent = asyncio.Event()

    @bot.on_message
    async def handle(ctx: Context) -> None:
        await ctx.reply("last words")
        sent.set()

    serving = await going(bot)
    group = await alice.groups.create("chat", [bot.client.public_key])
    await group.send("hello")
    await asyncio.wait_for(sent.wait(), PATIENCE)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    # What was in the outbox is out, and the account is closed.
    assert await hear(group, 1) == ["last words"]
    with pytest.raises(errors.Closed):
        await bot.client.outbox.pending()
    with pytest.raises(errors.Closed):
        await bot.serve()
