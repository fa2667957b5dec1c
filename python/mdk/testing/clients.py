"""Clients for tests: in memory, impatient, and allowed on loopback."""

import asyncio
from collections.abc import Sequence

from mdk._mdk import Clock, DatabaseKey, Keys
from mdk.client import Client, Group, RelayPool
from mdk.config import Config
from mdk.values import PathArg

from .blobs import LocalBlossom
from .relay import LocalRelay

# Short enough that a test of an outage waits for the outage, not for a pause.
_IMPATIENT = {
    "request_timeout": 5.0,
    "retry_min": 0.05,
    "retry_max": 0.5,
    "tick_every": 0.2,
    "speak_after": 0.0,
    "self_update_after_join": 3600.0,
    "renew_when_quiet_for": 0.0,
    "blob_first_byte": 6.0,
    "blob_stall": 6.0,
}
_RECONNECT = 0.05
# For what has to happen, also on a busy machine.
_PATIENCE = 30.0


def impatient(client: Client, **timing: float) -> Client:
    """Make a client that is not started yet retry and reconnect at once."""
    client._settings.timing |= _IMPATIENT | timing
    client._settings.picture_server = None
    client._settings.reconnect_min = _RECONNECT
    client._settings.drain = 1.0
    return client


async def client(
    relay: LocalRelay | Sequence[LocalRelay],
    name: str = "test",
    *,
    blobs: LocalBlossom | Sequence[LocalBlossom] | None = None,
    account: PathArg = ":memory:",
    keys: Keys | None = None,
    key: DatabaseKey | None = None,
    pool: RelayPool | None = None,
    clock: Clock | None = None,
    config: Config | None = None,
    ready: bool = True,
) -> Client:
    """A started client of these relays. The caller closes it.

    Args:
        relay: one, or several.
        name: its name (kind 0).
        blobs: its file servers: one, or several.
        account: in memory, unless a path is given.
        keys: its Nostr keys; None for new ones.
        key: of its database, when that is a file.
        pool: to share connections.
        clock: None means the system's.
        config: None means Config(allow_loopback=True).
        ready: wait until it is connected and can be invited.
    """
    relays = [relay] if isinstance(relay, LocalRelay) else relay
    servers = [blobs] if isinstance(blobs, LocalBlossom) else blobs or ()
    opened = impatient(
        Client.open(
            account,
            keys=keys,
            key=key,
            relays=[one.url for one in relays],
            blossom=[one.url for one in servers],
            name=name,
            config=config or Config(allow_loopback=True),
            pool=pool,
            clock=clock,
        )
    )
    try:
        await opened.start()
        if ready:
            await opened.ready(_PATIENCE)
    except BaseException:
        await opened.close()
        raise
    return opened


async def pair(relay: LocalRelay) -> tuple[Client, Client, Group]:
    """Two clients in one group: the founder, the other, and the founder's handle. The caller closes both."""
    founder, other = await asyncio.gather(client(relay, "founder"), client(relay, "other"))
    try:
        group = await founder.groups.create("pair", [other.public_key])
        await other.invites.accept(await other.invites.next(_PATIENCE))
    except BaseException:
        await asyncio.gather(founder.close(), other.close())
        raise
    return founder, other, group
