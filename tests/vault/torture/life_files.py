"""Steps of a life on whole databases: its own is verified; others are made out of what lies aside."""

from __future__ import annotations

import shutil
from typing import Any

from tests.vault.sqlcipher_format import MAGIC

import mdk
from mdk import DatabaseKey, GroupId, Mdk, errors

from .life_model import Done, Model, Now, Part, Plan, Step, Tell
from .world import PASSPHRASE, Broken, Place, adopt, decoded, require


class Verify(Part):
    """Reads all of the account's database, and finds nothing wrong with it."""

    name = "verify"

    def plan(self, _plan: Plan) -> Step | None:
        return {"do": self.name}

    def call(self, _place: Place, alice: Mdk, _step: Step, _tell: Tell) -> Any:
        return alice.verify().problems

    def done(self, _now: Now, done: Done) -> None:
        require(done.result == [], "broken", f"verify: {done.result}")

    def cut(self, now: Now, _flight: Done) -> None:
        problems = now.alice.verify().problems
        require(problems == [], "broken", f"verify: {problems}")


class OfFiles(Part):
    """A database comes to be in a folder of its own: nothing, or all of what the account was when it began."""

    def plan(self, plan: Plan) -> Step | None:
        if not plan.files:
            return None
        plan.files -= 1
        step = {"do": self.name, "folder": plan.model.next(self.name).replace(" ", "-")}
        self.lay_out(plan, step)
        return step

    def lay_out(self, plan: Plan, step: Step) -> None:
        """What must be there before."""

    def done(self, now: Now, done: Done) -> None:
        folder = now.place.watched / done.step["folder"]
        require((folder / "mdk.db").exists(), "lost", f"a database of {self.name}")
        self.whole(now, done.step)
        shutil.rmtree(folder)

    def cut(self, now: Now, flight: Done) -> None:
        if (now.place.watched / flight.step["folder"] / "mdk.db").exists():
            self.whole(now, flight.step)
        else:
            self.call(now.place, now.alice, flight.step, lambda **_: None)
        self.done(now, flight)

    def whole(self, now: Now, step: Step) -> None:
        folder, facts = now.place.watched / step["folder"], now.place.facts
        key = DatabaseKey.from_file(folder / "key")
        try:
            with Mdk.open(
                folder / "mdk.db", keys=now.place.keys("alice"), key=key, clock=now.place.clock()
            ) as other:
                texts = [m.text for m in other.messages(GroupId(facts["group"]), limit=1000)]
        except errors.MdkError as error:
            raise Broken("unopenable", f"{self.name}: {type(error).__name__}: {error}") from error
        require(texts == facts["whole"], "lost", f"{self.name}: {facts['whole']} became {texts}")


class Restore(OfFiles):
    name = "restore"

    def call(self, place: Place, _alice: Mdk, step: Step, _tell: Tell) -> Any:
        folder = place.watched / step["folder"]
        key = DatabaseKey.from_file(folder / "key")
        Mdk.restore(place.aside / "archive", folder / "mdk.db", passphrase=PASSPHRASE, key=key)


class Salvage(OfFiles):
    """What is read from stays as it is."""

    name = "salvage"

    def call(self, place: Place, _alice: Mdk, step: Step, _tell: Tell) -> Any:
        source, folder = place.aside / "whole", place.watched / step["folder"]
        report = mdk.vault.salvage(
            source / "mdk.db",
            folder / "mdk.db",
            key=DatabaseKey.from_file(source / "key"),
            to_key=DatabaseKey.from_file(folder / "key"),
        )
        return list(report.missing)

    def done(self, now: Now, done: Done) -> None:
        require(not done.result, "lost", f"salvage: {done.result}")
        source = decoded(now.place.aside / "whole")
        require(not source.damaged and not source.log, "broken", "the source of a salvage")
        super().done(now, done)


class EncryptExisting(OfFiles):
    name = "encrypt_existing"

    def lay_out(self, plan: Plan, step: Step) -> None:
        folder = plan.place.watched / step["folder"]
        folder.mkdir(mode=0o700)
        shutil.copy2(plan.place.aside / "plain.db", folder / "mdk.db")

    def call(self, place: Place, _alice: Mdk, step: Step, _tell: Tell) -> Any:
        folder = place.watched / step["folder"]
        mdk.vault.encrypt_existing(folder / "mdk.db", key=DatabaseKey.from_file(folder / "key"))

    def cut(self, now: Now, flight: Done) -> None:
        try:
            self.call(now.place, now.alice, flight.step, lambda **_: None)
        except errors.MdkError as error:
            # It had been done; whether it is, is seen below.
            if type(error).__name__ != "AlreadyEncrypted":
                raise
        self.done(now, flight)

    def whole(self, now: Now, step: Step) -> None:
        super().whole(now, step)
        for path in (now.place.watched / step["folder"]).iterdir():
            plain = MAGIC in path.read_bytes()
            require(not plain, "left_over", f"{path.name} has plain text")


PARTS: list[Part] = [Verify(), Restore(), Salvage(), EncryptExisting()]


def begin(model: Model, place: Place) -> None:
    """Lays aside what the account is now, closed: as it is, plain, and as a backup."""
    with place.alice() as alice:
        place.learn(whole=[m.text for m in alice.messages(model.group, limit=1000)])
        alice.backup(place.aside / "archive", passphrase=PASSPHRASE)
    whole = place.aside / "whole"
    shutil.copytree(place.account, whole)
    for record in whole.glob("*.keyinfo"):
        adopt(record)
    plain = place.aside / "plain.db"
    plain.write_bytes(decoded(whole).image())
    plain.chmod(0o600)
