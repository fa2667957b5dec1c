"""What a bot calls: its handlers, and which of them an event is for."""

import inspect
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from ._mdk import PublicKey
from .client import Client, Group
from .context import Context
from .errors import InvalidInput
from .events import Event, MessageEdited, MessageReceived, ReactionAdded, ReactionRemoved
from .values import Kind

T = TypeVar("T")
E = TypeVar("E", bound=Event)

Handler: TypeAlias = Callable[[Context], Awaitable[None]]
EventHandler: TypeAlias = Callable[[E], Awaitable[None]]
ClientHandler: TypeAlias = Callable[[Client], Awaitable[None]]
ErrorHandler: TypeAlias = Callable[[Event, Exception, int], Awaitable[bool | None]]
Call: TypeAlias = Callable[[], Awaitable[None]]


class NotAsynchronous(Exception):
    """A handler gave nothing to wait for: it cannot be said when it is done, and calling it again does not help."""


async def call(handler: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """Call a handler.

    Raises:
        NotAsynchronous: it was written without `async`.
    """
    result = handler(*arguments)
    if not inspect.isawaitable(result):
        raise NotAsynchronous
    return await result


def takes(handler: Any, count: int) -> None:
    """Refuse what cannot be called with so many arguments, before there is a message for it.

    Raises:
        InvalidInput: it cannot.
    """
    if not callable(handler):
        raise InvalidInput("handler: not a function", field="handler", hint="Put it on a function.")
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return  # it does not say
    try:
        signature.bind(*range(count))
    except TypeError:
        many = "1 argument" if count == 1 else f"{count} arguments"
        raise InvalidInput(
            f"handler: it is called with {many}, which it does not take",
            field="handler",
            hint="The documentation of the decorator says what a handler gets.",
        ) from None


class Handlers:
    """The handlers of one bot."""

    def __init__(self, client: Client, allowed: frozenset[PublicKey] | None, prefix: str) -> None:
        self._client = client
        self._allowed = allowed
        self._prefix = prefix
        self._commands: dict[str, Handler] = {}
        self._messages: list[Handler] = []
        self._events: list[tuple[type[Event], Callable[[Any], Awaitable[None]]]] = []
        self.timers: list[tuple[float, ClientHandler]] = []
        self.starts: list[ClientHandler] = []
        self.errors: list[ErrorHandler] = []

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

    def calls(self, event: Event, *, backlog: bool) -> list[Call]:
        """What is to be called for an event. `backlog`: also for a message that was sent while the bot was down."""
        calls: list[Call] = []
        author = _author(event)
        if author is not None and self._allowed is not None and author not in self._allowed:
            return []
        if isinstance(event, MessageReceived):
            message = event.message
            if (
                message.is_mine
                or message.deleted
                or message.invalidated
                or (event.backlog and not backlog)
            ):
                return []
            if message.kind == Kind.CHAT:
                calls += self._message_calls(event)

        def bound(handler: Callable[[Any], Awaitable[None]]) -> Call:
            return lambda: call(handler, event)

        calls += [bound(handler) for kind, handler in self._events if isinstance(event, kind)]
        return calls

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
            group = Group(session, message.group_id, after=int(event.cursor), allowed=self._allowed)
            return lambda: call(handler, Context(self._client, group, message, args))

        return [bound(handler) for handler in handlers]


def _author(event: Event) -> PublicKey | None:
    """Whose words an event is about."""
    match event:
        case MessageReceived(message) | MessageEdited(message):
            return message.sender
        case ReactionAdded(reaction) | ReactionRemoved(reaction):
            return reaction.sender
        case _:
            return None
