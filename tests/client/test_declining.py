"""Declining an invite: who was asked is gone for the others, whatever the group did meanwhile, and hears nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.client.people import PATIENCE, Account, event_of, until

from mdk import Client, Event, GroupId, MembersChanged, errors
from mdk.client import invites
from mdk.testing import LocalRelay, client
from mdk.testing.fixtures import MakeClient


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
            await until(lambda: not bob.engine._states("declined/"), bob)
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
