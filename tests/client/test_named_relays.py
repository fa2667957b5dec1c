"""Relays that the user named are dialled wherever they are, also once the account has moved to others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.client.people import KEY, PATIENCE, until

from mdk import Client, Config, DatabaseKey, Delivery, Keys
from mdk.testing import LocalRelay
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
        stored = await alice._session.look(lambda mdk: mdk._state("relays/named"))
        assert stored is not None
        assert json.loads(stored) == [relay.url, "wss://relay.example"]
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
