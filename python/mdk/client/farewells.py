"""Groups whose invite was declined: each is told by leaving it, once a relay of it was read.

Nothing else needs these relays, and whoever invites chooses them: they may never answer. So few groups are listened to
at one time, for a short while each, and less and less often.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, final

from mdk.config import DECLINED_AT_ONCE, DECLINED_ATTEMPT, DECLINED_PAUSE
from mdk.errors import Closed, MdkError
from mdk.values import GroupId

from .runtime import growing
from .session import COMMIT_PATIENCE, Session

_log = logging.getLogger("mdk.client")

_FIRST_PAUSE = 0.5
"""Seconds until the second attempt."""

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Begins something that ends with the client."""


@final
class Farewells:
    """What an account still has to tell to groups whose invite it declined."""

    def __init__(self, session: Callable[[], Session], spawn: Spawn) -> None:
        """Made by Client; `session` is the open account."""
        self._session = session
        self._spawn = spawn
        self._places = asyncio.Semaphore(DECLINED_AT_ONCE)

    async def resume(self) -> None:
        """Go on with what an earlier run has declined."""
        try:
            session = self._session()
            waiting = await session.look(lambda _: session.store.farewells())
        except MdkError as error:
            _log.warning("invites that were declined wait for the next start (%s)", error.code)
            return
        for group_id in waiting:
            _ = self._spawn(self.say(group_id))

    async def say(self, group_id: GroupId) -> None:
        """Leave a group whose invite was declined. Goes on until it is told or the client is closed."""
        feed = self._session().feed
        for pause in growing(_FIRST_PAUSE, DECLINED_PAUSE):
            try:
                async with self._places, self._following(group_id):
                    await self._attempt(group_id)
            except Closed:
                return
            except TimeoutError:
                pass  # none of its relays answers
            except MdkError as error:
                if feed.ended:
                    return
                _log.warning(
                    "a group is not told now that its invite was declined (%s)", error.code
                )
            else:
                return
            await self._rest(pause)

    async def _attempt(self, group_id: GroupId) -> None:
        """Tell the group.

        Raises:
            TimeoutError: none of its relays was read in time.
        """
        session = self._session()
        told = False
        while not told:
            route = (await session.look(lambda _: session.store.farewells())).get(group_id)
            if route is None:
                return
            async with asyncio.timeout(DECLINED_ATTEMPT):
                await session.native.read(route)
            # (the group may have another route by then)
            told = await session.patient(
                lambda _, route=route: session.store.farewell(group_id, route),  # type: ignore[misc]
                COMMIT_PATIENCE,
            )

    @asynccontextmanager
    async def _following(self, group_id: GroupId) -> AsyncIterator[None]:
        """Listen to the group meanwhile."""
        session = self._session()
        await session.change(lambda _: session.store.follow_declined(group_id, follow=True))
        try:
            yield
        finally:
            await session.change(lambda _: session.store.follow_declined(group_id, follow=False))

    async def _rest(self, pause: float) -> None:
        await asyncio.sleep(pause)
