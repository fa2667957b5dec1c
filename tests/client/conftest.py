"""The relays that the tests of this directory run on, and who is there.

`relay` is the embedded one, with its faults; `independent` is PyPI's nostr-relay, another program by other people.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.client.independent_relay import IndependentRelay, Process
from tests.client.people import Two, join

from mdk import Client
from mdk.testing.fixtures import MakeClient, blobs, make_client, relay

__all__ = ["blobs", "make_client", "relay"]


@pytest.fixture(scope="session")
def relay_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The other relay's process: one for all tests, because it takes two seconds to start."""
    if sys.platform != "linux":
        pytest.skip("nostr-relay is installed for the tests on Linux only (independent-relay.txt)")
    process = Process(tmp_path_factory.mktemp("relay"))
    yield process
    process.close()


@pytest_asyncio.fixture
async def independent(relay_process: Process) -> AsyncIterator[IndependentRelay]:
    """The other relay, empty."""
    async with IndependentRelay(relay_process) as running:
        yield running


@pytest_asyncio.fixture
async def alice(make_client: MakeClient) -> Client:
    return await make_client("alice")


@pytest_asyncio.fixture
async def two(make_client: MakeClient) -> Two:
    """Alice and Bob in one group."""
    alice, bob = await make_client("alice"), await make_client("bob")
    group, room = await join(alice, bob)
    return alice, bob, group, room
