"""What handlers are put on: a router, which a bot is, and which a bot includes."""

import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Concatenate, TypeAlias, TypeVar

from .calling import fits, takes
from .client import Client
from .context import Context
from .errors import InvalidInput
from .events import Event
from .filters import Check, checked
from .signatures import Signature, signature_of

E = TypeVar("E", bound=Event)

Handler: TypeAlias = Callable[Concatenate[Context, ...], Awaitable[object]]
EventHandler: TypeAlias = Callable[Concatenate[E, ...], Awaitable[object]]
ClientHandler: TypeAlias = Callable[Concatenate[Client, ...], Awaitable[object]]
ErrorHandler: TypeAlias = (
    Callable[[Event, Exception, int], Awaitable[bool | None]]
    | Callable[[Event, Exception, int, bool], Awaitable[bool | None]]
)
Next: TypeAlias = Callable[[Context], Awaitable[object]]
Middleware: TypeAlias = Callable[[Context, Next], Awaitable[object]]
H = TypeVar("H", bound=Handler)
C = TypeVar("C", bound=ClientHandler)


@dataclass(frozen=True, slots=True)
class Listener:
    """A handler of messages, and what a message has to be for it."""

    handler: Signature
    filters: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A handler of a command."""

    names: tuple[str, ...]
    """As they are written; the first one is its name, the others are aliases."""
    handler: Signature
    admin_only: bool
    hidden: bool


@dataclass(slots=True)
class Registered:
    """What was put on one router."""

    listeners: list[Listener] = field(default_factory=list)
    commands: dict[str, Command] = field(default_factory=dict)
    """By each of its names, case-folded."""
    events: list[tuple[type[Event], Signature]] = field(default_factory=list)
    timers: list[tuple[float, Signature]] = field(default_factory=list)
    starts: list[Signature] = field(default_factory=list)
    stops: list[Signature] = field(default_factory=list)
    errors: list[tuple[Callable[..., Awaitable[bool | None]], int]] = field(default_factory=list)
    """With how many arguments each takes."""
    middlewares: list[Middleware] = field(default_factory=list)

    def signatures(self) -> Iterator[Signature]:
        """How each of them is called, but for those of errors."""
        yield from (one.handler for one in self.listeners)
        yield from (one.handler for one in self.commands.values())
        yield from (one for _, one in (*self.events, *self.timers))
        yield from (*self.starts, *self.stops)


class Router:
    """Handlers that belong together, of use when a bot includes them. A Bot is a router itself.

    A handler is a coroutine function, or a bound method that is one. What it returns is ignored. Each handler of
    messages whose filters match is called, those of a router before those of the routers that it includes, otherwise
    in the order of definition. A parameter behind the first gets what Bot.provide() has given for its type.

    Args:
        name: what it is called in errors.
    """

    def __init__(self, name: str = "") -> None:
        self._label = name
        self._own = Registered()
        self._included: list[Router] = []

    def include(self, router: "Router") -> None:
        """Take the handlers of another router over, also those that are put on it later.

        Raises:
            InvalidInput: it is a Bot, includes this one, is included already, or has a command of a name that is taken.
        """
        # What comes from a program without types may be anything.
        given: object = router
        if not isinstance(given, Router) or given._is_whole():
            raise InvalidInput("router: not a Router", field="router", hint="bot.include(Router())")
        theirs = list(router._walk())
        if any(one is other for one in self._walk() for other in theirs):
            raise InvalidInput("router: included already", field="router")
        mine = self._commands()
        for name in router._commands():
            if name in mine:
                raise InvalidInput(
                    f"router: its command {name} is taken{self._called()}", field="router"
                )
        self._included.append(router)

    def message(self, *filters: Check) -> Callable[[H], H]:
        """Call the handler for each chat message (kind 9) that is no command and that all filters match; a decorator.

        Args:
            filters: made of `F`, or functions of the Context that answer at once; none of them: every message.

        Raises:
            InvalidInput: a filter is no function, or one with `async`; or as on_message().
        """
        checks = tuple(checked(one) for one in filters)

        def register(handler: H) -> H:
            self._own.listeners.append(Listener(signature_of(handler, Context), checks))
            return handler

        return register

    def on_message(self, handler: H) -> H:
        """Call `handler` for each chat message (kind 9) that is no command of this bot; a decorator.

        Messages of other kinds come to `on(MessageReceived)`.

        Raises:
            InvalidInput: it is no function that takes a Context first.
        """
        return self.message()(handler)

    def command(
        self, *names: str, admin_only: bool = False, hidden: bool = False
    ) -> Callable[[H], H]:
        """Call the handler for messages that begin with prefix and name; a decorator.

        Words behind the name fill its parameters behind the first, by their annotations: `int`, `float`, `bool` (yes or
        no), `str` (several words in quotes are one), `timedelta` (1h30m, 2d), `PublicKey` and `Member` (npub, hex, or
        me), `Literal`, an Enum (by the names of its members), `mdk.arguments.Rest` (the rest of the line), `*args`.
        What has a default, or is `X | None`, may be left out. Where something is missing, is too much or does not fit,
        the handler is not called: the answer says so, and how the command is written. A handler with the context alone
        finds the words in `ctx.args`.

        Args:
            names: the name, and aliases; upper and lower case are one.
            admin_only: for admins of the group alone. Others get no answer, and no handler gets their message.
            hidden: whether `/help` leaves it out for everybody. It shows others with the first line of their docstring.

        Raises:
            InvalidInput: there is no name, one is empty, has white space, or is taken; a parameter is of a type that
                words cannot be, and that is no class; or as on_message().
        """
        for name in names:
            if not isinstance(name, str):
                raise InvalidInput("name: not a text", field="name", hint='@bot.command("name")')
        if not names or not all(names):
            raise InvalidInput("name: empty", field="name", limit=1, value=0)
        folded = [name.casefold() for name in names]
        taken = self._commands()
        if any(name.split() != [name] or name in taken for name in folded) or len(
            set(folded)
        ) < len(folded):
            raise InvalidInput(f"name: taken, or with white space{self._called()}", field="name")

        def register(handler: H) -> H:
            signature = signature_of(handler, Context, has_words=True)
            made = Command(names, signature, admin_only, hidden)
            self._own.commands |= dict.fromkeys(folded, made)
            return handler

        return register

    def middleware(self, wrap: Middleware) -> Middleware:
        """Call `wrap(ctx, call_next)` in place of each handler of messages and commands; a decorator.

        It calls the handler by `await call_next(ctx)`, or leaves it out. What it raises is handled like what a handler
        raises. The first one is outermost; those of a router are around handlers of the routers that it includes.

        Raises:
            InvalidInput: it is no function of two arguments.
        """
        takes(wrap, 2)
        self._own.middlewares.append(wrap)
        return wrap

    def on(self, kind: type[E]) -> Callable[[EventHandler[E]], EventHandler[E]]:
        """Call the handler for each event of this class, also at least once; a decorator.

        What people do, it gets of accounts in `allow` only: messages of every kind, edits, deletions, reactions,
        invites. What happens to a group (its members, its settings) it gets of the groups that the bot is in, whoever
        did it.

        Raises:
            InvalidInput: that is no class of events; or it is no function that takes one first.
        """
        # What is no class at all comes from a decorator without its argument.
        given: object = kind
        if not (isinstance(given, type) and issubclass(given, Event)):
            raise InvalidInput("kind: not a class of events", field="kind", hint="@bot.on(Joined)")

        def register(handler: EventHandler[E]) -> EventHandler[E]:
            self._own.events.append((kind, signature_of(handler, kind)))
            return handler

        return register

    def every(self, interval: timedelta) -> Callable[[C], C]:
        """Call the handler once each `interval`, first after one; a decorator. A run that raises is logged.

        Raises:
            InvalidInput: the interval is not positive; or it is no function that takes a Client first.
        """
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

        def register(handler: C) -> C:
            self._own.timers.append((seconds, signature_of(handler, Client)))
            return handler

        return register

    def on_start(self, handler: C) -> C:
        """Call `handler` when the account is open, before the first message is handled; a decorator.

        Raises:
            InvalidInput: it is no function that takes a Client first.
        """
        self._own.starts.append(signature_of(handler, Client))
        return handler

    def on_stop(self, handler: C) -> C:
        """Call `handler` when the bot ends, before the account is closed; a decorator.

        No handler of messages runs then. Those of on_stop() are called one after the other, the last one first, and
        each gets ten seconds. What one raises is logged. They are called as well when one of on_start() raised.

        Raises:
            InvalidInput: as on_start().
        """
        self._own.stops.append(signature_of(handler, Client))
        return handler

    def on_error(self, handler: ErrorHandler) -> ErrorHandler:
        """Call `handler(event, error, attempts)` when a handler raised; a decorator. It is logged, too.

        If it takes a fourth argument, that says whether the handler that raised is given up: not called for this event
        any more. Other handlers of the event still are.

        If it returns True, the event is given up: acknowledged, and not tried again. Otherwise it is tried again after
        a pause, which grows from half a second to five minutes, until the handler is given up: when it has been called
        `tries` times and raised. A handler that was cancelled, or raised what is no Exception, counts as one that
        raised: `error` is a RuntimeError then, with it as its `__cause__`.

        What the network, the disk or a change of the group is at fault for (NotConnected, NoAnswer, OutboxFull,
        DiskFull, a StorageError of no class of its own, an OSError of a full or failing disk, CommitPending,
        GroupSettling, SelfUpdateRequired, MediaStale, Closed) does not count: it is tried for as long as it takes.

        An error that says that the message, an argument or the group is at fault (InvalidInput, NotFound, NotAllowed,
        GroupTooLarge, IncompatibleMember, EpochUnavailable, GroupUnrecoverable, and MediaError but for MediaUnavailable
        and MediaStale) is raised again however long one waits. After three of such errors a handler is given up.

        It is told of handlers of every router, wherever it was put.

        Raises:
            InvalidInput: it is no function of three or four arguments.
        """
        if fits(handler, 4):
            self._own.errors.append((handler, 4))
        else:
            takes(handler, 3)
            self._own.errors.append((handler, 3))
        return handler

    def _is_whole(self) -> bool:
        """Whether it runs by itself, and so is no part of another."""
        return False

    def _called(self) -> str:
        return f" in the router {self._label}" if self._label else ""

    def _walk(self) -> Iterator["Router"]:
        """This router and those that it includes, in the order in which their handlers are called."""
        yield self
        for router in self._included:
            yield from router._walk()

    def _layers(
        self, around: tuple[Middleware, ...] = ()
    ) -> Iterator[tuple[Registered, tuple[Middleware, ...]]]:
        """What was put on each of them, with what is called around its handlers, the outermost first."""
        around = (*around, *self._own.middlewares)
        yield self._own, around
        for router in self._included:
            yield from router._layers(around)

    def _commands(self) -> dict[str, Command]:
        """The commands of all of them, by each of their names. Where a name was taken twice, the first one has it."""
        found: dict[str, Command] = {}
        for router in self._walk():
            for name, command in router._own.commands.items():
                found.setdefault(name, command)
        return found

    def _twice(self) -> str | None:
        """The name of a command that two routers have: one of them got it when it was included already."""
        seen: dict[str, Command] = {}
        for router in self._walk():
            for name, command in router._own.commands.items():
                if seen.setdefault(name, command) is not command:
                    return f"{name} ({seen[name].handler.name}, {command.handler.name})"
        return None
