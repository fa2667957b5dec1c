"""What an operation is that is killed and starved: how it begins, the call itself, and what must hold afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mdk import GroupId, Mdk, errors

from . import keyring
from .shim import CHANGES, Kind
from .world import Broken, Place, outline, require, talk


@dataclass
class Context:
    """What a child holds while it works."""

    alice: Mdk


class Operation:
    """An operation of an open account. `check` runs in the process that outlives the kill."""

    name = ""
    # Whether the rows after it are the same in every run, so that digests can be compared.
    exact = False
    # Whether a failure may close the object.
    may_close = False
    # Which calls are killed; those of a keyring are messages, too.
    mask: Kind = CHANGES
    # What the system says to an exchange of two names, if it knows none.
    plain_renames = 0

    def setup(self, place: Place) -> None:
        """What the world needs on top of the common one. Runs once."""

    # ---- in the child

    def prepare(self, place: Place) -> Context:
        return Context(place.alice())

    def call(self, place: Place, context: Context) -> Any:
        raise NotImplementedError

    def fingerprint(self, _place: Place, context: Context) -> Any:
        return context.alice.digest().hex()

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:
        """After an error whose cause is gone: nothing was changed, and the same call succeeds."""
        report: dict[str, Any] = {"unchanged": True}
        try:
            after = self.fingerprint(place, context)
            report["unchanged"] = after == before
        except errors.Closed as error:
            # It said that it has to be opened again, which some operations may.
            report["closed"] = str(error)
            reopen = True
        except errors.MdkError as error:
            # The object cannot go on. That is a finding; whether the file can is another question.
            report["stuck"] = [type(error).__name__, str(error)]
            reopen = True
        if reopen:
            try:
                context.alice.close()
            except errors.MdkError as error:
                report["close_error"] = [type(error).__name__, str(error)]
            context.alice = place.alice()
            after = self.fingerprint(place, context)
            report["unchanged"] &= after == before
        if not report["unchanged"]:
            report["left"] = place.names()
        return report | self.retried(place, context)

    def retried(self, place: Place, context: Context) -> dict[str, Any]:
        try:
            return {"retry": self.again(place, context)}
        except Exception as error:  # noqa: BLE001
            return {"retry_error": [type(error).__name__, str(error)]}

    def again(self, place: Place, context: Context) -> Any:
        """The same call once the cause of its failure is gone."""
        return self.call(place, context)

    def finish(self, _place: Place, context: Context) -> None:
        context.alice.close()

    # ---- in the parent

    def may_leave(self, _left: list[str]) -> bool:
        """Whether these traces are good when a keyring has gone for good, and nothing can be taken back from it."""
        return False

    def repeat(self, place: Place, alice: Mdk) -> None:
        """The same call again, as a user makes it who does not know whether it took effect."""
        raise NotImplementedError

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        """Brings the peer to where the account is."""

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        """All that must hold after a run that may have been killed. Returns the state for later comparisons."""
        facts = place.facts
        alice = opened(place)
        try:
            # What an interrupted call left is tidied up by opening, not by calling it again.
            check_files(place)
            state = outline(alice)
            texts = [m[0] for g in state["groups"] for m in g["messages"]]
            lost = [t for t in facts["history"] if t not in texts]
            require(not lost, "lost", f"{lost}")
            if acknowledged:
                self.check_acknowledged(place, alice)
            self.repeat(place, alice)
            state = outline(alice)
            if self.exact:
                state["digest"] = alice.digest().hex()
            if control is not None:
                require(state == control, "differs", difference(control, state))
            with place.peer() as bob:
                self.follow(place, alice, bob)
                talk(alice, bob, GroupId(facts["group"]))
        finally:
            alice.close()
        # A second time, to see that nothing was repaired in memory only.
        opened(place).close()
        check_files(place)
        return state

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        """What was acknowledged is there before anything is repeated."""


class Once(Operation):
    """A call of an open account that changes what is seen of it: it is made again only where nothing has changed."""

    def there(self, place: Place, alice: Mdk) -> bool:
        return bool(outline(alice) != place.facts["before"])

    def repeat(self, place: Place, alice: Mdk) -> None:
        if not self.there(place, alice):
            self.call(place, Context(alice))

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        require(self.there(place, alice), "lost", f"what {self.name} did")


class OfClosed(Operation):
    """An operation on an account that nobody has open: what it left is what there is to see of it."""

    def prepare(self, _place: Place) -> Context:
        return Context(Mdk.in_memory())

    def fingerprint(self, place: Place, _context: Context) -> Any:
        return place.traces()

    def unchanged(self, before: Any, left: Any) -> bool:
        return bool(before == left)

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:  # noqa: ARG002
        left = self.fingerprint(place, context)
        report = {"unchanged": self.unchanged(before, left), "left": left}
        return report | self.retried(place, context)


class MakesAnother(OfClosed):
    """A database is made out of something else: nothing, or all of it."""

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        there = (place.account / "mdk.db").exists()
        require(there or not acknowledged, "lost", f"a database of {self.name}")
        if not there:
            self.call(place, Context(Mdk.in_memory()))
        return super().check(place, acknowledged=acknowledged, control=control)

    def repeat(self, place: Place, alice: Mdk) -> None:
        """Nothing: `check` has called it again."""


def texts(place: Place, alice: Mdk) -> list[str | None]:
    """What was said in the group that all operations know."""
    return [m.text for m in alice.messages(GroupId(place.facts["group"]), limit=1000)]


def opened(place: Place) -> Mdk:
    try:
        return place.alice()
    except errors.WrongKey as error:
        raise Broken("wrong_key", str(error)) from error
    except errors.MdkError as error:
        raise Broken("unopenable", f"{type(error).__name__}: {error}") from error


def check_files(place: Place) -> None:
    extra = {p.name for p in place.account.iterdir()} - place.resting()
    require(not extra, "left_over", f"{sorted(extra)}")
    if "keyring" in place.facts:
        # The one that counts, and none that was made or replaced on the way.
        kept, wanted = len(keyring.entries()), int(place.source == "keyring")
        kind = "left_over" if kept > wanted else "wrong_key"
        require(kept == wanted, kind, f"{kept} keys are in the keyring, not {wanted}")
    for path in place.account.iterdir():
        mode = path.stat().st_mode & 0o777
        require(mode == 0o600, "left_over", f"{path.name} has mode {mode:o}")


def difference(a: dict[str, Any], b: dict[str, Any]) -> str:
    return "; ".join(f"{k}: {a[k]!r:.300} became {b[k]!r:.300}" for k in a if a[k] != b[k])
