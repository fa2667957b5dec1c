"""What an account shows and renews: links, names, keys, backups, logs; and what is too large for a relay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path

import pytest
from tests.client.announcing import announcing
from tests.client.people import KEY, PATIENCE, Account, hear, join

import mdk
from mdk import (
    Client,
    DatabaseKey,
    PublicKey,
    errors,
)
from mdk.testing import LocalRelay, client
from mdk.testing.clients import impatient
from mdk.testing.fixtures import MakeClient


async def test_rekey_renews_everything(relay: LocalRelay, tmp_path: Path) -> None:
    alice = tmp_path / "alice" / "mdk.db"
    key = tmp_path / "key"
    async with await client(relay, "bob") as bob:
        async with impatient(
            Client.open(alice, key=DatabaseKey.from_file(key), relays=[relay.url])
        ) as hers:
            group, room = await join(hers, bob)
            (before,) = await hers.key_packages.mine()
            secret, epoch = key.read_bytes(), group.info.epoch
            report = await hers.rekey()
            assert type(report) is mdk.RekeyReport
            assert report.groups_updated == (group.id,)
            assert report.groups_failed == {}
            assert report.database_rekeyed
            assert report.key_package.ref != before.ref
            assert group.info.epoch == epoch + 1
            assert key.read_bytes() != secret
            await group.send("still here")
            assert await hear(room, 1) == ["still here"]
        async with impatient(Client.open(alice, key=DatabaseKey.from_file(key))) as hers:
            assert len(hers.groups) == 1


async def test_a_backup_is_moved(relay: LocalRelay, tmp_path: Path) -> None:
    async with await client(relay, "bob") as bob:
        first = Account(tmp_path, "laptop", relay)
        async with first.open() as hers:
            group, room = await join(hers, bob)
            npub, package = hers.npub, (await hers.key_packages.mine())[0]
            await group.send("before")
            await hers.outbox.flush(PATIENCE)
            await hers.backup(tmp_path / "a.mdkbackup", passphrase="correct horse")
        with pytest.raises(errors.WrongPassphrase):
            await Client.restore(
                tmp_path / "a.mdkbackup",
                tmp_path / "phone" / "mdk.db",
                passphrase="wrong",
                key=DatabaseKey.raw(KEY),
            )
        reports: list[object] = []
        restored = impatient(
            await Client.restore(
                tmp_path / "a.mdkbackup",
                tmp_path / "phone" / "mdk.db",
                passphrase="correct horse",
                key=DatabaseKey.raw(KEY),
                keys=first.keys,
                relays=[relay.url],
                on_restored=reports.append,
            )
        )
        assert len(reports) == 1
        epoch = room.info.epoch
        async with restored as hers:
            assert hers.npub == npub
            again = hers.groups[group.id]
            # It waits by itself until its leaf is fresh.
            await again.send("after", timeout=PATIENCE)
            assert await hear(room, 2) == ["before", "after"]
            assert room.info.epoch == epoch + 1
            assert [m.text async for m in again.history(newest_first=False)] == ["before", "after"]
            packages = await hers.key_packages.mine()
            assert packages[0].ref != package.ref


async def test_the_invite_link(make_client: MakeClient) -> None:
    alice = await make_client("alice")
    link = alice.invite_uri
    assert link.startswith("nostr:nprofile1")
    assert PublicKey.parse(link.removeprefix("nostr:")) == alice.public_key


async def test_the_name_is_published(make_client: MakeClient, relay: LocalRelay) -> None:
    alice = await make_client("Alice")
    await relay.until(lambda r: r.count(0) == 1, PATIENCE)
    (profile,) = relay.events(0)
    assert (profile.pubkey, json.loads(profile.content)["name"]) == (alice.public_key, "Alice")


async def test_logs_name_nobody(
    relay: LocalRelay, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1, logger="mdk")
    alice, bob = await make_client("alice"), await make_client("bob")
    group, room = await join(alice, bob, name="planted name")
    await relay.cut()
    await group.send("planted text")
    assert await hear(room, 1) == ["planted text"]
    number = group.info.nostr_group_id
    relay.refuse(kinds={445}, reason=f"blocked: {number} of {alice.npub} is not welcome")
    sent = await group.send("planted refusal")
    await sent.delivered(PATIENCE)
    await alice.close()
    await bob.close()
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert any(record.name == "mdk.client" for record in caplog.records)
    # Alone that a relay of hers does not do what it should names it, with its words.
    refused = f"a relay refuses events (relay={relay.url}, kind=445, words=blocked: … of … is not welcome)"
    assert refused in said
    said = said.replace(refused, "")
    for secret in (
        "planted",
        relay.url,
        # (the number alone may be that of some microseconds)
        f":{relay.url.rsplit(':', 1)[1]}",
        group.id,
        group.info.nostr_group_id,
        alice.public_key.hex,
        bob.npub,
        sent.message.id,
    ):
        assert secret not in said


async def test_groups_too_large_are_refused_with_their_size(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice = impatient(
        Client.open(":memory:", relays=[relay.url], config=mdk.Config(max_event_bytes=4_096))
    )
    bob = await make_client("bob")
    async with alice:
        welcomes = relay.count(1059)
        with pytest.raises(errors.GroupTooLarge) as raised:
            await alice.groups.create("x", [bob.public_key], description="d" * 4_000)
        assert raised.value.limit == 4_096
        assert raised.value.size is not None
        assert raised.value.size > 4_096
        assert len(alice.groups) == 0
        assert relay.count(1059) == welcomes


async def test_what_no_relay_would_take_is_refused_before_anything() -> None:
    async with (
        LocalRelay(max_event_bytes=3_000) as relay,
        await client(relay, "alice") as alice,
        await client(relay, "bob") as bob,
    ):
        with pytest.raises(errors.GroupTooLarge) as raised:
            await alice.groups.create("x", [bob.public_key], description="d" * 3_000)
        assert raised.value.limit is not None
        assert raised.value.size is not None
        # Of an event, or of the message that it comes in: whether the engine knew it before the commit was made.
        assert raised.value.limit in {3_000 - len('["EVENT",]'), 3_000}
        assert raised.value.size > raised.value.limit
        assert relay.count(1059) == 0
        assert len(alice.groups) == len(alice.engine.pending()) == 0


@pytest.mark.parametrize("how", ["founding", "founding elsewhere", "adding"])
async def test_a_limit_of_the_content_is_one_of_the_invite(relay: LocalRelay, how: str) -> None:
    """Of the relays of the one who is invited, or of those of the group."""
    limit = 9_000
    async with announcing(relay, max_content_length=limit) as small:
        config = mdk.Config(allow_loopback=True)
        alice = impatient(Client.open(":memory:", relays=[small], config=config))
        where = relay.url if how == "founding elsewhere" else small
        bob = impatient(Client.open(":memory:", relays=[where], config=config))
        async with alice, bob:
            await asyncio.gather(alice.ready(PATIENCE), bob.ready(PATIENCE))
            await bob.outbox.flush(PATIENCE)
            long, members = "d" * 4_000, [bob.public_key]
            trial: Awaitable[object]
            if how == "adding":
                trial = (await alice.groups.create("x", description=long)).add(*members)
            else:
                trial = alice.groups.create("x", members, description=long)
            with pytest.raises(errors.GroupTooLarge) as raised:
                await trial
            assert raised.value.limit is not None
            assert raised.value.size is not None
            # What stands around the content is of one length.
            assert limit < raised.value.limit < limit + 500
            assert raised.value.size > raised.value.limit
            assert relay.count(445) == relay.count(1059) == len(alice.engine.pending()) == 0
            # What is at the limit is not refused here.
            fits = await alice.groups.create("x", members)
            assert (await bob.invites.next(PATIENCE)).group_id == fits.id


async def test_who_says_nothing_of_an_inbox_is_invited_as_the_relays_of_the_group_allow(
    relay: LocalRelay,
) -> None:
    relay.refuse(kinds={10_050}, reason="blocked: kind not allowed")
    async with LocalRelay(max_event_bytes=5_000) as small:
        alice = await client([relay, small], "alice", ready=False)
        bob = await client(relay, "bob", ready=False)
        try:
            await relay.until(lambda r: r.count(30_443) == 2, PATIENCE)
            group = await alice.groups.create("x", description="d" * 2_000, relays=[small.url])
            with pytest.raises(errors.GroupTooLarge) as raised:
                await group.add(bob.public_key)
            assert raised.value.limit == 5_000 - len('["EVENT",]')
            assert small.count(445) == relay.count(1059) == small.count(1059) == 0
            assert (group.info.member_count, alice.engine.pending()) == (1, [])
        finally:
            await asyncio.gather(alice.close(), bob.close())


async def test_publishing_a_key_package_that_relays_have_lost(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    alice, bob = await make_client("alice"), await make_client("bob")
    (first,) = await alice.key_packages.mine()
    await alice.outbox.flush(PATIENCE)
    stored = relay.events(30_443)
    # It is there: nothing is made, nothing is sent.
    assert await alice.key_packages.publish() == first
    await alice.outbox.flush(PATIENCE)
    assert relay.events(30_443) == stored
    await relay.wipe()
    again = await alice.key_packages.publish()
    assert again.slot == first.slot
    await alice.outbox.flush(PATIENCE)
    # A relay that is wiped cuts its connections.
    await bob.ready()
    assert [found.event_id for found in await bob.key_packages.find(alice.npub)] == [again.event_id]
    assert await alice.key_packages.publish() == again


async def test_publishing_a_key_package_without_a_network(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    """It waits in the outbox, once however often it is asked for."""
    alice = await make_client("alice")
    (first,) = await alice.key_packages.mine()
    await relay.pause()
    waiting = await alice.key_packages.publish()
    assert waiting.ref != first.ref
    assert await alice.key_packages.publish() == waiting
    assert len(await alice.key_packages.mine()) == 2
    await relay.resume()
    await alice.outbox.flush(PATIENCE)
    assert relay.events(30443)[-1].id == waiting.event_id


async def test_an_account_in_memory_is_not_backed_up(
    make_client: MakeClient, tmp_path: Path
) -> None:
    alice = await make_client("alice")
    place = tmp_path / "a.mdkbackup"
    with pytest.raises(errors.InMemory) as raised:
        await alice.backup(place, passphrase="correct horse")
    assert raised.value.hint is not None
    assert "Client.open" in raised.value.hint
    assert not place.exists()


async def test_what_is_closed_is_opened_again_with_what_opened_it(make_client: MakeClient) -> None:
    alice = await make_client("alice")
    group = await alice.groups.create("Notes")
    engine = alice.engine
    await alice.close()
    for call in (alice.start, alice.outbox.pending, alice.sync, alice.ready, group.next_message):
        with pytest.raises(errors.Closed) as raised:
            await call()
        assert raised.value.hint == "Open the account again: Client.open()."
    with pytest.raises(errors.Closed) as raised:
        engine.groups()
    assert "Mdk.open" not in (raised.value.hint or "")
    for port, limit in ((-1, 0), (70_000, 65_535)):
        with pytest.raises(errors.InvalidInput) as refused:
            LocalRelay(port=port)
        assert (refused.value.field, refused.value.limit, refused.value.value) == (
            "port",
            limit,
            port,
        )
