"""What both measured sides share: the scenarios, and the loop that answers the runner's requests.

A side (`ours.py`, `peer.py`) is an object with one method per operation; it times nothing itself. The runner asks
for a few samples of one scenario at a time, alternating between the sides, so that a noisy moment hits both.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

TEXT = "Soup or sandwich? The usual place at noon, I have the table by the window until one."


class Side(ABC):
    """One implementation under measurement. Handles (`account`, `group`) are opaque to the scenarios."""

    @abstractmethod
    def account(self, name: str) -> Any:
        """A new account with an encrypted database on disk."""

    @abstractmethod
    def size(self, account: Any) -> int:
        """Bytes of the account's files."""

    @abstractmethod
    def key_package(self, account: Any) -> str:
        """A signed key package event of this account."""

    @abstractmethod
    def strangers(self, count: int) -> list[str]:
        """Key package events of `count` accounts that nobody plays."""

    @abstractmethod
    def create(self, account: Any, key_packages: list[str], wrap: bool) -> tuple[Any, list[str]]:
        """A confirmed group, and what each invitee is sent: gift wraps, or the bare rumors without `wrap`."""

    @abstractmethod
    def join(self, account: Any, welcome: str, wrapped: bool) -> Any:
        """The group behind one of those, joined and accepted."""

    @abstractmethod
    def send(self, account: Any, group: Any, text: str) -> str:
        """The kind-445 event of a chat message."""

    @abstractmethod
    def receive(self, account: Any, event: str) -> None:
        """A message or a commit applied; fails when it was not."""

    def rest(self, account: Any) -> None:  # noqa: B027
        """The quiet second that commits have between them in life, where an implementation waits for it."""

    @abstractmethod
    def self_update(self, account: Any, group: Any) -> str:
        """A confirmed self-update and its kind-445 event."""

    @abstractmethod
    def ingest(self, account: Any, events: list[str]) -> None:
        """Many messages in the fastest way that the library offers."""

    @abstractmethod
    def reopen(self, account: Any) -> Callable[[], None]:
        """Closes the account; the returned function, which is what gets timed, opens it and lists its groups."""


@dataclass
class Pair:
    """Two of the members of one group: the one that created it and one that joined it."""

    alice: Any
    bob: Any
    group: Any
    theirs: Any
    welcome_bytes: int
    message_bytes: int = 0


@dataclass
class Bench:
    """The scenarios over one side; every public method is a request of the runner and returns a JSON object."""

    side: Side
    pairs: dict[int, Pair] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    names: int = 0

    def _account(self) -> Any:
        self.names += 1
        return self.side.account(f"account-{self.names}")

    def _strangers(self, count: int) -> list[str]:
        if len(self.made) < count:
            self.made += self.side.strangers(count - len(self.made))
        return self.made[:count]

    def _found(self, alice: Any, bob: Any, members: int, wrap: bool) -> tuple[Pair, float, float]:
        invited = [self.side.key_package(bob), *self._strangers(members - 2)]
        start = perf_counter()
        group, welcomes = self.side.create(alice, invited, wrap)
        created = perf_counter()
        theirs = self.side.join(bob, welcomes[0], wrap)
        joined = perf_counter()
        return Pair(alice, bob, group, theirs, len(welcomes[0])), created - start, joined - created

    def _pair(self, members: int) -> Pair:
        if members not in self.pairs:
            self.pairs[members] = self._found(
                self._account(), self._account(), members, members <= 50
            )[0]
        return self.pairs[members]

    def found(self, members: int, count: int, wrap: bool) -> dict[str, Any]:
        """Create a group of `members` and join it."""
        create, join, size = [], [], 0
        alice, bob = self._account(), self._account()
        for _ in range(count):
            pair, created, joined = self._found(alice, bob, members, wrap)
            create.append(created * 1000)
            join.append(joined * 1000)
            size = pair.welcome_bytes
        return {"create": create, "join": join, "welcome_bytes": size}

    def talk(self, members: int, count: int) -> dict[str, Any]:
        """Messages from one member to another."""
        pair, send, receive = self._pair(members), [], []
        for _ in range(count):
            sent, received = self._word(pair)
            send.append(sent)
            receive.append(received)
        return {"send": send, "receive": receive, "message_bytes": pair.message_bytes}

    def _word(self, pair: Pair) -> tuple[float, float]:
        """One message and its arrival, in milliseconds."""
        start = perf_counter()
        event = self.side.send(pair.alice, pair.group, TEXT)
        sent = perf_counter()
        self.side.receive(pair.bob, event)
        received = perf_counter()
        pair.message_bytes = len(event)
        return (sent - start) * 1000, (received - sent) * 1000

    def compare(self, members: int, count: int, few: int) -> dict[str, Any]:
        """Messages in the group that has a history and, turn about, in two more of its size, with `few` messages and
        with none: whatever else the machine does falls on all of them."""
        groups = {"old": self._pair(members)}
        for age in ("young", "new"):
            groups[age] = self._found(self._account(), self._account(), members, wrap=True)[0]
        self._fill(groups["young"], few)
        times: dict[str, list[float]] = {
            f"{name}_{age}": [] for name in ("send", "receive") for age in groups
        }
        for _ in range(count):
            for age, pair in groups.items():
                sent, received = self._word(pair)
                times[f"send_{age}"].append(sent)
                times[f"receive_{age}"].append(received)
        return times

    def compare_others(self, members: int, count: int, batch: int) -> dict[str, Any]:
        """Everything else in the accounts that have a history and, turn about, in two that have none."""
        pairs = {
            "old": self._pair(members),
            "new": self._found(self._account(), self._account(), members, wrap=True)[0],
        }
        times: dict[str, list[float]] = defaultdict(list)
        for _ in range(count):
            for age, pair in pairs.items():
                update, process = self._commit(pair)
                times[f"self_update_{age}"].append(update)
                times[f"process_commit_{age}"].append(process)
                times[f"ingest_{age}"].append(self._batch(pair, batch))
                times[f"open_{age}"].append(self._opening(pair))
                times[f"key_package_{age}"].append(self._key_package(pair.bob))
                _, created, joined = self._found(pair.alice, pair.bob, members, wrap=True)
                times[f"create_{age}"].append(created * 1000)
                times[f"join_{age}"].append(joined * 1000)
        return times

    def commits(self, members: int, count: int) -> dict[str, Any]:
        """Self-updates (confirmed) and their processing by another member."""
        pair, update, process = self._pair(members), [], []
        for _ in range(count):
            updated, processed = self._commit(pair)
            update.append(updated)
            process.append(processed)
        return {"self_update": update, "process_commit": process}

    def _commit(self, pair: Pair) -> tuple[float, float]:
        """One self-update and its processing, in milliseconds."""
        start = perf_counter()
        event = self.side.self_update(pair.alice, pair.group)
        sent = perf_counter()
        self.side.receive(pair.bob, event)
        processed = perf_counter()
        self.side.rest(pair.bob)
        return (sent - start) * 1000, (processed - sent) * 1000

    def ingest(self, members: int, count: int, batch: int) -> dict[str, Any]:
        """Batches of `batch` messages; the time is per message."""
        pair = self._pair(members)
        return {"ingest": [self._batch(pair, batch) for _ in range(count)]}

    def _batch(self, pair: Pair, batch: int) -> float:
        """One batch, in milliseconds per message."""
        events = [self.side.send(pair.alice, pair.group, TEXT) for _ in range(batch)]
        start = perf_counter()
        self.side.ingest(pair.bob, events)
        return (perf_counter() - start) * 1000 / batch

    def open(self, members: int, count: int) -> dict[str, Any]:
        """Opening the database of an account with one group."""
        pair = self._pair(members)
        return {"open": [self._opening(pair) for _ in range(count)]}

    def _opening(self, pair: Pair) -> float:
        """One opening, in milliseconds."""
        opening = self.side.reopen(pair.bob)
        start = perf_counter()
        opening()
        return (perf_counter() - start) * 1000

    def key_package(self, count: int) -> dict[str, Any]:
        """KeyPackage events, signed and ready to publish."""
        account = self._account()
        return {"key_package": [self._key_package(account) for _ in range(count)]}

    def _key_package(self, account: Any) -> float:
        """One KeyPackage event, in milliseconds."""
        start = perf_counter()
        self.side.key_package(account)
        return (perf_counter() - start) * 1000

    def grow(self, members: int, messages: int) -> dict[str, Any]:
        """Adds `messages` messages to both members' history; says what that did to the receiver's files."""
        pair = self._pair(members)
        before = self.side.size(pair.bob)
        self._fill(pair, messages)
        return {"bytes_before": before, "bytes_after": self.side.size(pair.bob)}

    def _fill(self, pair: Pair, messages: int) -> None:
        for start in range(0, messages, 500):
            several = range(min(500, messages - start))
            events = [self.side.send(pair.alice, pair.group, TEXT) for _ in several]
            self.side.ingest(pair.bob, events)


def folder_size(path: Path) -> int:
    """Bytes of the database file and what lies beside it under the same name."""
    return sum(p.stat().st_size for p in path.parent.glob(path.name + "*") if p.is_file())


def serve(side: Side) -> None:
    """Answers one JSON request a line until standard input ends. Standard output belongs to the answers alone."""
    bench, out = Bench(side), sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(bench, request.pop("scenario"))(**request)
        print(json.dumps(answer), file=out, flush=True)
