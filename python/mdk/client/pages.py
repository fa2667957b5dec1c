"""Reading a history page by page, also while messages of it expire.

A page begins where the one before ended, at a message. When that one has gone in the meantime, it begins at the last of
those given that is still there: what was given behind it has gone as well, so nothing is left out and nothing comes
twice. For that the ids of what was given are kept, 32 bytes each.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from mdk._mdk import _AccountStore
from mdk.errors import MessageNotFound
from mdk.values import EventId, GroupId, Message

if TYPE_CHECKING:
    from mdk._mdk import Mdk

    from .session import Session

PAGE = 100
_SIZE = 32
"""Bytes of an id."""


class _Given:
    """What was given, in that order."""

    def __init__(self, group_id: GroupId) -> None:
        self._group_id = group_id
        self._ids = bytearray()
        self.last_at: datetime | None = None
        """When the last one arrived."""

    def note(self, message: Message) -> None:
        self._ids += bytes.fromhex(message.id)
        self.last_at = message.received_at

    def anchors(self, mdk: "Mdk") -> Iterator[EventId]:
        """Those that the next page may begin at, the last one first; all but that one were there a moment ago."""
        for end in range(len(self._ids), 0, -_SIZE):
            message_id = EventId(self._ids[end - _SIZE : end].hex())
            if end == len(self._ids) or _is_there(mdk, self._group_id, message_id):
                yield message_id


def _is_there(mdk: "Mdk", group_id: GroupId, message_id: EventId) -> bool:
    try:
        mdk.message(group_id, message_id)
    except MessageNotFound:
        return False
    return True


async def newest_first(
    session: "Session", group_id: GroupId, limit: int | None, before: EventId | None
) -> AsyncIterator[Message]:
    """See Group.history()."""
    given, left = _Given(group_id), limit
    while left is None or left > 0:
        count = PAGE if left is None else min(PAGE, left)
        page = await session.look(lambda mdk: _older(mdk, group_id, given, count, before))  # noqa: B023  # awaited here
        if not page:
            return
        for message in reversed(page):
            given.note(message)
            yield message
        left = None if left is None else left - len(page)


def _older(
    mdk: "Mdk", group_id: GroupId, given: _Given, limit: int, before: EventId | None
) -> list[Message]:
    if given.last_at is None:
        return mdk.messages(group_id, limit=limit, before=before)
    for anchor in given.anchors(mdk):
        try:
            return mdk.messages(group_id, limit=limit, before=anchor)
        except MessageNotFound:
            continue
    if before is not None:
        try:
            return mdk.messages(group_id, limit=limit, before=before)
        except MessageNotFound:
            pass
    # Nothing of it is left to begin at. What arrived since the beginning is no part of this history.
    at: EventId | None = None
    while True:
        try:
            page = mdk.messages(group_id, limit=limit, before=at)
        except MessageNotFound:
            at = None
            continue
        kept = [message for message in page if message.received_at <= given.last_at]
        if kept or not page:
            return kept
        at = page[0].id


async def oldest_first(
    session: "Session", group_id: GroupId, before: EventId | None
) -> AsyncIterator[Message]:
    """See Group.history()."""
    until: Message | None = None
    if before is not None:
        # Raises if it is not there: everything would seem to be before it.
        until = await session.look(lambda mdk: mdk.message(group_id, before))
    given = _Given(group_id)
    ended = False
    while not ended:
        page, ended = await session.look(lambda mdk: _newer(mdk, group_id, given, until))
        for message in page:
            given.note(message)
            yield message


def every(mdk: "Mdk", group_id: GroupId) -> Iterator[Message]:
    """All messages of a group in the order of arrival, for one who may block."""
    given = _Given(group_id)
    while page := _behind(mdk, group_id, given):
        for message in page:
            given.note(message)
            yield message


def _newer(
    mdk: "Mdk", group_id: GroupId, given: _Given, until: Message | None
) -> tuple[list[Message], bool]:
    """The next page, and whether it is the last one."""
    page = _behind(mdk, group_id, given)
    ended = len(page) < PAGE
    if until is None:
        return page, ended
    for at, message in enumerate(page):
        if message.id == until.id:
            return page[:at], True
    if _is_there(mdk, group_id, until.id):
        return page, ended
    # It has gone, and only the clock tells what was before it.
    kept = [message for message in page if message.received_at <= until.received_at]
    return kept, ended or len(kept) < len(page)


def _behind(mdk: "Mdk", group_id: GroupId, given: _Given) -> list[Message]:
    for anchor in given.anchors(mdk):
        try:
            return _AccountStore(mdk).messages_oldest(group_id, anchor, PAGE)
        except MessageNotFound:
            continue
    # All that was given has gone.
    return _AccountStore(mdk).messages_oldest(group_id, None, PAGE)
