"""Connections that several accounts share."""

from contextlib import suppress
from types import TracebackType
from typing import Self

from mdk._mdk import _Pool
from mdk.errors import Forked
from mdk.values import RelayStatus


class RelayPool:
    """Connections to relays, shared by the accounts that are opened with it.

    To one relay it has a connection for about every ten accounts, because relays bound the subscriptions of a
    connection: for more of them, up to a hundred, where the relay announces that it allows more, for fewer where it
    allows fewer, and for one alone where it knows only one account per connection. A relay that a user named and one
    that others named are never on the same connection, even with the same URL.

    Args:
        proxy: a SOCKS5 proxy for everything, `socks5://IP:PORT`; names are resolved by it.
        allow_loopback: whether relays that others name may be on loopback; for tests. Counts instead of Config's.
        allow_plaintext: whether they may be `ws://`, without TLS. Counts instead of Config's.

    Close it after the clients, or use it as a context manager around them. A child of os.fork() cannot use it (Forked).
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        allow_loopback: bool = False,
        allow_plaintext: bool = False,
    ) -> None:
        self._native = _Pool(
            proxy=proxy, allow_loopback=allow_loopback, allow_plaintext=allow_plaintext
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def status(self) -> tuple[RelayStatus, ...]:
        """Every relay that some account uses, once; where it has several connections, as the best of them stands."""
        return tuple(self._native.status())

    async def close(self) -> None:
        """End all connections. In a child of os.fork() it does nothing: they are the parent's."""
        with suppress(Forked):
            await self._native.close()
