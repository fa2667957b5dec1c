"""The one reader of an account's log in this process: it wakes those who listen, each with a position of its own."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from mdk.errors import (
    Closed,
    DiskFull,
    Forked,
    InvalidInput,
    MdkError,
    StorageError,
    WrongLoop,
)
from mdk.events import Event, MessageReceived
from mdk.values import GroupId, GroupState

from .runtime import Signal, growing, in_thread, running_loop

if TYPE_CHECKING:
    from mdk._mdk import Mdk, _AccountStore, _Client

_log = logging.getLogger("mdk.client")

CLOSED = "Open the account again: Client.open()."
_LOOP_ENDED = "Close the client and open the account again on this loop."
_BATCH = 256
_RECENT = 64
"""Events that are kept at hand for listeners who are at the present. Others read the log."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
"""Seconds until the log is read again after the disk failed; the pauses grow."""

_LOOK_AGAIN = 0.1
"""Seconds until it is looked again whether there is something that was not read."""

_DIGITS = 19
"""Of the largest number that a cursor can be."""

# States in which a group is worth showing; the others are history, which `engine.groups()` has.
GONE = frozenset({GroupState.LEFT, GroupState.REMOVED, GroupState.DISBANDED})


def position_of(cursor: str) -> int:
    """The place in the log that a cursor names.

    Raises:
        InvalidInput: it is no cursor. TypeError: it is no text.
    """
    # What comes from a program without types may be a number.
    given: object = cursor
    if not isinstance(given, str):
        raise TypeError(f"after: {type(given).__name__} instead of a text")
    number = given.isascii() and given.isdigit() and len(given) <= _DIGITS
    if not number or str(int(given)) != given:
        raise InvalidInput("after: not a cursor", field="after")
    return int(given)


class Feed:
    """Reads the log of an open account and wakes listeners, which have their own positions.

    A group is never behind an event about it: who sees `Joined` finds the group (`_Client.group()`).
    """

    def __init__(
        self, mdk: "Mdk", store: "_AccountStore", native: "_Client", *, started_at: datetime
    ) -> None:
        self._mdk = mdk
        self._store = store
        self._native = native
        # Messages say when they were sent in whole seconds.
        self._started_at = started_at.replace(microsecond=0)
        self._recent: deque[Event] = deque(maxlen=_RECENT)
        self._before_recent = 0
        self._signal = Signal()
        self._task: asyncio.Task[None] | None = None
        self._ended: BaseException | None = None
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drops = 0
        """How many groups were deleted."""
        self.opened_at: int = 0
        """Position of the log when the account was opened."""
        self.position: int = 0
        """How far this reader is."""

    async def start(self) -> None:
        """Read where things stand, then follow."""
        self._loop = asyncio.get_running_loop()
        last = await in_thread(self._native.read_groups)
        self.opened_at = self.position = self._before_recent = last
        self._task = asyncio.create_task(self._follow(), name="mdk-feed")

    async def stop(self) -> None:
        """End: listeners get what is there, then their iteration is over."""
        if self._ended is None:
            self._end(Closed("the client is closed", hint=CLOSED))
        task, self._task = self._task, None
        # With its loop it has ended.
        if task is not None and not self.outlived:
            task.cancel()
            await asyncio.wait([task])

    async def _follow(self) -> None:
        pauses = growing(_FIRST_PAUSE)
        try:
            while True:
                try:
                    await self._read()
                except StorageError as error:
                    # A disk that fails for a while is no reason to stop; what says that the file is bad is.
                    if type(error) is not StorageError and not isinstance(error, DiskFull):
                        raise
                    _log.warning("events are not read for now (%s)", error.code)
                    await asyncio.sleep(min(next(pauses), _LONGEST_PAUSE))
                else:
                    pauses = growing(_FIRST_PAUSE)
        except asyncio.CancelledError:
            raise
        except Closed as error:
            self._end(await self._why(error))
        except Exception as error:  # noqa: BLE001  # it is handed to every listener
            self._end(error)

    async def _read(self) -> None:
        while True:
            drops = self._drops
            events, last = await self._native.poll(self.position, _BATCH)
            # The log has lost the events of a group that was deleted; what was read may still have them.
            if drops == self._drops:
                break
        for event in events:
            if len(self._recent) == _RECENT:
                self._before_recent = int(self._recent[0].cursor)
            self._recent.append(event)
        self.position = last
        self._signal.give()

    async def _why(self, closed: Closed) -> MdkError:
        """What the engine itself says: it may have been closed, or be unusable after a bug."""
        try:
            await in_thread(self._store.last_cursor)
        except Closed:
            return Closed("the engine of this client was closed", hint=CLOSED)
        except MdkError as error:
            return error
        return closed

    def _end(self, error: BaseException) -> None:
        self._ended = error
        self._signal.give()

    def drop(self, group_id: GroupId) -> None:
        """Forget what happened in a group that was deleted."""
        self._drops += 1
        left = [event for event in self._recent if event.group_id != group_id]
        self._recent = deque(left, maxlen=_RECENT)
        # A listener that waits for more of it waits in vain.
        self._signal.give()

    @property
    def ended(self) -> bool:
        """Whether there will be nothing more."""
        return self._ended is not None or self.forked

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that opened the account."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Raise what ended this feed, if something did; in a child of os.fork() nobody would ever wake its listeners.

        Raises:
            Forked: it was opened before the fork.
            WrongLoop: another event loop runs here than the one that it was started on.
        """
        if self.forked:
            raise Forked("opened before os.fork(); the child process cannot use it")
        self.on_its_loop()
        if self._ended is not None:
            raise self._ended

    @property
    def outlived(self) -> bool:
        """Whether the event loop that it was started on has ended."""
        return self._loop is not None and self._loop.is_closed()

    def on_its_loop(self) -> None:
        """Raise where another event loop runs: what it would wait for is given on the first one only.

        Raises:
            WrongLoop: it does.
        """
        here = running_loop()
        if here is None or self._loop is None or here is self._loop:
            return
        ended = ", and that one has ended" if self.outlived else ""
        raise WrongLoop(
            f"this client was started on another event loop{ended}",
            hint=_LOOP_ENDED if self.outlived else None,
        )

    async def current(self) -> None:
        """Wait until this reader has read what the engine has now: until then a group may be behind.

        Raises:
            Closed: the client was closed.
        """
        last = await in_thread(self._store.last_cursor)
        while (seen := self.position) < last:
            at = str(seen)
            page = await in_thread(lambda: list(self._mdk.events(after=at, limit=1)))  # noqa: B023  # awaited here
            if not page:
                return  # what is between has lost its subject
            if self.position == seen:
                # It may lose its subject, too, before it is read.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN):
                        await self.wait()

    async def wait(self) -> None:
        """Wait until there may be more; raise what ended this feed.

        Raises:
            Closed: the client was closed.
        """
        self.check()
        await self._signal.wait()
        self.check()

    async def read(self, after: int) -> list[Event]:
        """Events behind `after` that are there; empty at the present."""
        if after >= self.position:
            return []
        if after >= self._before_recent:
            return [self._dated(e) for e in self._recent if int(e.cursor) > after]
        at = str(after)
        page = await in_thread(lambda: list(self._mdk.events(after=at, limit=_BATCH)))
        return [self._dated(e) for e in page if int(e.cursor) <= self.position]

    async def read_group(
        self, after: int, group_id: GroupId | None, limit: int
    ) -> tuple[list[Event], int]:
        """Events of one group (None: of none) behind `after`, and the position up to which there are no others."""
        upto = self.position
        if after >= upto:
            return [], after
        if after >= self._before_recent:
            recent = [e for e in self._recent if after < int(e.cursor) <= upto]
            found = [e for e in recent if e.group_id == group_id]
            if len(found) > limit:
                found = found[:limit]
                upto = int(found[-1].cursor)
        else:
            found, upto = await in_thread(
                lambda: self._native.events_of(after, upto, group_id, limit)
            )
        return [self._dated(e) for e in found], upto

    def _dated(self, event: Event) -> Event:
        if isinstance(event, MessageReceived) and event.message.created_at < self._started_at:
            return replace(event, backlog=True)
        return event

    async def events(self, after: int) -> AsyncIterator[Event]:
        """Every event behind `after`, for ever. Ends when the client is closed.

        Raises:
            InvalidInput: `after` lies ahead of the log: it is the cursor of another account, or newer than a backup.
            Forked: the account was opened before os.fork().
            WrongLoop: another event loop runs here than the one that it was started on.
        """
        if self.forked:
            self.check()
        self.on_its_loop()
        if after > self.position:
            last = await in_thread(self._store.last_cursor)
            if after > last:
                raise InvalidInput(
                    "after: ahead of this account's log; a cursor of another account, or of a later state",
                    field="after",
                    limit=last,
                    value=after,
                )
        while True:
            seen = self.position
            events = await self.read(after)
            for event in events:
                after = int(event.cursor)
                yield event
            if not events:
                # What is between has lost its subject and gives no event.
                after = max(after, seen)
                if after >= self.position:
                    try:
                        await self.wait()
                    except Closed:
                        return
