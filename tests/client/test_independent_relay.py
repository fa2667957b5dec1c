"""What must hold on every relay, on one by other people: PyPI's nostr-relay with its file database.

The embedded relay has the same stories in Rust (mdk-client/tests/flow).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest_asyncio
from tests.client.independent_relay import IndependentRelay, Process
from tests.client.people import PATIENCE, Account, hear, join, texts, until

from mdk import Client, Delivery, Group
from mdk.testing import LocalRelay, client


class Open(Protocol):
    async def __call__(self, *names: str, relays: tuple[LocalRelay, ...] = ()) -> list[Client]: ...


@pytest_asyncio.fixture
async def people(independent: IndependentRelay) -> AsyncIterator[Open]:
    """Started clients of the relay, or of those named, closed at the end."""
    async with AsyncExitStack() as stack:

        async def started(*names: str, relays: tuple[LocalRelay, ...] = ()) -> list[Client]:
            on = relays or (independent,)
            opened = await asyncio.gather(*(client(on, name) for name in names))
            for one in opened:
                stack.push_async_callback(one.close)
            return opened

        yield started


async def heard(group: Group, count: int) -> list[str]:
    """The texts of the next messages of others, sorted: relays do not keep the order within a second."""
    return sorted(await hear(group, count))


async def silent(*rooms: Group) -> None:
    """A message more than was sent would be there by now: one behind it is."""
    for room in rooms:
        await room.send("last")
    for room in rooms:
        assert await hear(room, len(rooms) - 1) == ["last"] * (len(rooms) - 1)


async def test_what_lies_on_the_relay(independent: IndependentRelay, people: Open) -> None:
    alice, bob = await people("alice", "bob")
    group, room = await join(alice, bob, name="Secret name")
    await group.send("secret text")
    await hear(room, 1)

    def said_of_both(it: LocalRelay) -> bool:
        kinds = 0, 10002, 10050, 30443
        return all(len({event.pubkey for event in it.events(kind)}) == 2 for kind in kinds)

    await independent.until(said_of_both, PATIENCE)
    published = {kind: independent.events(kind) for kind in (0, 445, 1059, 10002, 10050, 30443)}
    assert all(published.values()), {kind: len(events) for kind, events in published.items()}
    known = {alice.public_key, bob.public_key}
    # Who talks to whom is not to be seen: messages and invitations come from keys that are used once.
    hidden = published[445] + published[1059]
    authors = [event.pubkey for event in hidden]
    assert len(set(authors)) == len(authors)
    assert not known & set(authors)
    for kind in (0, 10002, 10050, 30443):
        assert {event.pubkey for event in published[kind]} == known
    everything = "".join(event.to_json() for events in published.values() for event in events)
    assert "secret" not in everything.lower()
    assert group.id not in everything


async def test_a_restart_in_the_middle_of_a_conversation(
    independent: IndependentRelay, people: Open
) -> None:
    alice, bob = await people("alice", "bob")
    group, room = await join(alice, bob)
    for n in range(3):
        await group.send(f"before {n}")
    assert await heard(room, 3) == [f"before {n}" for n in range(3)]
    await independent.pause()
    for n in range(10):
        await group.send(f"alice {n}")
        await room.send(f"bob {n}")
    await independent.resume()
    assert await heard(room, 10) == [f"alice {n}" for n in range(10)]
    assert await heard(group, 10) == [f"bob {n}" for n in range(10)]
    await silent(group, room)


async def test_a_restart_without_memory(independent: IndependentRelay, people: Open) -> None:
    alice, bob = await people("alice", "bob")
    group, room = await join(alice, bob)
    await group.send("before")
    assert await hear(room, 1) == ["before"]
    await independent.wipe()
    await group.send("after")
    assert await hear(room, 1) == ["after"]
    await group.update(name="Still a group")
    await group.send("of the new epoch")
    assert await hear(room, 1) == ["of the new epoch"]
    assert room.info.name == "Still a group"
    await room.send("and back")
    assert await hear(group, 1) == ["and back"]


async def test_what_was_said_meanwhile(
    independent: IndependentRelay, people: Open, tmp_path: Path
) -> None:
    """An account that was closed for 60 messages and three commits."""
    away = Account(tmp_path, "bob", independent)
    (alice,) = await people("alice")
    async with away.open() as bob:
        group, room = await join(alice, bob)
        await group.send("start")
        await hear(room, 1)
    for n in range(3):
        for m in range(20):
            await group.send(f"{20 * n + m:02}")
        await group.self_update()
    await alice.outbox.flush(3 * PATIENCE)
    async with away.open() as bob:
        back = bob.groups.get(group.id)
        assert back is not None
        assert await heard(back, 60) == [f"{n:02}" for n in range(60)]
        await back.send("read all")
        assert await hear(group, 1) == ["read all"]
        assert sorted(await texts(back)) == sorted(await texts(group))
        assert back.info.epoch == group.info.epoch


async def test_more_groups_than_one_connection_may_subscribe_to(people: Open) -> None:
    """The limit of nostr-relay is 32."""
    alice, bob = await people("alice", "bob")
    pairs = [await join(alice, bob, name=f"group {n}") for n in range(34)]
    await asyncio.gather(*(group.send(f"to {n}") for n, (group, _) in enumerate(pairs)))
    for n, (_, room) in enumerate(pairs):
        assert await hear(room, 1) == [f"to {n}"]
    await asyncio.gather(*(room.send(f"from {n}") for n, (_, room) in enumerate(pairs)))
    for n, (group, _) in enumerate(pairs):
        assert await hear(group, 1) == [f"from {n}"]


async def test_people_come_and_go_and_groups_change(
    independent: IndependentRelay, people: Open
) -> None:
    alice, bob, carol = await people("alice", "bob", "carol")
    # The newer KeyPackage has taken the place of the older one.
    (before,) = await bob.key_packages.mine()
    rotated = await bob.key_packages.rotate()
    assert (rotated.slot, rotated.ref != before.ref) == (before.slot, True)
    await bob.outbox.flush(PATIENCE)
    (found,) = await alice.key_packages.find(bob.public_key)
    assert found == dataclasses.replace(rotated, relays=())
    assert independent.count(30443) == 3
    group, room = await join(alice, bob)
    await group.update(rotate_routing=True, name="Moved")
    await until(lambda: room.name == "Moved", bob)
    await group.promote(bob.public_key)
    await until(lambda: len(room.info.admins) == 2, bob)
    await room.add(carol.public_key)
    third = await carol.invites.accept(await carol.invites.next(PATIENCE))
    await third.send("under the new address")
    assert await hear(group, 1) == await hear(room, 1) == ["under the new address"]
    await third.leave()
    await until(lambda: room.info.member_count == group.info.member_count == 2, bob)
    await group.remove(bob.public_key)
    await until(lambda: len(bob.groups) == 0, bob)


def test_it_is_another_program(independent: IndependentRelay) -> None:
    request = urllib.request.Request(
        independent.url.replace("ws://", "http://"), headers={"Accept": "application/nostr+json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        said = json.load(answer)
    assert (said["name"], said["version"]) == ("independent", "1.14")
    # It announces nothing, so nothing can be known before it refuses.
    assert "limitation" not in said


async def test_what_it_refuses_fails_with_its_words(tmp_path: Path, people: Open) -> None:
    process = Process(tmp_path, max_event_size=8_192)
    async with AsyncExitStack() as stack:
        stack.callback(process.close)
        small = await stack.enter_async_context(IndependentRelay(process))
        alice, bob = await people("alice", "bob", relays=(small,))
        group, room = await join(alice, bob)
        failed = await (await group.send("x" * 10_000)).delivered(PATIENCE)
        assert failed.delivery is Delivery.FAILED
        words = "invalid: 280 characters should be enough for anybody"
        assert dict(failed.errors) == {small.url: words}
        await group.send("small")
        assert await hear(room, 1) == ["small"]
