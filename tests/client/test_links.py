"""Invite links: whom they name, and where that account is found."""

from __future__ import annotations

import pytest
from tests.client.people import PATIENCE

from mdk import Client, Config, PublicKey, errors
from mdk.testing import LocalRelay, client
from mdk.testing.clients import impatient


async def test_somebody_elsewhere_is_found_by_the_link_and_not_without() -> None:
    async with LocalRelay() as here, LocalRelay() as there:
        alice, bob = await client(here, "alice"), await client(there, "bob")
        async with alice, bob:
            await bob.ready(PATIENCE)
            for name in (bob.npub, bob.public_key, bob.public_key.hex):
                with pytest.raises(errors.KeyPackageNotFound):
                    await alice.groups.create("none", [name])
            assert list(alice.groups) == []
            link = bob.invite_uri
            assert link.startswith("nostr:nprofile1")
            (found,) = await alice.key_packages.find(link)
            (own,) = await bob.key_packages.mine()
            assert found.event_id == own.event_id
            # Once as it is, once as text that somebody has copied from it, or has scanned.
            for text in (link, link.removeprefix("nostr:"), link.upper()):
                assert PublicKey.parse(text) == bob.public_key
                group = await alice.groups.create("lunch", [text])
                invite = await bob.invites.next(PATIENCE)
                assert (invite.group_name, invite.inviter) == ("lunch", alice.public_key)
                await bob.invites.accept(invite)
                assert group.info.member_count == 2
            # Who is added or written to by a link is found, too.
            await (await alice.groups.create("more")).add(link)
            assert (await bob.invites.next(PATIENCE)).group_name == "more"
            await alice.groups.direct(link)
            assert (await bob.invites.next(PATIENCE)).group_name == ""


async def test_a_link_leads_to_no_address_of_this_machine_unless_that_is_allowed(
    relay: LocalRelay,
) -> None:
    async with LocalRelay() as there:
        bob = await client(there, "bob")
        # Its own relay the user has named.
        alice = impatient(Client.open(":memory:", relays=[relay.url], config=Config()))
        try:
            await bob.ready(PATIENCE)
            await alice.start()
            await alice.ready(PATIENCE)
            connections = there.connections
            with pytest.raises(errors.KeyPackageNotFound):
                await alice.groups.create("none", [bob.invite_uri])
            assert there.connections == connections
        finally:
            await alice.close()
            await bob.close()
