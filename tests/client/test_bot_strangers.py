"""What people whom a bot does not know can make it do: nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.client.bots import answered, at_work, bot_of
from tests.client.people import PATIENCE, event_of, hear, until

from mdk import (
    Client,
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
)
from mdk.testing import Clock, LocalRelay
from mdk.testing.fixtures import MakeClient


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
