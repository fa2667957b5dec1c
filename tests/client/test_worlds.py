"""Seeded worlds: relays die, restart empty, refuse, repeat and reorder; members are killed; no message is lost.

Every message whose send() returned arrives exactly once at every member, or is reported as failed. MDK_WORLDS says how
many worlds, MDK_WORLD one seed to look at.
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

from mdk.testing import Faults, LocalRelay

ACTOR = Path(__file__).parent / "programs" / "actor.py"
MEMBERS = 3
STEPS = 30
PATIENCE = 60.0
SEEDS = (
    [int(os.environ["MDK_WORLD"])]
    if "MDK_WORLD" in os.environ
    else list(range(int(os.environ.get("MDK_WORLDS", "20"))))
)


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
        self.npub = (await self._line())["npub"]

    async def _line(self) -> Any:
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
        return await self._line()

    async def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.communicate()
            self.process = None


class World:
    """What happens, from a seed."""

    def __init__(self, seed: int, folder: Path, steady: LocalRelay, shaky: LocalRelay) -> None:
        self.random = random.Random(seed)
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
        match self.random.choices(
            ["send", "pause", "resume", "cut", "wipe", "faults", "refuse", "kill", "update"],
            [12, 2, 4, 2, 1, 3, 2, 3, 1],
        )[0]:
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

    async def heal(self) -> None:
        for relay in (self.steady, self.shaky):
            relay.faults()
            relay.accept()
            await relay.resume()

    async def check(self) -> None:
        """Wait until everybody has everything, and see that nobody has anything twice."""
        story: dict[str, str] = {}

        async def reported() -> set[str]:
            failed: set[str] = set()
            for actor in self.actors:
                told = await actor.ask("failed", group=self.group)
                failed |= set(told["failed"])
                story.update(told["story"])
            return failed

        for who, actor in enumerate(self.actors):
            wanted = {text for text, by in self.sent.items() if by != who}
            heard: list[str] = []
            missing = wanted
            try:
                async with asyncio.timeout(PATIENCE):
                    while missing:
                        heard = (await actor.ask("heard"))["heard"]
                        missing = wanted - set(heard) - await reported()
                        await asyncio.sleep(0.05)
            except TimeoutError:
                lost = {text: story.get(text) for text in sorted(missing)}
                pytest.fail(f"{who} misses {lost} of {len(wanted)}")
            assert len(heard) == len(set(heard)), f"{who} has something twice"


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
