"""Which kinds of messages a conversation gives: chat, unless others are asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.client.bots import answering, bot_of, in_a_chat
from tests.client.people import PATIENCE, Two, hear, join

from mdk import Client, Group, MessageReceived, errors
from mdk.testing import LocalRelay
from mdk.testing.fixtures import MakeClient
from mdk.values import Kind

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
        with pytest.raises(error, match="kinds"):
            await group.next_message(0.05, kinds=kinds)


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
