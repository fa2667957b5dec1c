"""One open account: the engine, what moves its events, and how the parts of a Client call both."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from mdk._mdk import PublicKey, SignedEvent, _AccountStore
from mdk.errors import (
    CommitPending,
    GroupNotFound,
    GroupSettling,
    InvalidInput,
    KeyPackageNotFound,
    MessageNotFound,
    NotConnected,
    SelfUpdateRequired,
)
from mdk.events import DeliveryChanged
from mdk.values import Delivery, GroupId, GroupInfo, Message, Outgoing, PublicKeyLike

from .feed import Feed
from .runtime import in_thread
from .values import Sent

if TYPE_CHECKING:
    from mdk._mdk import Mdk, PendingCommit, _Client

T = TypeVar("T")

_PAGE = 256
_STATES = {
    "connecting": "",
    "connected": "connected, and gives no answer or refuses",
    "backing-off": "",
    "closed": "closed",
    "banned": "",
}
"""What is said of a relay in this state, where its last error does not say it."""
_AHEAD = "ahead of this machine's clock"
_CLOCKS = (
    "One of the two clocks is wrong. If it is not that of this machine: have that account's clock set right, and its "
    "client started once more."
)
COMMIT_PATIENCE = 30.0
"""Seconds for which a change waits until the group is ready for one: until another commit is decided."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What the messages of a bot are sent with."""

    mark: tuple[str, ...]
    """A tag of each."""
    turn: Callable[[GroupId], Awaitable[None]]
    """Waits until the next one to a group may go."""


class Session:
    """The open account. Every call of the engine goes through it, on a thread."""

    def __init__(
        self,
        mdk: "Mdk",
        native: "_Client",
        relays: tuple[str, ...],
        servers: tuple[str, ...],
        max_media_bytes: int,
    ) -> None:
        self.mdk: Mdk = mdk
        self.native: _Client = native
        self.store: _AccountStore = _AccountStore(mdk)
        self.relays: tuple[str, ...] = relays
        self.servers: tuple[str, ...] = servers
        self.max_media_bytes: int = max_media_bytes
        self.feed: Feed = Feed(mdk, self.store, native, started_at=datetime.now(UTC))
        # Of class Group, which lies above.
        self.handles: dict[GroupId, object] = {}
        self.direct: asyncio.Lock = asyncio.Lock()
        self.manners: Manners | None = None

    async def marked(
        self, group_id: GroupId, tags: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[str]]:
        """The tags of a message that is sent now: a bot's are marked, and wait for their turn."""
        if self.manners is None:
            return tags
        self.feed.check()
        await self.manners.turn(group_id)
        return (*several(tags, "tags"), self.manners.mark)

    async def look(self, read: Callable[["Mdk"], T]) -> T:
        """Call the engine for something that changes nothing."""
        self.feed.check()
        return await in_thread(lambda: read(self.mdk))

    async def change(self, act: Callable[["Mdk"], T]) -> T:
        """Call the engine for something that others have to know of, also if nobody waits for the result any more."""
        self.feed.check()

        def call() -> T:
            result = act(self.mdk)
            self.native.nudge()
            return result

        return await in_thread(call)

    async def patient(self, act: Callable[["Mdk"], T], timeout: float) -> T:
        """As change(), waiting for a group that is between two states, at most `timeout` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            seen = self.native.version
            try:
                return await self.change(act)
            except (CommitPending, GroupSettling, SelfUpdateRequired) as error:
                left = end - loop.time()
                if left <= 0:
                    raise
                # A group settles by time alone; the others end with an event.
                if isinstance(error, GroupSettling) and error.millis is not None:
                    left = min(left, error.millis / 1000)
                try:
                    async with asyncio.timeout(left):
                        await self.native.changed(seen)
                except TimeoutError:
                    continue

    def saying(self, say: Callable[["Mdk"], Outgoing], push: bool) -> Callable[["Mdk"], Outgoing]:
        """What says something, and marks it when it is to wake nobody."""

        def said(mdk: "Mdk") -> Outgoing:
            outgoing = say(mdk)
            if not push:
                self.store.keep_quiet(outgoing.message.id)
            return outgoing

        return said

    async def name(self, relays: Iterable[str]) -> tuple[str, ...]:
        """Relays that the user names for a group: they may be dialled wherever they are, now and later.

        Raises:
            InvalidRelayUrl: one of them is none. InvalidInput: one text instead of a list.
        """
        named = several(relays, "relays")
        await self.native.name_relays(named)
        return tuple(named)

    def not_connected(self, message: str, hint: str | None = None) -> NotConnected:
        """The error for a relay that is needed and not there, with what is known of each relay."""
        reasons, own = {}, []
        mine = {url.rstrip("/").lower() for url in self.relays}
        for relay in self.native.status():
            words = _STATES.get(relay.state) or relay.last_error or "not connected so far"
            if relay.url.rstrip("/").lower() in mine:
                own.append(f"{relay.url} ({words})")
            # The words of a relay itself are for attributes.
            said = f"{words}: {relay.last_error}" if relay.state == "connected" else words
            reasons[relay.url] = said if relay.last_error else words
        named = f"{message}: {', '.join(own)}" if own else message
        return NotConnected(named, reasons=reasons, hint=hint)

    @contextmanager
    def naming_relays(self) -> Iterator[None]:
        """NotConnected out of the block says which relays are meant, and what each is at."""
        try:
            yield
        except NotConnected as error:
            raise self.not_connected(str(error)) from None

    async def commit(
        self, stage: Callable[["Mdk"], "PendingCommit"], timeout: float = COMMIT_PATIENCE
    ) -> GroupInfo:
        """Stage a commit and wait until it is true.

        Raises:
            CommitLost: another member's commit won.
            NoRelayAccepted: every relay refused it.
        """
        pending = await self.patient(stage, timeout)
        await self.native.commit_done(pending)
        return await self.fresh(GroupId(pending.group_id))

    async def fresh(self, group_id: GroupId) -> GroupInfo:
        """A group as it stands now.

        Raises:
            GroupNotFound: there is none with this id.
        """
        info = await self.look(lambda _: self.native.read_group(group_id))
        if info is None:
            raise GroupNotFound("no such group")
        return info

    async def until(self, check: Callable[["Mdk"], T | None], timeout: float | None) -> T:
        """Wait until `check` returns something, looking again whenever something changed.

        Raises:
            TimeoutError: it did not within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while True:
                seen = self.native.version
                found = await self.look(check)
                if found is not None:
                    return found
                await self.native.changed(seen)

    async def flush(
        self, timeout: float | None, *, group_id: GroupId | None = None, after: int = 0
    ) -> None:
        """Wait until what is in the outbox behind `after`, of all groups or of one, is on a relay or refused by all.

        Raises:
            TimeoutError: something still waits after `timeout` seconds.
        """
        start = place = after + 1

        def empty(_: "Mdk") -> bool | None:
            # What comes before the first that waits was looked at already; at the end it is once more.
            nonlocal place
            found = self.store.next_waiting(place, group_id)
            if found is None:
                found = self.store.next_waiting(start, group_id)
            place = found or start
            return found is None or None

        await self.until(empty, timeout)

    async def sent(self, message: Message) -> Sent:
        """A message of ours, with what relays have said."""
        errors = await self.look(lambda _: self.store.delivery_errors(message.id))
        return Sent(message, errors, self)

    async def delivered(self, message: Message, timeout: float | None) -> Sent:
        """Wait until the delivery of a message is decided."""

        def decided(_: "Mdk") -> Message | None:
            delivery = self.store.delivery(message.group_id, message.id)
            return None if delivery is Delivery.QUEUED else replace(message, delivery=delivery)

        try:
            return await self.sent(await self.until(decided, timeout))
        except MessageNotFound:
            return await self._outlived(message)

    async def _outlived(self, message: Message) -> Sent:
        """What became of a message that is not there any more: the log still tells."""

        def read(_: "Mdk") -> DeliveryChanged | None:
            after, last, told = self.feed.opened_at, self.store.last_cursor(), None
            while after < last:
                events, after = self.native.events_of(after, last, message.group_id, _PAGE)
                for event in events:
                    if isinstance(event, DeliveryChanged) and event.message_id == message.id:
                        told = event
            return told

        told = await self.look(read)
        delivery, errors = (Delivery.FAILED, {}) if told is None else (told.delivery, told.errors)
        return Sent(replace(message, delivery=delivery), errors, self)

    async def key_packages_of(
        self, members: Mapping[PublicKey, Sequence[str]], group: GroupId | None = None
    ) -> list[SignedEvent]:
        """The KeyPackage of each account to invite, from relays; with each the relays that somebody named for it.

        Args:
            members: the accounts.
            group: into which they are to be invited; None for one that is still to be founded.

        Raises:
            KeyPackageNotFound: `who` has the accounts without a usable one.
            NotConnected: no relay could be asked, or none has one and one of ours did not answer.
        """
        searches = (self.key_package_of(member, hints, group) for member, hints in members.items())
        found = dict(zip(members, await asyncio.gather(*searches), strict=True))
        missing = [who for who, event in found.items() if not isinstance(event, SignedEvent)]
        if missing:
            reasons = {who.npub: why for who in missing if isinstance(why := found[who], str)}
            named = [
                f"{who.npub} ({reasons[who.npub]})" if who.npub in reasons else who.npub
                for who in missing
            ]
            clocks = any(_AHEAD in why for why in reasons.values())
            raise KeyPackageNotFound(
                f"no relay has a usable KeyPackage of {', '.join(named)}",
                who=missing,
                reasons=reasons,
                hint=_CLOCKS if clocks else None,
            )
        return [event for event in found.values() if isinstance(event, SignedEvent)]

    async def key_package_of(
        self, member: PublicKey, hints: Sequence[str] = (), group: GroupId | None = None
    ) -> SignedEvent | str | None:
        """The best KeyPackage of one account. None if there is none; why the newest cannot be used, if none can."""
        self.feed.check()
        try:
            with self.naming_relays():
                events = await self.native.find_key_packages(member, list(hints), group)
        except KeyPackageNotFound:
            return None

        def choose(mdk: "Mdk") -> SignedEvent | str | None:
            chosen = mdk.select_key_package(events)
            if chosen is not None or not events:
                return chosen
            newest = max(events, key=lambda event: event.created_at)
            return _refused(mdk, newest, datetime.now(UTC))

        return await self.look(choose)


def _refused(mdk: "Mdk", event: SignedEvent, now: datetime) -> str | None:
    """Why this KeyPackage cannot be used, in a few words."""
    ahead = round((event.created_at - now) / timedelta(minutes=1))
    verdict = mdk.check_key_package(event)
    if verdict.rule == "A2-1" and ahead > 0:
        return f"dated {ahead} minutes {_AHEAD}"
    return verdict.reason


def several(given: Iterable[T], field: str) -> list[T]:
    """What was given for an argument that takes several.

    Raises:
        InvalidInput: it is one text, which Python would take letter by letter.
    """
    if isinstance(given, str | bytes | bytearray):
        raise InvalidInput(
            f"{field}: one text instead of a list", field=field, hint="Put it into brackets: […]."
        )
    return list(given)


def public_keys(members: Iterable[PublicKeyLike], field: str = "members") -> list[PublicKey]:
    """Each as a PublicKey, once. Raises as people()."""
    return list(people(members, field))


def people(
    members: Iterable[PublicKeyLike], field: str = "members"
) -> dict[PublicKey, tuple[str, ...]]:
    """Each as a PublicKey, once, with the relays that an nprofile names for it.

    Raises:
        InvalidInput: `members` is one text. InvalidKey: one of them is no public key.
        TypeError: one of them is neither, a list for example.
    """
    members = several(members, field)
    for member in members:
        if not isinstance(member, str | PublicKey):
            raise TypeError(f"{field}: {type(member).__name__} instead of a text or PublicKey")
    found: dict[PublicKey, tuple[str, ...]] = {}
    for member in members:
        if isinstance(member, str):
            key = PublicKey.parse(member)
            found[key] = (*found.get(key, ()), *PublicKey._relays_in(member))
        else:
            found.setdefault(member, ())
    return found
