"""KeyPackages: ours, by which others invite us, and theirs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mdk.errors import KeyPackageNotFound, NotConnected
from mdk.values import EventId, KeyPackage, PublicKeyLike

from .session import Session, people

if TYPE_CHECKING:
    from mdk._mdk import Mdk


class KeyPackages:
    """KeyPackages (RFC 9420, 10; kind 30443). The client keeps one published by itself."""

    def __init__(self, session: Callable[[], Session]) -> None:
        """Made by Client; `session` is the open account."""
        self._session = session

    async def mine(self) -> list[KeyPackage]:
        """Ours whose private halves are here, newest first."""
        return await self._session().look(lambda mdk: mdk.key_packages())

    async def publish(self) -> KeyPackage:
        """See to it that relays have one: the newest that can be used, if it is there or on its way, else a new one.

        The event of one that relays have lost is not kept: a new one takes its place, as with rotate(), also where no
        relay can be asked. That waits in the outbox until a relay has it.
        """
        session = self._session()
        newest = next((package for package in await self.mine() if not package.used), None)
        if newest is None:
            return await self.rotate()

        def is_on_its_way(_: "Mdk") -> bool:
            taken = session.store.published_key_package() == newest.event_id
            return not taken and session.store.next_waiting() is not None

        if await session.look(is_on_its_way) or await self._is_there(newest):
            return newest
        return await self.rotate()

    async def _is_there(self, package: KeyPackage) -> bool:
        session = self._session()
        try:
            events = await session.native.find_key_packages(session.mdk.public_key)
        except (KeyPackageNotFound, NotConnected):
            return False
        return any(event.id == package.event_id for event in events)

    async def rotate(self) -> KeyPackage:
        """Make a new one in the account's slot: on relays it takes the place of the one before.

        It waits in the outbox until a relay has it; the old one can be used until then.
        """
        session = self._session()

        def make(mdk: "Mdk") -> KeyPackage:
            event = mdk.new_key_package(relays=session.native.key_package_relays())
            return _find(mdk, event.id)

        return await session.change(make)

    def refusals(self) -> dict[str, str]:
        """Which relays of the account refuse its KeyPackage for good, and what each said. It is tried again later."""
        session = self._session()
        session.feed.check()
        return session.native.refusals()

    async def find(self, who: PublicKeyLike) -> list[KeyPackage]:
        """The KeyPackages of an account that relays have and that could be used to invite it, newest first.

        Asked are the relays of this account, those that `who` names as an nprofile, and those that `who` writes to. If
        none has one, so are those that this account left lately, and those of its groups: eight at most.

        Raises:
            NotConnected: no relay could be asked; or none has one, and one of ours did not answer.
        """
        session = self._session()
        ((account, hints),) = people([who]).items()
        session.feed.check()
        try:
            with session.naming_relays():
                events = await session.native.find_key_packages(account, list(hints))
        except KeyPackageNotFound:
            return []
        return await session.look(lambda _: session.store.read_key_packages(events))


def _find(mdk: "Mdk", event_id: EventId) -> KeyPackage:
    for package in mdk.key_packages():
        if package.event_id == event_id:
            return package
    raise KeyPackageNotFound("the new KeyPackage is gone")
