"""Relays that are down, refuse, lie or lose everything: what was sent arrives, or is reported as failed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.people import (
    PATIENCE,
    Account,
    Metronome,
    Two,
    all_messages,
    event_of,
    hear,
    join,
    texts,
    until,
)

from mdk import (
    Client,
    Delivery,
    DeliveryChanged,
    InviteDeliveryChanged,
    Keys,
    MessageReceived,
    errors,
)
from mdk.testing import Faults, LocalRelay, pair
from mdk.testing.fixtures import MakeClient

# Less than an attempt that fails takes (SLOW), and less than the pause after it.
PROMPT = 25.0
SLOW = {"request_timeout": 60.0, "retry_min": 60.0}


async def test_what_is_sent_while_the_relay_is_down_arrives_in_order_also_after_a_restart(
    relay: LocalRelay, tmp_path: Path
) -> None:
    alice, bob = Account(tmp_path, "alice", relay), Account(tmp_path, "bob", relay)
    metronome = Metronome()
    async with bob.open() as his:
        async with alice.open(clock=metronome.clock) as hers:
            group, room = await join(hers, his)
            await relay.pause()
            sent = []
            for n in range(4):
                metronome.tick()
                sent.append(await group.send(f"{n}"))
            assert {s.delivery for s in sent} == {Delivery.QUEUED}
            assert [m.text for m in await hers.outbox.pending()] == ["0", "1", "2", "3"]
            with pytest.raises(TimeoutError):
                await sent[0].delivered(0.05)
            # What waits can be taken back, once.
            mistake = sent.pop(1).message.id
            await hers.outbox.cancel(mistake)
            with pytest.raises(errors.NotAllowed):
                await hers.outbox.cancel(mistake)
        await relay.resume()
        async with alice.open(clock=metronome.clock) as hers:
            assert await hear(room, 3) == ["0", "2", "3"]
            await hers.outbox.flush(PATIENCE)
            assert await hers.outbox.pending() == []
            messages = await all_messages(hers.groups[group.id])
            accepted = [m.text for m in messages if m.delivery is Delivery.ACCEPTED]
            assert accepted == ["0", "2", "3"]


async def test_a_refusal_for_good_is_reported_with_the_words_of_the_relay(
    relay: LocalRelay, two: Two
) -> None:
    alice, _, group, room = two
    relay.refuse(kinds={445}, reason="blocked: not here")
    begin, before = alice.cursor, group.info
    sent = await group.send("unwanted")
    failed = await sent.delivered(PATIENCE)
    assert (failed.delivery, dict(failed.errors)) == (
        Delivery.FAILED,
        {relay.url: "blocked: not here"},
    )
    changed = await event_of(alice, DeliveryChanged, begin)
    assert (changed.delivery, changed.errors) == (Delivery.FAILED, failed.errors)
    # A commit that nobody takes changes nothing.
    with pytest.raises(errors.NoRelayAccepted) as raised:
        await group.update(name="other")
    assert raised.value.reasons == {relay.url: "blocked: not here"}
    assert (group.info.name, group.info.epoch) == (before.name, before.epoch)
    # What comes behind it is not held up, and it can be tried again.
    relay.accept()
    await group.send("wanted")
    assert await hear(room, 1) == ["wanted"]
    again = await alice.outbox.retry(sent.message.id)
    assert (again.message.id, again.message.delivery) == (sent.message.id, Delivery.QUEUED)
    assert (await again.delivered(PATIENCE)).delivery is Delivery.ACCEPTED
    assert await hear(room, 1) == ["unwanted"]
    assert (await group.update(name="other")).name == "other"


@pytest.mark.parametrize(
    "faults",
    [
        Faults(duplicate=True, reorder=11, false_events=True, notice_flood=True),
        Faults(page_limit=20, delay=timedelta(milliseconds=30), rate_limit=600),
    ],
    ids=["makes up", "is slow"],
)
async def test_bad_relays_do_not_hurt(relay: LocalRelay, two: Two, faults: Faults) -> None:
    alice, bob, group, room = two
    await alice.outbox.flush(PATIENCE)
    relay.faults(faults)
    said = [str(n) for n in range(10)]
    for text in said:
        await group.send(text)
    assert sorted(await hear(room, 10), key=int) == said
    with pytest.raises(TimeoutError):
        await room.next_message(0.05)
    # What it has made up is counted, and not as what others did wrong.
    stats = bob.stats()
    assert stats.events_rejected == 0
    assert (stats.events_false > 0) is faults.false_events
    assert f"mdk_events_false_total {stats.events_false}" in stats.openmetrics()
    assert "\nmdk_relay_lost 0\n" in stats.openmetrics()


async def test_messages_while_away_come_in_order(relay: LocalRelay, tmp_path: Path) -> None:
    """A relay that returns three at a time, newest first."""
    alice, bob = Account(tmp_path, "alice", relay), Account(tmp_path, "bob", relay)
    metronome = Metronome()
    async with alice.open(clock=metronome.clock) as hers:
        async with bob.open() as his:
            group, _ = await join(hers, his)
        # Before the next start in any case.
        metronome.clock.set(metronome.clock.now - timedelta(minutes=1))
        said = [f"{n}" for n in range(20)]
        for n, text in enumerate(said):
            await metronome.say(group, text)
            if n % 5 == 4:
                metronome.tick()
                await group.self_update()
        await hers.outbox.flush(PATIENCE)
        relay.faults(Faults(page_limit=3))
        async with bob.open() as his:
            room = his.groups[group.id]
            assert await hear(room, 20) == said
            assert await texts(room) == said
            received = await event_of(his, MessageReceived)
            assert (received.message.text, received.backlog) == ("0", True)


async def test_no_network_at_start_then_one(relay: LocalRelay, tmp_path: Path) -> None:
    alice = Account(tmp_path, "alice", relay)
    await relay.pause()
    async with alice.open(ready=False) as hers:
        with pytest.raises(TimeoutError):
            await hers.ready(0.2)
        assert hers.stats().relays[0].state in {"backing-off", "connecting"}
        group = await hers.groups.create("offline")
        sent = await group.send("to myself")
        assert sent.delivery is Delivery.QUEUED
        with pytest.raises(errors.TransportError):
            await hers.groups.create("with bob", [Keys.generate().public_key])
        await relay.resume()
        await hers.ready(PATIENCE)
        assert (await sent.delivered(PATIENCE)).delivery is Delivery.ACCEPTED


async def test_a_relay_that_asks_for_authentication() -> None:
    async with LocalRelay(require_auth=True) as relay:
        alice, bob, group = await pair(relay)
        async with alice, bob:
            await group.send("hello")
            assert await hear(bob.groups[group.id], 1) == ["hello"]


async def test_stats_count(relay: LocalRelay, two: Two) -> None:
    alice, bob, group, room = two
    for n in range(3):
        await group.send(f"{n}")
    await hear(room, 3)
    await alice.outbox.flush(PATIENCE)
    await until(lambda: alice.stats().messages_sent == 3, alice)
    # The Welcome and three messages.
    await until(lambda: bob.stats().events_received >= 4, bob)
    stats = bob.stats()
    assert [status.state for status in stats.relays] == ["connected"]
    text = stats.openmetrics()
    assert stats.internal_errors == 0
    assert "mdk_internal_errors_total 0" in text
    assert f"mdk_events_received_total {stats.events_received}" in text
    assert 'mdk_relays{state="connected"} 1' in text
    assert relay.url not in text
    assert text.endswith("# EOF\n")


SILENT = (
    Faults(delay=timedelta(seconds=60)),
    Faults(slow_bytes=True),
    Faults(auth_loop=True),
    Faults(lose_ok=True),
    Faults(drop_silently_over=100),
)
LOUD = (
    Faults(endless=True),
    Faults(huge_frames=True),
    Faults(huge_tags=True),
    Faults(lie_ok=True),
    Faults(false_events=True),
    Faults(notice_flood=True),
)


@pytest.mark.parametrize("several", [SILENT, LOUD], ids=["silent", "loud"])
async def test_hostile_relays_beside_a_good_one(several: tuple[Faults, ...]) -> None:
    """No wait for a bad one is a wait for the good one, whichever of them an account names first."""
    async with AsyncExitStack() as stack:
        good, *bad = [await stack.enter_async_context(LocalRelay()) for _ in (None, *several)]
        for one, faults in zip(bad, several, strict=True):
            one.faults(faults)
        others = [one.url for one in bad]
        people = [
            Client.open(":memory:", relays=[good.url, *others], name="good first"),
            Client.open(":memory:", relays=[*others, good.url], name="bad first"),
        ]
        for person in people:
            person._settings.drain = 1.0
            person._settings.timing |= SLOW
            stack.push_async_callback(person.close)
        await asyncio.gather(*(person.__aenter__() for person in people))
        for kind in (30443, 10050):
            await good.until(lambda relay, kind=kind: relay.count(kind) == 2, PATIENCE)  # type: ignore[misc]
        first, second = people
        rooms = await asyncio.gather(join(first, second), join(second, first))
        before = good.count(445)
        said = [str(n) for n in range(5)]
        sent = [await group.send(text) for text in said for group, _ in rooms]
        async with asyncio.timeout(PROMPT):
            await good.until(lambda relay: relay.count(445) >= before + len(sent), PROMPT)
            assert [sorted(await hear(room, 5)) for _, room in rooms] == [said, said]
            delivered = [(await message.delivered(PROMPT)).delivery for message in sent]
        assert delivered == [Delivery.ACCEPTED] * len(sent)


async def test_an_invite_that_no_relay_takes_is_told_and_comes_later(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    relay.refuse(kinds={1059}, reason="blocked: no gift wraps")
    begin = alice.cursor
    await alice.groups.create("Lunch", [bob.npub])
    refused = await event_of(alice, InviteDeliveryChanged, begin)
    assert (refused.account, refused.delivery) == (bob.public_key, Delivery.QUEUED)
    assert refused.errors == {relay.url: "blocked: no gift wraps"}
    # It may go on for days: nobody is to wait for it, and it is to be seen.
    await alice.outbox.flush(PATIENCE)
    await until(lambda: alice.stats().outbox_queued == 1, alice)
    relay.accept()
    invite = await bob.invites.next(PATIENCE)
    assert invite.group_name == "Lunch"
    accepted = await event_of(alice, InviteDeliveryChanged, refused.cursor)
    assert (accepted.account, accepted.delivery) == (bob.public_key, Delivery.ACCEPTED)
    await until(lambda: alice.stats().outbox_queued == 0, alice)
