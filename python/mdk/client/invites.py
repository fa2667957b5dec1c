"""Invites of an account, and the answers to those that need no asking."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from mdk.errors import Closed, GroupNotFound, InviteNotFound, MdkError
from mdk.events import Invited
from mdk.values import EventId, GroupState, Invite

from .farewells import Farewells, Spawn
from .group import Group, forget, handle
from .invite_policy import InvitePolicy
from .runtime import growing
from .session import Session
from .upkeep import uncancelled

_log = logging.getLogger("mdk.client")

_FIRST_PAUSE = 0.5
"""Seconds until an invite that could not be answered is tried again; the pauses grow."""

TOLD_WITHIN = 10.0
"""How long decline() waits for a relay of the group, seconds."""


class Invites:
    """Invites that were verified. Iterating and next() hand out each waiting one once, in the order of arrival."""

    def __init__(
        self,
        session: Callable[[], Session],
        policy: Callable[[], InvitePolicy],
        farewells: Farewells,
        spawn: Spawn,
    ) -> None:
        """Made by Client; `session` is the open account, `policy` says who is no stranger."""
        self._session = session
        self._policy = policy
        self._farewells = farewells
        self._spawn = spawn
        self._given: set[EventId] = set()

    async def __aiter__(self) -> AsyncIterator[Invite]:
        while True:
            try:
                invite = await self.next()
            except Closed:
                return
            yield invite

    async def next(self, timeout: float | None = None) -> Invite:
        """The next waiting invite that was not handed out by this client yet.

        Args:
            timeout: seconds to wait; None for as long as it takes.

        Raises:
            TimeoutError: there was none in time.
            Closed: the client was closed.
        """
        feed = self._session().feed
        async with asyncio.timeout(timeout):
            while True:
                seen = feed.position
                waiting = await self.pending()
                for invite in waiting:
                    if invite.id not in self._given:
                        self._given = {i.id for i in waiting if i.id in self._given} | {invite.id}
                        return invite
                if feed.position == seen:
                    await feed.wait()

    async def pending(self) -> list[Invite]:
        """The invites that wait for an answer, in the order of arrival.

        Of several to one group that came together, the one that is followed stands first.
        """
        return await self._session().look(lambda mdk: mdk.invites())

    async def accept(self, invite: Invite | EventId) -> Group:
        """Join. Messages that were sent since the invitation are there.

        Raises:
            InviteNotFound: it is not there any more.
        """
        session = self._session()
        chosen = invite.id if isinstance(invite, Invite) else invite
        info = await session.change(lambda mdk: mdk.accept(chosen))
        await session.fresh(info.id)
        return handle(session, info.id)

    async def decline(self, invite: Invite | EventId, *, quietly: bool | None = None) -> None:
        """Decline, and forget what came with it.

        The group is told by leaving it, as phones do: what its relays have of it is read first, and nothing of that
        reaches the application. It waits ten seconds for a relay at most; it goes on after that, also at the next
        start, for 30 days: four groups at a time, half a minute each, with pauses that grow to six hours where no
        relay answers.

        Whom the invite made an admin tells nobody: the members see this account then until an admin removes it. An
        admin leaves only after a commit of his own that gives up the role, and who has not come in changes nothing in
        the group: such a commit could undo what others do at that moment. To be gone there, accept() and
        Group.leave(), as an admin after Group.demote() of this account.

        To a group that it was in before it says so without reading on, so that it may be seen as long there.

        Args:
            invite: one that waits, or its id.
            quietly: tell nobody; None means: if the inviter is a stranger to InvitePolicy.allow().

        Raises:
            InviteNotFound: it is not there any more.
        """
        # What is known of the group here goes, too, also if nobody waits for that any more.
        telling = await uncancelled(self._decline(invite, quietly))
        if telling is not None:
            await asyncio.wait([telling], timeout=TOLD_WITHIN)

    async def _decline(
        self, invite: Invite | EventId, quietly: bool | None
    ) -> asyncio.Task[None] | None:
        session = self._session()
        chosen = invite.id if isinstance(invite, Invite) else invite
        waiting = next((one for one in await self.pending() if one.id == chosen), None)
        if waiting is None:
            raise InviteNotFound("this invite does not wait for an answer")
        if quietly is None:
            policy = self._policy()
            quietly = not policy.is_manual and not policy.accepts(waiting)
        await session.change(
            lambda mdk: mdk.decline(chosen) if quietly else session.store.decline_and_follow(chosen)
        )
        try:
            # The account may have been in it before, or be invited once more.
            await session.fresh(waiting.group_id)
        except GroupNotFound:
            session.feed.drop(waiting.group_id)
            forget(session, waiting.group_id)
        if quietly:
            return None
        return self._spawn(self._farewells.say(waiting.group_id))

    # invites that need no asking

    async def _answer_all(self, policy: InvitePolicy) -> None:
        """Answer every invite as the policy says, those that wait and those that come, until the client is closed."""
        feed = self._session().feed
        after = feed.opened_at
        for pause in growing(_FIRST_PAUSE):
            try:
                for invite in await self.pending():
                    await self._answer(policy, invite)
                async for event in feed.events(after):
                    if isinstance(event, Invited):
                        await self._answer(policy, event.invite)
                    after = int(event.cursor)
            except MdkError as error:
                if not feed.ended:
                    _log.warning("invites are not answered for now (%s)", error.code)
            if feed.ended:
                return
            await asyncio.sleep(pause)

    async def _answer(self, policy: InvitePolicy, invite: Invite) -> None:
        """Answer one invite as the policy says. If that cannot be done now, it is done later, and holds nothing up.

        Raises:
            Closed: the client was closed.
        """
        error = await self._try(policy, invite)
        if error is not None:
            _log.warning("an invite could not be answered now (%s)", error.code)
            _ = self._spawn(self._answer_later(policy, invite))

    async def _answer_later(self, policy: InvitePolicy, invite: Invite) -> None:
        for pause in growing(_FIRST_PAUSE):
            await asyncio.sleep(pause)
            try:
                if await self._try(policy, invite) is None or self._session().feed.ended:
                    return
            except Closed:
                return

    async def _try(self, policy: InvitePolicy, invite: Invite) -> MdkError | None:
        try:
            if policy.accepts(invite):
                # It may be to a copy of somebody who was put out: what was accepted stays until a person says
                # otherwise.
                if await is_beside(self._session(), invite):
                    _log.warning("an invite to a group that this account is in waits for an answer")
                    return None
                await self.accept(invite)
            elif policy.declines:
                # Whom the policy does not accept is a stranger.
                await self.decline(invite, quietly=True)
        except InviteNotFound:
            return None  # answered in the meantime
        except Closed:
            raise
        except MdkError as error:
            return error
        return None


async def is_beside(session: Session, invite: Invite) -> bool:
    """Whether an invite is to a group that this account is in."""
    try:
        group = await session.look(lambda mdk: mdk.group(invite.group_id))
    except GroupNotFound:
        return False
    return group.state in {GroupState.ACTIVE, GroupState.LEAVING}
