"""What waits to be published."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mdk.errors import NotAllowed
from mdk.values import EventId, Message

from .values import Sent

if TYPE_CHECKING:
    from .session import Session


class Outbox:
    """What is to be published, on disk until relays have it: messages, changes of groups, invites, KeyPackages."""

    def __init__(self, session: "Callable[[], Session]") -> None:
        """Made by Client; `session` is the open account."""
        self._session = session

    async def pending(self) -> list[Message]:
        """Messages of ours that no relay has yet and that have not failed, in the order of sending."""
        session = self._session()
        return await session.look(lambda _: session.store.waiting_messages())

    async def retry(self, message_id: EventId) -> Sent:
        """Try a failed message again, at all relays of its group.

        It is the same message, encrypted once; if it is older than a day it goes out as another event, dated now.

        Raises:
            MessageNotFound: the outbox does not know it.
            NotAllowed: it has not failed.
            NotMember: we are no longer in its group.
        """
        session = self._session()
        return await session.sent(await session.change(lambda _: session.store.retry(message_id)))

    async def cancel(self, message_id: EventId) -> None:
        """Take back a message that no relay has. An attempt that is under way may reach a relay all the same.

        Raises:
            NotAllowed: a relay has it, or it is not in the outbox: delete() it instead.
        """
        session = self._session()
        if not await session.change(lambda _: session.store.cancel(message_id)):
            raise NotAllowed("a relay may have it already, or it is not in the outbox")

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that waits is on at least one relay, or was refused by all.

        Args:
            timeout: seconds; None for as long as it takes.

        Raises:
            TimeoutError: something still waits; it goes on being tried.
        """
        await self._session().flush(timeout)
