"""Who is told that an invite was declined: groups of whom the account's policy knows, unless it is said otherwise."""

from __future__ import annotations

import pytest
from tests.client.people import PATIENCE, event_of

from mdk import InvitePolicy, MembersChanged
from mdk.testing import LocalRelay
from mdk.testing.fixtures import MakeClient


@pytest.mark.parametrize("quietly", [None, True, False])
async def test_a_strangers_group_is_told_only_on_request(
    relay: LocalRelay, make_client: MakeClient, quietly: bool | None
) -> None:
    """A stranger would learn from it that somebody reads what he sends."""
    alice, bob, carol = [await make_client(name) for name in ("alice", "bob", "carol")]
    bob._settings.invites = InvitePolicy.allow(carol.public_key)
    lunch = await alice.groups.create("Lunch", [bob.public_key])
    await bob.invites.decline(await bob.invites.next(PATIENCE), quietly=quietly)
    assert bob.groups.get(lunch.id) is None
    assert bob._session.store.farewells() == {}
    if quietly is False:
        told = await event_of(alice, MembersChanged, where=lambda event: bool(event.left))
        assert told.left == {bob.public_key}
    else:
        await bob.outbox.flush(PATIENCE)
        assert relay.count(445) == 0
        assert len(await lunch.members()) == 2


async def test_whom_the_policy_knows_is_told_unless_it_is_said_otherwise(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    for quietly in (True, None):
        begin = alice.cursor
        await alice.groups.create("Lunch", [bob.public_key])
        await bob.invites.decline(await bob.invites.next(PATIENCE), quietly=quietly)
        if quietly:
            await bob.outbox.flush(PATIENCE)
            assert relay.count(445) == 0
        else:
            told = await event_of(alice, MembersChanged, begin, lambda event: bool(event.left))
            assert told.left == {bob.public_key}
