"""Groups that are over: what is forgotten of one that is deleted, and of an invite that is declined."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.client.bots import answering, bot_of, in_a_chat
from tests.client.people import PATIENCE, Account, event_of, hear, join, texts, until

from mdk import (
    Client,
    Delivery,
    Event,
    Group,
    GroupId,
    GroupState,
    MembersChanged,
    MessageReceived,
    Removed,
    errors,
)
from mdk._mdk import _states
from mdk.client import invites
from mdk.testing import LocalRelay, client
from mdk.testing.fixtures import MakeClient


async def ended(bob: Client, hers: Group, his: Group) -> None:
    """Bob is removed, and knows it."""
    await hers.remove(bob.public_key)
    await until(lambda: his.info.state is GroupState.REMOVED, bob)


async def test_a_group_that_is_over_is_deleted(relay: LocalRelay, make_client: MakeClient) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    kept, _ = await join(alice, bob, name="kept")
    hers, his = await join(alice, bob, name="Lunch")
    await hers.send("soup")
    assert await hear(his, 1) == ["soup"]
    await his.send("sandwich")
    with pytest.raises(errors.NotAllowed, match="leave it first"):
        await bob.groups.delete(his.id)
    await hers.send("nobody has asked for this yet")
    await until(lambda: his.info.unread_count == 2, bob)
    await ended(bob, hers, his)
    position, begin = int(bob.cursor), bob.cursor
    waiting = asyncio.create_task(anext(his.messages(), None))
    assert await waiting is not None
    listening = asyncio.create_task(anext(his.messages(), None))
    await asyncio.sleep(0)
    route = his.info.nostr_group_id
    # A call that is cancelled deletes all the same.
    deleting = asyncio.create_task(bob.groups.delete(his.id))
    await asyncio.sleep(0)
    deleting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deleting

    assert his.id not in bob.groups
    assert bob.groups.get(his.id) is None
    # Whoever waits for more of it is told, and nothing of it is in the log.
    assert await asyncio.wait_for(listening, PATIENCE) is None
    with pytest.raises(errors.GroupNotFound):
        await his.next_message(PATIENCE)
    for gone in (lambda: his.info, lambda: bob.engine.messages(his.id)):
        with pytest.raises(errors.GroupNotFound):
            gone()
    with pytest.raises(errors.GroupNotFound):
        await bob.groups.delete(his.id)
    assert all(event.group_id != his.id for event in bob.engine.events())
    recent, _ = await bob._session.feed.read_group(0, his.id, 100)
    assert recent == []
    states = _states(bob.engine, "")
    named = [key for key, value in states.items() if his.id in key or route.encode() in value]
    assert named == []
    # Cursors go on, and the others hear what is said.
    assert int(bob.cursor) >= position
    await kept.send("still here")
    received = await event_of(bob, MessageReceived, begin)
    assert received.message.text == "still here"
    # A new invitation is asked like one to an unknown group.
    again = await alice.groups[hers.id].add(bob.public_key)
    assert again.member_count == 2
    room = await bob.invites.accept(await bob.invites.next(PATIENCE))
    assert room.id == his.id
    assert room is not his
    assert await texts(room) == []
    await hers.send("welcome back")
    assert await hear(room, 1) == ["welcome back"]
    assert relay.count(445) > 0


async def test_a_handler_deletes_the_group_that_its_bot_was_put_out_of(
    relay: LocalRelay, alice: Client
) -> None:
    """How far it is stands on disk by group: not of one that is gone."""
    bot = bot_of(relay)
    answering(bot)
    gone = asyncio.Event()

    @bot.on(Removed)
    async def removed(event: Removed) -> None:
        assert event.group_id is not None
        await bot.client.groups.delete(event.group_id)
        gone.set()

    async with in_a_chat(bot, alice) as group:
        await group.send("here")
        assert await hear(group, 1) == ["done here"]
        await group.remove(bot.client.public_key)
        await asyncio.wait_for(gone.wait(), PATIENCE)
        await asyncio.gather(*bot._lanes.tasks)
        assert not [key for key in _states(bot.client.engine, "") if group.id in key]
        # It goes on with others.
        other = await alice.groups.create("other", [bot.client.public_key])
        await other.send("there")
        assert await hear(other, 1) == ["done there"]


async def delete_when_final(who: Client, group: Group) -> None:
    """Nothing competes with the end of a group: a moment later it is final."""
    async with asyncio.timeout(PATIENCE):
        while True:
            seen = who._session.native.version
            try:
                await who.groups.delete(group.id)
            except errors.NotAllowed:
                await who._session.native.changed(seen)
            else:
                return


async def test_a_relay_that_was_named_for_it_alone_is_forgotten(
    relay: LocalRelay, alice: Client
) -> None:
    async with LocalRelay() as shared, LocalRelay() as single:
        first = await alice.groups.create("first", relays=[relay.url, shared.url, single.url])
        other = await alice.groups.create("other", relays=[relay.url, shared.url])

        def named() -> set[str]:
            return set(json.loads(_states(alice.engine, "relays/named")["relays/named"]))

        own, in_both, alone = (one.url.rstrip("/") for one in (relay, shared, single))
        assert {url.rstrip("/") for url in named()} == {own, in_both, alone}
        for group, left in ((first, {own, in_both}), (other, {own})):
            await group.disband()
            await alice.outbox.flush(PATIENCE)
            await delete_when_final(alice, group)
            assert {url.rstrip("/") for url in named()} == left


async def test_a_relay_that_has_lost_all_gets_nothing_of_it_again(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    """What relays have accepted is offered to one that has it not any more, for a day."""
    alice, bob = await make_client("alice"), await make_client("bob")
    kept, gone = await alice.groups.create("kept"), await alice.groups.create("gone")
    for group in (gone, kept):
        sent = await group.send("said")
        assert (await sent.delivered(PATIENCE)).delivery is Delivery.ACCEPTED
        if group is gone:
            await gone.disband()
    await kept.add(bob.public_key)
    await alice.outbox.flush(PATIENCE)
    assert (relay.count(445), relay.count(1059)) == (4, 1)
    await delete_when_final(alice, gone)
    await relay.wipe()
    await relay.cut()
    # They come again in the order in which they were made, the invite at last.
    await relay.until(lambda it: it.count(1059) > 0, PATIENCE)
    assert relay.count(445) == 2


async def heard_of(who: Client, group: GroupId, after: str) -> list[Event]:
    """What the log tells of a group up to now."""
    await who._session.feed.current()
    events = await who._session.feed.read(int(after))
    return [event for event in events if event.group_id == group]


async def left(who: Client, after: str | None = None) -> MembersChanged:
    return await event_of(who, MembersChanged, after, where=lambda event: bool(event.left))


async def test_who_declines_is_gone_also_after_the_group_has_changed(
    make_client: MakeClient,
) -> None:
    """And nothing that was done and said meanwhile reaches the application."""
    alice, bob = await make_client("alice"), await make_client("bob")
    lunch = await alice.groups.create("Lunch", [bob.public_key])
    invite = await bob.invites.next(PATIENCE)
    begin = bob.cursor
    await lunch.update(name="Dinner")
    await lunch.send("hello")
    await alice.outbox.flush(PATIENCE)
    await bob.invites.decline(invite)
    assert (await left(alice)).left == {bob.public_key}
    assert [member.public_key for member in await lunch.members()] == [alice.public_key]
    assert await heard_of(bob, lunch.id, begin) == []
    assert await bob.invites.pending() == []
    assert await bob.search("hello") == []
    assert bob.groups.get(lunch.id) is None
    # Nothing is left that would hide the next invite, or go on leaving.
    await lunch.add(bob.public_key)
    room = await bob.invites.accept(await bob.invites.next(PATIENCE))
    await lunch.send("again")
    assert (await room.next_message(PATIENCE)).text == "again"


async def test_an_invite_that_was_declined_offline_is_left_after_the_next_start(
    relay: LocalRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees the invite, its group or what is said there in between."""
    monkeypatch.setattr(invites, "TOLD_WITHIN", 0.0)
    account = Account(tmp_path, "bob", relay)
    async with await client(relay, "alice") as alice:
        async with account.open() as bob:
            lunch = await alice.groups.create("Lunch", [bob.public_key])
            invite = await bob.invites.next(PATIENCE)
            await lunch.update(name="Dinner")
            await alice.outbox.flush(PATIENCE)
            await relay.pause()
            begin = bob.cursor
            await bob.invites.decline(invite)
            with pytest.raises(errors.InviteNotFound):
                await bob.invites.accept(invite)
            with pytest.raises(errors.InviteNotFound):
                await bob.invites.decline(invite)
        async with account.open(ready=False) as bob:
            assert await bob.invites.pending() == []
            assert bob.groups.get(lunch.id) is None
            assert bob.engine.groups() == []
            with pytest.raises(errors.GroupNotFound):
                bob.engine.messages(lunch.id)
            assert await heard_of(bob, lunch.id, "0") == []
            await relay.resume()
            assert (await left(alice)).left == {bob.public_key}
            await until(lambda: not _states(bob.engine, "declined/"), bob)
            assert await heard_of(bob, lunch.id, begin) == []


async def test_an_admin_who_declines_goes_silently(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    """An admin cannot leave before another commit has made him none: others see him until they put him out."""
    alice, bob = await make_client("alice"), await make_client("bob")
    lunch = await alice.groups.create("Lunch", [bob.public_key], admins=[bob.public_key])
    invite = await bob.invites.next(PATIENCE)
    await bob.invites.decline(invite)
    assert bob.engine.groups() == []
    assert relay.count(445) == 0
    assert len(await lunch.members()) == 2
