"""Where accounts and groups are found: relays that the user named, links, clocks, and one relay that carries all."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.client.people import KEY, PATIENCE, join, until

from mdk import Client, Config, DatabaseKey, Delivery, GroupInfo, Keys, Mdk, PublicKey, errors
from mdk._mdk import _states
from mdk.client import spread
from mdk.testing import Clock, LocalRelay, client
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient

# Loopback is for those alone that the user names: the relays here are on it.
STRICT = Config(allow_loopback=False)


async def test_a_relay_named_for_a_group_is_used(relay: LocalRelay, tmp_path: Path) -> None:
    key = DatabaseKey.raw(KEY)
    async with LocalRelay() as named, LocalRelay() as later:
        opened = Client.open(tmp_path / "m.db", key=key, relays=[relay.url], config=STRICT)
        async with impatient(opened) as alice:
            group = await alice.groups.create("Lunch", relays=[named.url])
            sent = await (await group.send("one")).delivered(PATIENCE)
            assert (sent.delivery, dict(sent.errors)) == (Delivery.ACCEPTED, {})
            await group.update(relays=[later.url])
            sent = await (await group.send("two")).delivered(PATIENCE)
            assert (sent.delivery, dict(sent.errors)) == (Delivery.ACCEPTED, {})
        assert (named.count(445), later.count(445)) == (2, 1)


async def test_what_others_named_is_not_ours_by_keeping_it(
    relay: LocalRelay, make_client: MakeClient, tmp_path: Path
) -> None:
    """An admin who keeps the relays of a group has not named those that another admin put there."""
    bob = await make_client("bob")
    key = DatabaseKey.raw(KEY)
    opened = Client.open(tmp_path / "m.db", key=key, relays=[relay.url], config=STRICT)
    async with LocalRelay() as trap, impatient(opened) as alice:
        await bob.groups.create(
            "Lunch", [alice.public_key], relays=[relay.url, trap.url], admins=[alice.public_key]
        )
        ours = await alice.invites.accept(await alice.invites.next(PATIENCE))
        await ours.update(relays=[*ours.info.relays, "wss://relay.example"])
        stored = await alice._session.look(lambda mdk: _states(mdk, "relays/named"))
        assert json.loads(stored["relays/named"]) == [relay.url, "wss://relay.example"]
        assert trap.connections <= 1, "bob's alone"


async def test_what_waits_for_a_former_relay_goes_there(tmp_path: Path) -> None:
    key, path = DatabaseKey.raw(KEY), tmp_path / "m.db"
    async with LocalRelay() as former, LocalRelay() as present:
        opened = Client.open(
            path, keys=Keys.generate(), key=key, relays=[former.url], config=STRICT
        )
        async with impatient(opened) as alice:
            group = await alice.groups.create("Lunch")
            await former.pause()
            waiting = await group.send("not yet")
            assert waiting.delivery is Delivery.QUEUED
            group_id, message_id = group.id, waiting.message.id
        await former.resume()
        async with impatient(
            Client.open(path, key=key, relays=[present.url], config=STRICT)
        ) as again:
            await again.outbox.flush(PATIENCE)
            same = again.groups.get(group_id)
            assert same is not None
            (message,) = [m async for m in same.history()]
            assert (message.id, message.delivery) == (message_id, Delivery.ACCEPTED)
        assert former.count(445) == 1


async def is_ready(client: Client) -> bool:
    try:
        await client.ready(0.2)
    except TimeoutError:
        return False
    return True


async def test_ready_waits_for_a_relay_that_is_there(relay: LocalRelay, alice: Client) -> None:
    await alice.ready(PATIENCE)
    await relay.pause()
    # It is ready as long as it has not noticed, and from then on waits.
    await until(lambda: alice.stats().relays[0].state != "connected", alice)
    async with asyncio.timeout(PATIENCE):
        while await is_ready(alice):
            pass
    await relay.resume()
    await alice.ready(PATIENCE)
    assert alice.stats().relays[0].state == "connected"


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
