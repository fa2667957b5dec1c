"""What people whom a bot does not know can make it do: nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.client.bots import at_work, bot_of
from tests.client.people import PATIENCE, event_of, hear, until
from tests.client.test_bot_promises import answered

from mdk import (
    Client,
    Event,
    GroupUpdated,
    Invited,
    Joined,
    MembersChanged,
    MessageDeleted,
    MessageReceived,
)
from mdk.testing import Clock, LocalRelay
from mdk.testing.fixtures import MakeClient
from mdk.values import GroupId


async def gone(who: Client) -> None:
    """Wait until a message is gone at `who`."""
    await event_of(who, MessageDeleted, "0")


async def test_an_invite_of_a_stranger_reaches_no_handler(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    friend, stranger = await make_client("friend"), await make_client("stranger")
    bot = bot_of(relay, allow=[friend.npub])
    heard: list[tuple[str, str]] = []
    waiting: list[int] = []

    @bot.on(Invited)
    async def invited(event: Invited) -> None:
        heard.append(("invited", event.invite.group_name))
        # Handlers of an invite are called when it has been answered.
        waiting.append(len(await bot.client.invites.pending()))

    @bot.on(Joined)
    async def joined(event: Joined) -> None:
        heard.append(("joined", event.group.name))

    async with at_work(bot):
        await stranger.groups.create("theirs", [bot.client.public_key])
        # It is not even opened, so no event tells of it.
        await until(lambda: bot.client.stats().events_rejected > 0, bot.client)
        await friend.groups.create("ours", [bot.client.public_key])
        await event_of(bot.client, Joined, "0")
        await answered(bot)
    assert heard == [("invited", "ours"), ("joined", "ours")]
    assert waiting == [0]


async def test_only_what_happens_in_groups_that_it_is_in_reaches_handlers(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    friend, other = await make_client("friend"), await make_client("other")
    bot = bot_of(relay, allow=[friend.npub])
    heard: list[Event] = []
    done = asyncio.Event()

    @bot.on(MembersChanged)
    async def members(event: MembersChanged) -> None:
        heard.append(event)

    @bot.on(GroupUpdated)
    async def settings(event: GroupUpdated) -> None:
        heard.append(event)
        done.set()

    async with at_work(bot):
        group = await friend.groups.create("ours", [bot.client.public_key])
        await event_of(bot.client, Joined, "0")
        # Somebody who is not allowed, in a group that the bot is in: what is told is what the group is.
        await group.add(other.public_key)
        await group.update(name="theirs")
        await asyncio.wait_for(done.wait(), PATIENCE)
        assert [type(event) for event in heard] == [MembersChanged, GroupUpdated]
        elsewhere = GroupUpdated(
            GroupId("ff" * 16), bot.client.cursor, frozenset({"name"}), None, None
        )
        assert await bot._handlers.calls(elsewhere) == []


async def test_a_deletion_by_a_stranger_reaches_no_handler(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    friend, stranger = await make_client("friend"), await make_client("stranger")
    bot = bot_of(relay, allow=[friend.npub])
    heard: list[str] = []
    done = asyncio.Event()

    @bot.on(MessageDeleted)
    async def deleted(event: MessageDeleted) -> None:
        heard.append(event.message_id)
        done.set()

    async with at_work(bot):
        group = await friend.groups.create("ours", [bot.client.public_key, stranger.public_key])
        room = await stranger.invites.accept(await stranger.invites.next(PATIENCE))
        theirs = (await room.send("theirs")).message
        assert await hear(group, 1) == ["theirs"]
        ours = (await group.send("ours")).message
        for message in (theirs, ours):
            await event_of(
                bot.client,
                MessageReceived,
                "0",
                lambda event, wanted=message.id: event.message.id == wanted,  # type: ignore[misc]
            )
        await room.delete(theirs)
        await event_of(bot.client, MessageDeleted, "0", lambda e: e.message_id == theirs.id)
        await group.delete(ours)
        await asyncio.wait_for(done.wait(), PATIENCE)
    assert heard == [ours.id]


async def test_an_expired_message_has_no_author_any_more(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    """Nobody can say whose it was: with a list in allow= it reaches no handler, with anyone it does."""
    for anyone, expected in ((False, 0), (True, 1)):
        clock = Clock(datetime.now(UTC))
        friend = await make_client("friend", clock=clock)
        bot = bot_of(relay, allow="anyone" if anyone else [friend.npub])
        bot.client._settings.clock = clock
        heard: list[str] = []

        @bot.on(MessageDeleted)
        async def deleted(event: MessageDeleted) -> None:
            heard.append(event.message_id)  # noqa: B023  # the bot ends with this turn

        async with at_work(bot):
            group = await friend.groups.create(
                "short", [bot.client.public_key], retention=timedelta(hours=1)
            )
            said = (await group.send("gone soon")).message
            await event_of(bot.client, MessageReceived, "0", lambda e: e.message.id == said.id)  # noqa: B023
            clock.advance(timedelta(hours=2))
            await event_of(bot.client, MessageDeleted, "0", lambda e: e.message_id == said.id)  # noqa: B023
            await answered(bot)
        assert len(heard) == expected, anyone
