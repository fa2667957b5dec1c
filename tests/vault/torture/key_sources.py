"""The operations that make keys, under each source of keys; salvage; and a file system that cannot exchange names."""

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


def further_operations() -> list[Operation]:
    """Every operation of this file that this system can show."""
    sources = ["passphrase"] + ([] if keyring.missing() else ["keyring"])
    made: list[Operation] = [Salvage("file"), RekeyUnder("file")]
    made += [without_exchange(kind()) for kind in (FirstOpen, Restore, EncryptExisting, Rekey)]
    for source in sources:
        made += [FirstOpenUnder(source), RestoreUnder(source), EncryptUnder(source)]
        made += [Salvage(source), RekeyUnder(source)]
        made += [RekeyTo("file", source), RekeyTo(source, "file")]
    if not keyring.missing():
        made += [RekeyTo("keyring", "passphrase"), FirstOpenUnder("key_id"), RestoreUnder("key_id")]
        made += [RekeyWithId(), RekeyTo("keyring", "key_id")]
        made += [RekeyTo("file", "key_id"), RekeyTo("key_id", "file")]
    return made


def home_of(name: str) -> dict[str, str | None]:
    """What the facts say about a source of keys; `key_id` is the keyring with a chosen name."""
    if name == "key_id":
        return {"source": "keyring", "key_id": "alice"}
    return {"source": name, "key_id": None}


def mask_of(*sources: str) -> Kind:
    """A keyring is killed and starved in its messages, too."""
    return CHANGES | Kind.SEND if {"keyring", "key_id"} & set(sources) else CHANGES


def key_and_record(left: list[str]) -> bool:
    """Whether a key is left with the record that lets the next try use it, and nothing else that is new."""
    new = {name for name in left if not name.startswith(("damaged", "key "))}
    return new == {"account", "account/mdk.db.keyinfo"}


# ------------------------------------------------------------------ other sources


class Under(Operation):
    """An operation that makes a key, under another source. With `key_id` its name was chosen.

    One with a chosen name that a failure leaves would be in the way of the next try.
    """

    def __init__(self, source: str) -> None:
        stem = self.name.removesuffix("_existing")
        self.name, self.home, self.mask = f"{stem}_{source}", home_of(source), mask_of(source)

    def setup(self, place: Place) -> None:
        super().setup(place)
        place.learn(**self.home)

    def may_leave(self, left: list[str]) -> bool:
        return key_and_record(left)


class FirstOpenUnder(Under, FirstOpen):
    pass


class RestoreUnder(Under, Restore):
    pass


class EncryptUnder(Under, EncryptExisting):
    def may_leave(self, left: list[str]) -> bool:
        return key_and_record([name for name in left if name != "account/mdk.db"])


class RekeyUnder(Rekey):
    """Right after an acknowledged message, which stands in the write-ahead log only."""

    def __init__(self, source: str) -> None:
        self.name, self.source, self.mask = f"rekey_{source}", source, mask_of(source)
        self.home = home_of(source)

    def setup(self, place: Place) -> None:
        if self.home != home_of("file"):
            with place.alice() as alice:
                alice.rekey(place.key(**self.home))
            place.learn(**self.home)
        place.learn(history=[*place.facts["history"], "message 0"])
        super().setup(place)

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        took(context.alice.process(place.facts["messages"][0]), "a message")
        return context

    def check_old_key(self, place: Place, text: str) -> None:
        """What the old key is kept in, beside the new database: it opens nothing."""
        if self.source != "passphrase":
            super().check_old_key(place, text)
            return
        folder = place.root / "old"
        folder.mkdir(mode=0o700)
        shutil.copy2(place.account / "mdk.db", folder)
        (folder / KEY_FILES["passphrase"]).write_text(text, encoding="ascii")
        (folder / KEY_FILES["passphrase"]).chmod(0o600)
        try:
            Mdk.open(
                folder / "mdk.db",
                keys=place.keys("alice"),
                key=DatabaseKey.passphrase(PASSPHRASE),
                clock=place.clock(),
            ).close()
        except errors.WrongKey:
            return
        raise Broken("wrong_key", "the old key still opens the database")


class RekeyWithId(RekeyUnder):
    """The name of the key was chosen, and stays chosen."""

    def __init__(self) -> None:
        super().__init__("key_id")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        super().check_acknowledged(place, alice)
        require(alice.info.key_source == "keyring", "wrong_key", alice.info.key_source)
        (name,) = keyring.entries()
        require(name.split("#")[0] == "alice", "wrong_key", f"the key is called {name}")


class RekeyTo(RekeyUnder):
    """The key moves from one source to another."""

    def __init__(self, source: str, to: str) -> None:
        super().__init__(source)
        self.name, self.mask = f"rekey_{source}_to_{to}", mask_of(source, to)
        self.to = home_of(to)

    def call(self, place: Place, context: Context) -> Any:
        context.alice.rekey(place.key(**self.to))
        place.learn(**self.to)
        return "new key"

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:
        # Opening it may finish the re-key; then there is nothing to repeat.
        report = super().recover(SettledPlace(place, self), context, before, reopen)
        if report.get("retry_error", [""])[0] == "SameKey":
            del report["retry_error"]
        return report

    def repeat(self, place: Place, alice: Mdk) -> None:
        if not is_at(place, self.to):
            alice.rekey(place.key(**self.to))
            place.learn(**self.to)

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        require(is_at(place, self.to), "wrong_key", "the old source still opens it")
        super().check_acknowledged(place, alice)

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        settle(place, self)
        return super().check(place, acknowledged=acknowledged, control=control)


class SettledPlace(Place):
    """A place that looks which of two sources has the key before it is opened."""

    def __init__(self, place: Place, operation: RekeyTo) -> None:
        super().__init__(place.root)
        self._operation = operation

    def alice(self, clock: Any = None) -> Mdk:
        settle(self, self._operation)
        return super().alice(clock)


def is_at(place: Place, home: dict[str, str | None]) -> bool:
    return {name: place.facts.get(name) for name in home} == home


def settle(place: Place, operation: RekeyTo) -> None:
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


# ------------------------------------------------------------------ salvage


class Salvage(MakesAnother):
    """A damaged database is read into a new one: nothing, or all that is intact; the damaged one stays as it is."""

    # The new one notes when it was made.
    exact = False

    def __init__(self, source: str) -> None:
        self.name = "salvage" if source == "file" else f"salvage_{source}"
        self.source, self.mask = source, mask_of(source)

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
        place.learn(source=self.source, damaged=base64.b64encode(changed).decode())

    def salvage(self, place: Place) -> mdk.SalvageReport:
        damaged = place.watched / "damaged"
        key = DatabaseKey.from_file(damaged / "key")
        return mdk.vault.salvage(
            damaged / "mdk.db", place.account / "mdk.db", key=key, to_key=place.key()
        )

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

    def may_leave(self, left: list[str]) -> bool:
        return key_and_record(left)

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        group = GroupId(place.facts["group"])
        require(group in alice.needs_self_update(), "broken", "keys that were used before")
        renew(place, alice, bob)


# ------------------------------------------------------------------ names that cannot be exchanged


def without_exchange(operation: Operation) -> Operation:
    """As on a file system that knows plain renames only."""
    operation.name = f"{operation.name.removesuffix('_existing')}_plain_rename"
    encrypts = isinstance(operation, EncryptExisting)
    operation.plain_renames = errno.ENOSYS if encrypts else errno.EINVAL
    return operation
