"""An account in a process of its own, for the memory scans. It does what its standard input says, line by line.

Nothing secret passes through the interpreter: keys come from files, the database key through a bytearray that is wiped,
and what is received is never handed out.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.vault.torture.shim import CHANGES, Kind, Mode, Plan, Shim

from mdk import Client, Config, DatabaseKey, GroupId, Keys, Mdk, Progress, errors, vault


class Account:
    """What the commands work on. Files are named by the commands, below the account's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mdk: Mdk | None = None
        self.keys: Keys | None = None
        self.key: DatabaseKey | None = None
        self.client: Client | None = None
        self.unread: list[Iterator[object]] = []
        self.reader = threading.current_thread()
        self.goes_on = threading.Event()
        self.loop = asyncio.new_event_loop()

    def engine(self) -> Mdk:
        assert self.mdk is not None
        return self.mdk

    def open(self, name: str = "vault/account.db", key: str = "database.key") -> None:
        self.key = self.raw(key)
        self.keys = Keys.from_file(self.folder / "account.key")
        self.mdk = Mdk.open(self.folder / name, keys=self.keys, key=self.key)

    def open_with_file(self, name: str) -> None:
        self.keys = Keys.from_file(self.folder / "account.key")
        key = DatabaseKey.from_file(self.folder / name)
        self.mdk = Mdk.open(self.folder / "vault/account.db", keys=self.keys, key=key)

    def raw(self, name: str) -> DatabaseKey:
        secret = bytearray(32)
        with (self.folder / name).open("rb", buffering=0) as file:
            assert file.readinto(secret) == 32
        return DatabaseKey.raw(secret, wipe=True)

    def rekey(self, name: str) -> None:
        self.engine().rekey(self.raw(name))

    def open_with_passphrase(self, name: str) -> None:
        self.keys = Keys.from_file(self.folder / "account.key")
        self.key = DatabaseKey.passphrase(self.passphrase(name), wipe=True)
        path = self.folder / "vault/account.db"
        self.mdk = Mdk.open(path, keys=self.keys, key=self.key)

    def passphrase(self, name: str) -> memoryview:
        buffer = bytearray(64)
        with (self.folder / name).open("rb", buffering=0) as file:
            length = file.readinto(buffer)
        return memoryview(buffer)[:length]

    def backup(self, name: str) -> None:
        passphrase = self.passphrase("passphrase")
        self.engine().backup(self.folder / name, passphrase=passphrase)
        passphrase[:] = bytes(len(passphrase))

    def verify(self) -> None:
        assert self.engine().verify().ok

    def only_read(self, how: str) -> None:
        """Read a key and do nothing else, which would write over what that has left."""
        file = self.folder / "account.key"
        match how:
            case "file":
                self.keys = Keys.from_file(file)
            case "env":
                self.keys = Keys.from_env("ACCOUNT_KEY")
            case "password":
                self.keys = Keys.parse(file.read_text(encoding="ascii"), "nostr")
            case "raw":
                self.key = self.raw("database.key")
            case _:
                self.keys = Keys.parse(file.read_text(encoding="ascii"))

    def drop_key(self) -> None:
        self.key = None

    def drop_keys(self) -> None:
        self.key = self.keys = None
        gc.collect()

    def package(self, name: str) -> None:
        event = self.engine().new_key_package(relays=["wss://relay.example"])
        (self.folder / name).write_text(event.to_json())

    def join(self, name: str) -> None:
        self.engine().process((self.folder / name).read_bytes())
        (invite,) = self.engine().invites()
        self.engine().accept(invite.id)

    def receive(self, name: str) -> None:
        """Takes in a file of events, one per line, and lets no outcome but the first become a Python object.

        `process_many` takes in 500 at a time when the first outcome of them is asked for. The first line of every 500
        should be one that says nothing; what the rest said stays in the library until the iterator is dropped, or the
        account closed: of two iterators the second is dropped here.
        """
        events = (self.folder / name).read_bytes().splitlines()
        for start in range(0, len(events), 500):
            outcomes = self.engine().process_many(events[start : start + 500])
            next(outcomes)
            if start % 1000 == 0:
                self.unread.append(outcomes)
            del outcomes

    def send(self, group: str, count: str) -> None:
        for number in range(int(count)):
            self.engine().create_message(GroupId(group), f"An answer, number {number}.")

    def update(self, group: str, name: str) -> None:
        with self.engine().self_update(GroupId(group)) as pending:
            assert pending.event is not None
            (self.folder / name).write_text(pending.event.to_json())
            pending.confirm()

    def read_ahead(self) -> None:
        """Begin to read the log, which tells first of what holds no text."""
        log = self.engine().events()
        next(log)
        self.unread.append(log)

    def rekey_that_closes(self) -> None:
        """Let the disk fail at every third call of a re-key in turn, until one leaves the account closed."""
        shim, folder = Shim(), self.folder / "vault"
        mask = CHANGES | Kind.OPEN | Kind.READ
        for target in range(1, 1000, 3):
            plan = Plan(Mode.FAIL, target, mask, errno.EIO, sticky=True)
            shim.arm(folder, plan)
            try:
                self.rekey("new.key")
            except errors.MdkError as error:
                shim.disarm()
                hint = str(error.hint)
            else:
                break
            try:
                self.engine().groups()
            except errors.Closed:
                assert hint.startswith("The account is closed now."), hint
                return
        raise AssertionError("it failed at no call so that it closed the account")

    def open_again(self) -> None:
        """After a re-key that failed: with the key that it needs."""
        try:
            self.open()
        except errors.RekeyInterrupted:
            self.open(key="new.key")

    def unread_is_gone(self) -> None:
        for unread in self.unread:
            try:
                next(unread)
            except errors.Closed as error:
                why = str(error)
            else:
                why = "it goes on"
            assert "re-key" in why, why

    def read_beside(self, name: str) -> None:
        """A thread takes in a file of events, and waits where the library tells it what was logged in the call."""
        waits = threading.Event()
        events = (self.folder / name).read_bytes().splitlines()
        outcomes = self.engine().process_many(events)

        def read() -> None:
            with suppress(errors.Closed):
                next(outcomes)

        def wait(_: logging.LogRecord) -> bool:
            if threading.current_thread() is reader:
                waits.set()
                assert self.goes_on.wait(60)
            return False

        handler, log = logging.Handler(), logging.getLogger("mdk")
        handler.addFilter(wait)
        log.addHandler(handler)
        log.setLevel(1)
        self.reader = reader = threading.Thread(target=read)
        reader.start()
        assert waits.wait(60)

    def go_on(self) -> None:
        self.goes_on.set()
        self.reader.join()

    def close(self) -> None:
        self.engine().close()

    def make_client(self) -> None:
        """A client whose relay is not there, not started yet. Only the client keeps the keys."""
        self.client = Client.open(
            self.folder / "vault/account.db",
            keys=Keys.from_file(self.folder / "account.key"),
            key=self.raw("database.key"),
            relays=["ws://127.0.0.1:1"],
            config=Config(allow_loopback=True),
        )

    def start_client(self) -> None:
        assert self.client is not None
        self.loop.run_until_complete(self.client.start())

    def close_client(self) -> None:
        assert self.client is not None
        self.loop.run_until_complete(self.client.close())

    def whole(self, operation: str, crash_at: str = "0") -> None:
        """Work on the whole database, which nobody has open. It waits for a line whenever it tells of progress."""
        told = 0

        def progress(_: Progress) -> None:
            nonlocal told
            told += 1
            if told == int(crash_at):
                os.abort()
            print("at", flush=True)
            sys.stdin.readline()

        path, key = self.folder / "vault/account.db", self.raw("database.key")
        new = self.folder / "new" / "account.db"
        match operation:
            case "verify":
                assert vault.verify(path, key=key, progress=progress).ok
            case "rekey":
                vault.rekey(path, self.raw("new.key"), key=key, progress=progress)
            case "salvage":
                to_key = self.raw("new.key")
                vault.salvage(path, new, key=key, to_key=to_key, progress=progress)
            case "encrypt_existing":
                new_key = self.raw("new.key")
                vault.encrypt_existing(path, key=new_key, to=new, from_key=key, progress=progress)
            case "backup":
                archive, passphrase = self.folder / "a.bak", self.passphrase("passphrase")
                vault.backup(path, archive, passphrase=passphrase, key=key, progress=progress)
            case "restore":
                archive, passphrase = self.folder / "old.bak", self.passphrase("passphrase")
                vault.restore(
                    archive, new, passphrase=passphrase, key=self.raw("new.key"), progress=progress
                )
            case "verify_with_passphrase":
                given = DatabaseKey.passphrase(self.passphrase("passphrase"), wipe=True)
                assert vault.verify(path, key=given, progress=progress).ok
            case _:
                raise ValueError(operation)

    def forget(self) -> None:
        self.mdk = self.keys = self.key = None
        self.unread.clear()
        gc.collect()

    def rest(self) -> None:
        """Returns when no other thread of this process has had anything to do for a tenth of a second."""
        calm, before = 0, ""
        for _ in range(3000):
            now = ""
            for task in sorted(Path("/proc/self/task").iterdir()):
                if task.name != str(os.getpid()):
                    with suppress(FileNotFoundError, ProcessLookupError):
                        now += (task / "status").read_text(encoding="utf-8")
            awake = "State:\tR" in now or "State:\tD" in now
            calm = 0 if awake or now != before else calm + 1
            if calm == 10:
                return
            before = now
            time.sleep(0.01)
        raise RuntimeError("there is always a thread that works")

    def crash(self) -> None:
        os.abort()


def main() -> None:
    accounts = {Path(folder).name: Account(Path(folder)) for folder in sys.argv[1:]}
    print("ready", flush=True)
    for line in sys.stdin:
        who, what, *arguments = line.split()
        getattr(accounts[who], what)(*arguments)
        print("done", flush=True)


if __name__ == "__main__":
    main()
