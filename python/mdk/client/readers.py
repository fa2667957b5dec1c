"""Where the readers of one group handle are: one place for each choice of kinds."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from mdk.errors import GroupNotFound, InvalidInput
from mdk.events import MessageReceived
from mdk.ranges import within
from mdk.values import GroupId, Message

from . import pages
from .session import several

if TYPE_CHECKING:
    from .session import Session

Kinds: TypeAlias = frozenset[int] | None
"""Which kinds of messages are wanted; None for all."""

_LARGEST_KIND = 65_535


def chosen(kinds: Iterable[int] | None) -> Kinds:
    """The kinds that a caller asks for.

    Raises:
        InvalidInput: there is none, one of them cannot be, or they are one text. TypeError: they are no numbers.
    """
    if kinds is None:
        return None
    found = frozenset(within("kinds", kind, 0, _LARGEST_KIND) for kind in several(kinds, "kinds"))
    if not found:
        raise InvalidInput("kinds: empty", field="kinds", hint="None gives messages of every kind.")
    return found


class Reader:
    """Messages of others in a group, of some kinds, each once, from a place in the log on."""

    def __init__(
        self,
        session: "Session",
        group_id: GroupId,
        kinds: Kinds,
        *,
        after: int,
        heard: Callable[[Message], bool] | None,
    ) -> None:
        self._session = session
        self._id = group_id
        self._kinds = kinds
        self._after = after
        self._heard = heard
        self._ready: deque[Message] = deque()

    def forget(self) -> None:
        """Drop messages that nobody has taken yet: the group was deleted."""
        self._ready.clear()

    async def next(self) -> Message:
        """The next one.

        Raises:
            Closed: the client was closed. GroupNotFound: the group was deleted.
        """
        while not self._ready:
            await self._fill()
        return self._ready.popleft()

    async def _fill(self) -> None:
        feed = self._session.feed
        after = self._after
        events, upto = await feed.read_group(after, self._id, pages.PAGE)
        if self._after != after:
            return  # another task that reads here was faster
        self._after = max(self._after, upto)
        self._ready += [
            event.message
            for event in events
            if isinstance(event, MessageReceived) and self._is_wanted(event.message)
        ]
        if not self._ready and not self._session.native.has_group(self._id):
            raise GroupNotFound("no such group")
        if not self._ready and self._after >= feed.position:
            await feed.wait()

    def _is_wanted(self, message: Message) -> bool:
        if message.is_mine or (self._kinds is not None and message.kind not in self._kinds):
            return False
        return self._heard is None or self._heard(message)
