"""Operations on the whole database, as far as this build has them."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

from tests.vault.sqlcipher_format import PAGE, SALT, hmac_key, is_authentic

import mdk
from mdk import GroupId, Mdk, errors

from .operation import Context, MakesAnother, OfClosed, Operation
from .world import PASSPHRASE, Place, decoded, renew, require


def available() -> list[Operation]:
    """All of them."""
    return [Rekey(), Backup(), Restore(), EncryptExisting()]


class Rekey(Operation):
    """The whole database under a fresh key of the same source.

    One that fails may be undone or completed by the next opening; the rows are the same either way.
    """

    name = "rekey"
    exact = True
    may_close = True

    def setup(self, place: Place) -> None:
        place.learn(old_key=place.key_text())

    def call(self, _place: Place, context: Context) -> Any:
        context.alice.rekey()
        return "new key"

    def repeat(self, place: Place, alice: Mdk) -> None:
        if place.key_text() == place.facts["old_key"]:
            alice.rekey()

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        old = place.facts["old_key"]
        require(place.key_text() != old, "wrong_key", "the old key is still in its place")
        require(alice.info.key_source == place.source, "wrong_key", alice.info.key_source)

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        state = super().check(place, acknowledged=acknowledged, control=control)
        # By now it was done, at once or by the repetition: the old key opens nothing.
        self.check_old_key(place, place.facts["old_key"])
        return state

    def check_old_key(self, place: Place, text: str) -> None:
        old = base64.b64decode(text.split(":", 1)[1])
        page = (place.account / "mdk.db").read_bytes()[:PAGE]
        opens = is_authentic(hmac_key(old, page[:SALT]), 1, page)
        require(not opens, "wrong_key", "the old key still opens the database")


class Backup(Operation):
    """The archive is whole or not there."""

    name = "backup"
    exact = True

    def archive(self, place: Place) -> Path:
        return place.watched / "archive"

    def call(self, place: Place, context: Context) -> Any:
        context.alice.backup(self.archive(place), passphrase=PASSPHRASE)
        return "saved"

    def fingerprint(self, place: Place, context: Context) -> Any:
        names = [n for n in place.names() if not n.endswith(("-wal", "-shm"))]
        return [context.alice.digest().hex(), names]

    def repeat(self, place: Place, alice: Mdk) -> None:
        if not self.archive(place).exists():
            alice.backup(self.archive(place), passphrase=PASSPHRASE)
        extra = {p.name for p in place.watched.iterdir()} - {"archive", "account"}
        require(not extra, "left_over", f"{sorted(extra)}")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        require(self.archive(place).exists(), "lost", "an acknowledged backup")
        digest = alice.digest()
        target = place.root / "restored"
        if target.exists():
            shutil.rmtree(target)
        key = mdk.DatabaseKey.from_file(target / "key")
        Mdk.restore(self.archive(place), target / "mdk.db", passphrase=PASSPHRASE, key=key)
        with Mdk.open(
            target / "mdk.db", keys=place.keys("alice"), key=key, clock=place.clock()
        ) as copy:
            group = GroupId(place.facts["group"])
            ours = [m.text for m in alice.messages(group, limit=100)]
            require([m.text for m in copy.messages(group, limit=100)] == ours, "lost", "a backup")
        require(alice.digest() == digest, "differs", "a backup changed the database")

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        # An archive that stands there is a whole one, acknowledged or not.
        there = self.archive(place).exists()
        return super().check(place, acknowledged=acknowledged or there, control=control)


class Restore(MakesAnother):
    """A database from a backup: nothing, or all of it."""

    name = "restore"

    def setup(self, place: Place) -> None:
        with place.alice() as alice:
            alice.backup(place.aside / "archive", passphrase=PASSPHRASE)
        place.empty()

    def call(self, place: Place, _context: Context) -> Any:
        archive, database = place.aside / "archive", place.account / "mdk.db"
        Mdk.restore(archive, database, passphrase=PASSPHRASE, key=place.key())
        return "restored"

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        if GroupId(place.facts["group"]) in alice.needs_self_update():
            renew(place, alice, bob)


class EncryptExisting(OfClosed):
    """A plain database becomes an encrypted one, in place."""

    name = "encrypt_existing"
    exact = True

    def setup(self, place: Place) -> None:
        database = place.account / "mdk.db"
        with place.alice() as alice:
            place.learn(digest=alice.digest().hex())
        plain = decoded(place.account).image()
        for path in place.account.iterdir():
            path.unlink()
        database.write_bytes(plain)
        database.chmod(0o600)

    def call(self, place: Place, _context: Context) -> Any:
        mdk.vault.encrypt_existing(place.account / "mdk.db", key=place.key())
        return "encrypted"

    def fingerprint(self, place: Place, _context: Context) -> Any:
        """While it is plain, nothing new lies beside it; once it is encrypted, only tidying up is left."""
        with (place.account / "mdk.db").open("rb") as file:
            if file.read(16) != b"SQLite format 3\0":
                return "encrypted"
        # What is needed to look at it at all may come: the lock, and the log that its own format asks for.
        return [n for n in place.names() if not n.endswith((".lock", "-wal", "-shm"))]

    def unchanged(self, before: Any, left: Any) -> bool:
        return left in (before, "encrypted")

    def again(self, place: Place, context: Context) -> Any:
        try:
            return self.call(place, context)
        except errors.AlreadyEncrypted:
            # It had been done; whether it is, the check sees.
            return "encrypted"

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        if not acknowledged:
            self.again(place, Context(Mdk.in_memory()))
        # The plain text was overwritten or removed with its file: nothing of it is left in the directory.
        state = super().check(place, acknowledged=acknowledged, control=control)
        for path in place.account.iterdir():
            raw = path.read_bytes()
            require(b"SQLite format 3" not in raw, "left_over", f"{path.name} is plain")
            require(b"CREATE TABLE" not in raw, "left_over", f"{path.name} has plain text")
        return state

    def repeat(self, place: Place, alice: Mdk) -> None:
        require(alice.digest().hex() == place.facts["digest"], "differs", "rows changed")
