"""Groups and who is in them: invites, admins, leaving, groups of two, and who comes back after a removal."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from tests.client.people import PATIENCE, Two, event_of, hear, join, until
from websockets.asyncio.client import connect

from mdk import (
    Bot,
    Client,
    EventId,
    Group,
    GroupState,
    GroupUpdated,
    Invite,
    Invited,
    InvitePolicy,
    Joined,
    Keys,
    Mdk,
    MembersChanged,
    RemovalUndone,
    Removed,
    SignedEvent,
    errors,
)
from mdk.errors import GroupContested
from mdk.testing import LocalRelay
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient


async def test_an_invite_waits_and_is_accepted(make_client: MakeClient) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    group = await alice.groups.create("Lunch", [bob.npub], description="daily")
    invite = await bob.invites.next(PATIENCE)
    assert (invite.group_name, invite.description) == ("Lunch", "daily")
    assert invite.inviter == alice.public_key
    assert [i.id for i in await bob.invites.pending()] == [invite.id]
    assert len(bob.groups) == 0
    await group.send("before you came")
    room = await bob.invites.accept(invite)
    assert room.info.state is GroupState.ACTIVE
    assert await hear(room, 1) == ["before you came"]
    assert await bob.invites.pending() == []
    with pytest.raises(TimeoutError):
        await bob.invites.next(0.05)


async def test_the_hint_says_what_helps_whoever_is_no_member(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")

    async def hint(who: Client, where: Group) -> str:
        with pytest.raises(errors.NotMember) as raised:
            await Group(who._session, where.id, after=0).send("x")
        return raised.value.hint or ""

    group = await alice.groups.create("Lunch", [bob.public_key])
    invite = await bob.invites.next(PATIENCE)
    assert "Accept it first" in await hint(bob, group)
    await bob.invites.accept(invite)
    await alice.outbox.flush(PATIENCE)
    await relay.pause()
    await bob.groups[group.id].leave()
    assert "Wait" in await hint(bob, group)
    await relay.resume()
    own = await alice.groups.create("Notes")
    await own.disband()
    assert "ended for everybody" in await hint(alice, own)


async def test_one_text_is_no_list_of_people_and_not_every_text_is_a_key(alice: Client) -> None:
    """Python would take it letter by letter."""
    group = await alice.groups.create("Lunch")
    peer = Keys.generate().public_key
    for field, wrong in (
        ("members", lambda: alice.groups.create("x", peer.npub)),
        ("admins", lambda: alice.groups.create("x", [peer], admins=peer.npub)),
        ("relays", lambda: alice.groups.create("x", relays="wss://relay.example")),
        ("relays", lambda: group.update(relays="wss://relay.example")),
    ):
        with pytest.raises(errors.InvalidInput) as raised:
            await wrong()
        assert raised.value.field == field
        assert "instead of a list" in str(raised.value)
    for no_key in ("npub1wrong", "", "00", "nsec1" + "q" * 58):
        with pytest.raises(errors.InvalidKey):
            await alice.groups.create("x", [no_key])
    with pytest.raises(TypeError, match="members: list instead"):
        await group.add([peer])  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInput):
        Client.open(":memory:", relays="wss://relay.example")
    with pytest.raises(errors.InvalidInput) as raised:
        Bot(":memory:", allow=[], relays="wss://relay.example")
    assert raised.value.field == "relays"
    assert len(alice.groups) == 1


async def test_a_stranger_is_not_told_of_a_declined_invite(
    relay: LocalRelay, alice: Client
) -> None:
    """Neither by a policy that declines, nor by a person whose policy does not know the inviter."""
    friend = Keys.generate().public_key
    for declines in (True, False):
        policy = InvitePolicy(frozenset([friend]), declines=declines)
        bob = impatient(Client.open(":memory:", relays=[relay.url], invites=policy))
        async with bob:
            await bob.ready(PATIENCE)
            group = await alice.groups.create("Lunch", [bob.public_key])
            if declines:
                # It is not even opened.
                await until(lambda bob=bob: bob.stats().events_rejected > 0, bob)  # type: ignore[misc]
            else:
                invited = await event_of(bob, Invited)
                await bob.invites.decline(invited.invite)
            await until(lambda bob=bob: len(bob.groups) == 0, bob)  # type: ignore[misc]
        assert len(await group.members()) == 2
        assert relay.count(445) == 0


async def test_each_invite_is_handed_out_once(make_client: MakeClient) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    for name in ("one", "two"):
        await alice.groups.create(name, [bob.public_key])
    names: list[str] = []
    async with asyncio.timeout(PATIENCE):
        async for invite in bob.invites:
            names.append(invite.group_name)
            if len(names) == 2:
                break
    assert sorted(names) == ["one", "two"]


async def test_policies(relay: LocalRelay, alice: Client) -> None:
    """What a policy allows is accepted; without one, or for others, an invite waits."""
    for policy, joins in (
        (InvitePolicy.anyone(), True),
        (InvitePolicy.allow(alice.npub), True),
        (InvitePolicy.allow(Keys.generate().public_key), False),
    ):
        bob = impatient(Client.open(":memory:", relays=[relay.url], invites=policy))
        async with bob:
            group = await alice.groups.create("Lunch", [bob.public_key])
            await event_of(bob, Joined if joins else Invited)
            assert [room.id for room in bob.groups] == ([group.id] if joins else [])
            assert len(await bob.invites.pending()) == (0 if joins else 1)


async def test_an_invite_that_cannot_be_answered_stops_no_other(
    relay: LocalRelay, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = impatient(Client.open(":memory:", relays=[relay.url], invites=InvitePolicy.anyone()))
    async with bob:
        accept, failed, mended = bob.invites.accept, asyncio.Event(), asyncio.Event()

        async def broken(invite: Invite | EventId) -> Group:
            assert isinstance(invite, Invite)
            if invite.group_name == "one" and not mended.is_set():
                failed.set()
                raise errors.InternalError("for the test")
            return await accept(invite)

        monkeypatch.setattr(bob.invites, "accept", broken)
        first = await alice.groups.create("one", [bob.public_key])
        await asyncio.wait_for(failed.wait(), PATIENCE)
        second = await alice.groups.create("two", [bob.public_key])
        await event_of(bob, Joined)
        assert [room.id for room in bob.groups] == [second.id]
        # The first one still waits for an answer.
        assert [invite.group_name for invite in await bob.invites.pending()] == ["one"]
        mended.set()
        await event_of(bob, Joined, where=lambda event: event.group.id == first.id)


async def test_people_come_and_go(make_client: MakeClient) -> None:
    """What each may, is told and finds; what the engine decides about it is in tests/api."""
    alice, bob, carol = [await make_client(name) for name in ("alice", "bob", "carol")]
    group, room = await join(alice, bob)
    with pytest.raises(errors.NotAdmin):
        await room.update(name="mine")
    with pytest.raises(errors.LastAdmin):
        await group.demote(alice.public_key)
    with pytest.raises(errors.NotAllowed):
        await group.leave()
    assert (await group.promote(bob.public_key)).admins == {alice.public_key, bob.public_key}
    await until(lambda: len(room.info.admins) == 2, bob)
    assert (await room.update(name="ours")).name == "ours"
    await until(lambda: group.name == "ours", alice)
    assert (await room.demote(bob.public_key)).admins == {alice.public_key}
    await until(lambda: len(group.info.admins) == 1, alice)
    assert (await group.add(carol.public_key)).member_count == 3
    hers = await carol.invites.accept(await carol.invites.next(PATIENCE))
    await until(lambda: room.info.member_count == 3, bob)
    await group.send("welcome")
    assert await hear(hers, 1) == await hear(room, 1) == ["welcome"]
    begin = bob.cursor
    assert (await group.remove(carol.npub)).member_count == 2
    removed = await event_of(carol, Removed)
    assert (removed.by, removed.left) == (alice.public_key, False)
    assert hers.info.state is GroupState.REMOVED
    assert len(carol.groups) == 0
    with pytest.raises(errors.NotMember):
        await hers.send("hello?")
    changed = await event_of(bob, MembersChanged, begin)
    assert changed.removed == {carol.public_key}
    await room.leave()
    assert room.info.state in {GroupState.LEAVING, GroupState.LEFT}
    assert (await event_of(bob, Removed)).left
    assert room.info.state is GroupState.LEFT
    await until(lambda: group.info.member_count == 1, alice)


async def test_settings_that_the_client_has_calls_for(two: Two) -> None:
    _, bob, group, room = two
    begin = bob.cursor
    with pytest.raises(errors.InvalidInput):
        await group.change_requirements()
    await group.change_requirements(components=iter([0x8005]), extensions=[0xF2D1])
    assert (await event_of(bob, GroupUpdated, begin)).changed == {"required"}
    await group.update(
        retention=timedelta(hours=1),
        avatar_url="https://pictures.example/a.png",
        media_servers=iter(["https://files.example"]),
    )
    assert (await group.change_requirements(remove=[0x8005])).retention is None
    await until(lambda: room.info.has_image, bob)
    assert await room.avatar_url() == "https://pictures.example/a.png"
    assert await room.media_servers() == ["https://files.example/"]
    assert await room.image() is None
    # set_image(None) takes away whatever picture there is.
    assert not (await group.set_image(None)).has_image
    await until(lambda: not room.info.has_image, bob)
    assert await room.avatar_url() is None
    await group.disband()
    await until(lambda: room.info.state is GroupState.DISBANDED, bob)
    assert len(bob.groups) == 0


async def test_direct_groups_are_made_once(make_client: MakeClient) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    first, second = await asyncio.gather(
        alice.groups.direct(bob.npub), alice.groups.direct(bob.public_key)
    )
    assert first is second
    room = await bob.invites.accept(await bob.invites.next(PATIENCE))
    assert await bob.groups.direct(alice.public_key) is room
    assert await alice.groups.direct(bob.public_key) is first
    with pytest.raises(errors.InvalidInput):
        await alice.groups.direct(alice.npub)


async def test_groups_look_like_a_mapping(alice: Client) -> None:
    group = await alice.groups.create("mine")
    assert [g.id for g in alice.groups] == [group.id]
    assert len(alice.groups) == 1
    assert alice.groups[group.id] is group
    assert alice.groups.get(group.id) is group
    assert group.id in alice.groups
    assert alice.groups.get(type(group.id)("00")) is None
    with pytest.raises(KeyError):
        alice.groups[type(group.id)("00")]


async def test_a_direct_group_that_the_peer_made_is_the_one(make_client: MakeClient) -> None:
    """Asking for it accepts the invite into it, and no other one."""
    alice, bob, carol = [await make_client(name) for name in ("alice", "bob", "carol")]
    await alice.groups.create("named", [bob.public_key])
    await alice.groups.create("", [bob.public_key, carol.public_key])
    await carol.groups.direct(bob.public_key)
    theirs = await alice.groups.direct(bob.public_key)
    await bob._session.until(lambda mdk: len(mdk.invites()) == 4 or None, PATIENCE)
    ours = await asyncio.gather(*(bob.groups.direct(alice.public_key) for _ in range(2)))
    assert [group.id for group in ours] == [theirs.id, theirs.id]
    assert len(await bob.invites.pending()) == 3
    assert [group.id for group in bob.groups] == [theirs.id]
    await ours[0].send("hello")
    assert await hear(theirs, 1) == ["hello"]


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
