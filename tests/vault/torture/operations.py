"""The operations that are killed and starved: how each begins, the call itself, and what must hold afterwards."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdk import GroupId, Mdk, PendingCommit, SignedEvent, errors

from . import keyring
from .shim import CHANGES, Kind
from .world import Broken, Place, build, outline, publish, require, talk, took

__all__ = ["Operation", "Place", "all_operations", "by_name"]


# Frames of the write-ahead log shortly before the number at which the store moves it.
ALMOST_FULL = 250 - 14


def frames_in_log(log: Path) -> int:
    """How many frames the log has (https://sqlite.org/fileformat.html#walformat); room for more may follow them."""
    data = log.read_bytes()
    salts, count = data[16:24], 0
    while data[32 + count * 4120 + 8 : 32 + count * 4120 + 16] == salts:
        count += 1
    return count


@dataclass
class Context:
    """What a child holds while it works."""

    alice: Mdk
    pending: PendingCommit | None = None


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
            self.reopened(place, context)
        if not report["unchanged"]:
            report["left"] = place.names()
        try:
            report["retry"] = self.call(place, context)
        except Exception as error:  # noqa: BLE001
            report["retry_error"] = [type(error).__name__, str(error)]
        return report

    def reopened(self, place: Place, context: Context) -> None:
        """Takes up what the closed object held."""

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
    if place.source == "keyring":
        kept = len(keyring.entries())
        require(kept == 1, "left_over" if kept else "wrong_key", f"{kept} keys are in the keyring")
    for path in place.account.iterdir():
        mode = path.stat().st_mode & 0o777
        require(mode == 0o600, "left_over", f"{path.name} has mode {mode:o}")


def difference(a: dict[str, Any], b: dict[str, Any]) -> str:
    return "; ".join(f"{k}: {a[k]!r:.300} became {b[k]!r:.300}" for k in a if a[k] != b[k])


# ------------------------------------------------------------------ opening and closing


class FirstOpen(Operation):
    """The first open: nothing, or a good database with its key, after a kill at any point."""

    name = "first_open"

    def setup(self, place: Place) -> None:
        for path in place.account.iterdir():
            path.unlink()
        place.account.rmdir()

    def prepare(self, _place: Place) -> Context:
        return Context(Mdk.in_memory())

    def call(self, place: Place, context: Context) -> Any:
        context.alice = place.alice()
        return "open"

    def fingerprint(self, place: Place, _context: Context) -> Any:
        return place.traces()

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:  # noqa: ARG002
        report: dict[str, Any] = {"unchanged": self.fingerprint(place, context) == before}
        if not report["unchanged"]:
            report["left"] = self.fingerprint(place, context)
        try:
            report["retry"] = self.call(place, context)
        except Exception as error:  # noqa: BLE001
            report["retry_error"] = [type(error).__name__, str(error)]
        return report

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


class Reopen(Operation):
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
        texts = [f"message {n}" for n in range(10)]
        place.learn(digest=digest, history=facts["history"] + texts)

    def prepare(self, _place: Place) -> Context:
        return Context(Mdk.in_memory())

    def call(self, place: Place, context: Context) -> Any:
        context.alice = place.alice()
        return "open"

    def fingerprint(self, _place: Place, _context: Context) -> Any:
        return None

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:  # noqa: ARG002
        report: dict[str, Any] = {}
        try:
            report["retry"] = self.call(place, context)
        except Exception as error:  # noqa: BLE001
            report["retry_error"] = [type(error).__name__, str(error)]
        report["unchanged"] = context.alice.digest().hex() == place.facts["digest"]
        return report

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
        texts = {m.text for m in alice.messages(GroupId(place.facts["group"]), limit=100)}
        require({f"message {n}" for n in range(10)} <= texts, "lost", "closed, and messages gone")


# ------------------------------------------------------------------ receiving


class Receive(Operation):
    """One message of a peer."""

    name = "receive"
    exact = True

    def call(self, place: Place, context: Context) -> Any:
        return type(context.alice.process(place.facts["messages"][0])).__name__

    def repeat(self, place: Place, alice: Mdk) -> None:
        took(alice.process(place.facts["messages"][0]), "the message")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        messages = alice.messages(GroupId(place.facts["group"]), limit=100)
        require(any(m.text == "message 0" for m in messages), "lost", "a received message")


class ReceiveMany(Receive):
    """A batch in one transaction."""

    name = "receive_many"

    def call(self, place: Place, context: Context) -> Any:
        return [type(o).__name__ for o in context.alice.process_many(place.facts["messages"])]

    def repeat(self, place: Place, alice: Mdk) -> None:
        for outcome in alice.process_many(place.facts["messages"]):
            took(outcome, "a message of a batch")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        texts = [m.text for m in alice.messages(GroupId(place.facts["group"]), limit=100)]
        all_there = all(f"message {n}" in texts for n in range(len(place.facts["messages"])))
        require(all_there, "lost", "messages of a batch")


class ReceiveCheckpoint(Receive):
    """The message whose write also moves the write-ahead log into the database file."""

    name = "receive_checkpoint"

    def setup(self, place: Place) -> None:
        # Found by a dry run, with a few to spare: how many pages a message takes varies a little.
        before = place.copy(place.root.with_name("before"))
        self.write(place, 250)
        self.finish(place, self.prepare(place))
        with place.alice() as alice:
            texts = [m.text for m in alice.messages(GroupId(place.facts["group"]), limit=1000)]
        before.copy(place.root)
        self.write(place, sum(text.startswith("filler") for text in texts) + 8)

    def write(self, place: Place, count: int) -> None:
        group = GroupId(place.facts["group"])
        with place.peer() as bob:
            events = [bob.create_message(group, f"filler {n}").event for n in range(count)]
            # Large enough to pass the border from wherever the filling stops.
            last = bob.create_message(group, "the last straw" + " and one" * 5000).event
            again = bob.create_message(group, "after the straw").event
        place.learn(fill=[e.to_json() for e in events], last=last.to_json(), again=again.to_json())

    def prepare(self, place: Place) -> Context:
        """Fills the log up to the brim."""
        context = super().prepare(place)
        for event in place.facts["fill"]:
            context.alice.process(event)
            if frames_in_log(place.account / "mdk.db-wal") > ALMOST_FULL:
                return context
        raise AssertionError("too few messages to fill the write-ahead log")

    def call(self, place: Place, context: Context) -> Any:
        return type(context.alice.process(place.facts["last"])).__name__

    def repeat(self, place: Place, alice: Mdk) -> None:
        took(alice.process(place.facts["last"]), "the message")
        for event in place.facts["fill"][-16:]:
            took(alice.process(event), "an earlier message")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        messages = alice.messages(GroupId(place.facts["group"]), limit=100)
        require(
            any(m.text.startswith("the last straw") for m in messages), "lost", "a received message"
        )


class ReceiveRestart(ReceiveCheckpoint):
    """The message after it, whose write begins the log anew, over what was moved."""

    name = "receive_restart"

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        context.alice.process(place.facts["last"])
        return context

    def call(self, place: Place, context: Context) -> Any:
        return type(context.alice.process(place.facts["again"])).__name__

    def repeat(self, place: Place, alice: Mdk) -> None:
        # In the order of an undisturbed run: it is part of the state.
        took(alice.process(place.facts["again"]), "the message after")
        super().repeat(place, alice)

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        super().check_acknowledged(place, alice)
        messages = alice.messages(GroupId(place.facts["group"]), limit=100)
        require(any(m.text == "after the straw" for m in messages), "lost", "a received message")


class ReceiveCommit(Operation):
    """A commit of a peer."""

    name = "receive_commit"

    def setup(self, place: Place) -> None:
        with place.peer() as bob:
            pending = bob.update_group(GroupId(place.facts["group"]), name="Supper")
            event, _ = publish(pending)
            assert event is not None
        place.learn(commit=event.to_json())

    def call(self, place: Place, context: Context) -> Any:
        return type(context.alice.process(place.facts["commit"])).__name__

    def repeat(self, place: Place, alice: Mdk) -> None:
        took(alice.process(place.facts["commit"]), "the commit")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        name = alice.group(GroupId(place.facts["group"])).name
        require(name == "Supper", "lost", "an acknowledged commit")


class Welcome(Operation):
    """An invite arrives."""

    name = "welcome"

    def call(self, place: Place, context: Context) -> Any:
        return type(context.alice.process(place.facts["welcome"])).__name__

    def repeat(self, place: Place, alice: Mdk) -> None:
        took(alice.process(place.facts["welcome"]), "the Welcome")

    def check_acknowledged(self, _place: Place, alice: Mdk) -> None:
        require(len(alice.invites()) == 1, "lost", "an acknowledged invite")


class Join(Operation):
    """An invite is accepted."""

    name = "join"

    def setup(self, place: Place) -> None:
        with place.alice() as alice:
            alice.process(place.facts["welcome"])

    def call(self, _place: Place, context: Context) -> Any:
        return context.alice.accept(context.alice.invites()[0].id).name

    def repeat(self, _place: Place, alice: Mdk) -> None:
        for invite in alice.invites():
            alice.accept(invite.id)

    def check_acknowledged(self, _place: Place, alice: Mdk) -> None:
        require(any(g.name == "Breakfast" for g in alice.groups()), "lost", "a joined group")

    def follow(self, place: Place, alice: Mdk, _bob: Mdk) -> None:
        (group,) = (g for g in alice.groups() if g.name == "Breakfast")
        with place.peer("carol") as carol:
            talk(alice, carol, group.id)


# ------------------------------------------------------------------ sending


class Send(Operation):
    """One message of ours."""

    name = "send"

    def call(self, place: Place, context: Context) -> Any:
        sent = context.alice.create_message(GroupId(place.facts["group"]), "a new one")
        return sent.event.to_json()

    def repeat(self, place: Place, alice: Mdk) -> None:
        group = GroupId(place.facts["group"])
        if not any(m.text == "a new one" for m in alice.messages(group, limit=100)):
            alice.create_message(group, "a new one")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        messages = alice.messages(GroupId(place.facts["group"]), limit=100)
        require(any(m.text == "a new one" for m in messages), "lost", "a sent message")


class Delete(Operation):
    """A message of ours is deleted."""

    name = "delete"

    def call(self, place: Place, context: Context) -> Any:
        facts = place.facts
        return context.alice.delete(GroupId(facts["group"]), facts["own"]).event.to_json()

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        place.learn(history=place.facts["history"][1:])
        return super().check(place, acknowledged=acknowledged, control=control)

    def repeat(self, place: Place, alice: Mdk) -> None:
        facts = place.facts
        if not alice.message(GroupId(facts["group"]), facts["own"]).deleted:
            alice.delete(GroupId(facts["group"]), facts["own"])

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        message = alice.message(GroupId(place.facts["group"]), place.facts["own"])
        require(message.deleted and not message.text, "lost", "an acknowledged deletion")


class NewKeyPackage(Operation):
    """A KeyPackage, whose private keys must be there when it is used."""

    name = "key_package"

    def setup(self, place: Place) -> None:
        with place.alice() as alice:
            place.learn(packages=len(alice.key_packages()))

    def call(self, _place: Place, context: Context) -> Any:
        return context.alice.new_key_package(relays=["wss://relay.example"]).to_json()

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        with opened(place) as alice:
            count, before = len(alice.key_packages()), place.facts["packages"]
            require(count in {before, before + 1}, "broken", f"{count} KeyPackages")
            require(not acknowledged or count > before, "lost", "an acknowledged KeyPackage")
        return super().check(place, acknowledged=acknowledged, control=control)

    def repeat(self, place: Place, alice: Mdk) -> None:
        if len(alice.key_packages()) == place.facts["packages"]:
            alice.new_key_package(relays=["wss://relay.example"])


class Leave(Operation):
    """The proposal to leave a group."""

    name = "leave"

    def call(self, place: Place, context: Context) -> Any:
        return context.alice.leave(GroupId(place.facts["other"])).to_json()

    def repeat(self, place: Place, alice: Mdk) -> None:
        group = GroupId(place.facts["other"])
        if alice.group(group).state == "active":
            alice.leave(group)

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        state = alice.group(GroupId(place.facts["other"])).state
        require(state == "leaving", "lost", "an acknowledged leave")


# ------------------------------------------------------------------ commits of ours


class Stage(Operation):
    """A commit is made and kept until it is known to be published."""

    name = "commit_stage"

    def stage(self, place: Place, alice: Mdk) -> PendingCommit:
        return alice.update_group(GroupId(place.facts["group"]), name="Supper")

    def call(self, place: Place, context: Context) -> Any:
        event = self.stage(place, context.alice).event
        return event.to_json() if event else None

    def repeat(self, place: Place, alice: Mdk) -> None:
        if not alice.pending():
            self.stage(place, alice)

    def check_acknowledged(self, _place: Place, alice: Mdk) -> None:
        require(len(alice.pending()) == 1, "lost", "a staged commit")

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        (pending,) = alice.pending()
        event, _ = publish(pending)
        assert event is not None
        took(bob.process(event), "our commit")
        group = GroupId(place.facts["group"])
        require(bob.group(group).epoch == alice.group(group).epoch, "broken", "epochs differ")


class Confirm(Operation):
    """A published commit is merged; it adds a member, who must be able to join."""

    name = "commit_confirm"

    def setup(self, place: Place) -> None:
        spare = SignedEvent.from_json(place.facts["spare"])
        with place.alice() as alice:
            pending = alice.add_members(GroupId(place.facts["group"]), [spare])
            assert pending.event is not None
            place.learn(
                commit=pending.event.to_json(),
                added=pending.welcomes[0].to_json(),
                epoch=alice.group(GroupId(place.facts["group"])).epoch,
            )

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        self.reopened(place, context)
        return context

    def reopened(self, _place: Place, context: Context) -> None:
        (context.pending,) = context.alice.pending()

    def call(self, _place: Place, context: Context) -> Any:
        assert context.pending is not None
        return context.pending.confirm().epoch

    def repeat(self, _place: Place, alice: Mdk) -> None:
        for pending in alice.pending():
            pending.confirm()

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        epoch = alice.group(GroupId(place.facts["group"])).epoch
        require(epoch == place.facts["epoch"] + 1, "lost", "a confirmed commit")

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        facts = place.facts
        group = GroupId(facts["group"])
        took(bob.process(facts["commit"]), "our commit")
        require(bob.group(group).epoch == alice.group(group).epoch, "broken", "epochs differ")
        with place.peer("carol") as carol:
            took(carol.process(facts["added"]), "our Welcome")
            (invite,) = carol.invites()
            carol.accept(invite.id)
            talk(alice, carol, group)


class Discard(Confirm):
    """A commit that could not be published is forgotten."""

    name = "commit_discard"

    def call(self, _place: Place, context: Context) -> Any:
        assert context.pending is not None
        context.pending.discard()
        return "discarded"

    def repeat(self, _place: Place, alice: Mdk) -> None:
        for pending in alice.pending():
            pending.discard()

    def check_acknowledged(self, _place: Place, alice: Mdk) -> None:
        require(not alice.pending(), "broken", "a discarded commit is pending")

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        group = GroupId(place.facts["group"])
        require(bob.group(group).epoch == alice.group(group).epoch, "broken", "epochs differ")


class CreateGroup(Operation):
    """A group is founded."""

    name = "create_group"

    def call(self, place: Place, context: Context) -> Any:
        spare = SignedEvent.from_json(place.facts["spare"])
        pending = context.alice.create_group("Tea", members=[spare], relays=["wss://relay.example"])
        return pending.confirm().id

    def repeat(self, place: Place, alice: Mdk) -> None:
        for pending in alice.pending():
            pending.discard()
        if not any(g.name == "Tea" for g in alice.groups(state=None)):
            self.call(place, Context(alice))

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:
        # Two calls: the error may have come between them, with the commit staged.
        for pending in context.alice.pending():
            pending.discard()
        report = super().recover(place, context, before, reopen)
        return report | {"unchanged": True}

    def check_acknowledged(self, _place: Place, alice: Mdk) -> None:
        require(any(g.name == "Tea" for g in alice.groups()), "lost", "a founded group")


def all_operations() -> list[Operation]:
    """Every operation that this build knows, in the order of their cost."""
    from . import vault_operations  # noqa: PLC0415

    return [
        FirstOpen(),
        Reopen(),
        Close(),
        Receive(),
        ReceiveMany(),
        ReceiveCheckpoint(),
        ReceiveRestart(),
        ReceiveCommit(),
        Welcome(),
        Join(),
        Send(),
        Delete(),
        NewKeyPackage(),
        Leave(),
        Stage(),
        Confirm(),
        Discard(),
        CreateGroup(),
        *vault_operations.available(),
    ]


def by_name(name: str) -> Operation:
    from .key_sources import further_operations  # noqa: PLC0415

    return next(o for o in [*all_operations(), *further_operations()] if o.name == name)


__all__ += ["build"]
