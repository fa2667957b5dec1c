"""KeyPackages: ours, by which others invite us, and theirs."""

from typing import TYPE_CHECKING

from mdk.errors import KeyPackageNotFound
from mdk.values import EventId, KeyPackage, PublicKeyLike

from .session import public_keys

if TYPE_CHECKING:
    from mdk._mdk import Mdk

    from .client import Client


class KeyPackages:
    """KeyPackages (RFC 9420, 10; kind 30443). The client keeps one published by itself."""

    def __init__(self, client: "Client") -> None:
        """Made by Client."""
        self._client = client

    async def mine(self) -> list[KeyPackage]:
        """Ours whose private halves are here, newest first."""
        return await self._client._session.look(lambda mdk: mdk.key_packages())

    async def publish(self) -> KeyPackage:
        """Publish the newest one again, or a new one if there is none. It waits in the outbox until a relay has it."""
        known = await self.mine()
        usable = [package for package in known if not package.used]
        return usable[0] if usable else await self.rotate()

    async def rotate(self) -> KeyPackage:
        """Make a new one in the account's slot: on relays it takes the place of the one before.

        It waits in the outbox until a relay has it; the old one can be used until then.
        """
        session = self._client._session

        def make(mdk: "Mdk") -> KeyPackage:
            event = mdk.new_key_package(relays=session.relays[:16])
            return _find(mdk, event.id)

        return await session.change(make)

    async def find(self, who: PublicKeyLike) -> list[KeyPackage]:
        """The KeyPackages of an account that relays have and that could be used to invite it, newest first.

        Raises:
            NotConnected: no relay could be asked.
        """
        session = self._client._session
        (account,) = public_keys([who])
        session.feed.check()
        try:
            events = await session.native.find_key_packages(account)
        except KeyPackageNotFound:
            return []
        return await session.look(lambda mdk: mdk._read_key_packages(events))


def _find(mdk: "Mdk", event_id: EventId) -> KeyPackage:
    for package in mdk.key_packages():
        if package.event_id == event_id:
            return package
    raise KeyPackageNotFound("the new KeyPackage is gone")
