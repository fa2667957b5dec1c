"""What a bot calls: its handlers, and which of them an event is for."""

import asyncio
import errno
import functools
import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from ._mdk import PublicKey
from .client import Client, Group
from .context import Context
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
from .events import (
    Event,
    Invited,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ReactionAdded,
    ReactionRemoved,
)
from .pace import BOT_MARK
from .values import GroupState, Kind, Message

_log = logging.getLogger("mdk.bot")

T = TypeVar("T")
E = TypeVar("E", bound=Event)

Handler: TypeAlias = Callable[[Context], Awaitable[object]]
EventHandler: TypeAlias = Callable[[E], Awaitable[object]]
ClientHandler: TypeAlias = Callable[[Client], Awaitable[object]]
ErrorHandler: TypeAlias = (
    Callable[[Event, Exception, int], Awaitable[bool | None]]
    | Callable[[Event, Exception, int, bool], Awaitable[bool | None]]
)


@dataclass(frozen=True, slots=True)
class Call:
    """One handler that is to be called."""

    name: str
    run: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Failure:
    """What a handler raised."""

    handler: str
    error: BaseException
    attempt: int


# The files of what calls a handler.
_CALLERS = frozenset({__file__, str(Path(__file__).with_name("bot.py"))})


class NotAsynchronous(Exception):
    """A handler gave nothing to wait for: it cannot be said when it is done, and calling it again does not help."""


class Unexpected(RuntimeError):
    """What a handler ended with, as its `__cause__`, where that is no Exception: its message is not lost by it."""


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


async def call(handler: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """Call a handler.

    Raises:
        NotAsynchronous: it was written without `async`.
    """
    result = handler(*arguments)
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


def _fits(handler: Any, count: int) -> bool | None:
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
    if _fits(handler, count) is False:
        many = "1 argument" if count == 1 else f"{count} arguments"
        raise InvalidInput(
            f"handler: it is called with {many}, which it does not take",
            field="handler",
            hint="The documentation of the decorator says what a handler gets.",
        )


class Handlers:
    """The handlers of one bot."""

    def __init__(
        self,
        client: Client,
        allowed: frozenset[PublicKey] | None,
        prefix: str,
        *,
        hears_bots: bool,
    ) -> None:
        self._client = client
        self._allowed = allowed
        self._hears_bots = hears_bots
        self._passed_over = False
        """Whether it was said that another bot is not heard."""
        self._prefix = prefix
        self._commands: dict[str, Handler] = {}
        self._messages: list[Handler] = []
        self._events: list[tuple[type[Event], Callable[[Any], Awaitable[object]]]] = []
        self.timers: list[tuple[float, ClientHandler]] = []
        self.starts: list[ClientHandler] = []
        self.errors: list[tuple[Callable[..., Awaitable[bool | None]], int]] = []
        """With how many arguments each takes."""

    def on_error(self, handler: ErrorHandler) -> None:
        """See Bot.on_error()."""
        if _fits(handler, 4):
            self.errors.append((handler, 4))
        else:
            takes(handler, 3)
            self.errors.append((handler, 3))

    def on_message(self, handler: Handler) -> None:
        """See Bot.on_message()."""
        takes(handler, 1)
        self._messages.append(handler)

    def command(self, name: str) -> Callable[[Handler], Handler]:
        """See Bot.command()."""
        if not isinstance(name, str):
            raise InvalidInput("name: not a text", field="name", hint='@bot.command("name")')
        if not name:
            raise InvalidInput("name: empty", field="name", limit=1, value=0)
        if name.split() != [name] or name in self._commands:
            raise InvalidInput("name: taken, or with white space", field="name")

        def register(handler: Handler) -> Handler:
            takes(handler, 1)
            self._commands[name] = handler
            return handler

        return register

    def on(self, kind: type[E]) -> Callable[[EventHandler[E]], EventHandler[E]]:
        """See Bot.on()."""
        # What is no class at all comes from a decorator without its argument.
        given: object = kind
        if not (isinstance(given, type) and issubclass(given, Event)):
            raise InvalidInput("kind: not a class of events", field="kind", hint="@bot.on(Joined)")

        def register(handler: EventHandler[E]) -> EventHandler[E]:
            takes(handler, 1)
            self._events.append((kind, handler))
            return handler

        return register

    def every(self, interval: timedelta) -> Callable[[ClientHandler], ClientHandler]:
        """See Bot.every()."""
        if not isinstance(interval, timedelta):
            hint = "@bot.every(timedelta(minutes=5))"
            raise InvalidInput("interval: not a timedelta", field="interval", hint=hint)
        seconds = interval.total_seconds()
        if seconds <= 0:
            raise InvalidInput(
                f"interval: must be more than 0 seconds (got {seconds})",
                field="interval",
                limit=0,
                value=math.floor(seconds),
            )

        def register(handler: ClientHandler) -> ClientHandler:
            takes(handler, 1)
            self.timers.append((seconds, handler))
            return handler

        return register

    async def calls(self, event: Event) -> list[Call]:
        """What is to be called for an event: nothing if it comes from somebody who is not allowed."""
        if not await self._is_heard(event):
            return []
        calls: list[Call] = []
        if isinstance(event, MessageReceived):
            message = event.message
            if message.is_mine or message.deleted or message.invalidated:
                return []
            if message.kind == Kind.CHAT:
                calls += self._message_calls(event)

        def bound(handler: Callable[[Any], Awaitable[object]]) -> Call:
            return Call(name_of(handler), lambda: contained(handler, event))

        calls += [bound(handler) for kind, handler in self._events if isinstance(event, kind)]
        return calls

    async def is_over(self, event: Event) -> bool:
        """Whether a message is none to be handled any more: it has expired meanwhile, or was deleted."""
        if not isinstance(event, MessageReceived):
            return False
        message = event.message
        try:
            now = await self._client._session.look(
                lambda mdk: mdk.message(message.group_id, message.id)
            )
        except NotFound:
            return True
        return now.deleted or now.invalidated

    async def _is_heard(self, event: Event) -> bool:
        match event:
            case MessageReceived(message) | MessageEdited(message):
                return self._hears(message)
            case ReactionAdded(reaction) | ReactionRemoved(reaction):
                return self._may(reaction.sender)
            case Invited(invite):
                return self._may(invite.inviter)
            case MessageDeleted():
                return self._allowed is None or await self._is_of_allowed(event)
            case _:
                return self._is_inside(event)

    def _may(self, who: PublicKey) -> bool:
        return self._allowed is None or who in self._allowed

    def _hears(self, message: Message) -> bool:
        """Whether a message is for handlers: by somebody who is allowed, and of no other bot."""
        if not self._may(message.sender):
            return False
        if self._hears_bots or message.is_mine or BOT_MARK not in message.tags:
            return True
        if not self._passed_over:
            self._passed_over = True
            _log.info(
                "a message of another bot is not handled, and the next ones neither (hears_bots=)"
            )
        return False

    async def _is_of_allowed(self, event: MessageDeleted) -> bool:
        """Whether a message that is gone came from somebody who is allowed. Of one that has expired nobody knows."""
        group_id, message_id = event.group_id, event.message_id
        if group_id is None:
            return False
        try:
            message = await self._client._session.look(
                lambda mdk: mdk.message(group_id, message_id)
            )
        except NotFound:
            return False
        return self._may(message.sender)

    def _is_inside(self, event: Event) -> bool:
        """Whether the bot is, or was, in the group: what goes on in one that it is only invited to is for nobody."""
        if event.group_id is None:
            return True
        info = self._client._session.native.group(event.group_id)
        return info is not None and info.state is not GroupState.PENDING

    def _message_calls(self, event: MessageReceived) -> list[Call]:
        message = event.message
        words = message.text.split()
        command: Handler | None = None
        if words and words[0].startswith(self._prefix):
            command = self._commands.get(words[0].removeprefix(self._prefix))
        handlers = self._messages if command is None else [command]
        args = [] if command is None else words[1:]
        session = self._client._session

        def bound(handler: Handler) -> Call:
            # A handle of its own: a conversation in one handler takes nothing from others.
            group = Group(session, message.group_id, after=int(event.cursor), heard=self._hears)
            return Call(
                name_of(handler),
                lambda: contained(handler, Context(self._client, group, message, args)),
            )

        return [bound(handler) for handler in handlers]
