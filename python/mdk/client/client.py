"""One account at work."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

from mdk._mdk import Clock, DatabaseKey, Keys, Mdk, PublicKey, _Client, _Pool
from mdk.config import Config
from mdk.errors import Closed, InvalidInput
from mdk.events import Event
from mdk.reports import RestoreReport
from mdk.values import Message, PathArg, Signer

from . import closing, upkeep
from .accounts import database_path
from .farewells import Farewells
from .feed import CLOSED, position_of
from .groups import Groups
from .invite_policy import InvitePolicy
from .invites import Invites
from .key_packages import KeyPackages
from .media import Media
from .nprofile import profile_uri
from .opening import Settings, open_database, own_keys, shown_name
from .outbox import Outbox
from .pool import RelayPool
from .profiles import Profiles
from .runtime import in_thread, opened_in_thread
from .session import Session, several
from .values import ClientStats, RekeyReport

ENTRY_PATIENCE = 10.0
"""Seconds that `async with` waits for relays."""


class Client:
    """One account: its state, its relays, its outbox and its upkeep.

    `async with Client.open("alice", relays=[...]) as client:` opens the database, connects, catches up and publishes a
    KeyPackage. It waits for that as long as relays can be reached, at most ten seconds; without a network it goes on
    at once, and connects when there is one. Nor does it wait for relays that all refuse the KeyPackage.

    Everything is done on the event loop that runs, and on threads that never call back. Any wait may be cancelled: what
    was begun then happens entirely or not at all, and a message or a change that is in the outbox is published all the
    same. A client belongs to the event loop that it was started on; on another one its calls raise WrongLoop.
    """

    def __init__(self, settings: Settings) -> None:
        """Use open()."""
        self._settings = settings
        self._opened: Session | None = None
        self._own_pool: _Pool | None = None
        self._starting = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._farewells = Farewells(self._open_account, self._begin)
        self._invites = Invites(
            self._open_account, lambda: self._settings.invites, self._farewells, self._begin
        )
        self._groups = Groups(self._open_account, self._invites, lambda: self._settings.ask)
        self._key_packages = KeyPackages(self._open_account)
        self._profiles = Profiles(self._open_account)
        self._outbox = Outbox(self._open_account)
        self._media = Media(self._open_account)

    @classmethod
    def open(
        cls,
        account: PathArg,
        *,
        keys: Keys | Signer | None = None,
        key: DatabaseKey | None = None,
        relays: Sequence[str] = (),
        blossom: Sequence[str] = (),
        name: str | None = None,
        invites: InvitePolicy | None = None,
        config: Config | None = None,
        pool: RelayPool | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """An account, not started yet: use it with `async with`, or call start().

        Args:
            account: a name (its folder is in the user's data folder), the path of a database, or ":memory:".
            keys: the account's Nostr keys. None: those that the database keeps; a new one makes some and keeps them.
                Another Signer than Keys is refused: nothing can sign elsewhere (NIP-46) yet.
            key: where the key of the database is kept. None: where the record beside it says, or DatabaseKey.keyring()
                for a new one.
            relays: the account's own relays, ws:// or wss://. Empty: those it was last opened with. Where an account
                changes them, the former ones are told, and read for invites for another 14 days.
            blossom: servers for files (Blossom, https://): where send_file() uploads to, and where files are looked for
                beside the places that their senders name; groups that this account founds name them. Empty: those it
                was last opened with; without any, files go to the servers of the group, `Group.media_servers()`.
            name: a name for others to see, at most 256 bytes of UTF-8, published as kind 0. None publishes none.
            invites: whose invites are accepted without asking; None means InvitePolicy.manual().
            config: limits and lifetimes; None means Config().
            pool: connections to share with other accounts of this process.
            clock: for tests; None means the system's clock.

        Raises:
            InvalidInput: the account's name, `name`, or `relays` or `blossom` is one text, or `keys` is not Keys.
        """
        path = database_path(account)
        if path is None and key is not None:
            raise InvalidInput("key: an account in memory has none", field="key")
        return cls(
            Settings(
                path=path,
                keys=own_keys(keys),
                key=key,
                relays=tuple(several(relays, "relays")),
                blossom=tuple(several(blossom, "blossom")),
                name=shown_name(name),
                invites=invites or InvitePolicy.manual(),
                config=config or Config(),
                pool=pool,
                clock=clock,
            )
        )

    # life

    async def __aenter__(self) -> Self:
        try:
            await self.start()
            await self._settle_in()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the database and begin to work; waits for no network. Starting again does nothing.

        Raises:
            WrongKey, DatabaseBusy, KeyMissing and others: as Mdk.open().
            KeysMissing: the database keeps no Nostr keys, and none were given.
            InvalidInput: there are no relays, neither given nor remembered.
            InvalidRelayUrl: one of them. InvalidInput: one of `blossom` is no https:// URL.
            Closed: the client was closed.
            Forked: it, or its pool, was opened before os.fork(), or an account was open then.
            WrongLoop: it was started on another event loop.
        """
        if self._forked:
            self._session.feed.check()
        if self._opened is not None:
            self._opened.feed.on_its_loop()
        async with self._starting:
            if self._closing is not None:
                raise Closed("the client is closed", hint=CLOSED)
            if self._opened is not None:
                return
            await upkeep.uncancelled(self._start())

    async def _start(self) -> None:
        settings = self._settings
        mdk, relays, servers = await opened_in_thread(
            self._open_database, lambda opened: opened[0].close()
        )
        try:
            pool = settings.pool._native if settings.pool is not None else None
            if pool is None:
                pool = self._own_pool = _Pool(
                    allow_loopback=settings.config.allow_loopback,
                    allow_plaintext=settings.config.allow_plaintext,
                    reconnect_min=settings.reconnect_min,
                )
            picture = settings.picture_server if settings.config.use_picture_server else None
            native = await in_thread(
                lambda: _Client(
                    mdk,
                    pool,
                    relays=list(relays),
                    blossom=list(servers),
                    picture_server=picture,
                    name=settings.name,
                    reachable=settings.reachable,
                    push=settings.config.push,
                    timing=settings.timing,
                )
            )
            session = Session(mdk, native, relays, servers, settings.config.max_media_bytes)
            await session.feed.start()
            await native.start()
        except BaseException:
            await in_thread(mdk.close)
            raise
        self._opened = session
        # It is not opened a second time: what encrypts the database is SQLCipher's alone from here on.
        settings.keys = settings.key = None
        self._spawn(upkeep.hand_out_troubles(pool))
        self._spawn(self._farewells.resume())
        if not settings.invites.is_manual:
            self._spawn(self._invites._answer_all(settings.invites))
        if settings.config.add_own_relays:
            self._spawn(upkeep.add_own_relays(session))
        if await session.look(lambda _: session.store.is_restored()):
            self._spawn(upkeep.renew_restored(session, self._key_packages))

    def _open_database(self) -> tuple[Mdk, tuple[str, ...], tuple[str, ...]]:
        """The engine alone, not connected, the account's relays and its file servers. It blocks."""
        return open_database(self._settings)

    async def _settle_in(self) -> None:
        """Wait until ready, while there is hope for it."""
        session = self._session
        ready = asyncio.create_task(self.ready())
        hopeless = asyncio.create_task(upkeep.without_hope(session))
        try:
            await asyncio.wait(
                [ready, hopeless], timeout=ENTRY_PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for waiting in (ready, hopeless):
                waiting.cancel()
            await asyncio.gather(ready, hopeless, return_exceptions=True)

    async def close(self) -> None:
        """Stop, and close the database. The outbox gets up to four seconds to empty; the rest waits for the next start.

        It returns within five seconds, whatever relays do and whoever uses the database: what has not ended by then is
        cut off, and a database in use is closed when that use ends. Nothing that was acknowledged is lost. Closing
        again waits for the same end, and closing in a child of os.fork() does nothing. It goes on to its end even if
        the wait for it is cancelled.

        Raises:
            WrongLoop: the event loop that it was started on goes on, and this is another one.
        """
        if self._forked:
            return
        if self._opened is not None and not self._opened.feed.outlived:
            self._opened.feed.on_its_loop()
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="mdk-close")
        await closing.until_closed(self._closing, self._settings.drain)

    async def _close(self) -> None:
        async with self._starting:
            tasks, self._tasks = self._tasks, set()
            if self._opened is not None and self._opened.feed.outlived:
                # With their loop they have ended.
                tasks.clear()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            # It cannot be started again, so nothing needs them.
            self._settings.keys = self._settings.key = None
            session = self._opened
            if session is None:
                return
            try:
                await session.feed.stop()
                await session.native.close(self._settings.drain)
            finally:
                pool = [] if self._own_pool is None else [self._own_pool.close()]
                await asyncio.gather(in_thread(session.mdk.close), *pool)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        _ = self._begin(work)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def _forked(self) -> bool:
        return self._opened is not None and self._opened.feed.forked

    def _open_account(self) -> Session:
        return self._session

    @property
    def _session(self) -> Session:
        if self._opened is None:
            raise Closed(
                "the client is not started",
                hint="Use `async with Client.open(…)`, or call start().",
            )
        return self._opened

    def __repr__(self) -> str:
        if self._opened is None:
            return "<Client, not started>"
        return f"<Client {self._opened.mdk.public_key.npub}>"

    # what it is

    @property
    def public_key(self) -> PublicKey:
        """The account."""
        return self._session.mdk.public_key

    @property
    def npub(self) -> str:
        """The account as others know it (NIP-19)."""
        return self.public_key.npub

    @property
    def invite_uri(self) -> str:
        """`nostr:nprofile1…` with the account and up to three relays (NIP-19, NIP-21): for a link or a QR code."""
        return profile_uri(self.public_key, self._session.relays)

    @property
    def relays(self) -> tuple[str, ...]:
        """The account's own relays."""
        return self._session.relays

    @property
    def groups(self) -> Groups:
        """Its groups."""
        return self._groups

    @property
    def invites(self) -> Invites:
        """Its invites."""
        return self._invites

    @property
    def key_packages(self) -> KeyPackages:
        """KeyPackages: its own, and those of others."""
        return self._key_packages

    @property
    def profiles(self) -> Profiles:
        """What accounts say of themselves: names, which nobody vouches for."""
        return self._profiles

    @property
    def outbox(self) -> Outbox:
        """What waits to be published."""
        return self._outbox

    @property
    def media(self) -> Media:
        """Files that messages carry."""
        return self._media

    @property
    def engine(self) -> Mdk:
        """The engine, for what a Client has no method for. Its calls block: not for an event loop that must not wait.

        What it makes is published by the client. Do not close it.
        """
        return self._session.mdk

    # what happens

    @property
    def cursor(self) -> str:
        """Where the log is now: `events(after=client.cursor)` are those from now on."""
        return str(self._session.feed.position)

    def events(self, *, after: str | None = None) -> AsyncIterator[Event]:
        """Everything that happens, in the order it became true, for ever. Ends when the client is closed.

        Args:
            after: the `cursor` of the last event that was handled, of this or an earlier run; None for the beginning of
                the log. `client.cursor` is the present.

        Raises:
            InvalidInput: `after` is not a cursor.
            TypeError: `after` is no text.
            WrongLoop: the client was started on another event loop.
        """
        return self._session.feed.events(0 if after is None else position_of(after))

    async def ready(self, timeout: float | None = None, *, reachable: bool = True) -> None:
        """Wait until a relay is connected, all that reachable relays have is processed, and others can invite us.

        Args:
            timeout: seconds; None for as long as it takes.
            reachable: whether to wait for the last of these, too. Where relays take no KeyPackage it does not come:
                `key_packages.refusals()` has their words.

        Raises:
            TimeoutError: not in time. The client goes on trying.
        """
        self._session.feed.check()
        native = self._session.native
        async with asyncio.timeout(timeout):
            await (native.ready() if reachable else native.caught_up())
            await self._session.feed.current()

    async def sync(self) -> int:
        """Fetch from all relays now, and process it. Returns the number of events that were new.

        Raises:
            NotConnected: no relay can be reached.
        """
        self._session.feed.check()
        with self._session.naming_relays():
            new = await self._session.native.sync()
        await self._session.feed.current()
        return new

    async def search(self, query: str, *, limit: int = 50) -> list[Message]:
        """Messages of all groups whose text contains `query`, newest first. Case is ignored for A to Z only."""
        return await self._session.look(lambda mdk: mdk.search(query, limit=limit))

    def stats(self) -> ClientStats:
        """Counters, and the relays as they stand."""
        native = self._session.native
        return ClientStats(relays=tuple(native.status()), **native.stats())

    # secrets

    async def rekey(self, *, database: bool = True) -> RekeyReport:
        """Renew every secret that can be: our leaf in each group, the KeyPackage, and the key of the database.

        Args:
            database: whether the file is encrypted anew, too. It is not for an account in memory.

        Raises:
            NewKeyNeeded, NotEnoughSpace: the database; the groups have been renewed then.
        """
        return await upkeep.rekey(self._session, self._key_packages, database=database)

    async def backup(self, path: PathArg, *, passphrase: str) -> None:
        """Write the account into one encrypted file, which must not exist yet. Restoring it is a move.

        Args:
            path: the new file.
            passphrase: 8 characters or more, at most 1,024 bytes: all that protects the backup.

        Raises:
            DestinationExists, NotEnoughSpace, InvalidPassphrase, InMemory.
        """
        await upkeep.backup(self._session, path, passphrase)

    @classmethod
    async def restore(
        cls,
        backup: PathArg,
        account: PathArg,
        *,
        passphrase: str,
        key: DatabaseKey | None = None,
        keys: Keys | None = None,
        relays: Sequence[str] = (),
        blossom: Sequence[str] = (),
        name: str | None = None,
        invites: InvitePolicy | None = None,
        config: Config | None = None,
        pool: RelayPool | None = None,
        on_restored: Callable[[RestoreReport], None] | None = None,
    ) -> Self:
        """Restore a backup as a new account: a Client that is not started yet.

        The account must not run anywhere else from then on. Once connected, our leaf in every group and the KeyPackage
        are renewed; until then a group takes no messages of ours (SelfUpdateRequired).

        Args:
            backup: the file that backup() wrote.
            account: the new account, which must not exist.
            passphrase: that of the backup.
            key: how the new database is encrypted; None means DatabaseKey.keyring().
            keys: the account's Nostr keys, if the backup keeps none.
            relays: as in open(); empty means those of the backup.
            blossom: as relays.
            name: as in open().
            invites: as in open().
            config: as in open().
            pool: as in open().
            on_restored: called with what was brought back.

        Raises:
            WrongPassphrase, NotABackup, DestinationExists and others of StorageError.
        """
        client = cls.open(
            account,
            keys=keys,
            key=key,
            relays=relays,
            blossom=blossom,
            name=name,
            invites=invites,
            config=config,
            pool=pool,
        )
        path = client._settings.path
        if path is None:
            raise InvalidInput("account: a backup is restored into a file", field="account")
        report = await in_thread(lambda: Mdk.restore(backup, path, passphrase=passphrase, key=key))
        client._settings.restored = True
        if on_restored is not None:
            on_restored(report)
        return client
