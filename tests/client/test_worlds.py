"""Seeded worlds: relays die, restart empty, refuse, repeat and reorder; members are killed; no message is lost.

Every message whose send() returned arrives exactly once at every member, or is reported as failed with the words of a
relay. One that was written on the side of a commit that lost (docs/guide/protocol.md) is neither: its author is told by
MessagesInvalidated. tests/sampling.json says how many worlds, MDK_WORLD one seed to look at.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import sampling

from mdk.testing import Faults, LocalRelay

ACTOR = Path(__file__).parent / "programs" / "actor.py"
MEMBERS = 3
STEPS = 30
STEP_WEIGHTS = {
    "send": 12,
    "pause": 2,
    "resume": 4,
    "cut": 2,
    "faults": 3,
    "refuse": 2,
    "kill": 3,
    "update": 1,
    "race": 1,
}
PATIENCE = 60.0
SEEDS = (
    [int(os.environ["MDK_WORLD"])] if "MDK_WORLD" in os.environ else sampling.seeds("python_worlds")
)
BLOCKED = "blocked: not here"


def refuses_for_good(seed: int) -> bool:
    """Whether relays refuse messages for good in this world; its other relay forgets nothing then.

    What one relay refuses for good and the other takes and forgets, nobody could deliver.
    """
    return seed % 3 == 2


class Actor:
    """A member in a process of its own."""

    def __init__(self, path: Path, relays: list[str]) -> None:
        self.path, self.relays = path, relays
        self.process: asyncio.subprocess.Process | None = None
        self.npub = ""

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ACTOR),
            str(self.path),
            *self.relays,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.npub = (await self.answer())["npub"]

    async def answer(self) -> Any:
        assert self.process is not None
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        assert line, "the actor has ended"
        return json.loads(line)

    def order(self, do: str, **more: Any) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")

    async def ask(self, do: str, **more: Any) -> Any:
        self.order(do, **more)
        return await self.answer()

    async def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.communicate()
            self.process = None


class World:
    """What happens, from a seed."""

    def __init__(self, seed: int, folder: Path, steady: LocalRelay, shaky: LocalRelay) -> None:
        self.random = random.Random(seed)
        self.rare = "block" if refuses_for_good(seed) else "wipe"
        # One relay may forget; the other dies as well, but keeps what it has.
        self.steady, self.shaky = steady, shaky
        relays = [steady.url, shaky.url]
        self.actors = [Actor(folder / f"{n}" / "mdk.db", relays) for n in range(MEMBERS)]
        self.sent: dict[str, int] = {}
        self.number = 0
        self.group = ""

    async def begin(self) -> None:
        await asyncio.gather(*(actor.start() for actor in self.actors))
        await self.steady.until(lambda relay: relay.count(30443) == MEMBERS, PATIENCE)
        founder, *others = self.actors
        answer = await founder.ask("found", members=[actor.npub for actor in others])
        self.group = answer["group"]
        for actor in others:
            async with asyncio.timeout(PATIENCE):
                while self.group not in (await actor.ask("groups"))["groups"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    async def step(self) -> None:
        who = self.random.randrange(MEMBERS)
        actor = self.actors[who]
        relay = self.random.choice([self.steady, self.shaky])
        self.number += 1
        match self.random.choices([*STEP_WEIGHTS, self.rare], [*STEP_WEIGHTS.values(), 1])[0]:
            case "send":
                text = f"{who}-{self.number}"
                if self.random.random() < 0.2:
                    # Killed while it sends: it may be there or not, so nothing is expected of it.
                    actor.order("send", group=self.group, text=text)
                    await asyncio.sleep(self.random.random() * 0.01)
                    await actor.kill()
                    await actor.start()
                    return
                if (await actor.ask("send", group=self.group, text=text))["sent"]:
                    self.sent[text] = who
            case "pause":
                await relay.pause()
            case "resume":
                await relay.resume()
            case "cut":
                await relay.cut()
            case "wipe":
                await self.shaky.wipe()
            case "block":
                await self.block()
            case "faults":
                relay.faults(
                    Faults(
                        duplicate=self.random.random() < 0.5,
                        reorder=self.random.choice([None, self.number]),
                        page_limit=self.random.choice([None, 30]),
                        rate_limit=self.random.choice([None, 300]),
                        false_events=self.random.random() < 0.3,
                    )
                )
            case "refuse":
                kinds: set[int] = self.random.choice([set(), {445}, {445, 1059}])
                relay.refuse(kinds=kinds, reason="rate-limited: later")
            case "kill":
                await actor.kill()
                await actor.start()
            case "update":
                await actor.ask("update", group=self.group)
            case "race":
                both = self.random.sample(range(MEMBERS), 2)
                await asyncio.gather(*(self.change_and_say(one) for one in both))

    async def change_and_say(self, who: int) -> None:
        """A commit, and a message behind it: where another member does the same, one of the commits loses."""
        actor, text = self.actors[who], f"{who}-{self.number}-race"
        actor.order("update", group=self.group)
        actor.order("send", group=self.group, text=text)
        await actor.answer()
        if (await actor.answer())["sent"]:
            self.sent[text] = who

    async def block(self) -> None:
        """From now on no relay takes a message, and says so for good, to one message at least."""
        for relay in (self.steady, self.shaky):
            await relay.resume()
            relay.refuse(kinds={445}, reason=BLOCKED)
        who = self.random.randrange(MEMBERS)
        text = f"{who}-{self.number}-blocked"
        order = {"group": self.group, "text": text, "settle": PATIENCE}
        if (await self.actors[who].ask("send", **order))["sent"]:
            self.sent[text] = who

    async def heal(self) -> None:
        for relay in (self.steady, self.shaky):
            relay.faults()
            relay.accept()
            await relay.resume()

    async def check(self) -> None:
        """Wait until everybody has everything that was not reported, and see that nobody has anything twice."""
        told: dict[str, Any] = {}
        missing: dict[int, dict[str, Any]] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    heard = [await actor.ask("heard") for actor in self.actors]
                    for actor in self.actors:
                        told |= (await actor.ask("told", group=self.group))["told"]
                    arrives = {text for text in self.sent if fate(told[text]) == "delivered"}
                    missing = {
                        who: {text: told[text] for text in lost}
                        for who in range(MEMBERS)
                        if (lost := arrives - set(heard[who]["heard"]) - self.by(who))
                    }
                    if not missing:
                        break
                    await asyncio.sleep(0.05)
        except TimeoutError:
            stand = [await self.stands(actor) for actor in self.actors]
            pytest.fail(
                f"of {len(self.sent)} are missing, by member: {missing}; they stand: {stand}"
            )
        for who in range(MEMBERS):
            texts = heard[who]["heard"]
            assert not heard[who]["twice"], f"{who} was told twice of {heard[who]['twice']}"
            assert len(texts) == len(set(texts)), f"{who} has something twice: {texts}"
        for text in self.sent:
            self.is_told(text, told[text])

    async def stands(self, actor: Actor) -> Any:
        """Where a member is. What it was asked before may still be answered."""
        actor.order("stands", group=self.group)
        while "stands" not in (answer := await actor.answer()):
            pass
        return answer["stands"]

    def by(self, who: int) -> set[str]:
        """What one member has sent."""
        return {text for text, author in self.sent.items() if author == who}

    def is_told(self, text: str, told: Any) -> None:
        """Its author knows about a message what became of it, and why."""
        if told["failed"]:
            assert told["words"], f"{text} failed without a word of a relay"
            for url, words in told["words"]:
                assert url in {self.steady.url, self.shaky.url}, f"{text} failed at {url}"
                assert words == BLOCKED, f"{text} failed for {words!r}"
        if told["invalidated"]:
            assert told["event"], f"{text} was taken back without an event"


def fate(told: Any) -> str:
    """What became of a message, as its author sees it."""
    if told["failed"]:
        return "failed"
    return "invalidated" if told["invalidated"] else "delivered"


@pytest.mark.parametrize("seed", SEEDS)
async def test_world(seed: int, tmp_path: Path) -> None:
    async with LocalRelay() as steady, LocalRelay() as shaky:
        world = World(seed, tmp_path, steady, shaky)
        try:
            await world.begin()
            for _ in range(STEPS):
                await world.step()
            await world.heal()
            await world.check()
        finally:
            await asyncio.gather(*(actor.kill() for actor in world.actors))
