"""What peers send: messages, commits and invites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mdk import GroupId, Mdk

from .operation import Context, Operation
from .world import Place, publish, require, talk, took

# Frames of the write-ahead log shortly before the number at which the store moves it.
ALMOST_FULL = 250 - 14


def frames_in_log(log: Path) -> int:
    """How many frames the log has (https://sqlite.org/fileformat.html#walformat); room for more may follow them."""
    data = log.read_bytes()
    salts, count = data[16:24], 0
    while data[32 + count * 4120 + 8 : 32 + count * 4120 + 16] == salts:
        count += 1
    return count


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
