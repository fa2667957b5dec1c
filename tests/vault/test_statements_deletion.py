"""What was deleted is gone from all that the database key opens: pages, free pages, and the log."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.pictures import png
from tests.vault import mls_rows
from tests.vault.kit import RELAYS, committed, founded, of_packages
from tests.vault.sqlcipher_format import Encrypted

from mdk import (
    Client,
    DatabaseKey,
    Delivery,
    GroupId,
    Keys,
    Mdk,
    ReactionAdded,
    ReactionRemoved,
    vault,
)
from mdk.testing import Clock, LocalBlossom, LocalRelay, client

# The account's one signature key; KeyPackages; what names an epoch in the history.
OUTLIVES_ITS_EPOCH = ("signature", "KeyPackage", "authenticator")


class Account:
    """An encrypted account in this process, whose file can be looked through."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.key = secrets.token_bytes(32)
        self.keys = Keys.generate()
        self.mdk = self.open()

    def open(self) -> Mdk:
        key = DatabaseKey.raw(self.key)
        return Mdk.open(self.path, keys=self.keys, key=key, clock=self.clock)

    def secrets(self) -> dict[str, bytes]:
        return mls_rows.secrets(Encrypted(self.path, self.key).sqlite())

    def all_pages(self) -> bytes:
        """After moving the log into the file, which closing does; and open again."""
        self.mdk.close()
        found = Encrypted(self.path, self.key)
        assert not found.damaged
        content = found.everything()
        self.mdk = self.open()
        return content

    def group_with(self, other: Account, **settings: Any) -> GroupId:
        return founded(self.mdk, other.mdk, **settings)

    def gained(self, before: dict[str, bytes]) -> dict[str, bytes]:
        """The secrets that have come since."""
        return {what: s for what, s in self.secrets().items() if s not in before.values()}


def said_in(pages: bytes, planted: Mapping[str, bytes]) -> list[str]:
    """Which of these are in it."""
    return [what for what, value in planted.items() if value in pages]


Two = tuple[Account, Account]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    """Accounts that share a clock."""
    clock = Clock(datetime.now(UTC).replace(microsecond=0))
    alice, bob = (Account(tmp_path / name / "account.db", clock) for name in ("alice", "bob"))
    yield alice, bob
    for one in (alice, bob):
        one.mdk.close()


def marker() -> str:
    return secrets.token_urlsafe(18)


HOUR = timedelta(hours=1)


# proves: Z4
@pytest.mark.parametrize("by", ["delete", "edit", "expire"])
def test_a_message_that_has_gone_is_gone_at_both_ends(two: Two, by: str) -> None:
    alice, bob = two
    group = alice.group_with(bob, retention=HOUR if by == "expire" else None)
    texts = [marker() for _ in range(30)]
    sent = [alice.mdk.create_message(group, text) for text in texts]
    for out in sent:
        bob.mdk.process(out.event)
    if by == "edit":
        for out in sent:
            texts.append(marker())
            bob.mdk.process(alice.mdk.edit(group, out.message.id, texts[-1]).event)
    planted = {text: text.encode() for text in texts}
    for one in two:
        pages = one.all_pages()
        assert len(said_in(pages, planted)) >= 30, "positive control"
    if by == "expire":
        alice.clock.advance(HOUR * 2)
        for one in two:
            one.mdk.tick()
    else:
        for out in sent:
            bob.mdk.process(alice.mdk.delete(group, out.message.id).event)
    for one in two:
        assert not said_in(one.all_pages(), planted)


# proves: Z4
@pytest.mark.parametrize("by", ["delete", "checkpoint", "expire"])
def test_what_was_deleted_leaves_the_log_of_an_account_that_stays_open(two: Two, by: str) -> None:
    """A large batch reaches far into the log; what is written later begins at the front again."""
    alice, bob = two
    group = alice.group_with(bob, retention=HOUR if by == "expire" else None)
    text = marker().encode()
    sent = [alice.mdk.create_message(group, text.decode() + "x" * 45_000) for _ in range(50)]
    list(bob.mdk.process_many([out.event for out in sent]))
    if by != "expire":
        for out in sent:
            bob.mdk.process(alice.mdk.delete(group, out.message.id).event)
    else:
        bob.clock.advance(2 * HOUR)
    assert text in Encrypted(bob.path, bob.key).everything(), "positive control"
    if by == "checkpoint":
        for _ in range(100):
            bob.mdk.process(alice.mdk.create_message(group, "later").event)
    else:
        bob.mdk.tick()
    found = Encrypted(bob.path, bob.key)
    assert not found.damaged
    assert text not in found.everything()


# proves: Z4
@pytest.mark.parametrize("by", ["delete", "expire"])
def test_the_words_of_a_reaction_go_with_it_and_its_sign_is_told(two: Two, by: str) -> None:
    """Of what is gone the log of events tells that it is: for an app that shows it, a sign says which one it was."""
    alice, bob = two
    group = alice.group_with(bob, retention=HOUR if by == "expire" else None)
    said = alice.mdk.create_message(group, "hello")
    bob.mdk.process(said.event)
    words = marker()
    emojis = [words, "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}"]
    reactions = [bob.mdk.react(group, said.message.id, emoji) for emoji in emojis]
    for reaction in reactions:
        alice.mdk.process(reaction.event)
    for one in two:
        assert words.encode() in one.all_pages(), "positive control"
    assert [e.reaction.emoji for e in alice.mdk.events() if isinstance(e, ReactionAdded)] == emojis
    if by == "delete":
        for reaction in reactions:
            alice.mdk.process(bob.mdk.delete(group, reaction.message.id).event)
    else:
        alice.clock.advance(2 * HOUR)
        for one in two:
            one.mdk.tick()
    for one in two:
        assert words.encode() not in one.all_pages()
    told = [e for e in alice.mdk.events() if isinstance(e, ReactionAdded | ReactionRemoved)]
    assert [type(e) for e in told] == [ReactionRemoved, ReactionRemoved]
    assert sorted(e.reaction.emoji for e in told) == ["", emojis[1]]


# proves: Z4
def test_a_declined_group_is_gone_with_its_secrets(two: Two) -> None:
    alice, bob = two
    name = marker()
    package = bob.mdk.new_key_package(relays=RELAYS)
    before = bob.secrets()
    with alice.mdk.create_group(name, members=[package], relays=RELAYS) as pending:
        (welcome,) = pending.welcomes
        group = pending.confirm().id
    bob.mdk.process(welcome)
    bob.mdk.process(alice.mdk.create_message(group, "early").event)
    gained = bob.gained(before)
    assert {what.rstrip(" 0123456789") for what in gained} >= {"epoch secret", "exporter secret"}
    gone_after(
        bob, lambda: bob.mdk.decline(bob.mdk.invites()[0].id), gained | {"name": name.encode()}
    )


# proves: Z4 Z5
def test_a_group_that_was_given_up_and_a_deleted_key_package_are_gone(two: Two) -> None:
    alice, _ = two
    alice.mdk.new_key_package(relays=RELAYS, slot="01" * 32)
    before, name = alice.secrets(), marker()
    alice.mdk.create_group(name, relays=RELAYS)
    gained = alice.gained(before)
    assert gained

    def give_up() -> None:
        (pending,) = alice.mdk.pending()
        pending.discard()

    gone_after(alice, give_up, gained | {"name": name.encode()})
    alice.mdk.new_key_package(relays=RELAYS, slot="02" * 32)
    gained = alice.gained(before)
    assert len(gained) >= 2, "an init key and an encryption key"
    (package,) = [p for p in alice.mdk.key_packages() if p.slot == "02" * 32]
    gone_after(alice, lambda: alice.mdk.delete_key_package(package.ref), gained)


def gone_after(account: Account, deleted: Callable[[], object], planted: dict[str, bytes]) -> None:
    assert said_in(account.all_pages(), planted) == list(planted), "positive control"
    deleted()
    assert not said_in(account.all_pages(), planted)


# proves: Z4 Z5
def test_left_epochs_take_their_secrets_with_them(two: Two) -> None:
    """Once an epoch is beyond the retained ones, nothing of it is left: exporter, ratchets, path keys."""
    alice, bob = two
    group = alice.group_with(bob)
    bob.mdk.process(alice.mdk.create_message(group, "hello").event)
    for one in two:
        one.mdk.create_message(group, "hello")
    old = {
        one.path: {w: s for w, s in one.secrets().items() if not w.startswith(OUTLIVES_ITS_EPOCH)}
        for one in two
    }
    assert all(len(found) > 5 for found in old.values())
    for turn in range(14):
        committer, other = (alice, bob) if turn % 2 else (bob, alice)
        committed(committer.mdk.self_update(group), other.mdk)
        committer.clock.advance(HOUR)
        for one in two:
            one.mdk.tick()
    for one in two:
        # Open, with the log as tick() has left it, and closed.
        for pages in (Encrypted(one.path, one.key).everything(), one.all_pages()):
            assert not said_in(pages, old[one.path])


# proves: Z4 Z5
def test_who_commits_and_stays_open_keeps_no_left_epoch_in_the_log(
    two: Two,
) -> None:
    alice, bob = two
    group = alice.group_with(bob)
    keys: dict[int, bytes] = {}
    for _ in range(12):
        database = Encrypted(alice.path, alice.key).sqlite()
        ((key,),) = database.execute("SELECT event_key FROM groups")
        keys[alice.mdk.group(group).epoch] = key
        committed(alice.mdk.self_update(group))
        alice.clock.advance(HOUR)
        alice.mdk.tick()
    tip = alice.mdk.group(group).epoch
    pages = Encrypted(alice.path, alice.key).everything()
    kept = {epoch for epoch, key in keys.items() if key in pages}
    assert kept == set(range(tip - 5, tip)), "the five epochs before the current one"


def test_left_epochs_wait_for_the_tick_since_a_log_that_was_cut_is_slow(
    two: Two,
) -> None:
    alice, bob = two
    group = alice.group_with(bob)
    log = Path(f"{alice.path}-wal")
    size = log.stat().st_size
    for _ in range(40):
        committed(alice.mdk.self_update(group))
        assert log.stat().st_size >= size
    alice.mdk.tick()
    assert log.stat().st_size == 0


def ended(end: str, alice: Account, bob: Account, group: GroupId) -> None:
    """Bob is out of the group, by whatever way, or it has ended."""
    if end == "left":
        for answer in alice.mdk.process(bob.mdk.leave(group)).reply:
            bob.mdk.process(answer)
    else:
        pending = (
            alice.mdk.disband(group)
            if end == "disbanded"
            else alice.mdk.remove_members(group, [bob.keys.public_key])
        )
        committed(pending, bob.mdk)
    # Another branch could still win; nothing competes, so the end is final after a second.
    bob.clock.advance(timedelta(seconds=2))
    bob.mdk.tick()
    assert bob.mdk.group(group).state == end


# proves: Z4
@pytest.mark.parametrize("end", ["left", "removed", "disbanded"])
def test_a_group_that_has_ended_leaves_no_key_and_deleted_it_is_gone(two: Two, end: str) -> None:
    """Pages, free pages and the log: after tick(), while the account stays open, and after closing it."""
    alice, bob = two
    bob.mdk.new_key_package(relays=RELAYS)
    package = bob.mdk.new_key_package(relays=RELAYS)
    before = bob.secrets()
    said = {what: marker() for what in ("name", "description", "text", "edit", "own", "emoji")}
    group = of_packages(
        alice.mdk, (bob.mdk, package), name=said["name"], description=said["description"]
    )
    sent = alice.mdk.create_message(group, said["text"])
    bob.mdk.process(sent.event)
    bob.mdk.process(alice.mdk.edit(group, sent.message.id, said["edit"]).event)
    bob.mdk.create_message(group, said["own"])
    bob.mdk.react(group, sent.message.id, said["emoji"])
    gained = bob.gained(before)
    assert {what.rstrip(" 0123456789") for what in gained} >= {"epoch secret", "authenticator"}
    kept = alice.group_with(bob)
    for number in range(100):
        bob.mdk.process(alice.mdk.create_message(kept, f"kept {number}").event)
    ids = (bytes.fromhex(group), bytes.fromhex(bob.mdk.group(group).nostr_group_id), group.encode())
    ended(end, alice, bob, group)
    pages = bob.all_pages()
    for planted in (*(text.encode() for text in said.values()), *ids[:2]):
        assert planted in pages, "positive control"
    if end != "left":
        bob.clock.advance(timedelta(days=30))
        bob.mdk.tick()
        keys = {w: s for w, s in gained.items() if not w.startswith("authenticator")}
        assert not said_in(bob.all_pages(), keys)

    bob.mdk.delete_group(group)
    bob.mdk.tick()
    found = Encrypted(bob.path, bob.key)
    assert not found.damaged
    for content in (found.everything(), bob.all_pages()):
        assert not said_in(content, {what: text.encode() for what, text in said.items()})
        assert not said_in(content, gained)
        assert not [planted for planted in ids if planted in content]
    assert [info.id for info in bob.mdk.groups()] == [kept]
    assert len(bob.mdk.messages(kept, limit=1000)) == 100
    assert bob.mdk.verify().ok
    salvaged = bob.path.parent / "salvaged.db"
    bob.mdk.close()
    raw = DatabaseKey.raw(bob.key)
    report = vault.salvage(bob.path, salvaged, key=raw, to_key=raw)
    assert (report.bad_pages, report.missing) == (0, ())
    bob.mdk = bob.open()


# proves: Z4
async def test_a_deleted_group_takes_its_picture_and_what_could_not_be_sent_along(
    tmp_path: Path,
) -> None:
    """What only a client has: the picture's key, a message that every relay has refused, what is kept for relays."""
    path, key = tmp_path / "alice" / "mdk.db", secrets.token_bytes(32)
    text, name, clock = marker(), marker(), Clock(datetime.now(UTC).replace(microsecond=0))

    def everything() -> bytes:
        found = Encrypted(path, key)
        assert not found.damaged
        return found.everything()

    async with LocalRelay() as relay, LocalBlossom() as blobs:
        keys = Keys.generate()

        async def opened() -> Client:
            secret = DatabaseKey.raw(key)
            return await client(
                relay, blobs=blobs, account=path, keys=keys, key=secret, clock=clock
            )

        alice = await opened()
        group = await alice.groups.create(name)
        await group.set_image(png(10, 10))
        (stored,) = blobs.blobs()
        relay.refuse(kinds={445})
        failed = await group.send(text)
        assert (await failed.delivered(20)).delivery is Delivery.FAILED
        relay.accept()
        sealed = [event.id for event in relay.events(445)]
        route = bytes.fromhex(group.info.nostr_group_id)
        # (before the end of the group, with which the settings go as soon as nothing can compete with it)
        # What the settings say of the picture: hash, key, nonce and key of the upload, one after the other.
        content = everything()
        at = content.index(b"\x20" + bytes.fromhex(stored) + b"\x20") + 34
        picture, upload = content[at : at + 32], content[at + 46 : at + 78]
        assert (content[at + 32], content[at + 45]) == (12, 32)
        planted = {
            "text": text.encode(),
            "name": name.encode(),
            "key of the picture": picture,
            "key of its upload": upload,
            "id": bytes.fromhex(group.id),
            "id in words": group.id.encode(),
            "routing id": route,
            "routing id in words": route.hex().encode(),
            "what relays have": sealed[0].encode(),
        }
        assert not [what for what, value in planted.items() if value not in content]
        await group.disband()
        await alice.close()

        # Nothing competes with the end.
        clock.advance(timedelta(seconds=2))
        alice = await opened()
        await alice.groups.delete(group.id)
        await alice.close()
    content = everything()
    assert not said_in(content, planted)
