"""Giving an event to its handlers until they have returned or are given up."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from .calling import (
    Failure,
    NotAsynchronous,
    Unanswered,
    contained,
    is_lasting,
    is_passing,
    name_of,
    raised_by,
    trace_of,
)
from .client import Client, InvitePolicy
from .client.runtime import growing
from .config import TRIES_IN_VAIN
from .events import Event, Invited
from .handlers import Call, Handlers
from .runs import Runs

_log = logging.getLogger("mdk.bot")

FIRST_PAUSE = 0.5
"""Seconds between the first two attempts; the pauses grow."""


class Delivery:
    """Gives events to the handlers of one bot."""

    def __init__(
        self,
        client: Client,
        handlers: Handlers,
        policy: InvitePolicy,
        runs: Runs,
        stopping: asyncio.Event,
        tries: int | None,
    ) -> None:
        self._client = client
        self._handlers = handlers
        self._policy = policy
        self._runs = runs
        self._stopping = stopping
        self._tries = tries
        self.first_pause: float = FIRST_PAUSE
        self.watches: list[Callable[[Failure], None]] = []
        """Who else is told what handlers raise: a test."""
        self.through: list[Callable[[Event], None]] = []
        """Who is told what the bot is through with: a test."""

    async def take(self, event: Event) -> bool:
        """Give an event to its handlers until they return. False if there are none, or the bot ends."""
        done = await self._deliver(event)
        for watch in self.through:
            watch(event)
        return done

    async def _deliver(self, event: Event) -> bool:
        if self._handlers.desk.was_answer(event):
            return True
        if isinstance(event, Invited):
            await self._client.invites._answer(self._policy, event.invite)
        calls = await self._handlers.calls(event)
        if not calls:
            return False
        pauses, attempts = growing(self.first_pause), 0
        counted = vain = 0  # of the handler whose turn it is
        while not self._stopping.is_set():
            if await self._handlers.is_over(event):
                return True
            try:
                while calls:
                    if not await self._run(calls[0], event):
                        return False
                    # Done: it is not called again because another one raises.
                    del calls[0]
                    counted = vain = 0
            except NotAsynchronous:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it was, the message is not lost
                attempts += 1
                counted += not is_passing(error)
                vain += is_lasting(error)
                last = (
                    isinstance(error, Unanswered)
                    or vain >= TRIES_IN_VAIN
                    or (self._tries is not None and counted >= self._tries)
                )
                end = f" (attempt {attempts}){', given up' if last else ''}"
                self.note("handler", Failure(calls[0].name, error, attempts), end)
                if await self._is_skipped(event, error, attempts, last):
                    return True
                if last:
                    del calls[0]
                    counted = vain = 0
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(next(pauses)):
                        await self._stopping.wait()
            else:
                return True
        return False

    async def _run(self, call: Call, event: Event) -> bool:
        """Call one handler. False if the bot ends before it has begun."""
        async with self._runs.begin(call.name, event) as run:
            if self._stopping.is_set() and run.waited:
                return False
            await run.call(call.work)
            return True

    async def _is_skipped(
        self, event: Event, error: Exception, attempts: int, given_up: bool
    ) -> bool:
        """Tell the handlers of errors. True if one of them wants no more of the event."""
        skipped = False
        for handler, count in [one for own in self._handlers.registered() for one in own.errors]:
            arguments = (event, error, attempts, given_up)[:count]
            try:
                async with asyncio.timeout(self._runs.timeout):
                    skipped = bool(await contained(handler, *arguments)) or skipped
            except NotAsynchronous:
                raise
            except Exception as second:  # noqa: BLE001
                self.note("error handler", Failure(name_of(handler), second, attempts))
        return skipped

    def note(self, kind: str, failure: Failure, end: str = "") -> None:
        """Log what a handler raised, with its traceback: both are its own. Of the message we say nothing."""
        raised = raised_by(failure.error)
        words = "the %s %s raised %s%s"
        shown = (type(raised), raised, trace_of(raised))
        _log.error(words, kind, failure.handler, type(raised).__name__, end, exc_info=shown)
        for watch in self.watches:
            watch(replace(failure, error=raised))
