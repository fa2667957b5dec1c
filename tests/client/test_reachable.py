"""An account that nobody can invite, and which is at work all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

import pytest
from tests.client.people import PATIENCE

from mdk import Client, Config, errors
from mdk.testing import LocalRelay, client
from mdk.testing.clients import impatient

PROMPT = 30.0
"""Seconds that entering takes at most where nothing is waited for to its end, however busy the machine is."""


@pytest.fixture(autouse=True)
def _to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of that wait is far away."""
    monkeypatch.setattr(import_module("mdk.client.client"), "ENTRY_PATIENCE", 2 * PROMPT)


async def test_what_relays_say_against_the_key_package(relay: LocalRelay) -> None:
    words = "restricted: pay first"
    relay.refuse(kinds={30443}, reason=words)
    alice = await client(relay, "alice", ready=False)
    try:
        await alice.ready(PATIENCE, reachable=False)
        with pytest.raises(TimeoutError):
            await alice.ready(0.1)
        assert not await alice._session.native.reachable()
        assert list(alice.key_packages.refusals().values()) == [words]
        await alice.outbox.flush(PATIENCE)
        group = await alice.groups.create("mine")
        await (await group.send("to myself")).delivered(PATIENCE)
        relay.accept()
        await alice.ready(PATIENCE)
        assert alice.key_packages.refusals() == {}
    finally:
        await alice.close()


async def enters(
    *relays: LocalRelay, then: Callable[[], None] | None = None
) -> tuple[float, set[str], int]:
    """How long a new account of these relays takes to enter; who has refused it then; how many KeyPackages are out.

    `then` is called as soon as one has refused it.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    urls = [relay.url for relay in relays]
    config = Config(allow_loopback=True)
    opened = impatient(Client.open(":memory:", relays=urls, config=config))

    async def once_refused(act: Callable[[], None]) -> None:
        for _ in range(int(PATIENCE / 0.01)):
            # (it is entered by another task meanwhile)
            with suppress(errors.Closed):
                if opened.key_packages.refusals():
                    break
            await asyncio.sleep(0.01)
        act()

    watching = asyncio.create_task(once_refused(then)) if then is not None else None
    async with opened as alice:
        took = loop.time() - begun
        refused = {url.rstrip("/") for url in alice.key_packages.refusals()}
        if watching is not None:
            await watching
        return took, refused, sum(relay.count(30443) for relay in relays)


@pytest.mark.parametrize("beside", ["nobody", "one that is away"])
async def test_entering_ends_where_all_that_are_there_refuse(
    relay: LocalRelay, beside: str
) -> None:
    relay.refuse(kinds={30443}, reason="blocked: kind not allowed")
    async with LocalRelay() as other:
        await other.pause()
        took, refused, _ = await enters(relay, *([] if beside == "nobody" else [other]))
    assert took < PROMPT
    assert refused == {relay.url.rstrip("/")}


async def test_entering_waits_for_one_that_may_take_it(relay: LocalRelay) -> None:
    relay.refuse(kinds={30443}, reason="blocked: kind not allowed")
    async with LocalRelay() as other:
        other.refuse(kinds={30443}, reason="rate-limited: slow down")
        _, refused, published = await enters(relay, other, then=other.accept)
    assert refused == {relay.url.rstrip("/")}
    assert published == 1
