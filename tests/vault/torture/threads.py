"""Many threads on one account: nothing is lost, nobody waits for ever, and a reader not for long."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from mdk import Applied, GroupId, Mdk, MessageReceived

from .world import build, require

# Messages asked for at once.
PAGE = 1000


@dataclass(frozen=True)
class Waits:
    """Seconds that calls took, the slowest last."""

    reads: list[float]
    sends: list[float]

    def longest_read(self, share: float = 1.0) -> float:
        """The longest of that share of the reads."""
        return self.reads[max(0, int(len(self.reads) * share) - 1)]


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

        def send(thread: int) -> list[float]:
            barrier.wait()
            took = []
            for n in range(calls):
                begun = perf_counter()
                event = alice.create_message(group, f"{thread}:{n}").event
                took.append(perf_counter() - begun)
                events.append(event.to_json())
            return took

        def read(thread: int) -> list[float]:
            barrier.wait()
            took, newest = [], -1
            for _ in range(calls):
                begun = perf_counter()
                found = alice.messages(group, limit=20)
                took.append(perf_counter() - begun)
                # What was read once is never gone again: the numbers of one sender only grow.
                mine = [m.text.partition(":") for m in found if ":" in (m.text or "")]
                numbers = [int(n) for sender, _, n in mine if sender == str(thread % senders)]
                require(
                    not numbers or max(numbers) >= newest, "lost", "a message was seen and gone"
                )
                newest = max([newest, *numbers])
            return took

        with ThreadPoolExecutor(senders + readers) as pool:
            sent = [pool.submit(send, n) for n in range(senders)]
            seen = [pool.submit(read, n) for n in range(readers)]
            sends = sorted(t for future in sent for t in future.result())
            reads = sorted(t for future in seen for t in future.result())
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
