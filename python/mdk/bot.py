"""Bots: handlers for messages, each message handled at least once.

A message is acknowledged, on disk, when its handlers have returned. A crash in between delivers it again, and messages
that were sent while the bot was down arrive at its start. Messages of one group are handled one after the other, groups
side by side. A handler that raises is tried again, with a growing pause, until it returns: the messages behind it
in that group wait, other groups go on. `on_error` may decide to skip the message instead.
"""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypeVar

from ._mdk import DatabaseKey, Keys, Mdk, PublicKey
from .client import Client, Group, InvitePolicy
from .client.session import public_keys
from .config import Config
from .context import Context
from .errors import Closed, InvalidInput
from .events import (
    Event,
    Invited,
    MessageEdited,
    MessageReceived,
    ReactionAdded,
    ReactionRemoved,
)
from .values import GroupId, Kind, PathArg, PublicKeyLike

_log = logging.getLogger("mdk.bot")

_POSITION = "bot/position"
_LANE = "bot/lane/"
_PAGE = 32
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 300.0
_GRACE = 10.0
"""Seconds that running handlers get to end when the bot is stopped."""

E = TypeVar("E", bound=Event)


Handler: TypeAlias = Callable[[Context], Awaitable[None]]
EventHandler: TypeAlias = Callable[[E], Awaitable[None]]
ClientHandler: TypeAlias = Callable[[Client], Awaitable[None]]
ErrorHandler: TypeAlias = Callable[[Event, Exception, int], Awaitable[bool | None]]


@dataclass
class _Lane:
    """The events of one group, in their order."""

    group_id: GroupId | None
    acknowledged: int
    """Everything up to here is done, and will not come again."""
    wanted: int = 0
    """There is something up to here."""
    task: asyncio.Task[None] | None = None


class Bot:
    """A client with handlers.

    Closed by default: only accounts in `allow` can invite it, and only their messages are handled. Invites of others
    are declined, messages of other members of a group are not handled. Its own messages never are.

    Args:
        account: as in Client.open().
        allow: npubs, hex or PublicKeys; or "anyone". An empty list refuses everybody.
        relays: as in Client.open().
        blossom: as in Client.open().
        keys: as in Client.open().
        key: as in Client.open().
        name: as in Client.open().
        prefix: what commands begin with.
        backlog: whether messages that were sent while the bot was down are handled.
        config: as in Client.open().
    """

    def __init__(
        self,
        account: PathArg,
        *,
        allow: Iterable[PublicKeyLike] | Literal["anyone"],
        relays: Iterable[str] = (),
        blossom: Sequence[str] = (),
        keys: Keys | None = None,
        key: DatabaseKey | None = None,
        name: str | None = None,
        prefix: str = "/",
        backlog: bool = True,
        config: Config | None = None,
    ) -> None:
        self._allowed: frozenset[PublicKey] | None
        if isinstance(allow, str):
            if allow != "anyone":
                raise InvalidInput(
                    "allow: a list of accounts, or 'anyone'", field="allow", hint="allow=['npub1…']"
                )
            self._allowed = None
        else:
            self._allowed = frozenset(public_keys(list(allow)))
        if not prefix:
            raise InvalidInput("prefix: empty", field="prefix")
        self._client = Client.open(
            account,
            keys=keys,
            key=key,
            relays=list(relays),
            blossom=blossom,
            name=name,
            config=config,
        )
        self._policy = InvitePolicy(self._allowed, declines=True)
        self._name = name
        self._prefix = prefix
        self._backlog = backlog
        self._commands: dict[str, Handler] = {}
        self._messages: list[Handler] = []
        self._events: list[tuple[type[Event], Callable[[Any], Awaitable[None]]]] = []
        self._timers: list[tuple[float, ClientHandler]] = []
        self._starts: list[ClientHandler] = []
        self._errors: list[ErrorHandler] = []
        self._lanes: dict[GroupId | None, _Lane] = {}
        self._position = 0
        self._stopping = asyncio.Event()
        self._running = False
        self._failed: Exception | None = None
        self._first_pause = _FIRST_PAUSE

    @property
    def client(self) -> Client:
        """Its client; of use while the bot runs."""
        return self._client

    # handlers

    def on_message(self, handler: Handler) -> Handler:
        """Call `handler` for each chat message that is no command of this bot; a decorator."""
        self._messages.append(handler)
        return handler

    def command(self, name: str) -> Callable[[Handler], Handler]:
        """Call the handler for messages that begin with prefix and `name`; a decorator.

        Raises:
            InvalidInput: the name is empty, has white space, or is taken.
        """
        if not name or name.split() != [name] or name in self._commands:
            raise InvalidInput("name: empty, taken, or with white space", field="name")

        def register(handler: Handler) -> Handler:
            self._commands[name] = handler
            return handler

        return register

    def on(self, kind: type[E]) -> Callable[[EventHandler[E]], EventHandler[E]]:
        """Call the handler for each event of this class, also at least once; a decorator.

        For MessageReceived it gets those of accounts in `allow` only, of every kind.
        """

        def register(handler: EventHandler[E]) -> EventHandler[E]:
            self._events.append((kind, handler))
            return handler

        return register

    def every(self, interval: timedelta) -> Callable[[ClientHandler], ClientHandler]:
        """Call the handler once each `interval`, first after one; a decorator. A run that raises is logged.

        Raises:
            InvalidInput: the interval is not positive.
        """
        seconds = interval.total_seconds()
        if seconds <= 0:
            raise InvalidInput("interval: not positive", field="interval")

        def register(handler: ClientHandler) -> ClientHandler:
            self._timers.append((seconds, handler))
            return handler

        return register

    def on_start(self, handler: ClientHandler) -> ClientHandler:
        """Call `handler` when the account is open, before the first message is handled; a decorator."""
        self._starts.append(handler)
        return handler

    def on_error(self, handler: ErrorHandler) -> ErrorHandler:
        """Call `handler(event, error, attempts)` when a handler raised; a decorator.

        If it returns True, the event is given up: acknowledged, and not tried again. Otherwise it is tried again after
        a pause, which grows from half a second to five minutes.
        """
        self._errors.append(handler)
        return handler

    # running

    def run(self) -> None:
        """Run until Ctrl-C or SIGTERM. Then running handlers get ten seconds, and the outbox five, to end."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        taken: list[signal.Signals] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            # Where a loop cannot take signals, Ctrl-C arrives as KeyboardInterrupt, and cancels.
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, self.stop)
                taken.append(number)

        async def tell(client: Client) -> None:  # a handler is a coroutine function
            print(f"{self._name or 'The bot'} is {client.npub}", file=sys.stderr, flush=True)

        self._starts.append(tell)
        try:
            await self.serve()
        finally:
            self._starts.remove(tell)
            for number in taken:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """End serve() and run() in good order. Call it on the bot's event loop."""
        self._stopping.set()

    async def serve(self) -> None:
        """Run until stop() is called, or the task is cancelled. A bot runs once.

        Raises:
            As Client.start(); Closed: it has run already.
        """
        if self._client._forked:
            self._client._session.feed.check()
        if self._running:
            raise Closed("a bot runs once", hint="Make a new Bot.")
        self._running = True
        workers: set[asyncio.Task[None]] = set()
        try:
            await self._client.start()
            await self._remember()
            for start in self._starts:
                await start(self._client)
            workers = {asyncio.create_task(self._dispatch(), name="mdk-bot")}
            workers |= {asyncio.create_task(self._tick(*timer)) for timer in self._timers}
            stopped = asyncio.create_task(self._stopping.wait())
            done, _ = await asyncio.wait({stopped, *workers}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            for task in done & workers:
                task.result()  # what ended the bot
            if self._failed is not None:
                raise self._failed
            if not self._stopping.is_set():
                raise Closed("the account was closed while the bot ran")
        finally:
            await self._wind_down(workers)

    async def _wind_down(self, workers: set[asyncio.Task[None]]) -> None:
        self._stopping.set()
        for task in workers:
            task.cancel()
        lanes = {lane.task for lane in self._lanes.values() if lane.task is not None}
        try:
            if lanes:
                await asyncio.wait(lanes, timeout=_GRACE)
        finally:
            for task in lanes:
                task.cancel()
            await asyncio.gather(*lanes, *workers, return_exceptions=True)
            await self._client.close()

    async def _tick(self, interval: float, handler: ClientHandler) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A run that takes longer than the interval leaves out what it missed.
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                await handler(self._client)
            except (Exception, asyncio.CancelledError) as error:  # a timer goes on
                if _is_cancelled(error):
                    raise
                _log.error("a timer's handler raised %s", type(error).__name__)  # no content

    # delivery

    async def _remember(self) -> None:
        """Find out where the last run was."""
        session = self._client._session

        def read(mdk: Mdk) -> tuple[int, dict[str, bytes]]:
            stored = mdk._state(_POSITION)
            if stored is None:
                # What was there before there was a bot is not for it.
                stored = json.dumps(session.feed.opened_at).encode()
                mdk._set_state(_POSITION, stored)
            return int(json.loads(stored)), mdk._states(_LANE)

        self._position, lanes = await session.look(read)
        for key, value in lanes.items():
            group_id = GroupId(key.removeprefix(_LANE)) or None
            self._lanes[group_id] = _Lane(group_id, int(json.loads(value)))

    async def _dispatch(self) -> None:
        """Read the log and wake the lanes. Nothing is done here that waits for a handler."""
        session = self._client._session
        for invite in await self._client.invites.pending():
            await self._client._answer_by(self._policy, invite)
        async for event in session.feed.events(self._position):
            lane = self._lane(event.group_id)
            cursor = int(event.cursor)
            if cursor > lane.acknowledged:
                lane.wanted = cursor
                if lane.task is None:
                    # A lane at rest has nothing open before this event.
                    lane.acknowledged = max(lane.acknowledged, cursor - 1)
                    lane.task = asyncio.create_task(self._work(lane))

    def _lane(self, group_id: GroupId | None) -> _Lane:
        if group_id not in self._lanes:
            self._lanes[group_id] = _Lane(group_id, self._position)
        return self._lanes[group_id]

    async def _work(self, lane: _Lane) -> None:
        feed = self._client._session.feed
        try:
            while lane.acknowledged < lane.wanted and not self._stopping.is_set():
                events, upto = await feed.read_group(lane.acknowledged, lane.group_id, _PAGE)
                for event in events:
                    if await self._deliver(event):
                        await self._acknowledge(lane, int(event.cursor))
                    elif self._stopping.is_set():
                        return
                    lane.acknowledged = int(event.cursor)
                lane.acknowledged = max(lane.acknowledged, upto)
        except Closed:
            return
        except Exception as error:  # noqa: BLE001  # the disk, or a bug: the bot cannot go on
            self._failed = error
            self._stopping.set()
        finally:
            lane.task = None
        await self._rest()

    async def _acknowledge(self, lane: _Lane, cursor: int) -> None:
        key = _LANE + (lane.group_id or "")
        value = json.dumps(cursor).encode()
        await self._client._session.look(lambda mdk: mdk._set_state(key, value))

    async def _rest(self) -> None:
        """When nothing is open, one number says so: the next run need not look at what is before it."""
        if self._stopping.is_set() or any(lane.task for lane in self._lanes.values()):
            return
        position = max((lane.wanted for lane in self._lanes.values()), default=0)
        if position <= self._position:
            return
        value = json.dumps(position).encode()
        with suppress(Closed):
            await self._client._session.look(lambda mdk: mdk._set_state(_POSITION, value))

    async def _deliver(self, event: Event) -> bool:
        """Give an event to its handlers until they return. False if there are none, or the bot ends."""
        if isinstance(event, Invited):
            await self._client._answer_by(self._policy, event.invite)
        calls = self._calls(event)
        if not calls:
            return False
        pauses, attempts = growing(self._first_pause), 0
        while not self._stopping.is_set():
            try:
                for call in calls:
                    await call()
            except (Exception, asyncio.CancelledError) as raised:
                # Whatever it was, the message is not lost; a handler may also have awaited a task that was cancelled.
                if _is_cancelled(raised):
                    raise
                error = raised if isinstance(raised, Exception) else RuntimeError("cancelled")
                attempts += 1
                # Neither the text of the error nor its place: they may show what was written.
                _log.error("a handler raised %s (attempt %d)", type(error).__name__, attempts)
                if await self._given_up(event, error, attempts):
                    return True
                with suppress(TimeoutError):
                    async with asyncio.timeout(next(pauses)):
                        await self._stopping.wait()
            else:
                return True
        return False

    async def _given_up(self, event: Event, error: Exception, attempts: int) -> bool:
        given_up = False
        for handler in self._errors:
            try:
                given_up = bool(await handler(event, error, attempts)) or given_up
            except Exception as second:  # noqa: BLE001
                _log.error("an error handler raised %s", type(second).__name__)
        return given_up

    def _calls(self, event: Event) -> list[Callable[[], Awaitable[None]]]:
        """What is to be called for an event."""
        calls: list[Callable[[], Awaitable[None]]] = []
        author = _author(event)
        if author is not None and self._allowed is not None and author not in self._allowed:
            return []
        if isinstance(event, MessageReceived):
            message = event.message
            if (
                message.is_mine
                or message.deleted
                or message.invalidated
                or (event.backlog and not self._backlog)
            ):
                return []
            if message.kind == Kind.CHAT:
                calls += self._message_calls(event)

        def bound(handler: Callable[[Any], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
            return lambda: handler(event)

        calls += [bound(handler) for kind, handler in self._events if isinstance(event, kind)]
        return calls

    def _message_calls(self, event: MessageReceived) -> list[Callable[[], Awaitable[None]]]:
        message = event.message
        words = message.text.split()
        command: Handler | None = None
        if words and words[0].startswith(self._prefix):
            command = self._commands.get(words[0].removeprefix(self._prefix))
        handlers = self._messages if command is None else [command]
        args = [] if command is None else words[1:]
        session = self._client._session

        def bound(handler: Handler) -> Callable[[], Awaitable[None]]:
            # A handle of its own: a conversation in one handler takes nothing from others.
            group = Group(session, message.group_id, after=int(event.cursor), allowed=self._allowed)
            return lambda: handler(Context(self._client, group, message, args))

        return [bound(handler) for handler in handlers]


def growing(pause: float) -> Iterator[float]:
    """The pauses between attempts, in seconds: each is twice the one before, at most five minutes."""
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE)


def _is_cancelled(error: BaseException) -> bool:
    """Whether it is we who are cancelled, and not something that a handler waited for."""
    me = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and me is not None and me.cancelling() > 0


def _author(event: Event) -> PublicKey | None:
    """Whose words an event is about."""
    match event:
        case MessageReceived(message) | MessageEdited(message):
            return message.sender
        case ReactionAdded(reaction) | ReactionRemoved(reaction):
            return reaction.sender
        case _:
            return None
