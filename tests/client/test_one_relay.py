"""Groups that one relay carries alone: an admin's client says so, and names its own as well if it may."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.client.people import PATIENCE, join

from mdk import Config, GroupInfo, Keys, Mdk
from mdk.client import spread
from mdk.testing import LocalRelay, client

ONE, OWN = "wss://one.example", ("wss://own.example", "wss://ONE.example/")


def founded(me: Mdk) -> GroupInfo:
    return me.create_group("Lunch", relays=[ONE]).confirm()


def test_who_may_add_what() -> None:
    assert Config().add_own_relays is False
    with Mdk.in_memory() as alice:
        info, me = founded(alice), alice.public_key
        assert spread.to_add(info, me, OWN) == OWN[:1]
        assert spread.to_add(info, me, OWN[1:]) == ()
        assert spread.to_add(info, Keys.generate().public_key, OWN) == ()
        assert spread.to_add(replace(info, relays=(ONE, "wss://two.example")), me, OWN) == ()
        many = tuple(f"wss://r{n}.example" for n in range(40))
        assert len(spread.to_add(info, me, many)) == 15


async def test_an_admins_client_says_so(relay: LocalRelay) -> None:
    async with LocalRelay() as other, await client([relay, other]) as alice:
        group = await alice.groups.create("Lunch", relays=[relay.url])
        assert list(group.relays_to_add) == [other.url]
        await group.update(relays=[*group.info.relays, *group.relays_to_add])
        assert not group.relays_to_add


async def test_it_adds_its_own_once_if_it_may(relay: LocalRelay) -> None:
    """By itself, in a group that it did not found; not again where another admin takes them out."""
    config = Config(allow_loopback=True, allow_plaintext=True, add_own_relays=True)
    async with (
        LocalRelay() as other,
        await client(relay, "phone") as phone,
        await client([relay, other], config=config) as alice,
    ):
        ours, theirs = await join(phone, alice)
        assert theirs.relays_to_add == ()
        await ours.promote(alice.public_key)

        async def until(relays: set[str]) -> None:
            async with asyncio.timeout(PATIENCE):
                async for _ in alice.events():
                    if set(theirs.info.relays) == relays:
                        return

        await until({relay.url, other.url})
        await ours.update(relays=[relay.url])
        await until({relay.url})
        # Alice has decided about this group; an answer of hers comes behind what she would have done.
        await theirs.send("fine")
        assert (await ours.next_message(PATIENCE)).text == "fine"
        assert set(ours.info.relays) == {relay.url}
