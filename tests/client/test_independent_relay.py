"""The same tests of conversation and membership, on a relay by other people."""

from __future__ import annotations

import json
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio
from tests.client.independent_relay import IndependentRelay, Process
from tests.client.people import PATIENCE, hear, join
from tests.client.test_conversation import *  # noqa: F403
from tests.client.test_membership import *  # noqa: F403

from mdk import Delivery
from mdk.testing import client, pair


@pytest_asyncio.fixture
async def relay(independent: IndependentRelay) -> IndependentRelay:
    """What those tests run on here."""
    return independent


def test_it_is_another_program(independent: IndependentRelay) -> None:
    request = urllib.request.Request(
        independent.url.replace("ws://", "http://"), headers={"Accept": "application/nostr+json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        said = json.load(answer)
    assert "mdk" not in said["software"]
    assert (said["name"], said["version"]) == ("independent", "1.14")
    assert "limitation" not in said, (
        "it announces nothing, so nothing can be known before it refuses"
    )


async def test_its_restart_keeps_what_it_stored(independent: IndependentRelay) -> None:
    alice, bob, group = await pair(independent)
    async with alice, bob:
        sent = await group.send("kept")
        await sent.delivered(PATIENCE)
        before = [event.id for event in independent.events(445)]
        assert before
        await independent.pause()
        assert not independent.process.is_up
        await independent.resume()
        assert [event.id for event in independent.events(445)] == before


async def test_what_it_refuses_fails_with_its_words(tmp_path: Path) -> None:
    process = Process(tmp_path, max_event_size=8_192)
    async with AsyncExitStack() as stack:
        stack.callback(process.close)
        small = await stack.enter_async_context(IndependentRelay(process))
        alice, bob = await client(small, "alice"), await client(small, "bob")
        for one in (alice, bob):
            stack.push_async_callback(one.close)
        group, room = await join(alice, bob)
        failed = await (await group.send("x" * 10_000)).delivered(PATIENCE)
        assert failed.delivery is Delivery.FAILED
        words = "invalid: 280 characters should be enough for anybody"
        assert dict(failed.errors) == {small.url: words}
        await group.send("small")
        assert await hear(room, 1) == ["small"]
