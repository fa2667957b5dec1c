"""The two lazy iterators: shared by threads, called from within themselves, and given up half-way."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import pytest

from mdk import Applied, Event, GroupId, Mdk, MessageReceived, Outcome, SignedEvent, errors
from mdk.testing import Clock

THREADS = 4
T = TypeVar("T")


def taken(shared: Iterator[T]) -> list[list[T]]:
    """What each of some threads gets that read one iterator to its end."""
    barrier = threading.Barrier(THREADS)

    def read(_: int) -> list[T]:
        barrier.wait()
        return list(shared)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(read, range(THREADS)))


def texts(outcomes: list[Outcome]) -> list[str]:
    events = itertools.chain.from_iterable(outcome.events for outcome in outcomes)
    return [event.message.text for event in events if isinstance(event, MessageReceived)]


def test_threads_share_the_outcomes_of_many_events(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    # Several batches, and an iterable that is Python's own and no thread's.
    said = [str(n) for n in range(1200)]
    events = (alice.create_message(pair, text).event for text in said)
    parts = taken(bob.process_many(events))
    assert sorted(itertools.chain.from_iterable(map(texts, parts)), key=int) == said
    assert all(texts(part) == sorted(texts(part), key=int) for part in parts), "in their order"


def test_threads_share_the_log(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    events = [alice.create_message(pair, str(n)).event for n in range(1200)]
    assert all(isinstance(outcome, Applied) for outcome in bob.process_many(events))
    log = list(bob.events())
    for _ in range(5):
        parts = taken(bob.events())
        cursors = [event.cursor for event in itertools.chain.from_iterable(parts)]
        assert sorted(cursors, key=int) == [event.cursor for event in log]
    limited: list[Event] = list(itertools.chain.from_iterable(taken(bob.events(limit=700))))
    assert sorted((event.cursor for event in limited), key=int) == [e.cursor for e in log[:700]]


def test_an_iterable_that_asks_for_its_own_outcome_is_refused(
    alice: Mdk, bob: Mdk, pair: GroupId
) -> None:
    first = alice.create_message(pair, "first").event
    refused: list[Exception] = []

    def odd() -> Iterator[SignedEvent]:
        yield first
        try:
            next(outcomes)
        except errors.Reentered as error:
            refused.append(error)

    outcomes = bob.process_many(odd())
    assert texts(list(outcomes)) == ["first"]
    assert len(refused) == 1


def test_what_an_abandoned_iterator_held_comes_with_the_next_outcome(
    alice: Mdk, bob: Mdk, carol: Mdk, clock: Clock, meet: Callable[..., GroupId]
) -> None:
    group = meet(alice, bob, carol)
    before = alice.create_message(group, "before").event
    said = carol.create_message(group, "said").event
    leave = bob.leave(group)
    outcomes = alice.process_many([said, leave])
    assert texts([next(outcomes)]) == ["said"]
    # The batch is done: the commit that lets bob go is made, and stands in the way of others.
    with pytest.raises(errors.CommitPending):
        alice.self_update(group)
    (pending,) = alice.pending()
    assert pending.automatic
    del outcomes
    told = alice.process(before)
    assert told.reply == (pending.event,)
    assert alice.process(before).reply == ()
    # Published, it comes back, and the group goes on.
    (reply,) = told.reply
    clock.advance(timedelta(seconds=1))
    alice.process(reply)
    assert alice.pending() == []
    alice.self_update(group).discard()


def test_messages_of_an_abandoned_iterator_come_with_the_next_outcome(
    alice: Mdk, bob: Mdk, pair: GroupId
) -> None:
    events = [alice.create_message(pair, str(n)).event for n in range(5)]
    outcomes = bob.process_many(events)
    assert texts([next(outcomes), next(outcomes)]) == ["0", "1"]
    del outcomes
    assert texts([bob.tick()]) == ["2", "3", "4"]
    assert texts([bob.tick()]) == []
