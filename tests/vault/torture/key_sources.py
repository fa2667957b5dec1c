"""The operations that make keys, under other sources of keys; salvage; and a file system that cannot exchange names."""

from __future__ import annotations

import base64
import errno
import shutil
from typing import Any

from tests.vault.sqlcipher_format import PAGE

import mdk
from mdk import DatabaseKey, GroupId, Mdk, errors

from . import keyring
from .opening import FirstOpen
from .operation import Context, MakesAnother, Operation
from .shim import CHANGES, Kind
from .vault_operations import EncryptExisting, Rekey, Restore
from .world import KEY_FILES, PASSPHRASE, Broken, Place, outline, renew, require, took

Home = dict[str, str | None]
# What the facts say about a source of keys; `key_id` is the keyring with a chosen name.
HOMES: dict[str, Home] = {
    name: {"source": "keyring" if name == "key_id" else name, "key_id": key_id}
    for name, key_id in (
        ("file", None),
        ("passphrase", None),
        ("keyring", None),
        ("key_id", "alice"),
    )
}


def further_operations() -> list[Operation]:
    """Every operation of this file that this system can show."""
    made: list[Operation] = [Salvage(), RekeyFrom("file"), RekeyFrom("passphrase")]
    made += [without_exchange(kind()) for kind in (FirstOpen, Restore, EncryptExisting, Rekey)]
    made += [FirstOpenUnder("passphrase"), RekeyFrom("file", "passphrase")]
    made += [RekeyFrom("passphrase", "file")]
    if not keyring.missing():
        made += [FirstOpenUnder("keyring"), FirstOpenUnder("key_id")]
        made += [RestoreUnder("keyring"), RestoreUnder("key_id")]
        made += [EncryptUnder("keyring"), RekeyFrom("keyring"), RekeyFrom("key_id")]
        made += [RekeyFrom("keyring", to) for to in ("file", "passphrase", "key_id")]
        made += [RekeyFrom("file", "keyring"), RekeyFrom("file", "key_id")]
        made += [RekeyFrom("key_id", "file")]
    return made


def mask_of(*sources: str) -> Kind:
    """A keyring is killed and starved in its messages, too."""
    return CHANGES | Kind.SEND if {"keyring", "key_id"} & set(sources) else CHANGES


class Under(Operation):
    """An operation that makes a key, under another source. With `key_id` its name was chosen.

    One with a chosen name that a failure leaves would be in the way of the next try.
    """

    def __init__(self, source: str) -> None:
        stem = self.name.removesuffix("_existing")
        self.name, self.home, self.mask = f"{stem}_{source}", HOMES[source], mask_of(source)

    def setup(self, place: Place) -> None:
        super().setup(place)
        place.learn(**self.home)

    def may_leave(self, left: list[str]) -> bool:
        """A key is left with the record that lets the next try use it, and nothing else that is new."""
        new = {name for name in left if not name.startswith("key ")}
        return new == {"account", "account/mdk.db.keyinfo"}


class FirstOpenUnder(Under, FirstOpen):
    pass


class RestoreUnder(Under, Restore):
    pass


class EncryptUnder(Under, EncryptExisting):
    def may_leave(self, left: list[str]) -> bool:
        return super().may_leave([name for name in left if name != "account/mdk.db"])


class RekeyFrom(Rekey):
    """Right after an acknowledged message, which stands in the write-ahead log only; the key may move elsewhere."""

    def __init__(self, source: str, to: str = "") -> None:
        self.name = f"rekey_{source}_to_{to}" if to else f"rekey_{source}"
        self.mask = mask_of(source, to)
        self.home, self.to = HOMES[source], HOMES[to or source]
        self.moves = bool(to)

    def setup(self, place: Place) -> None:
        if self.home != HOMES["file"]:
            with place.alice() as alice:
                alice.rekey(place.key(**self.home))
            place.learn(**self.home)
        place.learn(history=[*place.facts["history"], "message 0"])
        super().setup(place)

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        took(context.alice.process(place.facts["messages"][0]), "a message")
        return context

    def call(self, place: Place, context: Context) -> Any:
        if not self.moves:
            return super().call(place, context)
        context.alice.rekey(place.key(**self.to))
        place.learn(**self.to)
        return "new key"

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:
        if not self.moves:
            return super().recover(place, context, before, reopen)
        # Opening it may finish the re-key; then there is nothing to repeat.
        report = super().recover(SettledPlace(place, self), context, before, reopen)
        if report.get("retry_error", [""])[0] == "SameKey":
            del report["retry_error"]
        return report

    def repeat(self, place: Place, alice: Mdk) -> None:
        if not self.moves:
            super().repeat(place, alice)
        elif not is_at(place, self.to):
            alice.rekey(place.key(**self.to))
            place.learn(**self.to)

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        moved = is_at(place, self.to) or not self.moves
        require(moved, "wrong_key", "the old source still opens it")
        super().check_acknowledged(place, alice)
        if self.to == HOMES["key_id"]:
            # The name of the key was chosen, and stays chosen.
            (name,) = keyring.entries()
            require(name.split("#")[0] == "alice", "wrong_key", f"the key is called {name}")

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        if self.moves:
            settle(place, self)
        return super().check(place, acknowledged=acknowledged, control=control)

    def check_old_key(self, place: Place, text: str) -> None:
        """What the old key is kept in, beside the new database: it opens nothing."""
        if self.home != HOMES["passphrase"]:
            super().check_old_key(place, text)
            return
        folder = place.root / "old"
        folder.mkdir(mode=0o700)
        shutil.copy2(place.account / "mdk.db", folder)
        (folder / KEY_FILES["passphrase"]).write_text(text, encoding="ascii")
        (folder / KEY_FILES["passphrase"]).chmod(0o600)
        key, keys = DatabaseKey.passphrase(PASSPHRASE), place.keys("alice")
        try:
            Mdk.open(folder / "mdk.db", keys=keys, key=key, clock=place.clock()).close()
        except errors.WrongKey:
            return
        raise Broken("wrong_key", "the old key still opens the database")


class SettledPlace(Place):
    """A place that looks which of two sources has the key before it is opened."""

    def __init__(self, place: Place, operation: RekeyFrom) -> None:
        super().__init__(place.root)
        self._operation = operation

    def alice(self, clock: Any = None) -> Mdk:
        settle(self, self._operation)
        return super().alice(clock)


def is_at(place: Place, home: Home) -> bool:
    return {name: place.facts.get(name) for name in home} == home


def settle(place: Place, operation: RekeyFrom) -> None:
    """Learns which of the two sources has the key."""
    refused = []
    for home in (operation.to, operation.home):
        place.learn(**home)
        try:
            # The first one may undo what was begun: who has one of the keys may have the other from where it is.
            Place.alice(place).close()
            Place.alice(place).close()
        except errors.MdkError as error:
            refused.append(f"{home}: {type(error).__name__}: {error}")
        else:
            return
    raise Broken("unopenable", "; ".join(refused))


class Salvage(MakesAnother):
    """A damaged database is read into a new one: nothing, or all that is intact; the damaged one stays as it is."""

    name = "salvage"
    # The new one notes when it was made.
    exact = False

    def setup(self, place: Place) -> None:
        with place.alice() as alice:
            whole = outline(alice)
        damaged = place.watched / "damaged"
        place.account.rename(damaged)
        raw = (damaged / "mdk.db").read_bytes()
        # A page whose rows nobody misses, so that the account goes on and can be compared.
        for number in range(len(raw) // PAGE - 1, 0, -1):
            changed = bytearray(raw)
            changed[number * PAGE + 1000] ^= 1
            (damaged / "mdk.db").write_bytes(changed)
            report = self.salvage(place)
            with place.alice() as alice:
                as_whole = outline(alice) == whole
            shutil.rmtree(place.account)
            if as_whole and report.bad_pages == 1 and report.missing:
                break
        else:
            raise AssertionError("every page counts")
        place.learn(damaged=base64.b64encode(changed).decode())

    def salvage(self, place: Place) -> mdk.SalvageReport:
        damaged, to = place.watched / "damaged", place.account / "mdk.db"
        key = DatabaseKey.from_file(damaged / "key")
        return mdk.vault.salvage(damaged / "mdk.db", to, key=key, to_key=place.key())

    def call(self, place: Place, _context: Context) -> Any:
        report = self.salvage(place)
        return [report.bad_pages, list(report.missing)]

    def fingerprint(self, place: Place, _context: Context) -> Any:
        # To look at it at all takes the lock of the damaged one.
        return [trace for trace in place.traces() if trace != "damaged/mdk.db.lock"]

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        damaged = base64.b64decode(place.facts["damaged"])
        same = (place.watched / "damaged" / "mdk.db").read_bytes() == damaged
        require(same, "lost", "the damaged database was changed")
        return super().check(place, acknowledged=acknowledged, control=control)

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        group = GroupId(place.facts["group"])
        require(group in alice.needs_self_update(), "broken", "keys that were used before")
        renew(place, alice, bob)


def without_exchange(operation: Operation) -> Operation:
    """As on a file system that knows plain renames only."""
    operation.name = f"{operation.name.removesuffix('_existing')}_plain_rename"
    encrypts = isinstance(operation, EncryptExisting)
    operation.plain_renames = errno.ENOSYS if encrypts else errno.EINVAL
    return operation
