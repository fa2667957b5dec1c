"""Which kinds of messages a conversation gives: chat, unless others are asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.client.bots import at_work, bot_of
from tests.client.people import PATIENCE, Two, hear, join

from mdk import Client, Context, Group, MessageReceived, errors
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
    wrong: list[Any] = [[], "9", [-1], [65_536]]
    for kinds in wrong:
        with pytest.raises(errors.InvalidInput) as caught:
            await group.next_message(0.05, kinds=kinds)
        assert caught.value.field == "kinds"
    for kinds in (9, ["9"]):
        with pytest.raises(TypeError):
            await group.next_message(0.05, kinds=kinds)  # type: ignore[arg-type]


async def test_a_bot_hears_chat_and_other_kinds_as_events(relay: LocalRelay, alice: Client) -> None:
    bot = bot_of(relay)
    chat: list[str] = []
    kinds: list[int] = []
    over = asyncio.Event()

    @bot.on_message
    async def ask(ctx: Context) -> None:
        chat.append(ctx.text)
        if ctx.text == "hello":
            await ctx.send("who are you?")
            answer = await ctx.group.next_message(PATIENCE)
            await ctx.send(f"hello {answer.text}")

    @bot.on(MessageReceived)
    async def note(event: MessageReceived) -> None:
        kinds.append(event.message.kind)
        if event.message.text == "done":
            over.set()

    async with at_work(bot):
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("hello")
        assert await hear(group, 1) == ["who are you?"]
        await put(alice, group, STREAM, "a stream begins")
        await group.send("alice")
        assert await hear(group, 1) == ["hello alice"]
        await group.send("done")
        await asyncio.wait_for(over.wait(), PATIENCE)
    assert chat == ["hello", "alice", "done"]
    assert kinds == [Kind.CHAT, STREAM, Kind.CHAT, Kind.CHAT]
