"""The little world that every run starts from: an account under test, and peers kept aside that no kill reaches."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.vault.kit import RELAYS, founded, key_in
from tests.vault.sqlcipher_format import Encrypted

from mdk import (
    Applied,
    DatabaseKey,
    Duplicate,
    GroupId,
    Keys,
    Mdk,
    MessageReceived,
    Outcome,
    PendingCommit,
    SignedEvent,
)
from mdk.testing import Clock

from . import keyring

PEER_KEY = DatabaseKey.raw(b"p" * 32)
# Files that may stand beside a database that nobody has open.
RESTING = {"mdk.db", "mdk.db.lock", "mdk.db.keyinfo", "mdk.db-wal", "mdk.db-shm"}
# The file in which each source keeps its key.
KEY_FILES = {"file": "key", "passphrase": "mdk.db.key"}
PASSPHRASE = "correct horse battery staple"


class Broken(AssertionError):
    """A check failed. `kind` is what the summary counts: lost, broken, unopenable, wrong_key, differs or left_over."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def require(truth: object, kind: str, text: str) -> None:
    if not truth:
        raise Broken(kind, text)


class Place:
    """One directory: what is under test, what is aside, and the facts about both."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.watched = root / "watched"
        self.account = self.watched / "account"
        self.aside = root / "aside"

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.root / "facts.json").read_bytes())
        return facts

    def learn(self, **more: Any) -> None:
        file = self.root / "facts.json"
        known = json.loads(file.read_bytes()) if file.exists() else {}
        file.write_text(json.dumps(known | more), encoding="utf-8")

    def clock(self) -> Clock:
        return Clock(datetime.fromisoformat(self.facts["now"]))

    def keys(self, name: str) -> Keys:
        return Keys.parse(self.facts["accounts"][name])

    @property
    def source(self) -> str:
        """Where the key of the account under test is kept: file, passphrase or keyring."""
        return str(self.facts.get("source", "file"))

    def key(self, **instead: Any) -> DatabaseKey:
        """The key of the account under test, or another one, of which `source` or `key_id` are told."""
        facts = {"source": self.source, "key_id": self.facts.get("key_id")} | instead
        match facts["source"]:
            case "file":
                return DatabaseKey.from_file(self.account / "key")
            case "passphrase":
                return DatabaseKey.passphrase(PASSPHRASE)
            case "keyring":
                return DatabaseKey.keyring(keyring.SERVICE, key_id=facts["key_id"])
            case other:
                raise AssertionError(other)

    def key_text(self) -> str | None:
        """The text in which the key is kept, if there is one."""
        if self.source == "keyring":
            kept = list(keyring.entries().values())
            require(len(kept) <= 1, "left_over", f"{len(kept)} keys are in the keyring")
            return kept[0] if kept else None
        file = self.account / KEY_FILES[self.source]
        return file.read_text(encoding="ascii") if file.exists() else None

    def resting(self) -> set[str]:
        """Files that may stand in the folder of the account when nobody has it open."""
        return RESTING | {name for source, name in KEY_FILES.items() if source == self.source}

    def alice(self, clock: Clock | None = None) -> Mdk:
        """The account under test."""
        return Mdk.open(
            self.account / "mdk.db",
            keys=self.keys("alice"),
            key=self.key(),
            clock=clock or self.clock(),
        )

    def peer(self, name: str = "bob", clock: Clock | None = None) -> Mdk:
        return Mdk.open(
            self.aside / name / "mdk.db",
            keys=self.keys(name),
            key=PEER_KEY,
            clock=clock or self.clock(),
        )

    def copy(self, to: Path) -> Place:
        """The same at another place. A directory that is there already stays the same one, and gets the content."""
        mirror(self.root, to)
        for record in to.rglob("*.keyinfo"):
            adopt(record)
        return Place(to)

    def names(self) -> list[str]:
        """Every path below what is under test."""
        if not self.watched.exists():
            return []
        return sorted(p.relative_to(self.watched).as_posix() for p in self.watched.rglob("*"))

    def empty(self) -> None:
        """Removes the folder of the account."""
        shutil.rmtree(self.account)

    def traces(self) -> list[str]:
        """Everything that a call may have left: paths, and keys in the keyring."""
        kept = keyring.entries() if self.source == "keyring" else {}
        return self.names() + [f"key {name}" for name in sorted(kept)]


def mirror(source: Path, to: Path) -> None:
    to.mkdir(exist_ok=True)
    for path in to.iterdir():
        other = source / path.name
        if path.is_dir() and not path.is_symlink():
            if not other.is_dir() or other.is_symlink():
                shutil.rmtree(path)
        else:
            path.unlink()
    for path in source.iterdir():
        if path.is_dir() and not path.is_symlink():
            mirror(path, to / path.name)
        else:
            shutil.copy2(path, to / path.name, follow_symlinks=False)
    shutil.copystat(source, to)


def decoded(account: Path) -> Encrypted:
    """The database of an account, read without any code of this project."""
    return Encrypted(account / "mdk.db", key_in(account / "key"))


def adopt(record: Path) -> None:
    """Makes a copied record one of its new folder: a world stands in for the one that it was copied from.

    A copy that says where it comes from leaves the keys of the original alone, and has no part in what is tested here.
    """
    text = json.loads(record.read_bytes())
    if "directory" in text:
        volume = os.statvfs(record.parent).f_fsid or record.parent.stat().st_dev
        text["directory"] = f"{volume:x}-{record.parent.stat().st_ino:x}"
        record.write_text(json.dumps(text), encoding="utf-8")


def publish(pending: PendingCommit) -> tuple[SignedEvent | None, tuple[SignedEvent, ...]]:
    """Confirms a commit as if a relay had taken it."""
    event, welcomes = pending.event, pending.welcomes
    pending.confirm()
    return event, welcomes


def renew(place: Place, alice: Mdk, bob: Mdk) -> None:
    """The leaf of an account whose database continues another one, before it sends."""
    event, _ = publish(alice.self_update(GroupId(place.facts["group"])))
    assert event is not None
    took(bob.process(event), "the renewal of a leaf")


def build(root: Path, *, messages: int = 24) -> Place:
    """The world: alice and bob share a group and a second one that alice may leave; carol has invited alice."""
    root.mkdir(parents=True)
    place = Place(root)
    place.watched.mkdir(mode=0o700)
    names = ("alice", "bob", "carol")
    place.learn(
        now=datetime.now(UTC).replace(microsecond=0).isoformat(),
        accounts={name: Keys.generate().reveal_nsec() for name in names},
    )
    clock = place.clock()
    with (
        place.alice(clock) as alice,
        place.peer("bob", clock) as bob,
        place.peer("carol", clock) as carol,
    ):
        group = founded(alice, bob, admins=[bob.public_key])
        other = founded(bob, alice, name="Dinner")
        history = [alice.create_message(group, f"before {n}").message for n in range(3)]
        for sent in history:
            require(sent.text, "broken", "a message without text")
        own = history[0]
        for n in range(3):
            event = bob.create_message(group, f"earlier {n}").event
            outcome = alice.process(event)
            require(isinstance(outcome, Applied), "broken", f"{outcome!r}")
        package = alice.new_key_package(relays=RELAYS)
        invited = carol.create_group("Breakfast", members=[package], relays=RELAYS)
        _, welcomes = publish(invited)
        spare = carol.new_key_package(relays=RELAYS)
        events = [bob.create_message(group, f"message {n}").event for n in range(messages)]
        place.learn(
            group=group,
            other=other,
            own=own.id,
            history=[m.text for m in alice.messages(group)],
            messages=[e.to_json() for e in events],
            welcome=welcomes[0].to_json(),
            spare=spare.to_json(),
        )
    return place


def took(outcome: Outcome, what: str) -> None:
    """It had its effect, now or before."""
    require(isinstance(outcome, Applied | Duplicate), "broken", f"{what}: {type(outcome).__name__}")


def talk(alice: Mdk, bob: Mdk, group: GroupId) -> None:
    """Both can send and both can read."""
    for sender, reader in ((alice, bob), (bob, alice)):
        event = sender.create_message(group, "still there?").event
        outcome = reader.process(event)
        require(isinstance(outcome, Applied), "broken", f"a message became {outcome!r:.60}")
        require(
            any(
                isinstance(e, MessageReceived) and e.message.text == "still there?"
                for e in outcome.events
            ),
            "broken",
            "a message was not reported",
        )


def outline(mdk: Mdk) -> dict[str, Any]:
    """The state without what differs from run to run: ids, keys, cursors."""
    groups = [
        {
            "name": group.name,
            "epoch": group.epoch,
            "state": str(group.state),
            "members": group.member_count,
            "unread": group.unread_count,
            "messages": [
                [m.text, m.deleted, m.edited, m.invalidated, m.is_mine]
                for m in mdk.messages(group.id, limit=1000)
            ],
        }
        for group in sorted(mdk.groups(), key=lambda g: g.name)
    ]
    return {
        "groups": groups,
        "events": dict(Counter(type(e).__name__ for e in mdk.events())),
        "pending": len(mdk.pending()),
        "invites": len(mdk.invites()),
        "key_packages": len(mdk.key_packages()),
    }
