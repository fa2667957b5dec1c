"""A real relay on loopback, in this process, whose faults can be switched on."""

import asyncio
import math
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self, final

from mdk._mdk import SignedEvent, _LocalRelay
from mdk.errors import Closed, Forked, InvalidInput
from mdk.ranges import within

_LARGEST_U16 = 65_535
_LARGEST_U32 = 2**32 - 1
_LARGEST_SIZE = 2**63 - 1
_LARGEST_SEED = 2**64 - 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What a relay does wrong. All off by default; they can be combined.

    Raises:
        InvalidInput: a number or the delay is negative, or too large. TypeError: it is none.
    """

    drop_silently_over: int | None = None
    """Events of more bytes than this vanish: not stored, no answer."""
    delay: timedelta | None = None
    """Everything that the relay says comes this much later."""
    duplicate: bool = False
    """Every event is sent twice."""
    reorder: int | None = None
    """Events come in an order that this seed decides, within windows of 64 events or 20 ms."""
    page_limit: int | None = None
    """Most events that one filter gets, newest first; not announced."""
    rate_limit: int | None = None
    """Events a minute, over all connections; more are refused with `rate-limited:`."""
    lie_ok: bool = False
    """OK true for every event, but nothing is stored."""
    lose_ok: bool = False
    """Every event is stored and given to whoever asks for it, but its author gets no OK."""
    false_events: bool = False
    """Events that match no filter, and forged copies of those that do."""
    endless: bool = False
    """No end of stored events: well signed ones that match, until the subscription is closed."""
    notice_flood: bool = False
    """NOTICE messages without end."""
    auth_loop: bool = False
    """Everything is answered with a demand to authenticate, and so is that."""
    huge_frames: bool = False
    """Before every answer a NOTICE of 8 MiB."""
    huge_tags: bool = False
    """No end of stored events: over and over one of 1.9 MB with 380,000 tags that matches."""
    slow_bytes: bool = False
    """One byte every 50 ms."""

    def __post_init__(self) -> None:
        """Refuse what a relay could not do."""
        for field, most in _MOST.items():
            value = getattr(self, field)
            if value is not None:
                within(field, value, 0, most)
        # What comes from a program without types may be a number.
        delay: object = self.delay
        if delay is None:
            return
        if not isinstance(delay, timedelta):
            raise TypeError(f"delay: {type(delay).__name__} instead of a timedelta")
        if delay < timedelta(0):
            seconds = math.floor(delay.total_seconds())
            raise InvalidInput("delay: negative", field="delay", limit=0, value=seconds)


_MOST = {
    "drop_silently_over": _LARGEST_SIZE,
    "reorder": _LARGEST_SEED,
    "page_limit": _LARGEST_SIZE,
    "rate_limit": _LARGEST_U32,
}


class LocalRelay:
    """A real relay in this process, on 127.0.0.1. Use it with `async with`; what it stores is in memory.

    It speaks NIP-01, 09, 11, 40, 42, 45, 70 and 77.

    Args:
        port: where it listens, at most 65535; 0 takes a free port.
        max_event_bytes: larger events are refused; at least 1.
        require_auth: nothing is read or written before authentication (NIP-42).
        page_limit: most events that one filter gets; announced (NIP-11).

    Raises:
        InvalidInput: there is no such port, or another number is out of range; when it is entered: it runs already.
    """

    _can_be_faulty = True

    def __init__(
        self,
        *,
        port: int = 0,
        max_event_bytes: int = 1_048_576,
        require_auth: bool = False,
        page_limit: int | None = None,
    ) -> None:
        self._port = within("port", port, 0, _LARGEST_U16)
        self._max_event_bytes = within("max_event_bytes", max_event_bytes, 1, _LARGEST_SIZE)
        self._require_auth = require_auth
        if page_limit is not None:
            within("page_limit", page_limit, 0, _LARGEST_SIZE)
        self._page_limit = page_limit
        self._running: _LocalRelay | None = None
        self._entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            # Whoever leaves first would end it for the other.
            raise InvalidInput(
                "the relay runs already", hint="Enter it once, and hand it to who needs it."
            )
        self._entered = True
        try:
            self._running = await _LocalRelay.start(
                port=self._port,
                max_event_bytes=self._max_event_bytes,
                require_auth=self._require_auth,
                page_limit=self._page_limit,
                faults=self._can_be_faulty,
            )
        except BaseException:
            self._entered = False
            raise
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._running is not None:
            # It is the parent's, then.
            with suppress(Forked):
                await self._running.pause()
            self._running = None
        self._entered = False

    @property
    def _native(self) -> _LocalRelay:
        if self._running is None:
            raise Closed(
                "the relay is not running", hint="Use `async with LocalRelay() as relay:`."
            )
        return self._running

    @property
    def url(self) -> str:
        """`ws://127.0.0.1:PORT`."""
        return self._native.url

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._native.connections

    async def pause(self) -> None:
        """Go down: every connection is cut, the port refuses new ones. What is stored stays."""
        await self._native.pause()

    async def resume(self) -> None:
        """Come up again, on the same port."""
        await self._native.resume()

    async def cut(self) -> None:
        """Cut all connections; new ones are accepted."""
        await self._native.cut()

    async def wipe(self) -> None:
        """Forget everything that is stored and cut all connections, like a relay that restarts empty."""
        await self._native.wipe()

    def refuse(self, *, kinds: set[int] | None = None, reason: str = "blocked: test") -> None:
        """Refuse events from now on.

        Args:
            kinds: those that are refused; None for all, an empty set for none.
            reason: what it says; it begins with a prefix of NIP-01: `blocked: `, `rate-limited: `, `error: ` and so on.

        Raises:
            InvalidInput: there is no such kind. TypeError: they are no set of numbers.
        """
        # What comes from a program without types may be a text, or one number.
        given: object = kinds
        if given is not None and not isinstance(given, AbstractSet):
            raise TypeError(f"kinds: {type(given).__name__} instead of a set of numbers")
        for kind in kinds or ():
            within("kinds", kind, 0, _LARGEST_U16)
        self._native.refuse(None if kinds is None else set(kinds), reason)

    def accept(self) -> None:
        """Refuse nothing any more."""
        self._native.refuse(set(), "")

    def faults(self, faults: Faults | None = None) -> None:
        """Behave like this from now on; None for a good relay."""
        self._native.faults(asdict(faults or Faults()))

    def count(self, kind: int) -> int:
        """How many events of this kind are stored now."""
        return self._native.count(within("kind", kind, 0, _LARGEST_U16))

    def events(self, kind: int) -> list[SignedEvent]:
        """Every event of this kind that was ever stored, in the order of arrival."""
        return [
            SignedEvent.from_json(text)
            for text in self._native.events(within("kind", kind, 0, _LARGEST_U16))
        ]

    async def until(self, condition: Callable[["LocalRelay"], bool], timeout: float = 10.0) -> None:
        """Wait until `condition(relay)` is true; looked at whenever something is stored, or a connection comes or goes.

        Args:
            condition: for example `lambda relay: relay.count(445) == 2`.
            timeout: seconds.

        Raises:
            TimeoutError: it did not become true in time.
        """
        seen = 0
        async with asyncio.timeout(timeout):
            while not condition(self):
                seen = await self._native.changed(seen)
