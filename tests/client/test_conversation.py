"""Talking: messages, answers, reactions, edits, deletions, history, search."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.client.people import PATIENCE, Metronome, Two, all_messages, event_of, join, texts

from mdk import (
    Delivery,
    DeliveryChanged,
    EventId,
    GroupUpdated,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ReactionAdded,
    ReactionRemoved,
    errors,
)
from mdk.testing import Clock, LocalRelay
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


async def test_what_becomes_of_a_message(two: Two) -> None:
    alice, bob, group, room = two
    await group.send("a needle")
    message = await room.next_message(PATIENCE)
    begin, his = alice.cursor, bob.cursor
    assert room.info.unread_count == 1
    await room.mark_read()
    assert room.info.unread_count == 0
    for found in (await room.search("Needle"), await bob.search("needle")):
        assert [one.id for one in found] == [message.id]
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
    await group.edit(message.id, "better")
    edited = await event_of(bob, MessageEdited, his)
    assert (edited.message.text, edited.message.edited) == ("better", True)
    assert room.info.last_message is not None
    assert room.info.last_message.text == "better"
    with pytest.raises(errors.NotAllowed):
        await room.edit(message, "not mine")
    await group.delete(message.id)
    assert (await event_of(bob, MessageDeleted, his)).message_id == message.id


async def test_what_others_do_is_an_event_when_it_is_so(two: Two) -> None:
    alice, bob, group, room = two
    begin, his = alice.cursor, bob.cursor
    sent = await group.send("hello")
    changed = await event_of(alice, DeliveryChanged, begin)
    assert (changed.message_id, changed.delivery) == (sent.message.id, Delivery.ACCEPTED)
    assert changed.errors == {}
    received = await event_of(bob, MessageReceived, his)
    assert not received.backlog
    info = await group.update(name="New name", retention=timedelta(days=1))
    assert (info.name, info.retention) == ("New name", timedelta(days=1))
    updated = await event_of(bob, GroupUpdated, his)
    assert {"name", "retention"} <= updated.changed
    # Whoever sees the event finds the group as it is then.
    assert room.name == "New name"


async def test_what_is_no_cursor_is_refused(two: Two) -> None:
    alice = two[0]
    for wrong in ("", "x", "01", "-1", " 1", "１", "٣", "9" * 20, "9" * 5000):
        with pytest.raises(errors.InvalidInput) as raised:
            alice.events(after=wrong)
        assert raised.value.field == "after"
    with pytest.raises(TypeError, match="after: int"):
        alice.events(after=5)  # type: ignore[arg-type]


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
