"""What continues another database: a restored backup, a copy under another key, what was salvaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.vault.kit import committed, founded

from mdk import DatabaseKey, GroupId, Keys, Mdk, MessageReceived, errors, vault

PASSPHRASE = "only for this test"


def key(folder: Path) -> DatabaseKey:
    return DatabaseKey.from_file(folder / "key")


def talk(root: Path, keys: Keys) -> tuple[Mdk, Mdk, GroupId]:
    """Two accounts in one group, one of them on disk."""
    (root / "a").mkdir(mode=0o700)
    alice = Mdk.open(root / "a" / "m.db", keys=keys, key=key(root / "a"))
    bob = Mdk.in_memory(Keys.generate())
    return alice, bob, founded(alice, bob)


def back_up(root: Path, alice: Mdk) -> None:
    alice.backup(root / "archive", passphrase=PASSPHRASE)


def restore(root: Path) -> None:
    Mdk.restore(root / "archive", root / "b" / "m.db", passphrase=PASSPHRASE, key=key(root / "b"))


def set_aside(root: Path, _alice: Mdk) -> None:
    """Everything as it lies there now, as somebody finds it who copies the files."""
    shutil.copytree(root / "a", root / "then")


def copy(root: Path) -> None:
    source = root / "then"
    to = root / "b" / "m.db"
    vault.encrypt_existing(source / "m.db", from_key=key(source), to=to, key=key(root / "b"))


def salvage(root: Path) -> None:
    source = root / "then"
    to = root / "b" / "m.db"
    vault.salvage(source / "m.db", to, key=key(source), to_key=key(root / "b"))


WAYS = {
    "restore": (back_up, restore),
    "encrypt": (set_aside, copy),
    "salvage": (set_aside, salvage),
}


@pytest.mark.parametrize("name", WAYS)
def test_its_leaf_is_renewed_and_no_event_is_skipped(name: str, tmp_path: Path) -> None:
    before: Callable[[Path, Mdk], None]
    after: Callable[[Path], None]
    before, after = WAYS[name]
    keys = Keys.generate()
    alice, bob, group = talk(tmp_path, keys)
    bob_says = [bob.create_message(group, f"message {n}").event for n in range(6)]
    alice.process(bob_says[0])
    before(tmp_path, alice)
    for event in bob_says[1:3]:
        alice.process(event)
    seen = list(alice.events())[-1].cursor
    alice.create_message(group, "with a key that is used once")
    alice.close()
    (tmp_path / "b").mkdir(mode=0o700)
    after(tmp_path)

    with Mdk.open(tmp_path / "b" / "m.db", keys=keys, key=key(tmp_path / "b")) as again:
        assert again.needs_self_update() == [group]
        with pytest.raises(errors.SelfUpdateRequired):
            again.create_message(group, "with the same key")
        # A program that remembers what it has seen of the original hears of everything that comes now.
        for event in bob_says[3:]:
            again.process(event)
        news = again.events(after=seen)
        heard = [event.message.text for event in news if isinstance(event, MessageReceived)]
        assert heard == ["message 3", "message 4", "message 5"]
        committed(again.self_update(group), bob)
        bob.process(again.create_message(group, "with a new one").event)
        assert bob.messages(group)[-1].text == "with a new one"
