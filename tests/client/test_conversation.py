"""Talking: messages, answers, reactions, edits, deletions, history, search."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest
from tests.client.people import PATIENCE, Metronome, all_messages, event_of, hear, join, texts

from mdk import (
    Client,
    Delivery,
    DeliveryChanged,
    EventId,
    Group,
    GroupUpdated,
    Message,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ReactionAdded,
    ReactionRemoved,
    errors,
)
from mdk.testing import Clock, LocalRelay, pair
from mdk.testing.fixtures import MakeClient

UNKNOWN = EventId("ab" * 32)


async def test_two_people_talk(relay: LocalRelay, make_client: MakeClient) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    group, room = await join(alice, bob, name="Lunch")
    assert room.name == "Lunch"
    assert room.info.member_count == 2
    await group.send("Soup or sandwich?")
    question = await room.next_message(PATIENCE)
    sent = await room.send("Soup.", reply_to=question)
    answer = await group.next_message(PATIENCE)
    assert (answer.text, answer.reply_to) == ("Soup.", question.id)
    assert answer.sender == bob.public_key
    assert (await sent.delivered(PATIENCE)).delivery is Delivery.ACCEPTED
    assert await texts(group) == await texts(room) == ["Soup or sandwich?", "Soup."]
    assert relay.count(445) >= 2


async def test_many_messages_arrive_once_and_in_order(make_client: MakeClient) -> None:
    metronome = Metronome()
    alice, bob = await make_client("alice", clock=metronome.clock), await make_client("bob")
    group, room = await join(alice, bob)
    said = [f"message {n}" for n in range(50)]
    await metronome.say(group, *said)
    assert await hear(room, 50) == said
    with pytest.raises(TimeoutError):
        await room.next_message(0.05)


async def test_three_people_talk_at_once(make_client: MakeClient) -> None:
    people = [await make_client(name) for name in ("a", "b", "c")]
    rooms = await join(*people)
    await asyncio.gather(
        *(room.send(f"{who} {n}") for who, room in enumerate(rooms) for n in range(10))
    )
    for who, room in enumerate(rooms):
        heard = await hear(room, 20)
        assert sorted(heard) == sorted(f"{o} {n}" for o in range(3) if o != who for n in range(10))


async def test_messages_and_next_message_share_a_position(make_client: MakeClient) -> None:
    metronome = Metronome()
    alice, bob = await make_client("alice", clock=metronome.clock), await make_client("bob")
    group, room = await join(alice, bob)
    await metronome.say(group, *"0123")
    assert (await room.next_message(PATIENCE)).text == "0"
    heard: list[str] = []
    async for message in room.messages():
        heard.append(message.text)
        if len(heard) == 2:
            break
    assert heard == ["1", "2"]
    assert (await room.next_message(PATIENCE)).text == "3"
    # The same handle every time.
    assert bob.groups[group.id] is room


Two: TypeAlias = tuple[Client, Client, Group, Group]


@pytest.fixture
async def two(relay: LocalRelay) -> AsyncIterator[Two]:
    alice, bob, group = await pair(relay)
    try:
        yield alice, bob, group, bob.groups[group.id]
    finally:
        await asyncio.gather(alice.close(), bob.close())


async def heard(two: Two) -> Message:
    _, _, group, room = two
    await group.send("first")
    return await room.next_message(PATIENCE)


async def test_reactions_come_and_go(two: Two) -> None:
    alice, bob, group, room = two
    message = await heard(two)
    begin = alice.cursor
    await room.react(message, "🥣")
    added = await event_of(alice, ReactionAdded, begin)
    assert (added.reaction.emoji, added.reaction.sender) == ("🥣", bob.public_key)
    await room.react(message, "👍")
    await room.unreact(message, "🥣")
    gone = await event_of(alice, ReactionRemoved, begin)
    assert gone.reaction.emoji == "🥣"
    (kept,) = (await all_messages(group))[0].reactions
    assert kept.emoji == "👍"
    await room.unreact(message)
    with pytest.raises(errors.MessageNotFound):
        await room.unreact(message)


async def test_edit_and_delete(two: Two) -> None:
    _, bob, group, room = two
    message = await heard(two)
    begin = bob.cursor
    await group.edit(message.id, "better")
    edited = await event_of(bob, MessageEdited, begin)
    assert (edited.message.text, edited.message.edited) == ("better", True)
    with pytest.raises(errors.NotAllowed):
        await room.edit(message, "not mine")
    await group.delete(message.id)
    deleted = await event_of(bob, MessageDeleted, begin)
    assert deleted.message_id == message.id


async def test_history_in_both_directions_and_in_pages(make_client: MakeClient) -> None:
    metronome = Metronome()
    alice, bob = await make_client("alice", clock=metronome.clock), await make_client("bob")
    group, room = await join(alice, bob)
    said = [str(n) for n in range(230)]
    await metronome.say(group, *said)
    await hear(room, 230)
    assert await texts(room) == said
    newest = [m.text async for m in room.history(limit=150)]
    assert newest == said[:-151:-1]
    oldest_of_newest = [m async for m in room.history(limit=3, newest_first=False)]
    assert [m.text for m in oldest_of_newest] == ["227", "228", "229"]
    before = [m.text async for m in room.history(before=oldest_of_newest[0].id, limit=2)]
    assert before == ["226", "225"]
    up_to = [m.text async for m in room.history(before=oldest_of_newest[0].id, newest_first=False)]
    assert up_to == said[:227]
    for newest_first in (True, False):
        with pytest.raises(errors.MessageNotFound):
            _ = [m async for m in room.history(before=UNKNOWN, newest_first=newest_first)]


async def test_search_and_unread(make_client: MakeClient) -> None:
    metronome = Metronome()
    alice, bob = await make_client("alice", clock=metronome.clock), await make_client("bob")
    group, room = await join(alice, bob)
    await metronome.say(group, "a needle", "hay", "another Needle")
    await hear(room, 3)
    assert [m.text for m in await room.search("needle")] == ["another Needle", "a needle"]
    assert [m.text for m in await bob.search("hay")] == ["hay"]
    assert room.info.unread_count == 3
    await room.mark_read()
    assert room.info.unread_count == 0
    assert room.info.last_message is not None
    assert room.info.last_message.text == "another Needle"


async def test_settings_change_for_everybody(two: Two) -> None:
    _, bob, group, room = two
    begin = bob.cursor
    info = await group.update(name="New name", retention=timedelta(days=1))
    assert (info.name, info.retention) == ("New name", timedelta(days=1))
    changed = await event_of(bob, GroupUpdated, begin)
    assert {"name", "retention"} <= changed.changed
    # Whoever sees the event finds the group as it is then.
    assert room.name == "New name"


async def test_delivery_is_an_event_too(two: Two) -> None:
    alice, _, group, _ = two
    begin = alice.cursor
    sent = await group.send("hello")
    changed = await event_of(alice, DeliveryChanged, begin)
    assert (changed.message_id, changed.delivery) == (sent.message.id, Delivery.ACCEPTED)
    assert changed.errors == {}


async def test_what_is_no_cursor_is_refused(two: Two) -> None:
    alice = two[0]
    for wrong in ("", "x", "01", "-1", " 1", "１", "٣", "9" * 20, "9" * 5000):
        with pytest.raises(errors.InvalidInput) as raised:
            alice.events(after=wrong)
        assert raised.value.field == "after"
    with pytest.raises(TypeError, match="after: int"):
        alice.events(after=5)  # type: ignore[arg-type]


async def test_too_large_a_message_is_refused_before_anything(two: Two) -> None:
    _, _, group, _ = two
    with pytest.raises(errors.InvalidInput) as raised:
        await group.send("x" * 70_000)
    assert raised.value.field == "text"
    assert await texts(group) == []


async def test_what_is_live_is_no_backlog(two: Two) -> None:
    _, bob, group, _ = two
    begin = bob.cursor
    await group.send("now")
    received = await event_of(bob, MessageReceived, begin)
    assert not received.backlog


async def test_what_became_of_a_message_that_is_not_there_any_more(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    clock = Clock(datetime.now(UTC))
    alice = await make_client("alice", clock=clock)
    short = await alice.groups.create("short", retention=timedelta(hours=1))
    begin = alice.cursor
    taken = await short.send("a relay has it")
    await event_of(alice, DeliveryChanged, begin, lambda e: e.message_id == taken.message.id)
    clock.advance(timedelta(hours=2))
    await event_of(alice, MessageDeleted, begin, lambda e: e.message_id == taken.message.id)
    assert (await taken.delivered(PATIENCE)).delivery is Delivery.ACCEPTED
    await relay.pause()
    waiting = await short.send("no relay has it")
    clock.advance(timedelta(hours=2))
    expired = await waiting.delivered(PATIENCE)
    assert expired.delivery is Delivery.FAILED
    assert expired.errors == {relay.url: "the message has expired"}
    long = await alice.groups.create("long")
    withdrawn = await long.send("not after all")
    await alice.outbox.cancel(withdrawn.message.id)
    assert (await withdrawn.delivered(PATIENCE)).delivery is Delivery.FAILED
