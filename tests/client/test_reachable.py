"""An account that nobody can invite, and which is at work all the same."""

from __future__ import annotations

import pytest
from tests.client.people import PATIENCE

from mdk.testing import LocalRelay, client


@pytest.mark.parametrize("words", ["restricted: pay first", "auth-required: not you"])
async def test_what_relays_say_against_the_key_package(relay: LocalRelay, words: str) -> None:
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
