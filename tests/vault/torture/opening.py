"""Opening for the first time, opening what a killed owner left, and closing."""

from __future__ import annotations

import shutil
from typing import Any

from mdk import Mdk, errors

from .operation import Context, OfClosed, Operation, check_files, opened, texts
from .world import Place, outline, require, took


class FirstOpen(OfClosed):
    """The first open: nothing, or a good database with its key, after a kill at any point."""

    name = "first_open"

    def setup(self, place: Place) -> None:
        place.empty()

    def call(self, place: Place, context: Context) -> Any:
        context.alice = place.alice()
        return "open"

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        database, key = place.account / "mdk.db", place.key_text()
        if acknowledged:
            require(database.exists() and key is not None, "lost", "the new database is gone")
        if database.exists():
            require(key is not None, "wrong_key", "a database without its key")
        alice = opened(place)
        require(key in {None, place.key_text()}, "wrong_key", "the key was replaced")
        state = outline(alice)
        require(control is None or state == control, "differs", f"{state}")
        alice.new_key_package(relays=["wss://relay.example"])
        alice.close()
        with opened(place) as alice:
            require(len(alice.key_packages()) == 1, "lost", "a KeyPackage")
        check_files(place)
        return state


class Reopen(OfClosed):
    """Opening what a killed owner left behind, with all its news in the write-ahead log."""

    name = "reopen"
    exact = True

    def setup(self, place: Place) -> None:
        facts = place.facts
        with place.alice() as alice:
            for event in facts["messages"][:10]:
                alice.process(event)
            digest = alice.digest().hex()
            # As a killed owner would leave it: taken while it is open.
            left = place.copy(place.root.with_name("left"))
        for path in place.account.iterdir():
            path.unlink()
        for path in left.account.iterdir():
            shutil.copy2(path, place.account)
        place.learn(digest=digest, history=facts["history"] + [f"message {n}" for n in range(10)])

    def call(self, place: Place, context: Context) -> Any:
        context.alice = place.alice()
        return "open"

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:  # noqa: ARG002
        report = self.retried(place, context)
        return report | {"unchanged": context.alice.digest().hex() == place.facts["digest"]}

    def repeat(self, place: Place, alice: Mdk) -> None:
        require(alice.digest().hex() == place.facts["digest"], "lost", "the state differs")


class Close(Operation):
    """Closing moves the write-ahead log into the file."""

    name = "close"
    exact = True

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        for event in place.facts["messages"][:10]:
            context.alice.process(event)
        return context

    def call(self, _place: Place, context: Context) -> Any:
        context.alice.close()
        return "closed"

    def fingerprint(self, place: Place, context: Context) -> Any:
        try:
            return context.alice.digest().hex()
        except errors.Closed:
            with place.alice() as alice:
                return alice.digest().hex()

    def repeat(self, place: Place, alice: Mdk) -> None:
        for event in place.facts["messages"][:10]:
            took(alice.process(event), "a message")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        wanted = {f"message {n}" for n in range(10)}
        require(wanted <= set(texts(place, alice)), "lost", "closed, and messages gone")
