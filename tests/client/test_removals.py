"""A removed member comes back by commits that he made before: that is told, and he is put out again."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.client.people import PATIENCE, event_of, hear, until
from websockets.asyncio.client import connect

from mdk import Keys, Mdk, RemovalUndone, SignedEvent
from mdk.errors import GroupContested
from mdk.testing import LocalRelay
from mdk.testing.fixtures import MakeClient


async def publish(relay: LocalRelay, *events: SignedEvent) -> None:
    """As somebody does who has a relay's address and nothing else."""
    async with connect(relay.url) as socket:
        for event in events:
            await socket.send(f'["EVENT",{event.to_json()}]')
            while json.loads(await socket.recv())[0] != "OK":
                pass


async def prepared(relay: LocalRelay, mallory: Mdk, invites: int) -> list[SignedEvent]:
    """Commits that mallory makes as soon as he is in, and keeps; `invites` are published in all."""
    await relay.until(lambda r: r.count(1059) == invites, PATIENCE)
    for wrap in relay.events(1059):
        mallory.process(wrap.to_json())
    (invite,) = mallory.invites()
    mallory.accept(invite.id)
    kept = []
    for _ in range(2):
        with mallory.self_update(invite.group_id) as pending:
            assert pending.event is not None
            kept.append(pending.event)
            pending.confirm()
    return kept


@pytest.mark.no_phone("a branch wins a second after its commit came, from which phones count")
@pytest.mark.parametrize("remover", ["is there", "is away"])
async def test_an_undone_removal(relay: LocalRelay, make_client: MakeClient, remover: str) -> None:
    """Whoever removed puts him out again; by who made no removal of his own, nothing is put right by itself."""
    alice, carol = await make_client("alice"), await make_client("carol")
    with Mdk.in_memory(Keys.generate()) as mallory:
        await publish(relay, mallory.new_key_package(relays=[relay.url]))
        group = await alice.groups.create("Lunch", [carol.public_key, mallory.public_key])
        room = await carol.invites.accept(await carol.invites.next(PATIENCE))
        revenge = await prepared(relay, mallory, 2)
        await group.remove(mallory.public_key)
        await until(lambda: room.info.member_count == 2, carol)
        if remover == "is away":
            await alice.close()
        # It is settled when it has been followed for longer than others wait for a rival.
        await asyncio.sleep(1.5)
        await publish(relay, *revenge)
        for who in [carol] if remover == "is away" else [carol, alice]:
            undone = await event_of(who, RemovalUndone)
            assert (undone.account, undone.demoted) == (mallory.public_key, False)
            assert undone.by == mallory.public_key
        if remover == "is away":
            with pytest.raises(GroupContested):
                await room.send("who is here?")
            assert not (await room.accept_members()).contested
            await room.send("stay")
            return
        for each, client in ((group, alice), (room, carol)):
            await until(lambda each=each: not each.info.contested, client)  # type: ignore[misc]
            assert mallory.public_key not in {m.public_key for m in await each.members()}
        await room.send("all there?")
        assert await hear(group, 1) == ["all there?"]
