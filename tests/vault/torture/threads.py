"""Many threads on one account: nothing is lost, nobody waits for ever, and a reader not for long."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time

from mdk import Applied, GroupId, Mdk, MessageReceived

from .world import build, require

# Messages asked for at once.
PAGE = 1000
# Seconds for which a writer may keep a reader: target R8. Judged where the machine is known.
MOST = 0.05
# The same on any machine: as many usual sends of the same run.
MOST_SENDS = 30


@dataclass(frozen=True)
class Call:
    """When a call began and ended, in seconds, and the processor time that its thread spent in it."""

    begun: float
    ended: float
    worked: float

    @property
    def took(self) -> float:
        return self.ended - self.begun


class Watch:
    """Times the calls of one thread."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @contextmanager
    def call(self) -> Iterator[None]:
        begun, before = perf_counter(), thread_time()
        yield
        worked = thread_time() - before
        self.calls.append(Call(begun, perf_counter(), worked))


@dataclass(frozen=True)
class Waits:
    """The calls of all readers and of all senders, sorted by their end."""

    reads: list[Call]
    sends: list[Call]

    def longest_read(self, share: float = 1.0) -> float:
        """The longest of that share of the reads, in seconds by the clock: a busy machine makes it long."""
        return share_of([read.took for read in self.reads], share)

    def longest_send(self) -> float:
        """The most processor time of one send, which a reader waits for at least once in its life."""
        return max(send.worked for send in self.sends)

    def usual_send(self) -> float:
        """The processor time of one send in the middle of all."""
        return median(send.worked for send in self.sends)

    def behind(self) -> list[tuple[int, float]]:
        """For each read, how many sends came to their end while it waited, and the processor time they took.

        Calls take turns, so this is what the senders cost that reader. What else a busy machine does meanwhile is not
        in it, and neither are syncs of the disk, which take no processor time.
        """
        ends = [send.ended for send in self.sends]
        sums = [0.0, *accumulate(send.worked for send in self.sends)]
        found = []
        for read in self.reads:
            first, last = bisect_left(ends, read.begun), bisect_right(ends, read.ended)
            found.append((last - first, sums[last] - sums[first]))
        return found


def share_of(values: Iterable[float], share: float) -> float:
    """The largest of the smaller ones, that share of all."""
    ordered = sorted(values)
    return ordered[max(0, int(len(ordered) * share) - 1)]


def texts_of(account: Mdk, group: GroupId) -> list[str | None]:
    """The whole history, the newest page first."""
    texts: list[str | None] = []
    page = account.messages(group, limit=PAGE)
    while page:
        texts += [m.text for m in page]
        page = account.messages(group, limit=PAGE, before=page[0].id)
    return texts


def run(root: Path, calls: int, *, senders: int = 4, readers: int = 4) -> Waits:
    """Each thread makes so many calls on one object; then both sides have every message once."""
    place = build(root, messages=1)
    group = GroupId(place.facts["group"])
    barrier = threading.Barrier(senders + readers)
    # About in the order in which they were made, as relays have them.
    events: list[str] = []
    with place.alice() as alice, place.peer() as bob:

        def send(thread: int) -> list[Call]:
            watch = Watch()
            barrier.wait()
            for n in range(calls):
                with watch.call():
                    event = alice.create_message(group, f"{thread}:{n}").event
                events.append(event.to_json())
            return watch.calls

        def read(thread: int) -> list[Call]:
            watch, newest = Watch(), -1
            barrier.wait()
            for _ in range(calls):
                with watch.call():
                    found = alice.messages(group, limit=20)
                # What was read once is never gone again: the numbers of one sender only grow.
                mine = [m.text.partition(":") for m in found if ":" in (m.text or "")]
                numbers = [int(n) for sender, _, n in mine if sender == str(thread % senders)]
                require(
                    not numbers or max(numbers) >= newest, "lost", "a message was seen and gone"
                )
                newest = max([newest, *numbers])
            return watch.calls

        with ThreadPoolExecutor(senders + readers) as pool:
            sent = [pool.submit(send, n) for n in range(senders)]
            seen = [pool.submit(read, n) for n in range(readers)]
            sends, reads = (
                sorted((c for f in made for c in f.result()), key=lambda call: call.ended)
                for made in (sent, seen)
            )
        wanted = {f"{thread}:{n}" for thread in range(senders) for n in range(calls)}
        texts = texts_of(alice, group)
        require(wanted <= set(texts), "lost", f"{len(wanted - set(texts))} messages")
        require(len(set(texts)) == len(texts), "broken", "a message is there twice")
        got = set()
        for outcome in bob.process_many(events):
            require(isinstance(outcome, Applied), "broken", f"the peer: {type(outcome).__name__}")
            assert isinstance(outcome, Applied)
            got |= {e.message.text for e in outcome.events if isinstance(e, MessageReceived)}
        require(wanted <= got, "lost", f"{len(wanted - got)} messages at the peer")
    return Waits(reads, sends)
