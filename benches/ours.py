"""Our side under measurement: the Python API, encrypted databases on disk, event JSON in and out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mdk import Applied, DatabaseKey, GroupId, Keys, Mdk, SignedEvent
from worker import TEXT, Side, folder_size, serve

RELAYS = ["wss://relay.example"]


@dataclass
class Account:
    """One open database."""

    keys: Keys
    path: Path
    secret: bytes
    engine: Mdk


class Ours(Side):
    """Calls of the public API and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def account(self, name: str) -> Account:
        keys, path, secret = Keys.generate(), self.folder / f"{name}.db", os.urandom(32)
        return Account(keys, path, secret, Mdk.open(path, keys=keys, key=DatabaseKey.raw(secret)))

    def size(self, account: Account) -> int:
        return folder_size(account.path)

    def key_package(self, account: Account) -> str:
        return account.engine.new_key_package(relays=RELAYS).to_json()

    def strangers(self, count: int) -> list[str]:
        made = []
        for _ in range(count):
            with Mdk.in_memory(Keys.generate()) as engine:
                made.append(engine.new_key_package(relays=RELAYS).to_json())
        return made

    def create(
        self, account: Account, key_packages: list[str], wrap: bool
    ) -> tuple[GroupId, list[str]]:
        members = [SignedEvent.from_json(text) for text in key_packages]
        with account.engine.create_group("Lunch", members=members, relays=RELAYS) as pending:
            welcomes = [event.to_json() for event in pending.welcomes]
            return pending.confirm().id, welcomes

    def join(self, account: Account, welcome: str, wrapped: bool) -> GroupId:
        self.receive(account, welcome)
        return account.engine.accept(account.engine.invites()[-1].id).id

    def send(self, account: Account, group: GroupId, text: str) -> str:
        return account.engine.create_message(group, text).event.to_json()

    def receive(self, account: Account, event: str) -> None:
        outcome = account.engine.process(event)
        if not isinstance(outcome, Applied):
            raise RuntimeError(f"not applied: {outcome!r}")

    def rest(self, account: Account) -> None:
        account.engine.settle()

    def self_update(self, account: Account, group: GroupId) -> str:
        with account.engine.self_update(group) as pending:
            event = pending.event
            assert event is not None, "a self-update is a commit of an existing group"
            text = event.to_json()
            pending.confirm()
            return text

    def ingest(self, account: Account, events: list[str]) -> None:
        for outcome in account.engine.process_many(events):
            if not isinstance(outcome, Applied):
                raise RuntimeError(f"not applied: {outcome!r}")

    def reopen(self, account: Account) -> Callable[[], None]:
        account.engine.close()

        def opening() -> None:
            account.engine = Mdk.open(
                account.path, keys=account.keys, key=DatabaseKey.raw(account.secret)
            )
            account.engine.groups()

        return opening


def traced(folder: Path, operation: str, members: int) -> None:
    """Performs `operation` a few times, each between two marks that a system call trace shows."""
    side = Ours(folder)
    alice, bob = side.account("alice"), side.account("bob")
    invited = [side.key_package(bob), *side.strangers(members - 2)]
    group, welcomes = side.create(alice, invited, wrap=True)
    if operation != "join":
        side.join(bob, welcomes[0], wrapped=True)

    def prepared() -> Callable[[], object]:
        """The operation with everything that it needs made beforehand."""
        if operation == "send":
            return lambda: side.send(alice, group, TEXT)
        if operation == "self_update":
            return lambda: side.self_update(alice, group)
        if operation in {"receive", "process_commit"}:
            side.rest(bob)
            event = (
                side.send(alice, group, TEXT)
                if operation == "receive"
                else side.self_update(alice, group)
            )
            return lambda: side.receive(bob, event)
        if operation == "ingest":
            events = [side.send(alice, group, TEXT) for _ in range(100)]
            return lambda: side.ingest(bob, events)
        if operation == "create":
            packages = [side.key_package(bob)]
            return lambda: side.create(alice, packages, wrap=True)
        if operation == "join":
            return lambda: side.join(bob, welcomes[0], wrapped=True)
        if operation == "open":
            return side.reopen(bob)
        return lambda: side.key_package(bob)

    for _ in range(1 if operation == "join" else 10):
        call = prepared()
        mark("begin")
        call()
        mark("end")


def mark(name: str) -> None:
    """A system call that fails and is easy to find in a trace."""
    Path(f"/mdk-bench-{name}").exists()


if __name__ == "__main__":
    if sys.argv[1] == "--traced":
        traced(Path(sys.argv[4]), sys.argv[2], int(sys.argv[3]))
    else:
        serve(Ours(Path(sys.argv[1])))
