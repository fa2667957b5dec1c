"""One object, many threads: calls take turns, and nobody waits while holding the GIL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mdk import Applied, GroupId, Keys, Mdk, MessageReceived


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
    events = [alice.create_message(pair, f"{n}").event for n in range(500)]
    started, done = threading.Event(), threading.Event()

    def work() -> int:
        started.set()
        # One call of the engine: 500 events are one transaction.
        first = next(bob.process_many(events))
        done.set()
        assert isinstance(first, Applied)
        return 1

    with ThreadPoolExecutor(2) as pool:
        worker = pool.submit(work)
        started.wait()
        waiting = pool.submit(bob.groups)  # waits for the lock, without the GIL
        count = 0
        while not done.is_set():
            count += 1
        assert worker.result() == 1
        assert len(waiting.result()) == 1
    # With the GIL held by either thread this loop could not have turned more than a few times.
    assert count > 1000


def test_opening_and_closing_race_safely(meet: Callable[..., GroupId]) -> None:
    from mdk import errors  # noqa: PLC0415

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
