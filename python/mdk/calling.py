"""How a bot calls a handler, and what it thinks of what that raises."""

import asyncio
import errno
import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from .errors import (
    Closed,
    CommitPending,
    DiskFull,
    EpochUnavailable,
    GroupSettling,
    GroupTooLarge,
    GroupUnrecoverable,
    IncompatibleMember,
    InvalidInput,
    MediaError,
    MediaStale,
    MediaUnavailable,
    NoAnswer,
    NotAllowed,
    NotConnected,
    NotFound,
    OutboxFull,
    SelfUpdateRequired,
    StorageError,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """What a handler raised."""

    handler: str
    error: BaseException
    attempt: int


# The files of what calls a handler.
_CALLERS = frozenset(
    str(Path(__file__).with_name(name))
    for name in (
        "bot.py",
        "calling.py",
        "conversations.py",
        "delivery.py",
        "handlers.py",
        "runs.py",
        "signatures.py",
    )
)


class NotAsynchronous(Exception):
    """A handler gave nothing to wait for: it cannot be said when it is done, and calling it again does not help."""


class Unexpected(RuntimeError):
    """What a handler ended with, as its `__cause__`, where that is no Exception: its message is not lost by it."""


class Unanswered(TimeoutError):
    """Nobody answered a question of a handler. Asked again and again, it would be no better."""


# What the message, the arguments or the group are at fault for.
_LASTING = (
    InvalidInput,
    NotFound,
    NotAllowed,
    GroupTooLarge,
    IncompatibleMember,
    EpochUnavailable,
    GroupUnrecoverable,
    MediaError,
)
_NOT_LASTING = (MediaStale, MediaUnavailable)
# What the network, the disk or a change of the group is at fault for, and nobody who writes to the bot.
_PASSING = (
    NotConnected,
    NoAnswer,
    OutboxFull,
    DiskFull,
    CommitPending,
    GroupSettling,
    SelfUpdateRequired,
    MediaStale,
    Closed,
)
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


def is_lasting(error: Exception) -> bool:
    """Whether the same call raises this again, however long one waits: anybody who may write could stop a bot by it."""
    if isinstance(error, ExceptionGroup):
        return all(is_lasting(one) for one in error.exceptions)
    return isinstance(error, _LASTING) and not isinstance(error, _NOT_LASTING)


def is_passing(error: Exception) -> bool:
    """Whether this is tried for as long as it takes: the message that is handled has no part in it."""
    if isinstance(error, ExceptionGroup):
        return all(is_passing(one) for one in error.exceptions)
    if isinstance(error, OSError) and error.errno in _DISK:
        return True
    # A StorageError of no class of its own is what the system says of a disk that fails.
    return isinstance(error, _PASSING) or type(error) is StorageError


async def call(handler: Callable[..., Awaitable[T]], *arguments: object, **named: object) -> T:
    """Call a handler.

    Raises:
        NotAsynchronous: it was written without `async`.
    """
    result = handler(*arguments, **named)
    if not inspect.isawaitable(result):
        raise NotAsynchronous
    return await result


async def contained(handler: Callable[..., Awaitable[T]], *arguments: object) -> T | None:
    """Call a handler. What it raises here is an Exception, unless it is to end the process or its caller is cancelled.

    It runs in a task of its own. Whoever cancels the current task in there cancels the handler, and not what called it.

    Raises:
        CancelledError: it is the caller who is cancelled.
        SystemExit, KeyboardInterrupt, or a group with one of them: the handler asks for the end of the process.
        Unexpected: the handler was cancelled, or raised what is no Exception.
        NotAsynchronous: as call().
    """
    raised: list[BaseException] = []

    async def inside() -> T | None:
        try:
            return await call(handler, *arguments)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001
            # Out of a task some of these tear the event loop down, and what nobody comes for is printed with its text.
            raised.append(error)
            return None

    try:
        result = await asyncio.create_task(inside())
    except asyncio.CancelledError as error:
        me = asyncio.current_task()
        if me is not None and me.cancelling() > 0:
            raise
        raise Unexpected("cancelled") from error
    for one in raised:
        if isinstance(one, Exception) or _ends_the_process(one):
            raise one
        raise Unexpected(type(one).__name__) from one
    return result


def name_of(handler: Any) -> str:
    """What a handler is called in its program."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    return str(name)


def raised_by(error: BaseException) -> BaseException:
    """What the handler itself raised, or ended with."""
    if isinstance(error, Unexpected) and error.__cause__ is not None:
        return error.__cause__
    return error


def trace_of(error: BaseException) -> TracebackType | None:
    """Its traceback without what called the handler, which says nothing to whoever wrote it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _CALLERS:
        trace = trace.tb_next
    return trace


def _ends_the_process(error: BaseException) -> bool:
    wishes = (SystemExit, KeyboardInterrupt)
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(wishes) is not None
    return isinstance(error, wishes)


def fits(handler: Any, count: int) -> bool | None:
    """Whether it can be called with so many arguments; None if it does not say."""
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return None  # or it is no function at all
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def takes(handler: Any, count: int) -> None:
    """Refuse what cannot be called with so many arguments, before there is a message for it.

    Raises:
        InvalidInput: it cannot.
    """
    if not callable(handler):
        raise InvalidInput("handler: not a function", field="handler", hint="Put it on a function.")
    if fits(handler, count) is False:
        many = "1 argument" if count == 1 else f"{count} arguments"
        raise InvalidInput(
            f"handler: it is called with {many}, which it does not take",
            field="handler",
            hint="The documentation of the decorator says what a handler gets.",
        )
