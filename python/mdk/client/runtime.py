"""Where the engine's calls run: threads of ours, so that the caller's event loop never waits for a disk or a lock."""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_THREADS = 16
"""A call of one account waits for another call of the same account only; so many may wait at once."""

_executor: ThreadPoolExecutor | None = None


def executor() -> ThreadPoolExecutor:
    """The threads that all accounts of the process share."""
    global _executor  # noqa: PLW0603  # one for the process, made at its first use
    if _executor is None:
        _executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="mdk")
    return _executor


def _forget() -> None:
    global _executor  # noqa: PLW0603
    _executor = None


if hasattr(os, "register_at_fork"):
    # A child has the object, but not its threads.
    os.register_at_fork(after_in_child=_forget)


LONGEST_PAUSE = 300.0


def growing(pause: float, longest: float = LONGEST_PAUSE) -> Iterator[float]:
    """The pauses between attempts, in seconds: each is twice the one before, at most `longest`."""
    while True:
        yield pause
        pause = min(pause * 2, longest)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs on this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def in_thread(function: Callable[[], T]) -> T:
    """Call `function` on one of the threads. A cancelled wait does not stop the call: it happens, or it does not."""
    return await asyncio.get_running_loop().run_in_executor(executor(), function)


async def opened_in_thread(function: Callable[[], T], close: Callable[[T], None]) -> T:
    """As in_thread(), for what has to be closed again: if nobody waits for it any more, it is, on its thread.

    An event loop that ends cancels everything, and leaves nobody who could.
    """
    future = executor().submit(function)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:

        def put_away(done: Future[T]) -> None:
            if not done.cancelled() and done.exception() is None:
                close(done.result())

        future.add_done_callback(put_away)
        raise


class Signal:
    """Wakes everybody who waits, each time it is given. Nothing is remembered between waits: look, then wait."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Wait for the next time."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def give(self) -> None:
        """Wake everybody."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)
