"""What a life of an account is told in: its steps, what its peers know of it, and what was heard of it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mdk import GroupId, Mdk

from .world import Broken, Place

Step = dict[str, Any]
Tell = Callable[..., None]


@dataclass
class Founded:
    """A group that the account made, and may change and end."""

    id: str
    name: str
    # Names of peers, as in the world.
    members: set[str] = field(default_factory=set)
    admins: set[str] = field(default_factory=set)


@dataclass
class Model:
    """What must be true of the account, as its peers and its user know it."""

    group: GroupId
    # Texts that must be there, once each.
    texts: set[str] = field(default_factory=set)
    # Own messages that may be edited and deleted: id and text.
    own: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    name: str = "Lunch"
    # Groups that the account joined and may leave.
    joined: list[str] = field(default_factory=list)
    # Groups that it made, by their ids, and those of them that it ended and did not delete.
    founded: dict[str, Founded] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    number: int = 0

    def fork(self) -> Model:
        return copy.deepcopy(self)

    def next(self, what: str) -> str:
        self.number += 1
        return f"{what} {self.number}"


@dataclass
class Plan:
    """A life while its steps are drawn: what will be true if it gets there."""

    model: Model
    place: Place
    peers: dict[str, Mdk]
    rng: random.Random
    founded: dict[str, Founded]
    # Groups that it ended in an earlier life: their end is final.
    ended: list[str]
    # A KeyPackage of the account, for an invite that it declines.
    package: Any = None
    # How many more changes of its own groups, and calls on whole files, are drawn.
    changes: int = 3
    files: int = 0


@dataclass
class Done:
    """A call that was acknowledged, or cut short."""

    step: Step
    result: Any = None
    # A commit that it said it publishes: the event, if there is one, then the Welcomes.
    told: list[str] = field(default_factory=list)


@dataclass
class Heard:
    """What a child said, put in order."""

    done: list[Done]
    flight: Done | None
    inside: bool
    unbegun: list[Step]


def sort_out(steps: list[Step], said: list[dict[str, Any]]) -> Heard:
    done: list[Done] = []
    begun: int | None = None
    reached = -1
    told: list[str] = []
    for record in said:
        if "crash" in record:
            raise Broken("broken", f"the child failed: {record['crash']}")
        if "begin" in record:
            begun, told = record["begin"], []
            reached = record["begin"]
        elif "end" in record:
            n, begun = record["end"], None
            if 0 <= n < len(steps):
                done.append(Done(steps[n], record.get("result"), told))
        elif "published" in record:
            told = record["published"]
    inside = begun is not None and 0 <= begun < len(steps)
    flight = Done(steps[begun], told=told) if begun is not None and inside else None
    return Heard(done, flight, begun is not None, steps[reached + 1 :])


@dataclass
class Now:
    """What is there after a life: the account, opened again, and its peers."""

    model: Model
    place: Place
    alice: Mdk
    peers: dict[str, Mdk]


class Part:
    """A kind of call in a life: how it is drawn, how it is made, and what must hold after it."""

    name = ""

    def plan(self, plan: Plan) -> Step | None:
        """A step of this kind, or none if there is nothing to do it with."""
        raise NotImplementedError

    def call(self, place: Place, alice: Mdk, step: Step, tell: Tell) -> Any:
        """Makes it, in the child."""
        raise NotImplementedError

    def done(self, now: Now, done: Done) -> None:
        """It was acknowledged: it is there."""
        raise NotImplementedError

    def cut(self, now: Now, flight: Done) -> None:
        """It was cut short: nothing of it is there or all of it, and made again it comes to the same."""
        raise NotImplementedError
