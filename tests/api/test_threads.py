"""One object, many threads: calls take turns, nobody waits while holding the GIL; and what others may cost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from mdk import (
    Applied,
    Config,
    Event,
    GroupId,
    HistoryTrimmed,
    Keys,
    Mdk,
    Rejected,
    SignedEvent,
    errors,
)
from mdk._mdk import _AccountStore
from mdk.testing import Clock


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


RELAYS = ["wss://relay.example"]


def test_a_member_who_says_too_much_loses_the_oldest(
    bob: Mdk, clock: Clock, meet: Callable[..., GroupId]
) -> None:
    with Mdk.in_memory(clock=clock, config=Config(max_sender_messages=100)) as alice:
        group = meet(bob, alice)
        told: list[Event] = []
        for n in range(120):
            said = bob.create_message(group, f"message {n}")
            told += alice.process(said.event).events
        trimmed = [event for event in told if isinstance(event, HistoryTrimmed)]
        assert [event.sender for event in trimmed] == [bob.public_key]
        assert trimmed == [e for e in alice.events() if isinstance(e, HistoryTrimmed)]
        texts = [message.text for message in alice.messages(group, limit=200)]
        assert texts[-1] == "message 119"
        assert 90 < len(texts) <= 100


def test_a_stranger_whose_invites_are_not_taken_is_rejected(alice: Mdk, bob: Mdk) -> None:
    _AccountStore(bob).set_inviters([Keys.generate().public_key], strangers=False)
    package = bob.new_key_package(relays=RELAYS)
    with alice.create_group("Lunch", members=[package], relays=RELAYS) as pending:
        (welcome,) = pending.welcomes
        pending.confirm()
    outcome = bob.process(welcome)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.rule) == ("authorization_failed", "B4-40")
    assert bob.invites() == []
    _AccountStore(bob).set_inviters([alice.public_key], strangers=False)
    bob.process(welcome)
    assert [invite.inviter for invite in bob.invites()] == [alice.public_key]
