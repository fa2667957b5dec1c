"""What was deleted is gone from all that the database key opens: pages, free pages, and the log."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.client.pictures import png
from tests.vault import mls_rows
from tests.vault.scene import RELAYS
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
    SignedEvent,
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

    def group_with(
        self,
        other: Account,
        package: SignedEvent | None = None,
        *,
        retention: timedelta | None = None,
    ) -> GroupId:
        package = package or other.mdk.new_key_package(relays=RELAYS)
        with self.mdk.create_group(
            "Lunch", members=[package], relays=RELAYS, retention=retention
        ) as pending:
            (welcome,) = pending.welcomes
            pending.confirm()
        other.mdk.process(welcome)
        (invite,) = other.mdk.invites()
        return other.mdk.accept(invite.id).id


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Callable[[str], Account]]:
    """Makes accounts that share a clock and are closed at the end."""
    clock = Clock(datetime.now(UTC).replace(microsecond=0))
    made: list[Account] = []

    def make(name: str) -> Account:
        made.append(Account(tmp_path / name / "account.db", clock))
        return made[-1]

    yield make
    for one in made:
        one.mdk.close()


def marker() -> str:
    return secrets.token_urlsafe(18)


# proves: Z4
def test_a_deleted_message_is_gone_at_both_ends(account: Callable[[str], Account]) -> None:
    alice, bob = account("alice"), account("bob")
    group = alice.group_with(bob)
    text = marker()
    sent = alice.mdk.create_message(group, text)
    bob.mdk.process(sent.event)
    for one in (alice, bob):
        assert text.encode() in one.all_pages(), "positive control"
    deletion = alice.mdk.delete(group, sent.message.id)
    bob.mdk.process(deletion.event)
    for one in (alice, bob):
        assert text.encode() not in one.all_pages()


# proves: Z4
@pytest.mark.parametrize("by", ["delete", "checkpoint", "expire"])
def test_what_was_deleted_leaves_the_log_of_an_account_that_stays_open(
    account: Callable[[str], Account], by: str
) -> None:
    """A large batch reaches far into the log; what is written later begins at the front again."""
    alice, bob = account("alice"), account("bob")
    hour = timedelta(hours=1)
    package = bob.mdk.new_key_package(relays=RELAYS)
    with alice.mdk.create_group(
        "Lunch", members=[package], relays=RELAYS, retention=hour if by == "expire" else None
    ) as pending:
        (welcome,) = pending.welcomes
        group = pending.confirm().id
    bob.mdk.process(welcome)
    bob.mdk.accept(bob.mdk.invites()[0].id)
    text = marker().encode()
    sent = [alice.mdk.create_message(group, text.decode() + "x" * 15_000) for _ in range(150)]
    list(bob.mdk.process_many([out.event for out in sent]))
    if by != "expire":
        for out in sent:
            bob.mdk.process(alice.mdk.delete(group, out.message.id).event)
    else:
        bob.clock.advance(2 * hour)
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
def test_an_edited_and_deleted_message_leaves_neither_text(
    account: Callable[[str], Account],
) -> None:
    alice, bob = account("alice"), account("bob")
    group = alice.group_with(bob)
    first, second = marker(), marker()
    sent = alice.mdk.create_message(group, first)
    edited = alice.mdk.edit(group, sent.message.id, second)
    deleted = alice.mdk.delete(group, sent.message.id)
    for out in (sent, edited, deleted):
        bob.mdk.process(out.event)
    for one in (alice, bob):
        pages = one.all_pages()
        assert first.encode() not in pages
        assert second.encode() not in pages


# proves: Z4
def test_expired_messages_are_gone(account: Callable[[str], Account]) -> None:
    alice, bob = account("alice"), account("bob")
    package = bob.mdk.new_key_package(relays=RELAYS)
    short = timedelta(hours=1)
    with alice.mdk.create_group(
        "Lunch", members=[package], relays=RELAYS, retention=short
    ) as pending:
        (welcome,) = pending.welcomes
        group = pending.confirm().id
    bob.mdk.process(welcome)
    bob.mdk.accept(bob.mdk.invites()[0].id)
    text = marker()
    for number in range(30):
        bob.mdk.process(alice.mdk.create_message(group, f"{text} {number}").event)
    for one in (alice, bob):
        assert text.encode() in one.all_pages(), "positive control"
    alice.clock.advance(short * 2)
    for one in (alice, bob):
        one.mdk.tick()
        assert text.encode() not in one.all_pages()


# proves: Z4
@pytest.mark.parametrize("by", ["delete", "expire"])
def test_the_words_of_a_reaction_go_with_it_and_its_sign_is_told(
    account: Callable[[str], Account], by: str
) -> None:
    """Of what is gone the log of events tells that it is: for an app that shows it, a sign says which one it was."""
    alice, bob = account("alice"), account("bob")
    group = alice.group_with(bob, retention=timedelta(hours=1) if by == "expire" else None)
    said = alice.mdk.create_message(group, "hello")
    bob.mdk.process(said.event)
    words = marker()
    emojis = [words, "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}"]
    reactions = [bob.mdk.react(group, said.message.id, emoji) for emoji in emojis]
    for reaction in reactions:
        alice.mdk.process(reaction.event)
    for one in (alice, bob):
        assert words.encode() in one.all_pages(), "positive control"
    assert [e.reaction.emoji for e in alice.mdk.events() if isinstance(e, ReactionAdded)] == emojis
    if by == "delete":
        for reaction in reactions:
            alice.mdk.process(bob.mdk.delete(group, reaction.message.id).event)
    else:
        alice.clock.advance(timedelta(hours=2))
        for one in (alice, bob):
            one.mdk.tick()
    for one in (alice, bob):
        assert words.encode() not in one.all_pages()
    told = [e for e in alice.mdk.events() if isinstance(e, ReactionAdded | ReactionRemoved)]
    assert [type(e) for e in told] == [ReactionRemoved, ReactionRemoved]
    assert sorted(e.reaction.emoji for e in told) == ["", emojis[1]]


# proves: Z4
def test_a_declined_group_is_gone_with_its_secrets(account: Callable[[str], Account]) -> None:
    alice, bob = account("alice"), account("bob")
    name = marker()
    package = bob.mdk.new_key_package(relays=RELAYS)
    before = set(bob.secrets().values())
    with alice.mdk.create_group(name, members=[package], relays=RELAYS) as pending:
        (welcome,) = pending.welcomes
        group = pending.confirm().id
    bob.mdk.process(welcome)
    bob.mdk.process(alice.mdk.create_message(group, "early").event)
    gained = {what: s for what, s in bob.secrets().items() if s not in before}
    assert {what.rstrip(" 0123456789") for what in gained} >= {"epoch secret", "exporter secret"}
    assert name.encode() in bob.all_pages(), "positive control"
    bob.mdk.decline(bob.mdk.invites()[0].id)
    pages = bob.all_pages()
    assert name.encode() not in pages
    assert not [what for what, secret in gained.items() if secret in pages]


# proves: Z4
def test_a_group_that_was_given_up_is_gone(account: Callable[[str], Account]) -> None:
    alice = account("alice")
    alice.mdk.new_key_package(relays=RELAYS)
    before = set(alice.secrets().values())
    name = marker()
    pending = alice.mdk.create_group(name, relays=RELAYS)
    gained = {what: s for what, s in alice.secrets().items() if s not in before}
    assert gained
    assert name.encode() in alice.all_pages(), "positive control"
    (pending,) = alice.mdk.pending()
    pending.discard()
    pages = alice.all_pages()
    assert name.encode() not in pages
    assert not [what for what, secret in gained.items() if secret in pages]


# proves: Z4 Z5
def test_a_deleted_key_package_is_gone_with_its_keys(account: Callable[[str], Account]) -> None:
    alice = account("alice")
    alice.mdk.new_key_package(relays=RELAYS, slot="01" * 32)
    before = set(alice.secrets().values())
    alice.mdk.new_key_package(relays=RELAYS, slot="02" * 32)
    gained = {what: s for what, s in alice.secrets().items() if s not in before}
    assert len(gained) >= 2, "an init key and an encryption key"
    pages = alice.all_pages()
    assert all(secret in pages for secret in gained.values()), "positive control"
    (package,) = [p for p in alice.mdk.key_packages() if p.slot == "02" * 32]
    alice.mdk.delete_key_package(package.ref)
    pages = alice.all_pages()
    assert not [what for what, secret in gained.items() if secret in pages]


# proves: Z4 Z5
def test_left_epochs_take_their_secrets_with_them(account: Callable[[str], Account]) -> None:
    """Once an epoch is beyond the retained ones, nothing of it is left: exporter, ratchets, path keys."""
    alice, bob = account("alice"), account("bob")
    group = alice.group_with(bob)
    bob.mdk.process(alice.mdk.create_message(group, "hello").event)
    for one in (alice, bob):
        one.mdk.create_message(group, "hello")
    old = {
        one.path.parent.name: {
            what: secret
            for what, secret in one.secrets().items()
            if not what.startswith(OUTLIVES_ITS_EPOCH)
        }
        for one in (alice, bob)
    }
    assert all(len(found) > 5 for found in old.values())
    for turn in range(14):
        committer, other = (alice, bob) if turn % 2 else (bob, alice)
        with committer.mdk.self_update(group) as pending:
            assert pending.event is not None
            event = pending.event
            pending.confirm()
        other.mdk.process(event)
        committer.clock.advance(timedelta(hours=1))
        for one in (alice, bob):
            one.mdk.tick()
    for one in (alice, bob):
        # Open, with the log as tick() has left it, and closed.
        for pages in (Encrypted(one.path, one.key).everything(), one.all_pages()):
            left = [w for w, secret in old[one.path.parent.name].items() if secret in pages]
            assert not left


# proves: Z4 Z5
def test_who_commits_and_stays_open_keeps_no_left_epoch_in_the_log(
    account: Callable[[str], Account],
) -> None:
    alice, bob = account("alice"), account("bob")
    group = alice.group_with(bob)
    keys: dict[int, bytes] = {}
    for _ in range(12):
        keys[alice.mdk.group(group).epoch] = alice.mdk.export_secret(
            group, "marmot", b"group-event", 32
        )
        with alice.mdk.self_update(group) as pending:
            pending.confirm()
        alice.clock.advance(timedelta(hours=1))
        alice.mdk.tick()
    tip = alice.mdk.group(group).epoch
    pages = Encrypted(alice.path, alice.key).everything()
    kept = {epoch for epoch, key in keys.items() if key in pages}
    assert kept == set(range(tip - 5, tip)), "the five epochs before the current one"


def test_left_epochs_wait_for_the_tick_since_a_log_that_was_cut_is_slow(
    account: Callable[[str], Account],
) -> None:
    alice, bob = account("alice"), account("bob")
    group = alice.group_with(bob)
    log = Path(f"{alice.path}-wal")
    size = log.stat().st_size
    for _ in range(40):
        with alice.mdk.self_update(group) as pending:
            pending.confirm()
        assert log.stat().st_size >= size
    alice.mdk.tick()
    assert log.stat().st_size == 0


def gained_by_joining(alice: Account, bob: Account) -> tuple[GroupId, dict[str, bytes]]:
    """A group that Bob has joined, and the secrets that he has by it and by its first message."""
    # The keys of a KeyPackage stay: it is one of last resort.
    package = bob.mdk.new_key_package(relays=RELAYS)
    before = set(bob.secrets().values())
    group = alice.group_with(bob, package)
    bob.mdk.process(alice.mdk.create_message(group, "hello").event)
    gained = {w: s for w, s in bob.secrets().items() if s not in before}
    return group, {w: s for w, s in gained.items() if not w.startswith("authenticator")}


# proves: Z4
def test_a_disbanded_group_leaves_no_key(account: Callable[[str], Account]) -> None:
    alice, bob = account("alice"), account("bob")
    group, gained = gained_by_joining(alice, bob)
    with alice.mdk.disband(group) as pending:
        assert pending.event is not None
        event = pending.event
        pending.confirm()
    bob.mdk.process(event)
    # Another branch could still win; nothing competes, so the end is final after a second.
    bob.clock.advance(timedelta(seconds=1))
    bob.mdk.tick()
    pages = bob.all_pages()
    assert not [what for what, secret in gained.items() if secret in pages]


# proves: Z4
def test_who_was_removed_keeps_no_key_of_the_group(account: Callable[[str], Account]) -> None:
    alice, bob = account("alice"), account("bob")
    group, gained = gained_by_joining(alice, bob)
    with alice.mdk.remove_members(group, [bob.keys.public_key]) as pending:
        assert pending.event is not None
        event = pending.event
        pending.confirm()
    bob.mdk.process(event)
    bob.clock.advance(timedelta(days=30))
    bob.mdk.tick()
    pages = bob.all_pages()
    assert not [what for what, secret in gained.items() if secret in pages]


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
        with pending:
            assert pending.event is not None
            bob.mdk.process(pending.event)
            pending.confirm()
    bob.clock.advance(timedelta(seconds=2))
    bob.mdk.tick()
    assert bob.mdk.group(group).state == end


# proves: Z4
@pytest.mark.parametrize("end", ["left", "removed", "disbanded"])
def test_a_deleted_group_is_gone_with_its_secrets(
    account: Callable[[str], Account], end: str
) -> None:
    """Pages, free pages and the log: after tick(), while the account stays open, and after closing it."""
    alice, bob = account("alice"), account("bob")
    bob.mdk.new_key_package(relays=RELAYS)
    package = bob.mdk.new_key_package(relays=RELAYS)
    before = set(bob.secrets().values())
    said = {what: marker() for what in ("name", "description", "text", "edit", "own", "emoji")}
    with alice.mdk.create_group(
        said["name"], members=[package], relays=RELAYS, description=said["description"]
    ) as pending:
        (welcome,) = pending.welcomes
        group = pending.confirm().id
    bob.mdk.process(welcome)
    bob.mdk.accept(bob.mdk.invites()[0].id)
    sent = alice.mdk.create_message(group, said["text"])
    bob.mdk.process(sent.event)
    bob.mdk.process(alice.mdk.edit(group, sent.message.id, said["edit"]).event)
    bob.mdk.create_message(group, said["own"])
    bob.mdk.react(group, sent.message.id, said["emoji"])
    gained = {what: s for what, s in bob.secrets().items() if s not in before}
    assert {what.rstrip(" 0123456789") for what in gained} >= {"epoch secret", "authenticator"}
    kept = alice.group_with(bob)
    for number in range(100):
        bob.mdk.process(alice.mdk.create_message(kept, f"kept {number}").event)
    ids = (bytes.fromhex(group), bytes.fromhex(bob.mdk.group(group).nostr_group_id), group.encode())
    ended(end, alice, bob, group)
    pages = bob.all_pages()
    for planted in (*(text.encode() for text in said.values()), *ids[:2]):
        assert planted in pages, "positive control"

    bob.mdk.delete_group(group)
    bob.mdk.tick()
    found = Encrypted(bob.path, bob.key)
    assert not found.damaged
    for content in (found.everything(), bob.all_pages()):
        assert not [what for what, text in said.items() if text.encode() in content]
        assert not [what for what, secret in gained.items() if secret in content]
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
    assert not [what for what, value in planted.items() if value in content]
