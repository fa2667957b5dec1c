"""What a client says of its groups is what it knows; and which kinds of messages a conversation gives."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.client.bots import answering, bot_of, in_a_chat
from tests.client.people import PATIENCE, Account, Two, hear, join

from mdk import Client, Event, Group, MessageReceived, errors
from mdk.client.feed import Feed
from mdk.testing import LocalRelay
from mdk.testing.fixtures import MakeClient
from mdk.values import Kind

LATE = 0.3


@pytest.fixture
def late_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of the log comes late, as on a machine with more to do."""
    read = Feed._read

    async def late(self: Feed) -> None:
        await asyncio.sleep(LATE)
        await read(self)

    monkeypatch.setattr(Feed, "_read", late)


@pytest.mark.usefixtures("late_reader")
@pytest.mark.parametrize("how", ["entering", "ready", "sync"])
async def test_who_has_fetched_all_finds_the_groups_so(
    relay: LocalRelay, tmp_path: Path, how: str
) -> None:
    alice, bob = Account(tmp_path, "alice", relay), Account(tmp_path, "bob", relay)
    async with alice.open() as hers:
        async with bob.open() as his:
            group, room = await join(hers, his)
            if how == "sync":
                await group.update(name="Dinner")
                await hers.outbox.flush(PATIENCE)
                await his.sync()
                assert room.name == "Dinner"
                return
        await group.update(name="Dinner")
        await hers.outbox.flush(PATIENCE)
        async with bob.open(ready=how == "ready") as his:
            if how == "entering":
                await his._settle_in()
            assert his.groups[group.id].name == "Dinner"


async def test_a_group_that_was_deleted_is_not_read_behind_it(alice: Client) -> None:
    """The reader has events of a group in hand while it is deleted: nobody is told them."""
    info = (await alice.groups.create("Lunch")).info
    told = [event for event in alice.engine.events() if event.group_id == info.id]
    answers: asyncio.Queue[tuple[list[Event], int]] = asyncio.Queue()

    class Reading:
        async def poll(self, _after: int, _limit: int) -> tuple[list[Event], int]:
            return await answers.get()

    parts: tuple[Any, Any, Any] = None, None, Reading()
    feed = Feed(*parts, started_at=datetime.now(UTC))
    following = asyncio.create_task(feed._follow())
    try:
        await asyncio.sleep(0)
        feed.drop(info.id)
        answers.put_nowait((told, 9_000))
        answers.put_nowait(([], 9_001))
        async with asyncio.timeout(PATIENCE):
            while feed.position < 9_001:
                await feed.wait()
        assert await feed.read(0) == []
    finally:
        following.cancel()


STREAM = 1200
UNKNOWN = 31_337


async def put(client: Client, group: Group, kind: int, text: str) -> None:
    """Send a message of any kind, which the facade has no method for."""
    await client._session.change(lambda mdk: mdk.create_message(group.id, text, kind=kind))


async def test_only_chat_is_the_answer_to_a_question(two: Two) -> None:
    _, bob, group, room = two
    await put(bob, room, STREAM, "a stream begins")
    await put(bob, room, UNKNOWN, "nobody knows this kind")
    await room.send("the answer")
    assert (await group.next_message(PATIENCE)).text == "the answer"
    await put(bob, room, UNKNOWN, "nor this")
    await room.send("another")
    async for message in group.messages():
        assert (message.kind, message.text) == (Kind.CHAT, "another")
        break
    with pytest.raises(TimeoutError):
        await group.next_message(0.05)


async def test_other_kinds_are_given_to_those_who_ask(two: Two) -> None:
    _, bob, group, room = two
    await put(bob, room, STREAM, "begin")
    await room.send("chat")
    await put(bob, room, UNKNOWN, "what is this")
    assert await hear(group, 1) == ["chat"]
    # What one choice passes over, and what it takes, is there for another one, which begins at the same place.
    heard = [await group.next_message(PATIENCE, kinds=None) for _ in range(3)]
    assert [one.text for one in heard] == ["begin", "chat", "what is this"]
    assert (await group.next_message(PATIENCE, kinds=[STREAM])).text == "begin"
    assert (await group.next_message(PATIENCE, kinds=(UNKNOWN, STREAM))).text == "begin"
    async for message in group.messages(kinds={STREAM, UNKNOWN}):
        assert message.text == "what is this"
        break


async def test_two_who_wait_for_different_kinds_take_nothing_from_each_other(
    make_client: MakeClient,
) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    group, room = await join(alice, bob)
    chat = asyncio.ensure_future(group.next_message(PATIENCE))
    stream = asyncio.ensure_future(group.next_message(PATIENCE, kinds=[STREAM]))
    await room.send("chat")
    assert (await chat).text == "chat"
    await put(bob, room, STREAM, "begin")
    assert (await stream).text == "begin"


async def test_kinds_that_cannot_be_are_refused(alice: Client) -> None:
    group = await alice.groups.create("alone", [])
    refused: list[tuple[Any, type[Exception]]] = [
        *((kinds, errors.InvalidInput) for kinds in ([], "9", [-1], [65_536])),
        *((kinds, TypeError) for kinds in (9, ["9"])),
    ]
    for kinds, error in refused:
        with pytest.raises(error) as caught:
            await group.next_message(0.05, kinds=kinds)
        assert getattr(caught.value, "field", "kinds") == "kinds"


async def test_a_bot_hears_chat_and_other_kinds_as_events(relay: LocalRelay, alice: Client) -> None:
    bot = bot_of(relay)
    chat = answering(bot)
    kinds: list[int] = []

    @bot.on(MessageReceived)
    async def note(event: MessageReceived) -> None:
        kinds.append(event.message.kind)

    async with in_a_chat(bot, alice) as group:
        await group.send("hello")
        assert await hear(group, 1) == ["done hello"]
        await put(alice, group, STREAM, "a stream begins")
        await group.send("bye")
        assert await hear(group, 1) == ["done bye"]
    assert chat == ["hello", "bye"]
    assert kinds == [Kind.CHAT, STREAM, Kind.CHAT]
