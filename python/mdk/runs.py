"""How many handlers run at once, and for how long each."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from .calling import contained
from .errors import InvalidInput
from .events import Event, MessageReceived
from .ranges import within

_log = logging.getLogger("mdk.bot")

_SHOWN = 8
"""Digits of a message's id that the log has, as many as its repr()."""


def seconds(field: str, value: float | None) -> float | None:
    """A number of seconds, or None for no limit.

    Raises:
        InvalidInput: it is not more than nothing. TypeError: it is no number.
    """
    if value is None:
        return None
    # What comes from a program without types may be anything.
    given: object = value
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{field}: {type(given).__name__} instead of a number of seconds")
    if not (math.isfinite(given) and given > 0):
        raise InvalidInput(f"{field}: must be more than 0 seconds", field=field, limit=0)
    return float(given)


class Run:
    """One call of a handler: the slot that it has, and its time.

    A handler that waits for people needs neither: paused().
    """

    def __init__(
        self,
        name: str,
        event: Event,
        slots: asyncio.Semaphore,
        timeout: float | None,
        slow_after: float | None,
    ) -> None:
        self._name = name
        self._event = event
        self._slots = slots
        self._limit = timeout
        self._slow_after = slow_after
        self._timeout: asyncio.Timeout | None = None
        """While the handler is at work."""
        self._warning: asyncio.TimerHandle | None = None
        self._left: tuple[float | None, float | None] = (None, None)
        """Of its time, and until it is slow, while it is paused."""
        self._has_slot = False
        self._pauses = 0
        self.waited: bool = False
        """Whether its slot was not free at once."""

    async def take(self) -> None:
        """Wait for a slot."""
        if not self._has_slot:
            self._has_slot = True
            self.waited = self._slots.locked()
            try:
                await self._slots.acquire()
            except BaseException:
                self._has_slot = False
                raise

    def give_back(self) -> None:
        """Let another one run."""
        if self._has_slot:
            self._has_slot = False
            self._slots.release()

    async def call(self, work: Callable[["Run"], Awaitable[object]]) -> None:
        """Call the handler. Raises as contained(), and TimeoutError when its time is over."""
        await contained(self._timed, work)

    async def _timed(self, work: Callable[["Run"], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(self._limit) as self._timeout:
                self._warn_in(self._slow_after)
                try:
                    await work(self)
                finally:
                    self._warn_in(None)
        except TimeoutError as error:
            if self._timeout is None or not self._timeout.expired():
                raise
            # Where it was stands in the traceback of what cancelled it.
            raise TimeoutError(f"it took longer than {self._limit:g} seconds") from error.__cause__
        finally:
            self._timeout = None

    def _warn_in(self, after: float | None) -> None:
        if self._warning is not None:
            self._warning.cancel()
        loop = asyncio.get_running_loop()
        self._warning = None if after is None else loop.call_later(after, self._warn)

    def _warn(self) -> None:
        self._warning = None
        words = "the handler %s is slow: it has run for %g seconds"
        shown: tuple[object, ...] = (self._name, self._slow_after)
        if isinstance(self._event, MessageReceived):
            words += " (message %s…)"
            shown += (self._event.message.id[:_SHOWN],)
        _log.warning(words, *shown)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """While it waits for people: its clocks stand still, and its slot is free."""
        self._pauses += 1
        if self._pauses == 1:
            self._pause()
        try:
            yield
        except asyncio.CancelledError:
            # To end, it needs no slot.
            self._pauses -= 1
            raise
        except BaseException:
            await self._resume()
            raise
        else:
            await self._resume()

    def _pause(self) -> None:
        timeout, warning = self._timeout, self._warning
        if timeout is None or timeout.expired():
            return
        now, end = asyncio.get_running_loop().time(), timeout.when()
        self._left = (
            None if end is None else end - now,
            None if warning is None else warning.when() - now,
        )
        timeout.reschedule(None)
        self._warn_in(None)
        self.give_back()

    async def _resume(self) -> None:
        self._pauses -= 1
        if self._pauses > 0 or self._timeout is None or self._timeout.expired():
            return
        await self.take()
        left, until_slow = self._left
        now = asyncio.get_running_loop().time()
        self._timeout.reschedule(None if left is None else now + left)
        self._warn_in(until_slow)


class Runs:
    """The runs of one bot: at most so many at once."""

    def __init__(self, most: int, timeout: float | None, slow_after: float | None) -> None:
        self._slots = asyncio.Semaphore(within("concurrency", most, 1))
        self.timeout: float | None = seconds("handler_timeout", timeout)
        self._slow_after = seconds("slow_after", slow_after)

    @asynccontextmanager
    async def begin(self, name: str, event: Event) -> AsyncIterator[Run]:
        """A run that has its slot, for the length of the block."""
        run = Run(name, event, self._slots, self.timeout, self._slow_after)
        await run.take()
        try:
            yield run
        finally:
            run.give_back()
