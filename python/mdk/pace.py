"""What keeps two bots from answering each other without end: a mark, and a pace."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .values import GroupId

_log = logging.getLogger("mdk.bot")

BOT_MARK = ("bot", "true")
"""The tag of each message of a bot, after the field of a profile that says the same (NIP-24). Apps ignore it."""
_MINUTE = 60.0


@dataclass(slots=True)
class _Group:
    sent: deque[float]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Messages wait one behind the other, in their order."""
    told: bool = False


class Pace:
    """At most so many messages to one group within any minute."""

    def __init__(
        self,
        most: int | None,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._most = most
        self._now = now
        self._sleep = sleep
        self._groups: dict[GroupId, _Group] = {}

    async def turn(self, group_id: GroupId) -> None:
        """Wait until the next message to this group may go. That the bot waits is logged once for each group."""
        if self._most is None:
            return
        if group_id not in self._groups:
            self._groups[group_id] = _Group(deque(maxlen=self._most))
        group = self._groups[group_id]
        async with group.lock:
            while len(group.sent) == self._most:
                left = group.sent[0] + _MINUTE - self._now()
                if left <= 0:
                    break
                if not group.told:
                    group.told = True
                    _log.warning(
                        "the bot has sent %d messages to one group within a minute: further ones wait "
                        "(messages_a_minute=)",
                        self._most,
                    )
                await self._sleep(left)
            group.sent.append(self._now())
