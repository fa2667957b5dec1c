"""What an account shows and renews: links, names, keys, backups, logs; and what is too large for a relay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest
from tests.client.announcing import announcing
from tests.client.people import KEY, PATIENCE, Account, hear, join

import mdk
from mdk import (
    Client,
    DatabaseKey,
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
        # The account keeps its keys and its relays.
        async with impatient(Client.open(alice, key=DatabaseKey.from_file(key))) as again:
            assert (again.npub, again.relays) == (hers.npub, (relay.url,))
            assert len(again.groups) == 1


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


@pytest.mark.parametrize("whose", ["the account", "the relay", "the content"])
async def test_groups_too_large_are_refused_with_their_size_before_anything(whose: str) -> None:
    """By a limit of ours, of what a relay takes, or of the content that it announces: an invite has to go, too."""
    limit = 9_000 if whose == "the content" else 3_000
    content = limit if whose == "the content" else 1_000_000
    most = limit if whose == "the relay" else 1_000_000
    async with (
        LocalRelay(max_event_bytes=most) as relay,
        announcing(relay, max_content_length=content) as url,
    ):
        where = relay.url if whose == "the relay" else url
        ours = {"max_event_bytes": 4_096} if whose == "the account" else {}
        usual = mdk.Config(allow_loopback=True)
        config = mdk.Config(allow_loopback=True, **ours)  # type: ignore[arg-type]
        alice = impatient(Client.open(":memory:", relays=[where], config=config))
        bob = impatient(Client.open(":memory:", relays=[where], config=usual))
        async with alice, bob:
            await asyncio.gather(alice.ready(PATIENCE), bob.ready(PATIENCE))
            await bob.outbox.flush(PATIENCE)
            groups = 0
            trials: list[Awaitable[object]] = [
                alice.groups.create("x", [bob.public_key], description="d" * 4_000)
            ]
            if whose == "the content":
                group = await alice.groups.create("x", description="d" * 4_000)
                trials.append(group.add(bob.public_key))
                groups = 1
            for trial in trials:
                with pytest.raises(errors.GroupTooLarge) as raised:
                    await trial
                found, size = raised.value.limit, raised.value.size
                assert found is not None
                assert size is not None
                if whose == "the account":
                    assert found == 4_096
                elif whose == "the relay":
                    # Of an event, or of the message that it comes in.
                    assert found in {limit - len('["EVENT",]'), limit}
                else:
                    # What stands around the content is of one length.
                    assert limit < found < limit + 500
                assert size > found
            assert relay.count(445) == relay.count(1059) == len(alice.engine.pending()) == 0
            assert len(alice.groups) == groups
            if whose == "the content":
                fits = await alice.groups.create("x", [bob.public_key])
                assert (await bob.invites.next(PATIENCE)).group_id == fits.id


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
    # Without a network it waits in the outbox, once however often it is asked for.
    await relay.pause()
    waiting = await alice.key_packages.publish()
    assert waiting.ref != again.ref
    assert await alice.key_packages.publish() == waiting
    await relay.resume()
    await alice.outbox.flush(PATIENCE)
    assert relay.events(30_443)[-1].id == waiting.event_id
