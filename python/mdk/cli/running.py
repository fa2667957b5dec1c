"""Running a command: how long it may take, and how it ends when asked to."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

from . import output
from .exit_codes import ExitCode

T = TypeVar("T")

_GRACE = 0.5
"""Seconds that Ctrl-C gives what cannot be stopped in the middle. All that is on disk stands a kill at any point."""
_LEAST = 2.0


class Deadline:
    """When a command has to be at its end: so many seconds after it began to use the network."""

    def __init__(self, patience: float) -> None:
        self.patience: float = patience
        self._end: float = time.monotonic() + patience

    def begin(self) -> None:
        """Begin now: a person has typed a passphrase, a keyring has answered."""
        self._end = time.monotonic() + self.patience

    def end(self) -> None:
        """Wait for nothing any more."""
        self._end = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left, not below zero."""
        return max(0.0, self._end - time.monotonic())

    @property
    def spare(self) -> float:
        """Seconds that what is done first may take, so that there are some for what matters."""
        return max(self.left - _LEAST, self.left / 2)


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run the body of a command. Ctrl-C ends it in good order, within a second, with KeyboardInterrupt."""
    code = asyncio.run(_interruptible(main))
    if code is None:
        raise KeyboardInterrupt
    return code


async def _interruptible(main: Coroutine[Any, Any, int]) -> int | None:
    """The code of the command; None if it was interrupted."""
    loop, work = asyncio.get_running_loop(), asyncio.ensure_future(main)
    interrupted = taken = False

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:
            _give_up()
        interrupted = True
        work.cancel()
        # It may be on a thread that waits for a keyring.
        loop.call_later(_GRACE, _give_up)

    # Whoever runs it in the background may have turned Ctrl-C off. Where a loop cannot take signals, it arrives as
    # KeyboardInterrupt.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGINT, interrupt)
            taken = True
    try:
        return await work
    except asyncio.CancelledError:
        if interrupted:
            return None
        work.cancel()
        raise
    finally:
        if taken and not interrupted:
            loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def heard() -> Iterator[None]:
    """Ctrl-C ends what runs here, without asyncio, also while it waits for a key outside Python.

    Where Python hears of it, it arrives as KeyboardInterrupt. A second one ends the process at once.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    noticed = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        noticed.set()
        before(number, frame)

    # The system's handler writes to it at once, whatever the main thread is doing.
    listens, tells = socket.socketpair()
    tells.setblocking(False)

    def listen() -> None:
        again = False
        while told := listens.recv(1):
            if told[0] == signal.SIGINT:
                if again or not noticed.wait(_GRACE):
                    _give_up()
                again = True

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    others = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(others)
        # What is done already is not given up.
        noticed.set()
        tells.close()
        listener.join()
        listens.close()


def _give_up() -> None:
    """End the process as a kill would, with the words and the code of an interrupt."""
    with suppress(OSError, ValueError):
        output.complaint(output.wants_json(), "interrupted", ExitCode.INTERRUPTED, "interrupted")
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(ExitCode.INTERRUPTED)


def ask(question: Callable[[], T]) -> T:
    """Ask a person in the middle of a command: the event loop waits, what is connected stays so.

    Ctrl-C ends the question, which a loop's own handler would not.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        return question()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return question()
    finally:
        signal.signal(signal.SIGINT, before)


async def until_stopped(work: Coroutine[Any, Any, object]) -> None:
    """Work until it ends by itself, or until Ctrl-C or SIGTERM: the way to end a command that has no end."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    taken: list[signal.Signals] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Where a loop cannot take signals, Ctrl-C arrives as KeyboardInterrupt.
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop)
            taken.append(number)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
