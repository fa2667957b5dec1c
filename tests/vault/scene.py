"""An account in a child process, and the parent's that talks with it: the setting of the tests of the vault."""

from __future__ import annotations

import secrets
import signal
from pathlib import Path

from tests.vault.kit import RELAYS, founded
from tests.vault.memory_scan import Child, forms
from tests.vault.sqlcipher_format import Encrypted

from mdk import DatabaseKey, GroupId, Keys, Mdk, SignedEvent

KEYS = Keys.generate()
# `process_many` takes in 500 events at a time.
BATCH = 500


def filled(path: Path, key: bytes, text: str = "message", count: int = 60) -> bytes:
    """A database with a group and its history; returns the digest of its rows."""
    with Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(key)) as account:
        group = founded(account)
        for number in range(count):
            account.create_message(group, f"{text} {number} " + "x" * 300)
        return account.digest()


def bech32_bytes(text: str) -> bytes:
    """The 32 bytes of an nsec."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    number = 0
    for letter in text[5:-6]:
        number = number * 32 + alphabet.index(letter)
    return (number >> 4).to_bytes(32, "big")


class Home:
    """The files of the child's account, and what the parent knows of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        self.database_key = secrets.token_bytes(32)
        self.nsec = Keys.generate().reveal_nsec()
        for name, content in (
            ("database.key", self.database_key),
            ("account.key", self.nsec.encode()),
        ):
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(content)

    @property
    def name(self) -> str:
        return self.folder.name

    def database(self) -> Encrypted:
        return Encrypted(self.folder / "vault" / "account.db", self.database_key)

    def long_lived(self) -> dict[str, bytes]:
        """The keys that live as long as the account is open."""
        return {
            **forms("database key", self.database_key),
            **forms("account key", bech32_bytes(self.nsec)),
            "account key, nsec, 1st half": self.nsec[5:30].encode(),
            "account key, nsec, 2nd half": self.nsec[30:].encode(),
            **forms("page authentication key", self.database().mac_key),
        }


def meet(
    alice: Mdk, child: Child, home: Home, name: str = "Lunch", description: str = ""
) -> tuple[GroupId, SignedEvent]:
    """A group of the parent's account and the child's. Returns its id and an event that says nothing any more."""
    who = home.name
    child.do(f"{who} package package.json")
    package = SignedEvent.from_json((home.folder / "package.json").read_bytes())
    with alice.create_group(
        name, members=[package], relays=RELAYS, description=description
    ) as pending:
        (welcome,) = pending.welcomes
        group = pending.confirm()
    (home.folder / "welcome.json").write_text(welcome.to_json())
    child.do(f"{who} join welcome.json")
    return group.id, welcome


def deliver(child: Child, home: Home, silent: SignedEvent, events: list[SignedEvent]) -> None:
    lines: list[str] = []
    for event in events:
        if len(lines) % BATCH == 0:
            lines.append(silent.to_json())
        lines.append(event.to_json())
    (home.folder / "events.jsonl").write_text("\n".join(lines))
    child.do(f"{home.name} receive events.jsonl")


def dumped(child: Child, folder: Path) -> bytes:
    """What a child that aborts leaves."""
    assert child.process.wait(timeout=60) == -signal.SIGABRT
    (dump,) = folder.glob("**/core*")
    content = dump.read_bytes()
    assert content.startswith(b"\x7fELF")
    return content
