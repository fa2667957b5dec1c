"""What `logging` hears: everything that happens, and nothing of what it happens to."""

from __future__ import annotations

import base64
import gc
import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mdk import Applied, Config, DatabaseKey, GroupId, Keys, Mdk, errors, vault
from mdk.testing import Clock

TRACE = 5
RELAY = "wss://planted-relay.example/planted-path"
TEXT = "planted text of a message"
NAME = "planted name"
DESCRIPTION = "planted description"
PASSPHRASE = "planted passphrase of a backup"
RAW = bytes.fromhex("c3a1" * 16)
OTHER = bytes.fromhex("5d07" * 16)


class Collector(logging.Handler):
    """Keeps every line, as a file would show it."""

    def __init__(self) -> None:
        super().__init__(level=0)
        self.lines: list[str] = []
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.levelname} {record.getMessage()} {record.args}")
        self.records.append(record)


@pytest.fixture
def heard() -> Iterator[Collector]:
    # With this comes what a client of an earlier test has left to be told.
    Mdk.in_memory().close()
    collector = Collector()
    logger = logging.getLogger("mdk")
    logger.addHandler(collector)
    logger.setLevel(TRACE)
    yield collector
    logger.removeHandler(collector)
    logger.setLevel(logging.NOTSET)


def forms(secret: bytes) -> set[str]:
    """How bytes may look in a text."""
    digits = secret.hex()
    return {
        digits,
        digits.upper(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        repr(secret),
        str(list(secret))[1:-1],
        secret.decode("latin-1"),
    }


class Story:
    """Everything an account goes through, and all that must not be said of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock(datetime.now(UTC).replace(microsecond=0))
        self.said: list[str] = []
        self.planted: set[str] = {RELAY, "planted-relay", TEXT, NAME, DESCRIPTION, PASSPHRASE}
        self.planted |= forms(RAW) | forms(OTHER)
        self.alice_keys, self.bob_keys = Keys.generate(), Keys.generate()
        for keys in (self.alice_keys, self.bob_keys):
            self.planted.add(keys.reveal_nsec())

    def look(self, *values: object) -> None:
        """What a log would show of a value that is not one of the frozen ones, whose repr is their content."""
        self.said += [repr(value) for value in values]

    def fails(self, error: type[errors.MdkError], call: object) -> None:
        """A call that fails, and its traceback with the locals of every frame."""
        assert callable(call)
        try:
            call()
        except error as raised:
            told = traceback.TracebackException.from_exception(raised, capture_locals=True)
            # (not those of this file, in whatever folder it is)
            ours = str(Path(errors.__file__).parent.parent)
            frames = [frame for frame in told.stack if frame.filename.startswith(ours)]
            self.said += [repr(raised), str(raised), str(vars(raised)), raised.hint or ""]
            self.said += [str(frame.locals) for frame in frames]
            context = raised.__cause__ or raised.__context__
            self.said.append(repr(context))
        else:
            pytest.fail(f"{error.__name__} was expected")

    def open(self, name: str, keys: Keys, key: DatabaseKey) -> Mdk:
        return Mdk.open(self.folder / name / "mdk.db", keys=keys, key=key, clock=self.clock)

    def play(self) -> None:
        alice_key, bob_key = DatabaseKey.raw(RAW), DatabaseKey.from_file(self.folder / "bob.key")
        alice = self.open("alice", self.alice_keys, alice_key)
        bob = self.open("bob", self.bob_keys, bob_key)
        self.look(alice, bob, alice_key, bob_key, self.alice_keys, self.clock)
        package = bob.new_key_package(relays=[RELAY])
        with alice.create_group(
            NAME, members=[package], relays=[RELAY], description=DESCRIPTION
        ) as pending:
            self.look(pending)
            welcomes = pending.welcomes
            group = pending.confirm()
        # Routing and group id, as statement 35 wants them planted.
        self.planted |= {group.id, group.nostr_group_id} | forms(bytes.fromhex(group.id))
        self.planted |= forms(alice.export_secret(group.id, "planted", b"", 32))
        for welcome in welcomes:
            bob.process(welcome)
        (invite,) = bob.invites()
        bob.accept(invite.id)
        self.talk(alice, bob, group.id)
        self.misuse(alice, bob, group.id)
        self.move(alice, bob, group.id)

    def talk(self, alice: Mdk, bob: Mdk, group: GroupId) -> None:
        sent = alice.create_message(group, TEXT)
        self.planted |= {sent.message.id, sent.event.id, sent.event.content}
        assert isinstance(bob.process(sent.event), Applied)
        bob.process(sent.event)
        bob.process("{" + TEXT)
        answer = bob.react(group, sent.message.id, "+")
        list(alice.process_many([answer.event, b"\xff" + TEXT.encode(), answer.event]))
        alice.edit(group, sent.message.id, TEXT)
        with alice.self_update(group) as pending:
            event = pending.event
            pending.confirm()
        assert event is not None
        bob.process(event)
        alice.tick()

    def misuse(self, alice: Mdk, bob: Mdk, group: GroupId) -> None:
        self.fails(errors.InvalidInput, lambda: alice.group(GroupId(TEXT)))
        self.fails(errors.GroupNotFound, lambda: alice.group(GroupId("ab" * 16)))
        self.fails(errors.InvalidRelayUrl, lambda: alice.new_key_package(relays=[TEXT]))
        self.fails(errors.InvalidKey, lambda: Keys.parse(TEXT))
        self.fails(errors.InvalidKey, lambda: alice.remove_members(group, [TEXT]))
        bob.settle()
        self.fails(errors.NotAdmin, lambda: bob.update_group(group, name=NAME))
        self.fails(errors.InvalidInput, lambda: alice.create_message(group, TEXT * 10_000))
        self.fails(errors.InvalidInput, lambda: Config(max_past_epochs=9))
        self.fails(errors.WrongKeyLength, lambda: DatabaseKey.raw(RAW + b"x"))
        self.fails(errors.CallbackFailed, lambda: self.open("x", Keys.generate(), raising()))
        self.fails(errors.DatabaseBusy, lambda: self.open("alice", self.alice_keys, raw()))

    def move(self, alice: Mdk, bob: Mdk, group: GroupId) -> None:
        steps: list[object] = []
        report = alice.verify(progress=steps.append)
        assert report.ok, report
        assert alice.check() == []
        backup = self.folder / "backup"
        alice.backup(backup, passphrase=PASSPHRASE, progress=steps.append)
        alice.rekey(DatabaseKey.raw(OTHER), progress=steps.append)
        self.look(report, *steps)
        alice.close()
        bob.close()
        self.fails(errors.Closed, lambda: alice.group(group))
        path = self.folder / "alice" / "mdk.db"
        self.fails(errors.WrongKey, lambda: vault.verify(path, key=raw()))
        new = self.folder / "new" / "mdk.db"
        self.fails(
            errors.WrongPassphrase,
            lambda: vault.restore(backup, new, passphrase=PASSPHRASE[1:], key=raw()),
        )
        restored = Mdk.restore(backup, new, passphrase=PASSPHRASE, key=raw())
        assert restored.must_update == (group,)
        with Mdk.open(new, keys=self.alice_keys, key=raw(), clock=self.clock) as again:
            self.fails(errors.SelfUpdateRequired, lambda: again.create_message(group, TEXT))
        vault.rekey(path, DatabaseKey.raw(RAW), key=DatabaseKey.raw(OTHER))


def raw() -> DatabaseKey:
    return DatabaseKey.raw(RAW)


def raising() -> DatabaseKey:
    def ask() -> bytes:
        raise RuntimeError(RAW.hex())

    return DatabaseKey.callback(ask)


# proves: S19, S21, S35, Z3, H8
def test_a_whole_story_at_trace_says_nothing_private(tmp_path: Path, heard: Collector) -> None:
    story = Story(tmp_path)
    story.play()
    gc.collect()
    assert len(heard.lines) >= 10, "a silent story proves nothing"
    assert {record.name for record in heard.records} <= {
        "mdk.wire",
        "mdk.store",
        "mdk.core",
        "mdk.python",
    }
    everything = "\n".join([*heard.lines, *story.said])
    found = {planted for planted in story.planted if planted.lower() in everything.lower()}
    assert found == set()
    # The control: what is planted would be found.
    assert TEXT in f"{everything}{TEXT}"


def test_levels_are_honoured_at_once(heard: Collector) -> None:
    logger = logging.getLogger("mdk")
    with Mdk.in_memory():
        pass
    assert any("not encrypted" in line for line in heard.lines)
    heard.lines.clear()
    logger.setLevel(logging.CRITICAL)
    with Mdk.in_memory() as account:
        account.groups()
    assert heard.lines == []
    logger.setLevel(logging.WARNING)
    with Mdk.in_memory() as account:
        account.groups()
        assert {record.levelno for record in heard.records[-1:]} == {logging.WARNING}
    logging.getLogger("mdk.store").setLevel(logging.ERROR)
    heard.lines.clear()
    Mdk.in_memory().close()
    assert heard.lines == []
    logging.getLogger("mdk.store").setLevel(logging.NOTSET)
    logging.disable(logging.CRITICAL)
    Mdk.in_memory().close()
    logging.disable(logging.NOTSET)
    assert heard.lines == []


# proves: S31
def test_memory_is_said_to_be_unencrypted(heard: Collector) -> None:
    Mdk.in_memory().close()
    warnings = [r for r in heard.records if r.levelno == logging.WARNING]
    assert [(r.name, r.getMessage()) for r in warnings] == [
        ("mdk.store", "an account in memory is not encrypted")
    ]
    # Reported where the account was opened, not somewhere inside.
    assert warnings[0].funcName == "test_memory_is_said_to_be_unencrypted"


class Busybody(logging.Handler):
    """A handler that uses the account it is told about, and another one."""

    def __init__(self, accounts: list[Mdk]) -> None:
        super().__init__(level=0)
        self.accounts = accounts
        self.calls = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.calls += 1
        for account in self.accounts:
            account.groups()


def test_a_handler_may_use_the_account(tmp_path: Path) -> None:
    key = DatabaseKey.raw(RAW)
    accounts = [
        Mdk.open(tmp_path / name / "mdk.db", keys=Keys.generate(), key=key) for name in ("a", "b")
    ]
    handler = Busybody(accounts)
    logger = logging.getLogger("mdk")
    logger.addHandler(handler)
    logger.setLevel(TRACE)
    try:

        def work(account: Mdk) -> None:
            for _ in range(50):
                account.new_key_package(relays=["wss://relay.example"])
                account.process("{")

        threads = [threading.Thread(target=work, args=(a,)) for a in accounts * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads), "a deadlock"
        assert handler.calls > 0
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        for account in accounts:
            account.close()


# In a process of its own: the warning that it waits for is given once.
INTERRUPTED = """
import logging
import mdk

class Raising(logging.Filter):
    def filter(self, record):
        raise KeyboardInterrupt

refuse = Raising()
logging.getLogger("mdk.store").addFilter(refuse)
try:
    mdk.Mdk.in_memory()
    for _ in range(1000):
        pass
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_in_a_handler_reaches_the_caller() -> None:
    command = [sys.executable, "-W", "ignore", "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "interrupted\n", done


SILENT = """
import sys
from pathlib import Path
import mdk
folder = Path(sys.argv[1])
key = mdk.DatabaseKey.raw(bytes(range(32)))
mdk.Mdk.in_memory().close()
mdk.Mdk.open(folder / "a" / "mdk.db", keys=mdk.Keys.generate(), key=key).close()
data = bytearray((folder / "a" / "mdk.db").read_bytes())
data[5000] ^= 1
(folder / "a" / "mdk.db").write_bytes(data)
try:
    mdk.Mdk.open(folder / "a" / "mdk.db", keys=mdk.Keys.generate(), key=key).close()
except mdk.errors.MdkError:
    pass
mdk.vault.verify(folder / "a" / "mdk.db", key=key)
try:
    mdk.vault.verify(folder / "a" / "mdk.db", key=mdk.DatabaseKey.raw(bytes(32)))
except mdk.errors.MdkError:
    pass
"""


# proves: H8
def test_nothing_goes_to_stderr(tmp_path: Path) -> None:
    """SQLCipher complains on stderr of damaged pages and wrong keys, if it is let."""
    done = subprocess.run(
        [sys.executable, "-c", SILENT, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "RUST_LOG": "trace"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
