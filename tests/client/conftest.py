"""The relays that the tests of this directory run on.

`relay` is the embedded one, with its faults; `independent` is PyPI's nostr-relay, another program by other people;
`any_relay` is one after the other.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.client.independent_relay import IndependentRelay, Process

from mdk.testing import LocalRelay
from mdk.testing.fixtures import blobs, make_client, relay

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


@pytest_asyncio.fixture(params=["embedded", "independent"])
async def any_relay(request: pytest.FixtureRequest) -> AsyncIterator[LocalRelay]:
    """Each of the two, empty."""
    if request.param == "embedded":
        async with LocalRelay() as running:
            yield running
    else:
        process: Process = request.getfixturevalue("relay_process")
        async with IndependentRelay(process) as running:
            yield running
