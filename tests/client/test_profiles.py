"""Profiles: the names that accounts claim, as others get to see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.client.people import PATIENCE

from mdk import Client, Config, errors
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient


def named(name: str | None, *relays: LocalRelay) -> Client:
    config = Config(allow_loopback=True)
    urls = [one.url for one in relays]
    return impatient(Client.open(":memory:", relays=urls, name=name, config=config))


async def published(relay: LocalRelay) -> None:
    await relay.until(lambda relay: relay.count(0) > 0, PATIENCE)


async def test_a_profile_is_found_and_fit_to_be_shown() -> None:
    async with LocalRelay() as relay, named("Bob\u202e\n\x1b[2J B.", relay) as bob:
        await published(relay)
        async with named(None, relay) as alice:
            profile = await alice.profiles.get(bob.public_key.npub)
            assert profile is not None
            assert profile.account == bob.public_key
            assert profile.name == "Bob [2J B."
            assert (profile.about, profile.picture) == (None, None)
            assert abs(datetime.now(UTC) - profile.updated_at) < timedelta(minutes=5)
            assert await alice.profiles.get(alice.public_key) is None


async def test_a_profile_elsewhere_is_found_by_a_link() -> None:
    """An account with other relays than ours is asked for at those that its nprofile names."""
    async with LocalRelay() as here, LocalRelay() as there, named("Bob", there) as bob:
        await published(there)
        async with named(None, here) as alice:
            assert await alice.profiles.get(bob.public_key) is None
            profile = await alice.profiles.get(bob.invite_uri)
            assert profile is not None
            assert profile.name == "Bob"


async def test_without_a_relay_nobody_knows() -> None:
    async with LocalRelay() as relay, named(None, relay) as alice:
        await relay.pause()
        with pytest.raises(errors.NotConnected):
            await alice.profiles.get(alice.public_key)
        await relay.resume()
