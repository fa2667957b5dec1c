"""One object, many threads: calls take turns, and nobody waits while holding the GIL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from mdk import Applied, GroupId, Keys, Mdk, MessageReceived, SignedEvent, errors


def test_four_threads_send_on_one_object(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    barrier = threading.Barrier(4)

    def send(thread: int) -> list[str]:
        barrier.wait()
        return [alice.create_message(pair, f"{thread}:{n}").event.to_json() for n in range(25)]

    with ThreadPoolExecutor(4) as pool:
        events = [event for part in pool.map(send, range(4)) for event in part]
    outcomes = list(bob.process_many(events))
    assert {type(o) for o in outcomes} == {Applied}
    texts = {e.message.text for o in outcomes for e in o.events if isinstance(e, MessageReceived)}
    assert texts == {f"{thread}:{n}" for thread in range(4) for n in range(25)}
    assert len(alice.messages(pair, limit=1000)) == 100


def test_the_gil_is_free_while_the_engine_works(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    # A thread that kept the GIL would stop this one for as long as its call takes. A busy machine may stop it too,
    # so one good attempt is enough.
    stops = []
    for _ in range(5):
        events = [alice.create_message(pair, "x").event for _ in range(250)]
        duration, stop = longest_stop(bob, events)
        stops.append((duration, stop))
        if stop < duration / 2:
            return
    raise AssertionError(stops)


def longest_stop(bob: Mdk, events: list[SignedEvent]) -> tuple[float, float]:
    """Seconds that one batch took, and the longest time that another thread stood still meanwhile."""
    done = threading.Event()

    def work() -> float:
        start = perf_counter()
        # One call of the engine: all of them are one transaction.
        assert isinstance(next(bob.process_many(events)), Applied)
        taken = perf_counter() - start
        done.set()
        return taken

    with ThreadPoolExecutor(2) as pool:
        last, stop = perf_counter(), 0.0
        worker = pool.submit(work)
        waiting = pool.submit(bob.groups)  # waits for the lock, and must not wait with the GIL
        while not done.is_set():
            now = perf_counter()
            last, stop = now, max(stop, now - last)
        stop = max(stop, perf_counter() - last)
        assert len(waiting.result()) == 1
        return worker.result(), stop


def test_opening_and_closing_race_safely(meet: Callable[..., GroupId]) -> None:
    for _ in range(5):
        account = Mdk.in_memory(Keys.generate())
        group = meet(account)
        barrier = threading.Barrier(3)

        def send(
            account: Mdk = account, group: GroupId = group, barrier: threading.Barrier = barrier
        ) -> str:
            barrier.wait()
            try:
                for n in range(20):
                    account.create_message(group, f"{n}")
            except errors.Closed:
                return "closed"
            return "done"

        with ThreadPoolExecutor(3) as pool:
            senders = [pool.submit(send) for _ in range(2)]
            barrier.wait()
            account.close()
            assert all(s.result() in {"closed", "done"} for s in senders)
