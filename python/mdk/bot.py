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
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Literal, get_args

from ._mdk import DatabaseKey, Keys, PublicKey
from .arguments import kind_of
from .calling import Failure, NotAsynchronous, contained
from .client import Client, InvitePolicy
from .client.session import Manners, public_keys, several
from .config import (
    CONCURRENCY,
    HANDLER_TIMEOUT,
    MESSAGES_A_MINUTE,
    SLOW_AFTER,
    TRIES,
    Config,
)
from .delivery import Delivery
from .errors import Closed, InvalidInput
from .handlers import Handlers, RespondTo
from .lanes import Lanes
from .pace import BOT_MARK, Pace
from .ranges import within
from .routers import Router
from .runs import Runs
from .signatures import Signature, signature_of
from .values import PathArg, PublicKeyLike

_log = logging.getLogger("mdk.bot")

_GRACE = 10.0
"""Seconds that running handlers get to end when the bot is stopped."""


class Bot(Router):
    """A client with handlers. It is a router: its decorators are those of Router.

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
        respond_to: which messages that are no commands reach handlers: "all"; "mentions": those that mention the bot or
            answer a message of it, and all in a group of two; "direct": those in a group of two.
        backlog: whether messages that were sent while the bot was down are handled. Those that it had when it ended,
            and had not finished with, are handled in any case.
        tries: how often a handler is called for an event before it is given up, at least 1; on_error() says which
            errors count. None: until it returns.
        hears_bots: whether messages of other bots, which are marked, reach handlers. Two bots that answer each other
            never end.
        messages_a_minute: how many messages the bot sends to one group within a minute, at least 1; the next one waits
            for its time. None: as many as it likes.
        handler_timeout: seconds that a call of a handler may take, more than 0. One that takes longer is cancelled, and
            counts as one that raised TimeoutError. None: as long as it likes.
        slow_after: seconds after which a handler that runs is a WARNING, more than 0. None: never.
        concurrency: how many handlers run at once, over all groups, at least 1.
        help: whether `/help` is answered with the commands that who asks may call. A command of that name takes its
            place. Without a command that may be listed it is a message like any other.
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
        respond_to: RespondTo = "all",
        backlog: bool = True,
        tries: int | None = TRIES,
        hears_bots: bool = False,
        messages_a_minute: int | None = MESSAGES_A_MINUTE,
        handler_timeout: float | None = HANDLER_TIMEOUT,
        slow_after: float | None = SLOW_AFTER,
        concurrency: int = CONCURRENCY,
        help: bool = True,  # noqa: A002  # it is what it turns off
        config: Config | None = None,
    ) -> None:
        super().__init__()
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
        if respond_to not in get_args(RespondTo):
            raise InvalidInput(
                'respond_to: "all", "mentions" or "direct"',
                field="respond_to",
                hint='respond_to="mentions"',
            )
        if tries is not None:
            within("tries", tries, 1)
        runs = Runs(concurrency, handler_timeout, slow_after)
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
        self._handlers = Handlers(
            self._client,
            self,
            self._allowed,
            prefix,
            respond_to=respond_to,
            hears_bots=hears_bots,
            helps=help,
        )
        self._stopping = asyncio.Event()
        self._delivery = Delivery(
            self._client, self._handlers, self._policy, runs, self._stopping, tries
        )
        self._lanes = Lanes(self._client, self._delivery.take, self._stopping, backlog=backlog)
        self._running = False
        self._opened = False

    @property
    def client(self) -> Client:
        """Its client; of use while the bot runs."""
        return self._client

    def provide(self, value: object, *, as_: type | None = None) -> None:
        """Give `value` to each parameter of a handler that has its type, behind the first one.

        It is for handlers of every kind but those of errors. Of values of one type the last one counts.

        Args:
            value: a database, a client of some service, settings.
            as_: the annotation that it is for; None means its own class.

        Raises:
            InvalidInput: the words of commands are of that type: `str`, `int` and so on.
        """
        kind = type(value) if as_ is None else as_
        if kind_of(kind) is not None:
            raise InvalidInput(
                f"value: {kind.__name__} is what words of a command are",
                field="value",
                hint="Give it a class of its own.",
            )
        self._handlers.provided[kind] = value

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

        told = signature_of(tell, Client)
        self._own.starts.append(told)
        try:
            await self.serve()
        finally:
            self._own.starts.remove(told)
            for number in taken:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """End serve() and run() in good order. Call it on the bot's event loop."""
        self._stopping.set()

    def _is_whole(self) -> bool:
        return True

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
        self._handlers.check()
        self._running = True
        workers: set[asyncio.Task[None]] = set()
        try:
            await self._client.start()
            self._opened = True
            self._client._session.manners = Manners(BOT_MARK, self._pace.turn)
            await self._lanes.remember()
            for start in [one for own in self._handlers.registered() for one in own.starts]:
                await start.call(self._handlers.provided, self._client)
            workers = {asyncio.create_task(self._follow(), name="mdk-bot")}
            timers = [one for own in self._handlers.registered() for one in own.timers]
            workers |= {asyncio.create_task(self._tick(*timer)) for timer in timers}
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
                await self._tell_of_the_end()
                if workers:
                    await self._lanes.part()
            finally:
                # Whoever cannot wait for the rest: the account is not to stay open.
                await self._client.close()

    async def _tell_of_the_end(self) -> None:
        if not self._opened:
            return
        for stop in reversed([one for own in self._handlers.registered() for one in own.stops]):
            try:
                async with asyncio.timeout(_GRACE):
                    await contained(stop.call, self._handlers.provided, self._client)
            except Exception as error:  # noqa: BLE001  # the account is closed in any case
                self._delivery.note("handler of the end", Failure(stop.name, error, 1))

    async def _tick(self, interval: float, handler: Signature) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A run that takes longer than the interval leaves out what it missed.
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                await contained(handler.call, self._handlers.provided, self._client)
            except (NotAsynchronous, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001  # a timer goes on
                self._delivery.note("timer's handler", Failure(handler.name, error, 1))
            except BaseException as ended:  # noqa: BLE001
                self._lanes.fail(ended)
                return

    # delivery

    async def _follow(self) -> None:
        await self._client._session.look(self._policy._tell)
        for invite in await self._client.invites.pending():
            await self._client.invites._answer(self._policy, invite)
        await self._lanes.follow()
