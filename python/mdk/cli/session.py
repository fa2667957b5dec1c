"""Running the asyncio side of a command: connecting, catching up with a bar, and ending when asked to."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import click

from mdk import Client, GroupInfo, Keys, Mdk
from mdk.errors import GroupNotFound, KeyringError, KeysMissing, NotConnected

from . import output, records
from .accounts import Account, no_keys

_BAR_WIDTH = 30
_REDRAW = 0.1
_SHORTEST_ID = 4


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run the body of a command. Ctrl-C ends it in good order, with KeyboardInterrupt."""
    return asyncio.run(main)


async def until_stopped(work: Coroutine[Any, Any, object]) -> None:
    """Work until it ends by itself, or until Ctrl-C or SIGTERM: the way to end a command that has no end."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    taken: list[signal.Signals] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Where a loop cannot take signals, Ctrl-C arrives as KeyboardInterrupt.
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop)
            taken.append(number)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


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
    *,
    new: bool = False,
    identity: Keys | None = None,
    relays: Sequence[str] = (),
    blossom: Sequence[str] = (),
    name: str | None = None,
) -> AsyncIterator[Client]:
    """The account at work: it connects in the background."""
    with explained(account):
        client = account.client(new=new, identity=identity, relays=relays, blossom=blossom, name=name)
        await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def reading(
    account: Account, *, sync: bool, patience: float, silent: bool
) -> AsyncIterator[Mdk]:
    """The account's engine: as it is on disk, or after everything new was fetched."""
    if sync:
        async with opened(account) as client:
            await catch_up(client, patience, silent=silent)
            yield client.engine
        return
    with explained(account):
        engine, _ = account.database()
    with engine:
        yield engine


async def catch_up(client: Client, patience: float, *, silent: bool) -> None:
    """Wait until everything that the relays have is in the database.

    Raises:
        NotConnected: no relay was reached, or it took longer than `patience` seconds.
    """
    bar = asyncio.ensure_future(_draw(client)) if not silent and sys.stderr.isatty() else None
    try:
        await client.ready(patience)
    except TimeoutError:
        if connected(client):
            raise NotConnected(
                f"the relays did not answer everything within {patience:g} s",
                hint="Try again with a longer --timeout; what came is kept.",
            ) from None
        raise NotConnected(
            f"no relay was reached within {patience:g} s",
            hint="Look at the network and at the relays: mdk whoami.",
        ) from None
    finally:
        if bar is not None:
            bar.cancel()
            with suppress(asyncio.CancelledError):
                await bar


def connected(client: Client) -> bool:
    """Whether there is a connection to a relay now."""
    return any(relay.state == "connected" for relay in client.stats().relays)


async def flush(client: Client, patience: float) -> None:
    """Wait until what was made is on a relay.

    Raises:
        NotConnected: it still waits; it is kept.
    """
    try:
        await client.outbox.flush(patience)
    except TimeoutError:
        raise NotConnected(
            f"no relay took it within {patience:g} s",
            hint="It is kept, and goes out with the next command that connects.",
        ) from None


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

    Raises:
        GroupNotFound: none, or several.
    """
    for group in groups:
        if group.id == wanted:
            return group
    named = [group for group in groups if group.name == wanted]
    # A group that was left does not stand in the way of one of the same name.
    found = [group for group in named if group.state.value == "active"] or named
    if not found and len(wanted) >= _SHORTEST_ID:
        found = [group for group in groups if group.id.startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(group.id[: records.SHORT] for group in found)
        raise GroupNotFound(f"several groups are meant by {wanted!r}", hint=f"Give the id: {ids}.")
    raise GroupNotFound(f"there is no group {wanted!r}", hint="List them: mdk groups.")
