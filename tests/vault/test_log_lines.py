"""A long life of the engine and the vault at the level TRACE: nothing has an id, a key, a URL or content of it.

Neither a log line, nor an error with its traceback and the locals of every frame, nor the repr of an object.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import secrets
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.vault.log_lines import Private, listening, require_silence

from mdk import (
    Applied,
    Config,
    DatabaseKey,
    GroupId,
    Invite,
    Keys,
    Mdk,
    Outcome,
    Rejected,
    SignedEvent,
    errors,
    vault,
)
from mdk.testing import Clock

RELAYS = ["wss://planted-relay.example/planted-path", "wss://planted-second.example"]
TEXT = "planted text, number "
T = TypeVar("T")
PHRASE = "planted passphrase"


class Life:
    """Accounts that do everything that there is to do, and what each call handed out."""

    def __init__(self, folder: Path) -> None:
        self.private = Private()
        self.folder = folder / "planted-folder"
        self.clock = Clock(datetime.now(UTC).replace(microsecond=0))
        self.raw, self.next = secrets.token_bytes(32), secrets.token_bytes(32)
        self.texts = 0
        self.said: list[str] = []
        self.take(
            [*RELAYS, PHRASE, TEXT, "planted-relay.example", str(self.folder), "planted-folder"]
        )
        self.take([self.raw, self.next, "planted-file.db"])
        self.keys = {
            name: self.take(Keys.generate()) for name in ("alice", "bob", "carol", "dave", "x")
        }
        sources = {
            "alice": DatabaseKey.raw(self.raw),
            "bob": DatabaseKey.from_file(self.folder / "planted.key"),
            "carol": DatabaseKey.passphrase(PHRASE),
            "dave": DatabaseKey.callback(lambda: self.next),
        }
        self.alice, self.bob, self.carol, self.dave = (
            self.open(name, key) for name, key in sources.items()
        )
        self.everybody = [self.alice, self.bob, self.carol, self.dave]
        self.look(*self.everybody, *sources.values(), *self.keys.values(), self.clock)

    def path(self, name: str) -> Path:
        return self.folder / name / "planted-file.db"

    def open(self, name: str, key: DatabaseKey) -> Mdk:
        return Mdk.open(self.path(name), keys=self.keys[name], key=key, clock=self.clock)

    def text(self) -> str:
        """Words that were not said before."""
        self.texts += 1
        self.private.word(text := f"{TEXT}{self.texts} {secrets.token_hex(8)}")
        return text

    def take(self, value: T) -> T:
        """What a call handed out is private, and a log shows it as its repr."""
        for one in value if isinstance(value, list | tuple) else [value]:
            if dataclasses.is_dataclass(one) or isinstance(one, SignedEvent):
                self.look(one)
        return self.private.take(value)

    def look(self, *values: object) -> None:
        """What a log would show of a value."""
        self.said += [repr(value) for value in values]

    def fails(self, error: type[errors.MdkError], call: Callable[[], object]) -> None:
        with pytest.raises(error) as caught:
            call()
        raised = caught.value
        told = traceback.TracebackException.from_exception(raised, capture_locals=True)
        # (not the frames of this file, in whatever folder it is)
        ours = str(Path(errors.__file__).parent.parent)
        self.said += [str(f.locals) for f in told.stack if f.filename.startswith(ours)]
        context = raised.__cause__ or raised.__context__
        self.look(raised, str(raised), vars(raised), raised.hint, context)

    def give(self, event: SignedEvent | str | bytes, *to: Mdk) -> list[Outcome]:
        """To each of them, and what they answer to all."""
        self.take(event)
        outcomes = [self.take(one.process(event)) for one in to]
        for outcome in outcomes:
            for reply in outcome.reply:
                for one in self.everybody:
                    self.take(one.process(reply))
        return outcomes

    def commit(self, pending: Any, *to: Mdk) -> None:
        """One of ours: confirmed, sent to the others, and long enough ago for all of them."""
        self.look(pending)
        self.take(pending)
        event, welcomes = pending.event, pending.welcomes
        self.take(pending.confirm())
        for one in to:
            if event is not None:
                self.give(event, one)
            for welcome in welcomes:
                self.give(welcome, one)
        self.settle()

    def settle(self) -> None:
        self.clock.advance(timedelta(seconds=5))
        for one in self.everybody:
            self.take(one.settle())
            self.take(one.tick())

    def invited(self, one: Mdk) -> Invite:
        (invite,) = self.take(one.invites())
        return invite

    # ---------------------------------------------------------------- the parts

    def found(self) -> GroupId:
        alice, bob, carol, dave = self.everybody
        packages = [self.take(one.new_key_package(relays=RELAYS)) for one in (bob, carol)]
        self.take([one.key_packages() for one in self.everybody])
        self.take(alice.select_key_package(packages))
        self.take(alice.check_key_package(packages[0]).usable)
        pending = alice.create_group(
            self.text(),
            members=packages,
            relays=RELAYS,
            description=self.text(),
            admins=[bob.public_key],
            media_servers=["https://planted-server.example"],
        )
        welcomes = pending.welcomes
        self.commit(pending)
        (group,) = self.take(alice.groups())
        for welcome in welcomes:
            self.give(welcome, bob, carol, dave)
        self.take(bob.accept(self.invited(bob).id))
        carol.decline(self.invited(carol).id)
        again = self.take(carol.new_key_package(relays=RELAYS, slot=secrets.token_hex(32)))
        self.commit(alice.remove_members(group.id, [carol.public_key]), bob)
        self.commit(alice.add_members(group.id, [again]), bob, carol)
        self.take(carol.accept(self.invited(carol).id))
        spare = self.take(dave.new_key_package(relays=RELAYS))
        dave.published_key_package(spare.id)
        dave.delete_key_package(self.take(dave.key_packages())[0].ref)
        self.take([one.media_servers(group.id) for one in (alice, bob, carol)])
        self.take([one.members(group.id) for one in (alice, bob, carol)])
        self.take(alice.export_secret(group.id, "planted label", b"planted context", 32))
        return group.id

    def talk(self, group: GroupId) -> None:
        alice, bob, carol, _ = self.everybody
        said = self.take(alice.create_message(group, self.text(), tags=[["t", self.text()]]))
        for one in (bob, carol):
            assert isinstance(self.give(said.event, one)[0], Applied)
        answers = [
            bob.create_message(group, self.text(), reply_to=said.message.id),
            bob.create_message(group, self.text(), kind=1),
            bob.react(group, said.message.id, "planted"),
        ]
        answers.append(bob.edit(group, answers[0].message.id, self.text()))
        answers.append(bob.delete(group, answers[2].message.id))
        answers.append(bob.delete(group, answers[1].message.id))
        events = [self.take(answer).event for answer in answers]
        self.take(list(alice.process_many([*events, *events, TEXT.encode(), b"\xff"])))
        # In the order in which nothing is there yet that they speak of.
        self.take(list(carol.process_many(reversed(events))))
        self.file(group)
        self.take(bob.resend(group, answers[0].message.id))
        for one in (alice, bob, carol):
            self.take(one.messages(group, limit=100))
            self.take(one.message(group, said.message.id))
            self.take(one.search(TEXT))
            one.mark_read(group)
            self.take(list(one.events()))
            self.take(one.interests())
            self.take(one.info)
        self.refused(group, said.event, said.message.id)

    def file(self, group: GroupId) -> None:
        alice, bob = self.alice, self.bob
        content = self.private.secret(self.text().encode() * 50)
        encrypted = self.take(
            alice.encrypt_media(group, content, filename="planted-name.txt", mime_type="text/plain")
        )
        there = (("blossom-v1", f"https://planted-server.example/{encrypted.sha256}"),)
        attachment = self.take(replace(encrypted.attachment, locators=there))
        sent = self.take(alice.create_message(group, self.text(), attachments=[attachment]))
        self.give(sent.event, bob, self.carol)
        (received,) = self.take(bob.message(group, sent.message.id)).attachments
        assert bob.decrypt_media(group, received, encrypted.data) == content
        spoiled = encrypted.data[:-1] + bytes([encrypted.data[-1] ^ 1])
        self.fails(errors.MediaCorrupt, lambda: bob.decrypt_media(group, received, spoiled))

    def refused(self, group: GroupId, event: SignedEvent, message: Any) -> None:
        """Events that are not taken, and calls that are not done."""
        alice, bob, carol, dave = self.everybody
        raw = json.loads(event.to_json())
        for wrong in (
            json.dumps(raw | {"content": self.text()}),
            json.dumps(raw | {"sig": "ab" * 64}),
            json.dumps(raw | {"kind": 1}),
            "{" + self.text(),
            json.dumps([self.text()] * 3),
        ):
            assert isinstance(self.give(wrong, bob)[0], Rejected)
        # To somebody who is in no group.
        self.give(event, dave)
        self.fails(errors.NotAdmin, lambda: carol.update_group(group, name=self.text()))
        self.fails(errors.GroupNotFound, lambda: alice.group(GroupId(secrets.token_hex(16))))
        self.fails(errors.GroupNotFound, lambda: dave.create_message(group, self.text()))
        self.fails(errors.InvalidInput, lambda: alice.create_message(group, self.text() * 9_000))
        self.fails(errors.InvalidInput, lambda: alice.group(GroupId(self.text())))
        self.fails(errors.InvalidKey, lambda: alice.remove_members(group, [self.text()]))
        self.fails(errors.InvalidRelayUrl, lambda: alice.new_key_package(relays=[self.text()]))
        self.fails(errors.NotAllowed, lambda: carol.edit(group, message, self.text()))
        self.fails(errors.InvalidInput, lambda: Config(max_held_events=0))
        self.fails(errors.InvalidKey, lambda: Keys.parse(self.text()))
        self.fails(errors.WrongKeyLength, lambda: DatabaseKey.raw(self.raw + b"x"))
        self.fails(errors.CallbackFailed, lambda: self.open("x", DatabaseKey.callback(self.raises)))
        self.fails(
            errors.DatabaseBusy, lambda: self.open("alice", DatabaseKey.raw(self.raw)).close()
        )

    def raises(self) -> bytes:
        raise RuntimeError(self.raw.hex())

    def change(self, group: GroupId) -> None:
        alice, bob, carol, _ = self.everybody
        self.commit(alice.update_group(group, name=self.text(), relays=RELAYS[:1]), bob, carol)
        self.commit(alice.promote(group, [carol.public_key]), bob, carol)
        self.commit(alice.demote(group, [carol.public_key]), bob, carol)
        self.commit(bob.self_update(group), alice, carol)
        with alice.update_group(group, description=self.text()) as given_up:
            self.take([given_up, alice.pending()])
            given_up.discard()
        # A race: each publishes, and hears of the other's afterwards; who listens hears the loser first or last.
        for first in (True, False):
            hers = alice.update_group(group, name=self.text())
            his = bob.update_group(group, name=self.text())
            events = [self.take(hers.event), self.take(his.event)]
            self.take([hers.confirm(), his.confirm()])
            said = [self.take(one.create_message(group, self.text())) for one in (alice, bob)]
            for event in [*events, *(one.event for one in said)][:: 1 if first else -1]:
                assert event is not None
                self.give(event, alice, bob, carol)
            self.settle()
        # A commit that comes long before what it follows.
        behind = []
        for _ in range(3):
            with alice.self_update(group) as pending:
                behind.append(self.take(pending.event))
                pending.confirm()
            self.clock.advance(timedelta(seconds=5))
        for event in behind[::-1]:
            assert event is not None
            self.give(event, bob, carol)
        self.settle()
        self.take([list(one.events()) for one in (alice, bob, carol)])

    def part(self, group: GroupId) -> None:
        """One leaves, another is removed, and the rest is ended."""
        alice, bob, carol, _ = self.everybody
        self.give(self.take(carol.leave(group)), alice, bob)
        for one in (alice, bob):
            for pending in one.pending():
                self.commit(pending, *(other for other in self.everybody if other is not one))
        self.settle()
        self.commit(alice.disband(group), bob)
        self.fails(errors.MdkError, lambda: bob.create_message(group, self.text()))
        self.take([one.groups() for one in self.everybody])
        self.clock.advance(timedelta(days=100))
        self.settle()

    def keep(self) -> None:
        """The vault's operations: of open accounts and of closed ones, done and refused."""
        alice, path = self.alice, self.path("alice")
        self.fails(errors.MdkError, lambda: vault.rekey(path, key=DatabaseKey.raw(self.raw)))
        assert vault.doctor(path).findings
        steps: list[object] = []
        report = alice.verify(progress=steps.append)
        assert report.ok
        assert alice.check() == []
        backup = self.folder / "planted-backup"
        alice.backup(backup, passphrase=PHRASE, progress=steps.append)
        self.fails(errors.DestinationExists, lambda: alice.backup(backup, passphrase=PHRASE))
        alice.rekey(DatabaseKey.raw(self.next), progress=steps.append)
        self.look(report, *steps)
        self.bob.rekey()
        self.private.secret((self.folder / "planted.key").read_bytes())
        for one in self.everybody:
            one.close()
        key, other = DatabaseKey.raw(self.next), DatabaseKey.raw(self.raw)
        self.fails(errors.Closed, alice.groups)
        self.fails(errors.WrongKey, lambda: vault.verify(path, key=other))
        self.fails(errors.WrongKey, lambda: self.open("alice", other))
        self.fails(errors.WrongAccount, lambda: Mdk.open(path, keys=self.keys["bob"], key=key))
        vault.rekey(path, other, key=key)
        vault.backup(path, self.folder / "planted-second", passphrase=PHRASE, key=other)
        assert vault.verify(path, key=other).ok
        assert vault.doctor(path, key=other).findings
        assert vault.doctor(path, key=key).exit_code == 2
        new = self.path("restored")
        self.fails(
            errors.WrongPassphrase,
            lambda: vault.restore(backup, new, passphrase=PHRASE[1:], key=other),
        )
        self.take(Mdk.restore(backup, new, passphrase=PHRASE, key=other).must_update)
        vault.encrypt_existing(path, from_key=other, to=self.path("copy"), key=key)
        self.damage(new, other)

    def damage(self, path: Path, key: DatabaseKey) -> None:
        data = bytearray(path.read_bytes())
        pages = len(data) // 4096
        # The list of tables stands before the rows; damage there would leave nothing to save.
        for page in range(pages * 3 // 4, pages, 3):
            data[page * 4096 + 100] ^= 1
        path.write_bytes(data)
        assert not vault.verify(path, key=key).ok
        assert vault.salvage(path, self.path("saved"), key=key, to_key=key).bad_pages > 0
        # And one that is cut short.
        path.write_bytes(data[:5000])
        self.fails(errors.MdkError, lambda: Mdk.open(path, keys=self.keys["alice"], key=key))


# proves: S19, S21, S35, Z3, H8
def test_a_long_life_at_trace_says_nothing_private(tmp_path: Path) -> None:
    with listening() as heard:
        life = Life(tmp_path)
        group = life.found()
        life.talk(group)
        life.change(group)
        life.part(group)
        life.keep()
        gc.collect()
        Mdk.in_memory().close()
    assert len(heard.lines) > 100, "a silent life proves nothing"
    loggers = {"mdk.store", "mdk.core", "mdk.python"}
    assert loggers <= heard.loggers <= loggers | {"mdk.wire"}
    assert len(life.said) > 100
    # Whose account an object is may be shown.
    identifiers = Private()
    identifiers.take([keys.public_key for keys in life.keys.values()])
    # (what an imeta tag begins with, and the field of a file)
    words = identifiers.texts | {"ciphertext_s"}
    assert life.private.found_in("\n".join(life.said)) <= words
    assert len(life.private.texts) > 500
    require_silence(heard, life.private)
