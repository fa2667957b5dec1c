"""A clock that is wrong: whoever invites such an account is told, and so is its owner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mdk import Keys, errors
from mdk.testing import Clock
from mdk.testing.fixtures import MakeClient


async def test_whoever_invites_an_account_with_a_fast_clock_is_told_why_that_fails(
    make_client: MakeClient,
) -> None:
    alice = await make_client("alice")
    fast = await make_client("fast", clock=Clock(datetime.now(UTC) + timedelta(minutes=9)))
    group = await alice.groups.create("chat")
    for invite in (alice.groups.create("chat", [fast.public_key]), group.add(fast.public_key)):
        with pytest.raises(errors.KeyPackageNotFound) as caught:
            await invite
        error = caught.value
        assert error.who == (fast.public_key,)
        assert error.reasons == {fast.npub: "dated 9 minutes ahead of this machine's clock"}
        assert f"{fast.npub} (dated 9 minutes ahead of this machine's clock)" in str(error)
        assert "clock" in str(error.hint)
    # Of an account without a KeyPackage no reason is given.
    nobody = Keys.generate().public_key
    for invite in (alice.groups.create("chat", [nobody]), group.add(nobody)):
        with pytest.raises(errors.KeyPackageNotFound) as caught:
            await invite
        assert caught.value.who == (nobody,)
        assert nobody.npub in str(caught.value)
        assert (caught.value.reasons, caught.value.hint) == ({}, errors.KeyPackageNotFound.hint)
    assert len(alice.groups) == 1
    assert await alice.key_packages.find(nobody) == []
