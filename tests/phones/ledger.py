"""What accounts did and said, as every process of a test writes it down; and what phones would not show of it.

Other apps wait for a second after a commit. What is said in the new epoch meanwhile is not shown until their next full
sync. They sort a group by (second, id). So each account notes when its group came into an epoch and when a relay took
what it said, in a folder that all processes of a test share; at the end it is judged.

Of a program that uses the engine alone the order is judged, and not the times: the program publishes by itself, when it
likes, and nobody here sees it. docs/engine.md says how long it should wait.

Of several relays the first that took a message counts: the log of an account tells of no others.

It stands alone: `sitecustomize.py` beside it takes it into programs that know nothing of tests.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdk import Client, Delivery, GroupInfo, Mdk, Message
from mdk.client import groups
from mdk.errors import MdkError
from mdk.events import DeliveryChanged, EpochChanged, Event

if TYPE_CHECKING:
    from mdk.testing import Clock

VARIABLE = "PHONES_LEDGER"
"""Names the folder, in the environment."""
SETTLES = 1.0
"""Seconds after a commit in which what comes is not shown."""
HEARD = 60
"""Seconds: what somebody else has dated later than that is followed by nobody."""
BEAT = 0.05
"""Seconds between two looks at whether the event loop is at work."""
_NEWEST = 500
"""Messages of a group whose order is looked at."""

Record = dict[str, Any]


class Ledger:
    """What one process writes down."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}-{time.monotonic_ns()}.ndjson"
        self._read: dict[int, str] = {}
        """How far the log of each open account was read, by its engine."""
        self._dated: set[int] = set()
        """Engines whose clock is that of the machine. Of others neither times nor dates say what a user's would."""
        self._alive = time.monotonic()
        """When the event loop was last seen at work: what it finds now may have come since."""
        self._alone: dict[int, Mdk | None] = {}
        """Engines without a client, by id; those that are still to be judged when the program ends."""

    def note(self, mdk: Mdk, group_id: str, **what: Any) -> None:
        """Write down what an account did now. The clock is that of the machine, the same one for all processes."""
        now = time.monotonic()
        record = {"account": mdk.public_key.hex, "group": group_id, "at": now, **what}
        if "epoch" in what:
            record["at"] = min(self._alive, now)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def take(self, mdk: Mdk, event: Event) -> None:
        """Write down what an event of the account's log says."""
        self._read[id(mdk)] = event.cursor
        if event.group_id is None or id(mdk) not in self._dated:
            return
        if isinstance(event, EpochChanged):
            self.note(mdk, event.group_id, epoch=event.new)
        elif isinstance(event, DeliveryChanged) and event.delivery is Delivery.ACCEPTED:
            try:
                said = mdk.message(event.group_id, event.message_id)
            except MdkError:
                return  # a reaction, or gone
            self.note(mdk, event.group_id, said=said.text, in_epoch=said.epoch)

    async def follow(self, client: Client) -> None:
        """Write down what happens until the client is closed."""
        mdk = client.engine
        self._alone.pop(id(mdk), None)
        self._read[id(mdk)] = client.cursor
        if client._settings.clock is None:
            self._dated.add(id(mdk))
        beating = asyncio.create_task(self._beat())
        try:
            async for event in client.events(after=client.cursor):
                self.take(mdk, event)
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            self._alive = time.monotonic() - BEAT

    def close(self, mdk: Mdk) -> None:
        """The rest of it, and in which order a phone shows what was said."""
        if id(mdk) in self._alone:
            del self._alone[id(mdk)]
            self._order(mdk)
            return
        after = self._read.pop(id(mdk), None)
        if after is None:
            return
        for event in mdk.events(after=after):
            self.take(mdk, event)
        self._read.pop(id(mdk), None)
        if id(mdk) not in self._dated:
            return
        self._dated.discard(id(mdk))
        self._order(mdk)

    def _order(self, mdk: Mdk) -> None:
        for group in mdk.groups():
            history = mdk.messages(group.id, limit=_NEWEST)
            self.note(mdk, group.id, looked_at=len(history))
            for said in misplaced(history):
                self.note(mdk, group.id, misplaced=said.text)

    def opened(self, mdk: Mdk, *, its_clock: bool, to_the_end: bool) -> None:
        """An engine was opened, maybe by a client. `to_the_end`: it is kept open until the program ends."""
        self._alone.pop(id(mdk), None)
        if not its_clock:
            self._alone[id(mdk)] = mdk if to_the_end else None

    def end(self) -> None:
        """The program ends: what it has not closed is judged now."""
        for mdk in [*self._alone.values()]:
            if mdk is not None:
                with suppress(MdkError):
                    self.close(mdk)


def place(message: Message) -> tuple[int, str]:
    """Where a phone shows a message."""
    return int(message.created_at.timestamp()), message.id


def misplaced(history: Sequence[Message]) -> list[Message]:
    """What the account said, and a phone shows above something that was there before."""
    found = []
    for at, message in enumerate(history):
        latest = message.received_at.timestamp() + HEARD
        before = [
            other
            for other in history[:at]
            if other.is_mine or other.created_at.timestamp() <= latest
        ]
        if message.is_mine and any(place(other) > place(message) for other in before):
            found.append(message)
    return found


def judged(records: Iterable[Record]) -> list[str]:
    """What is wrong for a phone that looks on: nothing, if all is shown that was said, in its order."""
    wrong: list[str] = []
    commits: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record["at"]):
        of = record["account"], record["group"]
        if "epoch" in record:
            commits[of].append(record)
        elif "misplaced" in record:
            wrong.append(f"out of order: {record['misplaced']!r}")
        elif "said" in record:
            ago = [
                record["at"] - commit["at"]
                for commit in commits[of]
                if commit["epoch"] <= record["in_epoch"]
            ]
            if ago and min(ago) < SETTLES:
                wrong.append(f"hidden: {record['said']!r}, {min(ago):.2f} s after a commit")
    return wrong


def environment(folder: Path) -> dict[str, str]:
    """What makes a program write into this folder, too."""
    here = Path(__file__).resolve().parent
    path = [str(here), str(here.parent.parent), os.environ.get("PYTHONPATH", "")]
    return {VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(filter(None, path))}


def read(folder: Path) -> list[Record]:
    """What all processes wrote down."""
    lines = [path.read_text(encoding="utf-8").splitlines() for path in folder.glob("*.ndjson")]
    # (one that was killed may have got no further)
    whole = [line for file in lines for line in file if line.endswith("}")]
    return [json.loads(line) for line in whole]


def install(
    folder: Path,
    patch: Callable[[object, str, object], None] = setattr,
    *,
    patient: bool = True,
    to_the_end: bool = False,
) -> None:
    """Note from now on what the clients and engines of this process do.

    Args:
        folder: where to.
        patch: sets an attribute.
        patient: whether all of them wait before they speak, as accounts of users do, whatever a test has set.
        to_the_end: whether engines that the program never closes are judged when it ends.
    """
    ledger = Ledger(folder)
    clients: weakref.WeakKeyDictionary[groups.Groups, Client] = weakref.WeakKeyDictionary()
    started, found, closed, left = Client._start, groups.Groups._found, Mdk.close, Mdk.__exit__

    async def start(client: Client) -> None:
        if patient:
            client._settings.timing["speak_after"] = 2.0
        await started(client)
        clients[client.groups] = client
        client._spawn(ledger.follow(client))

    async def founded(of: groups.Groups, *arguments: Any) -> GroupInfo:
        info = await found(of, *arguments)
        client = clients[of]
        if client._settings.clock is None:
            ledger.note(client.engine, info.id, epoch=info.epoch)
        return info

    @functools.wraps(closed)
    def close(mdk: Mdk) -> None:
        # (a story may be of a disk that fails)
        with suppress(MdkError):
            ledger.close(mdk)
        closed(mdk)

    @functools.wraps(left)
    def leave(mdk: Mdk, *what: Any) -> None:
        with suppress(MdkError):
            ledger.close(mdk)
        left(mdk, *what)

    def opening(of: Callable[..., Mdk]) -> object:
        @functools.wraps(of)
        def opened(*arguments: Any, clock: Clock | None = None, **named: Any) -> Mdk:
            mdk = of(*arguments, clock=clock, **named)
            ledger.opened(mdk, its_clock=clock is not None, to_the_end=to_the_end)
            return mdk

        return staticmethod(opened)

    patch(Client, "_start", start)
    patch(groups.Groups, "_found", founded)
    patch(Mdk, "close", close)
    patch(Mdk, "__exit__", leave)
    for name in ("open", "in_memory"):
        patch(Mdk, name, opening(getattr(Mdk, name)))
    if to_the_end:
        atexit.register(ledger.end)
