"""Many accounts, and how fast one message is."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time

import pytest
from tests.client.people import PATIENCE, hear, join
from tests.docs.blocks import ROOT

from mdk import Client, RelayPool
from mdk.testing import LocalRelay, client

ACCOUNTS = 50
ROUNDS = 60


async def test_fifty_accounts_share_connections(relay: LocalRelay) -> None:
    async with RelayPool(allow_loopback=True) as pool:
        made: list[Client] = []
        try:
            made = list(
                await asyncio.gather(*(client(relay, f"a{n}", pool=pool) for n in range(ACCOUNTS)))
            )
            # A relay takes only so many subscriptions on one connection.
            assert relay.connections <= ACCOUNTS / 10
            founder, *others = made
            # A ring: everybody hears from somebody, and nobody hears what is not for them.
            rooms = await asyncio.gather(
                *(join(one, other) for one, other in zip(made, [*others, founder], strict=True))
            )
            for n, (group, _) in enumerate(rooms):
                await group.send(f"to the one behind {n}")
            for n, (_, room) in enumerate(rooms):
                assert await hear(room, 1) == [f"to the one behind {n}"]
        finally:
            await asyncio.gather(*(one.close() for one in made))


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_many_accounts_are_measured() -> None:
    """Thirteen and the one before them: a connection for ten, and one for the rest."""
    program = ROOT / "benches" / "accounts.py"
    done = subprocess.run(
        [sys.executable, str(program), "--count", "13", "--idle", "0.01", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert (found["accounts"], found["connections"]) == (13, 2)
    assert found["bytes_per_account"] > 0


async def test_from_send_to_the_event(relay: LocalRelay) -> None:
    """Measured beside what the relay alone takes, in the same minute on the same machine."""
    alice, bob = await asyncio.gather(client(relay, "alice"), client(relay, "bob"))
    try:
        group, room = await join(alice, bob)
        await group.send("warm")
        await hear(room, 1)
        await bob.sync()
        took: list[float] = []
        delivered: list[float] = []
        for n in range(ROUNDS):
            begun = time.perf_counter()
            sent = await group.send(f"{n}")
            assert (await room.next_message(PATIENCE)).text == f"{n}"
            took.append(time.perf_counter() - begun)
            # What a relay's answer takes, the engine's part included.
            await sent.delivered(PATIENCE)
            delivered.append(time.perf_counter() - begun)
        median = statistics.median(took)
        print(
            f"send to event: median {median * 1000:.1f} ms, to OK {statistics.median(delivered) * 1000:.1f} ms"
        )
        # Not much more than the way to the relay and back, whatever the machine does meanwhile.
        assert median < 10 * statistics.median(delivered)
    finally:
        await asyncio.gather(alice.close(), bob.close())
