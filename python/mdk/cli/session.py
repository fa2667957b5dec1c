"""An account at work for a command: connecting, catching up with a bar, and never longer than was asked for."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import click

from mdk import Client, GroupId, GroupInfo, GroupState, Keys, Mdk
from mdk.client.runtime import in_thread
from mdk.errors import GroupNotFound, KeyringError, KeysMissing

from . import output
from .accounts import Account, no_keys
from .records import Json, plain
from .running import Deadline

_BAR_WIDTH = 30
_REDRAW = 0.1
_SHORTEST_ID = 4
_ID = re.compile(r"[0-9a-f]{32,}")
"""What can only be meant as an id; ours have 32 digits, those of others may have more."""


@contextmanager
def explained(account: Account) -> Iterator[None]:
    """Errors of opening an account, with hints in words of the command line."""
    try:
        yield
    except KeysMissing:
        raise no_keys(account) from None
    except KeyringError as error:
        raise account.advise(error) from None


@asynccontextmanager
async def opened(
    account: Account,
    deadline: Deadline,
    *,
    new: bool = False,
    identity: Keys | None = None,
    relays: Sequence[str] = (),
    blossom: Sequence[str] = (),
    name: str | None = None,
) -> AsyncIterator[Client]:
    """The account at work: it connects in the background. At the deadline it is closed, whatever still waits."""
    with explained(account):
        client = account.client(
            new=new, identity=identity, relays=relays, blossom=blossom, name=name
        )
    settings = client._settings
    try:
        with explained(account):
            await client.start()
        deadline.begin()
        yield client
    except asyncio.CancelledError:
        deadline.end()
        raise
    finally:
        # What is not out by then goes out with the next command.
        settings.drain = min(settings.drain, deadline.left)
        await client.close()


@asynccontextmanager
async def reading(
    account: Account, deadline: Deadline, *, sync: bool, silent: bool
) -> AsyncIterator[tuple[Mdk, list[dict[str, Json]]]]:
    """The account's engine, as it is on disk or after everything new was fetched, and what complete() says then."""
    if sync:
        async with opened(account, deadline) as client:
            await catch_up(client, deadline, silent=silent)
            await _answered(client, deadline)
            yield client.engine, complete(client)
        return
    async with alone(account) as (engine, _):
        yield engine, []


def complete(client: Client) -> list[dict[str, Json]]:
    """The relays of which everything is here, and as of when."""
    relays = client.stats().relays
    return [
        {"relay": relay.url, "as_of": plain(relay.complete_as_of)}
        for relay in relays
        if relay.complete_as_of is not None
    ]


@asynccontextmanager
async def alone(
    account: Account, *, new: bool = False, identity: Keys | None = None, relays: Sequence[str] = ()
) -> AsyncIterator[tuple[Mdk, tuple[str, ...]]]:
    """The account's engine without any connection, and the account's relays."""
    with explained(account):
        work = account.database(new=new, identity=identity, relays=relays)
        opening = asyncio.ensure_future(in_thread(work))
        try:
            engine, own = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # What was begun comes to its end, whole: running.run() says for how long that is waited for.
            await asyncio.wait([opening])
            if opening.exception() is None:
                opening.result()[0].close()
            raise
    with engine:
        yield engine, own


async def catch_up(
    client: Client, deadline: Deadline, *, silent: bool, patience: float | None = None
) -> None:
    """Wait until everything that the relays have is in the database, until the deadline or for `patience` seconds.

    Raises:
        NotConnected: no relay was reached in time, or it took longer.
    """
    bar = asyncio.ensure_future(_draw(client)) if not silent and sys.stderr.isatty() else None
    try:
        # Whether anybody can invite this account is not what a command waits for.
        await client.ready(deadline.left if patience is None else patience, reachable=False)
    except TimeoutError:
        seconds = f"{deadline.patience:g} s"
        if connected(client):
            raise client._session.not_connected(
                f"the relays did not answer everything within {seconds}",
                hint="Try again with a longer --timeout; what came is kept.",
            ) from None
        raise client._session.not_connected(
            f"no relay was reached within {seconds}",
            hint="Look at your network, and at your relays: mdk whoami --check.",
        ) from None
    finally:
        if bar is not None:
            bar.cancel()
            with suppress(asyncio.CancelledError):
                await bar


async def _answered(client: Client, deadline: Deadline) -> None:
    """Wait until the leaves that this account answers are answered, no longer than closing waits for the outbox.

    Otherwise one who has left would be shown as a member or not, as fast as the relay is.
    """

    def decided(mdk: Mdk) -> bool | None:
        return not mdk.pending() or None

    with suppress(TimeoutError):
        await client._session.until(decided, min(client._settings.drain, deadline.left))


async def reachable(client: Client, deadline: Deadline) -> bool:
    """Wait until others can invite the account, its relays have all refused that, or the deadline is there."""
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline.left):
            return await client._session.native.reachable()
    return False


@asynccontextmanager
async def within(client: Client, deadline: Deadline) -> AsyncIterator[None]:
    """Change a group, at most until the deadline.

    Raises:
        NotConnected: no relay took it in time. What had begun is kept.
    """
    client._settings.ask = min(client._settings.ask, deadline.left / 2)
    try:
        async with asyncio.timeout(deadline.left):
            yield
    except TimeoutError:
        raise client._session.not_connected(
            f"no relay took the change within {deadline.patience:g} s",
            hint="If it had begun, it goes out with the next command that connects: mdk members GROUP --sync shows it.",
        ) from None


def connected(client: Client) -> bool:
    """Whether there is a connection to a relay now."""
    return any(relay.state == "connected" for relay in client.stats().relays)


async def flush(client: Client, group_id: GroupId, after: int, deadline: Deadline) -> bool:
    """Wait until what stands in the outbox behind `after` and is about this group is on a relay. False: not in time."""
    try:
        await client._session.flush(deadline.left, group_id=group_id, after=after)
    except TimeoutError:
        return False
    return True


def waits(deadline: Deadline) -> str:
    """What a person is told of something that is not on a relay yet."""
    return (
        f"No relay took it within {deadline.patience:g} s. "
        "It is kept, and goes out with the next command that connects."
    )


async def _draw(client: Client) -> None:
    """The bar of a catch-up, until it is cancelled. Nothing is drawn for what takes no time."""
    drawn = ""
    try:
        while True:
            await asyncio.sleep(_REDRAW)
            line = progress_line(*_backlog(client))
            if line != drawn:
                click.echo(f"\r{line}\x1b[K", nl=False, err=True)
                drawn = line
    finally:
        if drawn:
            click.echo("\r\x1b[K", nl=False, err=True)


def _backlog(client: Client) -> tuple[int, int, int]:
    stats = client.stats()
    connected = sum(relay.state == "connected" for relay in stats.relays)
    return connected, stats.backlog_fetched, stats.backlog_processed


def progress_line(connected: int, fetched: int, processed: int) -> str:
    """What the bar shows: how much of what was fetched is in the database."""
    if not connected:
        return f"connecting [{'-' * _BAR_WIDTH}]"
    if fetched <= 0:
        return f"asking     [{'-' * _BAR_WIDTH}]"
    share = min(processed / fetched, 1.0)
    filled = round(share * _BAR_WIDTH)
    shape = "#" * filled + "." * (_BAR_WIDTH - filled)
    return f"catching up [{shape}] {share:4.0%}  {processed:,} of {output.count(fetched, 'event')}"


def pick(groups: Sequence[GroupInfo], wanted: str) -> GroupInfo:
    """The group that a person means: by its id, by its name, or by the first digits of its id.

    Names are made by others: one that looks like the id of another group must not take its place.

    Raises:
        GroupNotFound: none, or several.
    """
    digits = wanted.lower()
    for group in groups:
        if group.id == digits:
            return group
    named = [group for group in groups if group.name == wanted and not _ID.fullmatch(digits)]
    # A group that was left does not stand in the way of one of the same name.
    found = [group for group in named if group.state is GroupState.ACTIVE] or named
    if len(wanted) >= _SHORTEST_ID:
        found += [g for g in groups if g.id.startswith(digits) and g not in found]
    # Nor does one that somebody has only invited us to.
    found = [group for group in found if group.state is not GroupState.PENDING] or found
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(group.id for group in found)
        hint = f"Give the full id of the one that you mean: {ids}."
        raise GroupNotFound(f"several groups are meant by {wanted!r}", hint=hint)
    raise GroupNotFound(f"there is no group {wanted!r}", hint="List them: mdk groups.")
