"""What a bot works on: each group by itself and in order, and how far it is, on disk for the next run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from ._mdk import Mdk
from .client import Client
from .errors import Closed, GroupNotFound, MdkError
from .events import Event, MessageReceived
from .values import EventId, GroupId

_log = logging.getLogger("mdk.bot")

_PAGE = 32


@dataclass
class _Lane:
    """The events of one group, in their order."""

    group_id: GroupId | None
    acknowledged: int
    """Everything up to here is done, and will not come again."""
    wanted: int = 0
    """There is something up to here."""
    task: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether something is not done."""
        return self.acknowledged < self.wanted


class Lanes:
    """Gives each event to `deliver`, those of one group one after the other, groups side by side.

    An event is acknowledged on disk when `deliver` has returned True. False is for one that nobody wants, and for one
    that is left because of `stopping`. Without `backlog`, messages that were sent while there was no bot are passed
    over; those that the last run had, and had not finished with, are not.
    """

    def __init__(
        self,
        client: Client,
        deliver: Callable[[Event], Awaitable[bool]],
        stopping: asyncio.Event,
        *,
        backlog: bool,
    ) -> None:
        self._client = client
        self._deliver = deliver
        self._stopping = stopping
        self._backlog = backlog
        self._seen = 0
        self._lanes: dict[GroupId | None, _Lane] = {}
        self._position = 0
        self.failed: BaseException | None = None
        """What made it impossible to go on, or a handler's wish to end the process."""

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Lanes at work."""
        return {lane.task for lane in self._lanes.values() if lane.task is not None}

    def fail(self, error: BaseException) -> None:
        """End the bot with this."""
        self.failed = error
        self._stopping.set()

    async def remember(self) -> None:
        """Find out where the last run was."""
        session = self._client._session
        store = session.store

        def read(_: Mdk) -> tuple[int, int, dict[GroupId | None, int]]:
            position, seen, lanes = store.bot_state()
            if position is None:
                # What was there before there was a bot is not for it.
                position = session.feed.opened_at
                store.set_bot_position(position)
            if seen is not None:
                store.set_bot_seen(None)
            # After a kill all that is in the log counts as seen: nobody knows better, and nothing is to be lost.
            return position, session.feed.opened_at if seen is None else seen, lanes

        self._position, self._seen, lanes = await session.look(read)
        for group_id, at in lanes.items():
            self._lanes[group_id] = _Lane(group_id, at)

    async def part(self) -> None:
        """Note that this run ends here: what comes into the log from now on, it has not seen."""
        store = self._client._session.store

        def write(_: Mdk) -> None:
            store.set_bot_seen(store.last_cursor())

        # Without it the next run takes all that is there for seen.
        with suppress(MdkError):
            await self._client._session.look(write)

    async def follow(self) -> None:
        """Read the log and wake the lanes. Nothing is done here that waits for a handler."""
        async for event in self._client._session.feed.events(self._position):
            lane = self._lane(event.group_id)
            cursor = int(event.cursor)
            if cursor > lane.acknowledged:
                if lane.task is None and not lane.open:
                    # A lane at rest has nothing open before this event.
                    lane.acknowledged = cursor - 1
                lane.wanted = cursor
                if lane.task is None:
                    lane.task = asyncio.create_task(self._work(lane))

    def _lane(self, group_id: GroupId | None) -> _Lane:
        if group_id not in self._lanes:
            self._lanes[group_id] = _Lane(group_id, self._position)
        return self._lanes[group_id]

    async def _work(self, lane: _Lane) -> None:
        feed = self._client._session.feed
        try:
            while lane.open and not self._stopping.is_set():
                events, upto = await feed.read_group(lane.acknowledged, lane.group_id, _PAGE)
                last: EventId | None = None
                passed: int | None = None
                for event in events:
                    cursor = int(event.cursor)
                    if self._is_passed_over(event):
                        passed = cursor
                    else:
                        if passed is not None:
                            # On disk before a handler can end the process: the next run could not tell them apart.
                            await self._acknowledge(lane, passed)
                            passed = None
                        await self._uncontested(lane)
                        if self._stopping.is_set():
                            return
                        if await self._deliver(event):
                            await self._acknowledge(lane, cursor)
                        elif self._stopping.is_set():
                            return
                    lane.acknowledged = cursor
                    if isinstance(event, MessageReceived):
                        last = event.message.id
                if passed is not None:
                    await self._acknowledge(lane, passed)
                lane.acknowledged = max(lane.acknowledged, upto)
                await self._mark_read(lane, last)
        except Closed:
            return
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                # By whom? What is open here would stay so for as long as the bot runs, and nobody would know.
                self.fail(Closed("a task of the bot was cancelled"))
            raise
        except BaseException as error:  # noqa: BLE001
            # The disk, a bug, a handler's wish: the bot cannot go on. Out of a task of its own some of these would tear
            # the event loop down, with the account open.
            self.fail(error)
        finally:
            lane.task = None
        await self._rest()

    async def _uncontested(self, lane: _Lane) -> None:
        """Answer nobody in a group in which somebody is back who had been put out, until that is settled."""
        native, group_id = self._client._session.native, lane.group_id
        info = None if group_id is None else native.group(group_id)
        if info is None or not info.contested:
            return
        _log.warning("a removal was undone: the bot waits until it holds again, or is accepted")

        def settled(mdk: Mdk) -> bool | None:
            try:
                return None if mdk.group(info.id).contested else True
            except GroupNotFound:
                return True

        waits = [
            asyncio.ensure_future(self._client._session.until(settled, None)),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    def _is_passed_over(self, event: Event) -> bool:
        if self._backlog or not isinstance(event, MessageReceived):
            return False
        return event.backlog and int(event.cursor) > self._seen

    async def _acknowledge(self, lane: _Lane, cursor: int) -> None:
        session = self._client._session
        if lane.group_id is not None and not session.native.has_group(lane.group_id):
            # Its handler has deleted it: nothing of it comes again, and nothing of it is to be written.
            return
        await session.look(lambda _: session.store.set_bot_lane(lane.group_id, cursor))

    async def _mark_read(self, lane: _Lane, last: EventId | None) -> None:
        """What a bot has been through is read: nobody else does it, and counting grows with what is not."""
        group_id = lane.group_id
        if last is None or group_id is None:
            return
        # A group may be gone by now, and a full disk is for _acknowledge() to report.
        with suppress(MdkError):
            await self._client._session.look(lambda mdk: mdk.mark_read(group_id, last))
            await self._client._session.fresh(group_id)

    async def _rest(self) -> None:
        """When nothing is open, one number says so: the next run need not look at what is before it."""
        if self._stopping.is_set() or self.tasks or any(lane.open for lane in self._lanes.values()):
            return
        position = max((lane.wanted for lane in self._lanes.values()), default=0)
        if position <= self._position:
            return
        # Losing it costs the next run a longer look, and nothing else.
        with suppress(MdkError):
            session = self._client._session
            await session.look(lambda _: session.store.set_bot_position(position))
