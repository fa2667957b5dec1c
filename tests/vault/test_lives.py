"""The steps of a life, one by one: their promises hold when nothing stops them, and their checks see what is lost.

The kills at random times are in test_kill.py.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.vault.conftest import NEEDS_SHIM
from tests.vault.torture import life
from tests.vault.torture.life_model import Model, Step, sort_out
from tests.vault.torture.runner import Zygote, zygote
from tests.vault.torture.world import Broken, Place, build

from mdk import GroupId

pytestmark = NEEDS_SHIM
KINDS = [*life.PARTS, "edit"]
# What is done before, so that every step has something to do: a group has ended, and one of two others has bob, and
# carol as an admin.
BEFORE = ["send", "create_group", "disband", "create_group", "add_members", "promote"]
Said = list[dict[str, Any]]


class Lowest(random.Random):
    """Always draws the lowest, by which whatever is drawn at times is drawn."""

    def random(self) -> float:
        return 0.0


class Stage:
    """An account with a past, and one step planned for it, in a place where it can be done many times."""

    def __init__(self, root: Path, forks: Zygote) -> None:
        self.root, self.forks = root, forks
        self.run = build(root / "run", messages=2)
        self.model = life.begin(self.run)
        for kind in BEFORE:
            steps = self.plan(kind)
            self.judge(self.run, steps, self.live(steps), self.model)
        self.past = self.run.copy(root / "past")
        self._done: dict[str, tuple[list[Step], Said, Place, Place]] = {}

    def plan(self, kind: str) -> list[Step]:
        clock = self.run.clock()
        with self.run.peer("bob", clock) as bob, self.run.peer("carol", clock) as carol:
            return life.plan_life(
                self.model, self.run, bob, carol, clock, Lowest(), 1, choices=[kind]
            )

    def live(self, steps: list[Step]) -> Said:
        said = self.forks.life(self.run.root, steps, None)
        assert said[-1]["exit"] == 0, said
        return said

    def judge(self, place: Place, steps: list[Step], said: Said, model: Model) -> None:
        clock = place.clock()
        with place.peer("bob", clock) as bob, place.peer("carol", clock) as carol:
            life.judge(model, place, bob, carol, sort_out(steps, said))

    def step(self, kind: str) -> tuple[list[Step], Said, Place]:
        """One step that is done (each kind once), what was heard of it, and the files of before."""
        if kind not in self._done:
            self.past.copy(self.run.root)
            steps = self.plan(kind)
            before = self.run.copy(self.root / f"before-{kind}")
            said = self.live(steps)
            self._done[kind] = steps, said, before, self.run.copy(self.root / f"after-{kind}")
        steps, said, before, after = self._done[kind]
        after.copy(self.run.root)
        return steps, copy.deepcopy(said), before


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with zygote() as forks:
        yield Stage(tmp_path_factory.mktemp("lives").resolve(), forks)


def cut(said: Said, before: str) -> Said:
    """What is heard of a child that dies before it says this of its first step."""
    return [*said[: next(n for n, r in enumerate(said) if r.get(before) == 0)], {"exit": -9}]


# proves: R1
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_keeps_its_promises_wherever_it_ends(stage: Stage, kind: str) -> None:
    steps, said, before = stage.step(kind)
    assert [step["do"] for step in steps] == [kind]
    after = stage.root / f"after-{kind}"
    stage.judge(stage.run, steps, said, stage.model.fork())
    # Cut short after its last write, when no answer has come, and before its first one.
    flight = cut(said, before="end")
    stage.judge(Place(after).copy(stage.run.root), steps, flight, stage.model.fork())
    unsaid = [record for record in flight if "published" not in record]
    stage.judge(before.copy(stage.run.root), steps, unsaid, stage.model.fork())


# ------------------------------------------------------------------ whether the instrument can be trusted


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"verify", "discard"}])
def test_the_checks_notice_that_a_step_is_lost(stage: Stage, kind: str) -> None:
    """It was acknowledged, and the files are those of before."""
    steps, said, before = stage.step(kind)
    place = before.copy(stage.run.root)
    with pytest.raises(Broken, match=r"^(lost|unopenable): "):
        stage.judge(place, steps, said, stage.model.fork())


@pytest.mark.parametrize("kind", ["salvage", "restore"])
def test_the_checks_notice_that_messages_are_missing(stage: Stage, kind: str) -> None:
    steps, said, _ = stage.step(kind)
    stage.run.learn(whole=[*stage.run.facts["whole"], "one more"])
    with pytest.raises(Broken, match=r"^lost: "):
        stage.judge(stage.run, steps, said, stage.model.fork())


def test_the_checks_notice_that_verify_finds_something(stage: Stage) -> None:
    steps, said, _ = stage.step("verify")
    for record in said:
        if record.get("end") == 0:
            record["result"] = ["page 3 fails its authentication"]
    with pytest.raises(Broken, match=r"^broken: verify"):
        stage.judge(stage.run, steps, said, stage.model.fork())


def test_the_checks_notice_a_commit_that_was_given_up(stage: Stage) -> None:
    """It is still pending, or it was merged after all."""
    for merged in (False, True):
        steps, said, _ = stage.step("discard")
        with stage.run.alice() as alice:
            pending = alice.update_group(GroupId(steps[0]["group"]), name=steps[0]["name"])
            if merged:
                pending.confirm()
        with pytest.raises(Broken, match=r"a commit is pending|a group's name"):
            stage.judge(stage.run, steps, said, stage.model.fork())
