"""The two lazy iterators: shared by threads, called from within themselves, and given up half-way."""

from __future__ import annotations

import gc
import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from mdk import (
    DatabaseKey,
    GroupId,
    Keys,
    Mdk,
    MessageReceived,
    Outcome,
    SignedEvent,
    _mdk,
    errors,
)
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


def test_threads_share_the_outcomes_of_many_events_and_the_log(
    alice: Mdk, bob: Mdk, pair: GroupId
) -> None:
    # Two batches, and an iterable that is Python's own and no thread's.
    said = [str(n) for n in range(560)]
    events = (alice.create_message(pair, text).event for text in said)
    parts = taken(bob.process_many(events))
    assert sorted(itertools.chain.from_iterable(map(texts, parts)), key=int) == said
    assert all(texts(part) == sorted(texts(part), key=int) for part in parts), "in their order"
    log = [event.cursor for event in bob.events()]
    for limit in (None, None, None, 300):
        read = itertools.chain.from_iterable(taken(bob.events(limit=limit)))
        assert sorted((event.cursor for event in read), key=int) == log[:limit]


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


def test_what_an_abandoned_iterator_had_to_publish_comes_again(
    alice: Mdk, bob: Mdk, carol: Mdk, clock: Clock, meet: Callable[..., GroupId]
) -> None:
    group = meet(alice, bob, carol)
    said = carol.create_message(group, "said").event
    leave = bob.leave(group)
    alice.tick()  # which hands out what an earlier process may have left
    outcomes = alice.process_many([said, leave])
    assert texts([next(outcomes)]) == ["said"]
    # The batch is done: the commit that lets bob go is made, and stands in the way of others.
    with pytest.raises(errors.CommitPending):
        alice.self_update(group)
    (pending,) = alice.pending()
    assert pending.automatic
    assert pending.event is not None
    assert alice.tick().reply == ()
    del outcomes
    assert pending.event in alice.tick().reply
    assert alice.tick().reply == ()
    # Published, it comes back, and the group goes on.
    clock.advance(timedelta(seconds=1))
    alice.process(pending.event)
    assert alice.pending() == []
    alice.self_update(group).discard()


def test_what_was_settled_or_handed_out_does_not_come_again(
    alice: Mdk, bob: Mdk, carol: Mdk, meet: Callable[..., GroupId]
) -> None:
    group, other = meet(alice, bob, carol), meet(alice, bob, carol)
    alice.tick()
    outcomes = alice.process_many([carol.create_message(group, "said").event, bob.leave(group)])
    next(outcomes)
    (pending,) = alice.pending()
    del outcomes
    pending.confirm()
    assert pending.event not in alice.tick().reply
    said = [carol.create_message(other, "said").event, bob.leave(other)]
    replies = [outcome.reply for outcome in alice.process_many(said)]
    assert [len(reply) for reply in replies] == [0, 1]
    # What was given up had nothing to publish.
    next(alice.process_many([carol.create_message(other, str(n)).event for n in range(3)]))
    assert alice.tick().reply == ()


def test_messages_of_an_abandoned_iterator_are_in_the_log(
    alice: Mdk, bob: Mdk, pair: GroupId
) -> None:
    events = [alice.create_message(pair, str(n)).event for n in range(5)]
    outcomes = bob.process_many(events)
    first = [next(outcomes), next(outcomes)]
    assert texts(first) == ["0", "1"]
    del outcomes
    # No other outcome tells them: plain text is not kept for a caller who may never come.
    assert texts([bob.tick()]) == []
    log = bob.events(after=first[-1].events[-1].cursor)
    assert [e.message.text for e in log if isinstance(e, MessageReceived)] == ["2", "3", "4"]


@pytest.mark.parametrize("end", ["closed", "failed"])
def test_what_was_not_read_goes_with_the_engine(
    alice: Mdk, bob: Mdk, pair: GroupId, capfd: pytest.CaptureFixture[str], end: str
) -> None:
    said = alice.create_message(pair, "said").event
    over, ended = bob.process_many([said]), bob.events(limit=1)
    assert texts(list(over)) == ["said"]
    assert len(list(ended)) == 1
    # One batch holds 500; what comes behind it was never processed.
    wrong = ["{"] * 501
    outcomes, last, log, limited = (
        bob.process_many(wrong[:5]),
        bob.process_many(wrong),
        bob.events(),
        bob.events(limit=2),
    )
    for begun in (outcomes, log, limited):
        next(begun)
    for _ in range(500):
        next(last)
    if end == "closed":
        bob.close()
    else:
        with pytest.raises(errors.InternalError):
            _mdk._panic(bob)
    unread: list[Iterator[object]] = [outcomes, last, log, limited]
    for one in unread:
        for _ in range(2):  # an end would look as if all had been read
            if end == "closed":
                with pytest.raises(errors.Closed):
                    next(one)
            else:
                with pytest.raises(errors.InternalError, match="open it again"):
                    next(one)
    if end == "closed":
        # What was read to its end has ended.
        assert list(over) == []
        assert list(ended) == []
    capfd.readouterr()


def test_an_iterable_may_close_the_account(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    event = alice.create_message(pair, "said").event

    def closes() -> Iterator[SignedEvent]:
        yield event
        bob.close()

    with pytest.raises(errors.Closed):
        next(bob.process_many(closes()))


def test_closing_does_not_wait_for_who_reads(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    event = alice.create_message(pair, "said").event
    reading, closed = threading.Event(), threading.Event()

    def slow() -> Iterator[SignedEvent]:
        reading.set()
        assert closed.wait(30)
        yield event

    outcomes = bob.process_many(slow())
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(next, outcomes)
        assert reading.wait(30)
        bob.close()
        closed.set()
        with pytest.raises(errors.Closed):
            read.result(30)


def test_a_call_that_failed_is_made_again(
    alice: Mdk, tmp_path: Path, meet: Callable[..., GroupId]
) -> None:
    """The disk is full for one batch, and the events of it come when there is room."""
    resource = pytest.importorskip("resource")
    folder = tmp_path / "dave"
    with Mdk.open(folder / "m.db", keys=Keys.generate(), key=DatabaseKey.raw(bytes(32))) as dave:
        group = meet(alice, dave)
        said = [str(n) for n in range(20)]
        events = iter([alice.create_message(group, text).event for text in said])
        outcomes = dave.process_many(events)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = sum(file.stat().st_size for file in folder.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(size, 4096), hard))
        try:
            for _ in range(2):
                with pytest.raises(errors.StorageError):
                    next(outcomes)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        assert texts(list(outcomes)) == said


@pytest.mark.parametrize("raises", [False, True])
def test_an_iterable_that_has_its_iterator_is_collected(
    alice: Mdk, tmp_path: Path, meet: Callable[..., GroupId], *, raises: bool
) -> None:
    """Or the account would stay open for as long as the process lives."""

    class Feed:
        outcomes: Iterator[Outcome]

        def __init__(self, *events: SignedEvent) -> None:
            self.events = list(events)

        def __iter__(self) -> Iterator[SignedEvent]:
            return self

        def __next__(self) -> SignedEvent:
            if self.events:
                return self.events.pop()
            raise OSError if raises else StopIteration

    path, keys, key = tmp_path / "home" / "m.db", Keys.generate(), DatabaseKey.raw(bytes(32))
    account = Mdk.open(path, keys=keys, key=key)
    group = meet(alice, account)
    feed = Feed(alice.create_message(group, "said").event)
    feed.outcomes = account.process_many(feed)
    # What the iterable has raised waits behind it.
    assert texts([next(feed.outcomes)]) == ["said"]
    # Nothing else is to collect it before that is expected.
    gc.disable()
    try:
        del account, feed
        with pytest.warns(ResourceWarning, match="unclosed"):
            gc.collect()
    finally:
        gc.enable()
    Mdk.open(path, keys=keys, key=key).close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer of the process")
def test_an_interrupt_takes_no_outcome_with_it(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    """One that comes while a batch is taken in is raised before any outcome of it is given."""
    said = [str(n) for n in range(120)]
    events = [alice.create_message(pair, text).event for text in said]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupted() -> Iterator[SignedEvent]:
        yield from events
        # Of computing, of which the call for so many needs far more.
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)

    outcomes = bob.process_many(interrupted())
    read: list[Outcome] = []

    def take() -> None:
        # One by one: an interrupt is raised between two steps of the interpreter.
        for outcome in outcomes:
            read.append(outcome)  # noqa: PERF402

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            take()
    finally:
        signal.signal(signal.SIGVTALRM, before)
    assert texts(read + list(outcomes)) == said
