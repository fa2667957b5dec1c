"""Declined invites whose relays do not answer: few are dialled at one time, less and less often, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.client.people import PATIENCE, event_of, until

from mdk import Client, GroupId, MembersChanged
from mdk.client import farewells, invites
from mdk.config import DECLINED_PAUSE
from mdk.testing import LocalRelay, client

INVITES = 5


@pytest_asyncio.fixture
async def far() -> AsyncIterator[LocalRelay]:
    """The relay of the groups, which is none of the invited account."""
    async with LocalRelay() as far:
        yield far


def listened_to(who: Client) -> int:
    """Groups whose relays are dialled."""
    return len(who.engine.interests()) - 1


async def decline_all(inviter: Client, bob: Client, far: LocalRelay, count: int) -> None:
    """Invite to as many groups, whose relay is gone by the time that they are declined."""
    for number in range(count):
        await inviter.groups.create(f"group {number}", [bob.public_key], relays=[far.url])
    waiting = [await bob.invites.next(PATIENCE) for _ in range(count)]
    await inviter.outbox.flush(PATIENCE)
    await far.pause()
    for invite in waiting:
        await bob.invites.decline(invite)


async def all_left(inviter: Client, count: int) -> bool:
    """Wait until as many groups were told."""
    seen, after = 0, None
    while seen < count:
        after = (
            await event_of(inviter, MembersChanged, after, lambda event: bool(event.left))
        ).cursor
        seen += 1
    return True


async def test_few_declined_groups_are_listened_to_at_one_time(
    relay: LocalRelay, far: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are told when their relay is back, each in its turn."""
    monkeypatch.setattr(invites, "TOLD_WITHIN", 0.0)
    monkeypatch.setattr(farewells, "DECLINED_AT_ONCE", 2)
    monkeypatch.setattr(farewells, "DECLINED_ATTEMPT", PATIENCE)
    most = 0
    read = farewells.Farewells._attempt

    async with await client(relay, "alice") as alice, await client(relay, "bob") as bob:

        async def attempt(of: farewells.Farewells, group_id: GroupId) -> None:
            nonlocal most
            most = max(most, listened_to(bob))
            await read(of, group_id)

        monkeypatch.setattr(farewells.Farewells, "_attempt", attempt)
        await decline_all(alice, bob, far, INVITES)
        await until(lambda: listened_to(bob) == 2, bob)
        assert len(bob._session.store.farewells()) == INVITES
        await far.resume()
        await until(lambda: not bob._session.store.farewells(), bob)
        assert most == 2
        assert await all_left(alice, INVITES)
        await until(lambda: listened_to(bob) == 0, bob)


async def test_what_never_answers_is_dialled_less_and_less_often(
    relay: LocalRelay, far: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at all in the pauses; when the relay is back the group is told."""
    monkeypatch.setattr(invites, "TOLD_WITHIN", 0.0)
    monkeypatch.setattr(farewells, "DECLINED_ATTEMPT", 0.0)
    pauses, listened = list[float](), list[int]()
    enough, back = asyncio.Event(), asyncio.Event()
    async with await client(relay, "alice") as alice, await client(relay, "bob") as bob:

        async def rest(_: farewells.Farewells, pause: float) -> None:
            pauses.append(pause)
            listened.append(listened_to(bob))
            if len(pauses) == 20:
                enough.set()
                await back.wait()

        monkeypatch.setattr(farewells.Farewells, "_rest", rest)
        await decline_all(alice, bob, far, 1)
        async with asyncio.timeout(PATIENCE):
            await enough.wait()
        assert pauses[:3] == [0.5, 1.0, 2.0]
        assert pauses == sorted(pauses)
        assert pauses[-1] == DECLINED_PAUSE
        assert not any(listened)
        monkeypatch.setattr(farewells, "DECLINED_ATTEMPT", PATIENCE)
        await far.resume()
        back.set()
        assert await all_left(alice, 1)
