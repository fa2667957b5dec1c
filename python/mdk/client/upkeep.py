"""What a Client does around its calls: renewing secrets, and waiting with care."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from mdk.errors import Closed, Forked, InMemory, MdkError, TransportError
from mdk.values import GroupId, GroupState, PathArg

from . import spread
from .group import handle
from .key_packages import KeyPackages
from .values import RekeyReport

if TYPE_CHECKING:
    from mdk._mdk import Mdk, _Pool

    from .session import Session

T = TypeVar("T")

_log = logging.getLogger("mdk.client")

_LOOK_AGAIN = 0.05
_AWAY = frozenset({"backing-off", "banned"})
"""What a relay is that cannot be reached."""


async def uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """Do `work` to its end, however often the wait for it is cancelled; then the cancellation goes on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # asked for, so that nobody calls it lost: the cancellation tells
    raise cancelled


async def without_hope(session: "Session") -> None:
    """Return when an account will not be ready soon.

    No relay of it can be reached: the first attempt at each has failed. Or what there is was fetched, and each relay of
    its own has refused its KeyPackage for good, or cannot be reached.
    """
    native = session.native
    caught_up = asyncio.ensure_future(native.caught_up())
    refused = asyncio.ensure_future(native.reachable())
    try:
        while True:
            states = {relay.url: relay.state for relay in native.status()}
            own = set(native.key_package_relays())
            # Its own may not have been dialled yet.
            if all(states.get(url) in _AWAY for url in own | states.keys()):
                return
            may_take = own - set(native.refusals())
            none_takes = refused.done() or all(states.get(url) in _AWAY for url in may_take)
            if caught_up.done() and none_takes:
                await session.feed.current()
                return
            await asyncio.sleep(_LOOK_AGAIN)
    finally:
        for waiting in (caught_up, refused):
            waiting.cancel()
        await asyncio.gather(caught_up, refused, return_exceptions=True)


async def rekey(session: "Session", key_packages: KeyPackages, *, database: bool) -> RekeyReport:
    """See Client.rekey()."""
    updated, failed = await renew_groups(session)
    key_package = await key_packages.rotate()
    done = False
    if database:
        try:
            await session.change(lambda mdk: mdk.rekey())
            done = True
        except InMemory:
            done = False
    return RekeyReport(tuple(updated), failed, key_package, done)


async def backup(session: "Session", path: PathArg, passphrase: str) -> None:
    """See Client.backup()."""

    def write(mdk: "Mdk") -> None:
        if mdk.info.path is None:
            # A restored backup is the account from then on, and the one in memory goes on beside it.
            raise InMemory(
                "an account in memory is not backed up",
                hint="Use an account on disk: Client.open('name').",
            )
        mdk.backup(path, passphrase=passphrase)

    await session.look(write)


async def renew_groups(
    session: "Session", only: list[GroupId] | None = None
) -> tuple[list[GroupId], dict[GroupId, str]]:
    """Update our leaf in each group; those that worked, and why not for the others."""
    updated: list[GroupId] = []
    failed: dict[GroupId, str] = {}
    for info in session.native.groups():
        if info.state is not GroupState.ACTIVE or (only is not None and info.id not in only):
            continue
        try:
            await handle(session, info.id).self_update()
            updated.append(info.id)
        except MdkError as error:
            failed[info.id] = str(error)
    return updated, failed


async def renew_restored(session: "Session", key_packages: KeyPackages) -> None:
    """After a restore, once connected: fresh keys everywhere. Goes on in the next run if it does not get through."""
    try:
        await session.native.ready()
        await key_packages.rotate()
        waiting = await session.look(lambda mdk: mdk.needs_self_update())
        updated, failed = await renew_groups(session, waiting)
        _log.info("restored: %d groups renewed, %d not", len(updated), len(failed))
        if not failed:
            await session.change(lambda _: session.store.set_restored(False))
    except TransportError as error:
        _log.warning("the restored account is renewed at the next start (%s)", error.code)
    except MdkError as error:
        _log.warning("renewing the restored account ended (%s)", error.code)


async def add_own_relays(session: "Session") -> None:
    """Add the account's own relays to each group of its own that names one only, once a group, until it is closed."""
    tried: set[GroupId] = set()
    with suppress(Closed):
        await session.native.caught_up()
        for info in session.native.groups():
            await _add_relays(session, info.id, tried)
        async for happened in session.feed.events(session.feed.opened_at):
            if happened.group_id is not None:
                await _add_relays(session, happened.group_id, tried)


async def _add_relays(session: "Session", group_id: GroupId, tried: set[GroupId]) -> None:
    info = session.native.group(group_id)
    if info is None or group_id in tried:
        return
    add = spread.to_add(info, session.mdk.public_key, session.relays)
    if not add:
        return
    # What fails is tried again by the next start, and not with each message.
    tried.add(group_id)
    try:
        if await session.look(lambda _: session.store.own_relays_added(group_id)):
            return
        await handle(session, group_id).update(relays=[*info.relays, *add])
        # Another admin who takes them out again has the last word.
        await session.change(lambda _: session.store.note_own_relays_added(group_id))
        _log.info("a group that one relay carried alone has those of its admin, too")
    except Closed:
        raise
    except MdkError as error:
        _log.info("a group stays with one relay for now (%s)", error.code)


async def hand_out_troubles(pool: "_Pool") -> None:
    """Hand out what is logged of relays when it happens: nothing else may happen for long."""
    told = 0
    with suppress(Closed, Forked):
        while True:
            told = await pool.troubled(told)
