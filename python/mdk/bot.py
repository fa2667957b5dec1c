"""Bots: handlers for messages, each message handled at least once.

A message is acknowledged, on disk, when its handlers have returned. A crash in between delivers it again, and messages
that were sent while the bot was down arrive at its start. Messages of one group are handled one after the other, groups
side by side. A handler that raises is called again, five times in all with growing pauses: the messages behind it
in that group wait, other groups go on. What waiting does not mend is tried three times, and what the network or the
disk is at fault for until it passes. `on_error` may decide to skip the message at once.
"""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Literal, TypeVar

from ._mdk import DatabaseKey, Keys, PublicKey
from .client import Client, InvitePolicy
from .client.runtime import growing
from .client.session import Manners, public_keys, several
from .config import MESSAGES_A_MINUTE, TRIES, TRIES_IN_VAIN, Config
from .errors import Closed, InvalidInput
from .events import Event, Invited
from .handlers import (
    ClientHandler,
    ErrorHandler,
    EventHandler,
    Failure,
    Handler,
    Handlers,
    NotAsynchronous,
    call,
    contained,
    is_lasting,
    is_passing,
    name_of,
    raised_by,
    takes,
    trace_of,
)
from .lanes import Lanes
from .pace import BOT_MARK, Pace
from .ranges import within
from .values import PathArg, PublicKeyLike

_log = logging.getLogger("mdk.bot")

_FIRST_PAUSE = 0.5
_GRACE = 10.0
"""Seconds that running handlers get to end when the bot is stopped."""

E = TypeVar("E", bound=Event)


class Bot:
    """A client with handlers.

    Closed by default: only accounts in `allow` can invite it, and only their messages are handled. Invites of others
    are declined, messages of other members of a group are not handled, and neither are their reactions, edits and
    deletions. Its own messages never are.

    Args:
        account: as in Client.open().
        allow: npubs, hex or PublicKeys; or "anyone". An empty list refuses everybody.
        relays: as in Client.open().
        blossom: as in Client.open().
        keys: as in Client.open().
        key: as in Client.open().
        name: as in Client.open().
        prefix: what commands begin with.
        backlog: whether messages that were sent while the bot was down are handled. Those that it had when it ended,
            and had not finished with, are handled in any case.
        tries: how often a handler is called for an event before it is given up, at least 1; on_error() says which
            errors count. None: until it returns.
        hears_bots: whether messages of other bots, which are marked, reach handlers. Two bots that answer each other
            never end.
        messages_a_minute: how many messages the bot sends to one group within a minute, at least 1; the next one waits
            for its time. None: as many as it likes.
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
        tries: int | None = TRIES,
        hears_bots: bool = False,
        messages_a_minute: int | None = MESSAGES_A_MINUTE,
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
            self._allowed = frozenset(public_keys(allow, "allow"))
        if not prefix:
            raise InvalidInput("prefix: empty", field="prefix", limit=1, value=0)
        self._tries = None if tries is None else within("tries", tries, 1)
        self._pace = Pace(
            None if messages_a_minute is None else within("messages_a_minute", messages_a_minute, 1)
        )
        self._client = Client.open(
            account,
            keys=keys,
            key=key,
            relays=several(relays, "relays"),
            blossom=blossom,
            name=name,
            config=config,
        )
        self._policy = InvitePolicy(self._allowed, declines=True)
        self._name = name
        self._handlers = Handlers(self._client, self._allowed, prefix, hears_bots=hears_bots)
        self._stopping = asyncio.Event()
        self._lanes = Lanes(self._client, self._take, self._stopping, backlog=backlog)
        self._running = False
        self._first_pause = _FIRST_PAUSE
        self._watches: list[Callable[[Failure], None]] = []
        """Who else is told what handlers raise: a test."""
        self._through: list[Callable[[Event], None]] = []
        """Who is told what the bot is through with: a test."""

    @property
    def client(self) -> Client:
        """Its client; of use while the bot runs."""
        return self._client

    # handlers

    def on_message(self, handler: Handler) -> Handler:
        """Call `handler` for each chat message (kind 9) that is no command of this bot; a decorator.

        Messages of other kinds come to `on(MessageReceived)`.

        Raises:
            InvalidInput: it is no function of one argument.
        """
        self._handlers.on_message(handler)
        return handler

    def command(self, name: str) -> Callable[[Handler], Handler]:
        """Call the handler for messages that begin with prefix and `name`; a decorator.

        Raises:
            InvalidInput: the name is empty, has white space, or is taken; or as on_message().
        """
        return self._handlers.command(name)

    def on(self, kind: type[E]) -> Callable[[EventHandler[E]], EventHandler[E]]:
        """Call the handler for each event of this class, also at least once; a decorator.

        What people do, it gets of accounts in `allow` only: messages of every kind, edits, deletions, reactions,
        invites. What happens to a group (its members, its settings) it gets of the groups that the bot is in, whoever
        did it.

        Raises:
            InvalidInput: that is no class of events; or as on_message().
        """
        return self._handlers.on(kind)

    def every(self, interval: timedelta) -> Callable[[ClientHandler], ClientHandler]:
        """Call the handler once each `interval`, first after one; a decorator. A run that raises is logged.

        Raises:
            InvalidInput: the interval is not positive; or as on_message().
        """
        return self._handlers.every(interval)

    def on_start(self, handler: ClientHandler) -> ClientHandler:
        """Call `handler` when the account is open, before the first message is handled; a decorator.

        Raises:
            InvalidInput: as on_message().
        """
        takes(handler, 1)
        self._handlers.starts.append(handler)
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

        Raises:
            InvalidInput: it is no function of three or four arguments.
        """
        self._handlers.on_error(handler)
        return handler

    # running

    def run(self) -> None:
        """Run until Ctrl-C or SIGTERM. Then running handlers get ten seconds, and the outbox five, to end.

        Raises:
            InvalidInput: this is not the main thread, which alone can take signals, or an event loop runs here: use
                serve(). Otherwise as serve().
        """
        if threading.current_thread() is not threading.main_thread():
            raise InvalidInput(
                "run() needs the main thread, which alone gets signals",
                hint="Elsewhere: asyncio.run(bot.serve()).",
            )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._run())
        else:
            raise InvalidInput(
                "run() makes an event loop, and one runs here already",
                hint="There: await bot.serve().",
            )

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

        self._handlers.starts.append(tell)
        try:
            await self.serve()
        finally:
            self._handlers.starts.remove(tell)
            for number in taken:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """End serve() and run() in good order. Call it on the bot's event loop."""
        self._stopping.set()

    async def serve(self) -> None:
        """Run until stop() is called, or the task is cancelled. A bot runs once.

        SystemExit and KeyboardInterrupt in a handler end the bot in good order and are raised here. The message is not
        acknowledged, and comes again after the next start. Whatever else a handler ends with, it is called again.

        Raises:
            As Client.start(); Closed: it has run already.
            InvalidInput: a handler was called that is not asynchronous.
        """
        if self._client._forked:
            self._client._session.feed.check()
        if self._running:
            raise Closed("a bot runs once", hint="Make a new Bot.")
        self._running = True
        workers: set[asyncio.Task[None]] = set()
        try:
            await self._client.start()
            self._client._session.manners = Manners(BOT_MARK, self._pace.turn)
            await self._lanes.remember()
            for start in self._handlers.starts:
                await call(start, self._client)
            workers = {asyncio.create_task(self._follow(), name="mdk-bot")}
            workers |= {asyncio.create_task(self._tick(*timer)) for timer in self._handlers.timers}
            stopped = asyncio.create_task(self._stopping.wait())
            done, _ = await asyncio.wait({stopped, *workers}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            for task in done & workers:
                task.result()  # what ended the bot
            if self._lanes.failed is not None:
                raise self._lanes.failed
            if not self._stopping.is_set():
                raise Closed("the account was closed while the bot ran")
        except NotAsynchronous:
            raise InvalidInput(
                "handler: it returned without anything to wait for",
                field="handler",
                hint="Write it with `async def`. Its message is not acknowledged, and comes again.",
            ) from None
        finally:
            await self._wind_down(workers)

    async def _wind_down(self, workers: set[asyncio.Task[None]]) -> None:
        self._stopping.set()
        for task in workers:
            task.cancel()
        lanes = self._lanes.tasks
        try:
            if lanes:
                await asyncio.wait(lanes, timeout=_GRACE)
        finally:
            for task in lanes:
                task.cancel()
            try:
                await asyncio.gather(*lanes, *workers, return_exceptions=True)
                if workers:
                    await self._lanes.part()
            finally:
                # Whoever cannot wait for the rest: the account is not to stay open.
                await self._client.close()

    async def _tick(self, interval: float, handler: ClientHandler) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A run that takes longer than the interval leaves out what it missed.
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                await contained(handler, self._client)
            except (NotAsynchronous, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001  # a timer goes on
                self._note("timer's handler", Failure(name_of(handler), error, 1))
            except BaseException as ended:  # noqa: BLE001
                self._lanes.fail(ended)
                return

    # delivery

    async def _follow(self) -> None:
        await self._client._session.look(self._policy._tell)
        for invite in await self._client.invites.pending():
            await self._client.invites._answer(self._policy, invite)
        await self._lanes.follow()

    async def _take(self, event: Event) -> bool:
        done = await self._deliver(event)
        for watch in self._through:
            watch(event)
        return done

    async def _deliver(self, event: Event) -> bool:
        """Give an event to its handlers until they return. False if there are none, or the bot ends."""
        if isinstance(event, Invited):
            await self._client.invites._answer(self._policy, event.invite)
        calls = await self._handlers.calls(event)
        if not calls:
            return False
        pauses, attempts = growing(self._first_pause), 0
        counted = vain = 0  # of the handler whose turn it is
        while not self._stopping.is_set():
            if await self._handlers.is_over(event):
                return True
            try:
                while calls:
                    await calls[0].run()
                    # Done: it is not called again because another one raises.
                    del calls[0]
                    counted = vain = 0
            except NotAsynchronous:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it was, the message is not lost
                attempts += 1
                counted += not is_passing(error)
                vain += is_lasting(error)
                last = vain >= TRIES_IN_VAIN or (self._tries is not None and counted >= self._tries)
                end = f" (attempt {attempts}){', given up' if last else ''}"
                self._note("handler", Failure(calls[0].name, error, attempts), end)
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

    async def _is_skipped(
        self, event: Event, error: Exception, attempts: int, given_up: bool
    ) -> bool:
        """Tell the handlers of errors. True if one of them wants no more of the event."""
        skipped = False
        for handler, count in self._handlers.errors:
            arguments = (event, error, attempts, given_up)[:count]
            try:
                skipped = bool(await contained(handler, *arguments)) or skipped
            except NotAsynchronous:
                raise
            except Exception as second:  # noqa: BLE001
                self._note("error handler", Failure(name_of(handler), second, attempts))
        return skipped

    def _note(self, kind: str, failure: Failure, end: str = "") -> None:
        """Log what a handler raised, with its traceback: both are its own. Of the message we say nothing."""
        raised = raised_by(failure.error)
        words = "the %s %s raised %s%s"
        shown = (type(raised), raised, trace_of(raised))
        _log.error(words, kind, failure.handler, type(raised).__name__, end, exc_info=shown)
        for watch in self._watches:
            watch(replace(failure, error=raised))
