"""What we say is shown on phones, at once and in its order: a model of theirs watches from the same relay."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.client.people import PATIENCE, hear
from tests.client.phone import SETTLES, Phone, timeline
from tests.phones import ledger

from mdk import Client, Group, Message
from mdk.testing import LocalRelay, client
from mdk.testing.clients import impatient

# As an account of a user has it.
REAL = {"speak_after": 2.0, "renew_when_quiet_for": 30.0, "self_update_after_join": 60.0}
GROUP_MESSAGE = 445
PARTS = [f"part {number}" for number in range(10)]


@pytest_asyncio.fixture
async def owner(relay: LocalRelay) -> AsyncIterator[Client]:
    """Whose phone it is. It never waits before it speaks: it is not the one that is looked at."""
    async with await client(relay, "owner") as one:
        yield one


async def patient(name: str, *relays: LocalRelay) -> Client:
    """A started account with the times of a user's."""
    urls = [relay.url for relay in relays]
    one = impatient(Client.open(":memory:", relays=urls, name=name), **REAL)
    one._settings.config = dataclasses.replace(one._settings.config, allow_loopback=True)
    await one.start()
    await one.ready(PATIENCE)
    return one


async def history(group: Group) -> list[Message]:
    return [message async for message in group.history(newest_first=False)]


async def in_order(group: Group) -> bool:
    """Whether a phone shows the history in the order in which it came."""
    messages = await history(group)
    return timeline(messages) == [message.text for message in messages]


# (shows: OB-20)
@pytest.mark.no_phone("its control speaks at once")
async def test_who_renames_and_speaks_at_once_is_heard(relay: LocalRelay, owner: Client) -> None:
    """Not so without the wait: the control, that the model finds what today's phones hide."""
    for wait, place in ((True, "shown"), (False, "hidden")):
        one = await (patient("one", relay) if wait else client(relay, "one"))
        async with Phone(owner) as phone, one:
            group = await one.groups.create("Lunch", [owner.public_key])
            await owner.invites.accept(await owner.invites.next(PATIENCE))
            said = [f"{round_} {part}" for round_ in "ab" for part in PARTS[:2]]
            for count, round_ in enumerate("ab", 1):
                await group.update(name=round_)
                for part in PARTS[:2]:
                    await group.send(f"{round_} {part}")
                await phone.hears(2 * count)
            assert getattr(phone, place) == said


# (shows: OB-20)
@pytest.mark.no_phone("it looks at the looking")
async def test_a_relay_that_was_away_gets_the_commit_first(relay: LocalRelay) -> None:
    """The times at that relay count: a phone that dials it anew as well may find both there."""
    came, clock = [], asyncio.get_running_loop().time

    def has(count: int) -> Callable[[LocalRelay], bool]:
        return lambda relay: relay.count(GROUP_MESSAGE) >= count

    async with LocalRelay() as away, await patient("one", relay, away) as one:
        group = await one.groups.create("alone")
        await group.send("first")
        await away.until(has(1))
        await away.pause()
        await group.update(name="Dinner")
        await (await group.send("second")).delivered(PATIENCE)
        await away.resume()
        for count in (2, 3):
            await away.until(has(count))
            came.append(clock())
    assert came[1] - came[0] >= SETTLES


@pytest.mark.no_phone("it looks at the looking")
@pytest.mark.parametrize("patient", [True, False])
async def test_the_ledger_of_all_stories_finds_what_phones_hide(
    relay: LocalRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    """What `make phones` looks through in every story, and its control: accounts that do not wait."""
    ledger.install(tmp_path, monkeypatch.setattr, patient=patient)
    one, other = await client(relay, "one"), await client(relay, "other")
    group = await one.groups.create("Lunch", [other.public_key])
    await group.send("first")
    room = await other.invites.accept(await other.invites.next(PATIENCE))
    await hear(room, 1)
    await group.update(name="Dinner")
    await group.send("second")
    await hear(room, 1)
    await asyncio.gather(one.close(), other.close())
    found = ledger.judged(ledger.read(tmp_path))
    assert [line.split(",")[0] for line in found] == (
        [] if patient else ["hidden: 'first'", "hidden: 'second'"]
    )


async def test_the_ledger_finds_what_stands_out_of_order(owner: Client) -> None:
    group = await owner.groups.create("alone")
    for part in PARTS:
        await group.send(part)
    messages = await history(group)
    assert ledger.misplaced(messages) == []
    late = dataclasses.replace(messages[0], created_at=messages[5].created_at)
    assert ledger.misplaced([late, *messages[1:]]) != []


# (shows: OB-21)
async def test_an_answer_stands_below_its_question(relay: LocalRelay, owner: Client) -> None:
    """Parts of one second stand in their order, and answers behind what they answer, also with a slower clock."""
    async with await client(relay, "one") as one:
        group = await one.groups.create("Lunch", [owner.public_key])
        room = await owner.invites.accept(await owner.invites.next(PATIENCE))
        for _ in range(5):
            for part in PARTS[:3]:
                await group.send(part)
            await hear(room, 3)
            question = (await room.send("well?")).message
            await group.next_message(PATIENCE)
            await group.send("yes", reply_to=question)
            await room.next_message(PATIENCE)
        assert await in_order(room)
        assert await in_order(group)
