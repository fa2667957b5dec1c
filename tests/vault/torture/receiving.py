"""What peers send: messages, commits and invites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mdk import GroupId, Mdk

from .operation import Context, Once, texts
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


class OneEvent(Once):
    """An event of a peer."""

    def event(self, place: Place) -> str:
        """As it stands in the facts."""
        return str(place.facts[self.name.removeprefix("receive_")])

    def call(self, place: Place, context: Context) -> Any:
        return type(context.alice.process(self.event(place))).__name__

    def repeat(self, place: Place, alice: Mdk) -> None:
        took(alice.process(self.event(place)), f"the event of {self.name}")


class Receive(OneEvent):
    name = "receive"
    exact = True

    def event(self, place: Place) -> str:
        return str(place.facts["messages"][0])


class ReceiveMany(Receive):
    """A batch in one transaction."""

    name = "receive_many"

    def call(self, place: Place, context: Context) -> Any:
        return [type(o).__name__ for o in context.alice.process_many(place.facts["messages"])]

    def repeat(self, place: Place, alice: Mdk) -> None:
        for outcome in alice.process_many(place.facts["messages"]):
            took(outcome, "a message of a batch")


class ReceiveCheckpoint(Receive):
    """The message whose write also moves the write-ahead log into the database file."""

    name = "receive_checkpoint"
    # Large enough to pass the border from wherever the filling stops.
    text = "the last straw" + " and one" * 5000

    def event(self, place: Place) -> str:
        return str(place.facts["last"])

    def setup(self, place: Place) -> None:
        # Found by a dry run, with a few to spare: how many pages a message takes varies a little.
        before = place.copy(place.root.with_name("before"))
        self.write(place, 250)
        self.finish(place, self.prepare(place))
        with place.alice() as alice:
            fillers = [text for text in texts(place, alice) if (text or "").startswith("filler")]
        before.copy(place.root)
        self.write(place, len(fillers) + 8)

    def write(self, place: Place, count: int) -> None:
        group = GroupId(place.facts["group"])
        with place.peer() as bob:
            events = [bob.create_message(group, f"filler {n}").event for n in range(count)]
            last = bob.create_message(group, ReceiveCheckpoint.text).event
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

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        require(self.text in texts(place, alice), "lost", "a received message")

    def repeat(self, place: Place, alice: Mdk) -> None:
        super().repeat(place, alice)
        for event in place.facts["fill"][-16:]:
            took(alice.process(event), "an earlier message")


class ReceiveRestart(ReceiveCheckpoint):
    """The message after it, whose write begins the log anew, over what was moved."""

    name = "receive_restart"
    text = "after the straw"

    def event(self, place: Place) -> str:
        return str(place.facts["again"])

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        context.alice.process(place.facts["last"])
        return context

    def repeat(self, place: Place, alice: Mdk) -> None:
        # The newest first: that order is part of the state, and the others are there.
        super().repeat(place, alice)
        took(alice.process(place.facts["last"]), "the message before")

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        super().check_acknowledged(place, alice)
        require(ReceiveCheckpoint.text in texts(place, alice), "lost", "a received message")


class ReceiveCommit(OneEvent):
    name = "receive_commit"

    def setup(self, place: Place) -> None:
        with place.peer() as bob:
            pending = bob.update_group(GroupId(place.facts["group"]), name="Supper")
            event, _ = publish(pending)
            assert event is not None
        place.learn(commit=event.to_json())


class Welcome(OneEvent):
    name = "welcome"


class Join(Once):
    name = "join"

    def setup(self, place: Place) -> None:
        with place.alice() as alice:
            alice.process(place.facts["welcome"])

    def call(self, _place: Place, context: Context) -> Any:
        return context.alice.accept(context.alice.invites()[0].id).name

    def follow(self, place: Place, alice: Mdk, _bob: Mdk) -> None:
        (group,) = (g for g in alice.groups() if g.name == "Breakfast")
        with place.peer("carol") as carol:
            talk(alice, carol, group.id)
