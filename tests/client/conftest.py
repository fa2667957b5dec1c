"""The relays that the tests of this directory run on.

`relay` is the embedded one, with its faults; `independent` is PyPI's nostr-relay, another program by other people;
`any_relay` is one after the other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.client.independent_relay import IndependentRelay, Process
from tests.client.phone import Phone

from mdk import Client
from mdk.testing import LocalRelay, clients
from mdk.testing.fixtures import blobs, make_client, relay

__all__ = ["blobs", "make_client", "relay"]


@pytest.fixture(autouse=True)
def phones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With MDK_PHONES in the environment every client of a story is looked at as by a phone in its place.

    The clients have the times of a user's account then, and nothing that one of them says may be hidden to another.
    """
    if not os.environ.get("MDK_PHONES"):
        yield
        return
    watching: list[Phone] = []
    started = Client._start

    async def start(client: Client) -> None:
        await started(client)
        watching.append(Phone(client))
        client._spawn(watching[-1].watch())

    monkeypatch.setattr(Client, "_start", start)
    monkeypatch.setitem(clients._IMPATIENT, "speak_after", 2.0)
    yield
    assert [phone.hidden for phone in watching if phone.hidden] == []


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
